"""Moves, as the control plane sees them: whether one may begin, and what its mover said last."""

from cellplane.control.move_schemas import MoveReport, MoveView
from cellplane.control.report_book import Reported
from cellplane.control.service import Service
from cellplane.directory.moving import MoveRecord
from cellplane.directory.serving import serving_cells
from cellplane.errors import ConflictError, ForeignLawConflictError, NotFoundError
from cellplane.model.key import check_key, check_name
from cellplane.placement import CellState
from cellplane.placement.moving import why_not_moved


def require_movable(service: Service, tenant_id: str, target: str) -> str:
    """Look whether a tenant may be moved to a cell, by what the directory knows; returns the cell that serves it.

    Raises:
        NotFoundError: there is no such tenant, or no such cell.
        ForeignLawConflictError: its data would be under another law.
        ConflictError: something else is in the way; the message says what.
    """
    check_key("tenant", tenant_id)
    check_name("target", target)
    with service.directory.snapshot() as snapshot:
        outline, record = snapshot.outline, snapshot.tenant(tenant_id)
        quarantine = snapshot.quarantine(tenant_id)
        cells = [outline.cells[cell_id] for cell_id in serving_cells(outline, tenant_id, record)]
        if target not in outline.cells:
            known = ", ".join([*outline.cells][:20]) or "none yet"
            raise NotFoundError(f"no cell is named {target!r}; there are {known}")
        holding = snapshot.holdings([target])[target]
    state = CellState(holding.load, is_healthy=target not in service.routers.unhealthy_cells())
    away = quarantine is not None and quarantine.lasts
    found = why_not_moved(record.tenant, cells, outline.cells[target], state, is_away=away)
    if found is not None:
        raise (ForeignLawConflictError if found.violations else ConflictError)(found.reason)
    return cells[0].id


def reports_by_move(service: Service) -> dict[str, tuple[Reported[MoveReport], float]]:
    """What movers said last, by move, and how long ago in seconds."""
    return {known.id: (known, age) for known, age in service.moves.all()}


def view_of(record: MoveRecord, reports: dict[str, tuple[Reported[MoveReport], float]]) -> MoveView:
    """A move with what its mover said last; of one that has ended, nothing."""
    known = reports.get(record.said.id) if record.ended is None else None
    return MoveView.of(record) if known is None else MoveView.of(record, known[0].report, known[1])
