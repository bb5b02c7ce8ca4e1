"""Least loaded: where a new tenant of an explicit pool goes, or why nowhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellplane.model import Cell, Tenant
from cellplane.placement.fitting import EMPTY, CellState, obstacles, utilisation
from cellplane.placement.refusal import CellReason, NoCell


@dataclass(frozen=True, slots=True)
class CellChoice:
    """A cell for the tenant.

    Attributes:
        cell: its id.
        utilisation: see ``fitting.utilisation``.
        reason: why this one.
    """

    cell: str
    utilisation: float | None
    reason: str


def least_loaded(
    tenant: Tenant, cells: Sequence[Cell], states: Mapping[str, CellState], *, is_dedicated: bool = False
) -> CellChoice | NoCell:
    """Choose the cell that is least loaded with the new tenant in it.

    Of the cells that fit (``fitting.obstacles``), the one whose largest utilisation is least; among equals the one with
    the fewest tenants, then the first by id. A cell that declares no capacity is chosen only where no other fits, since
    nothing says how full it is.

    Args:
        tenant: a valid tenant.
        cells: valid cells, ids unique.
        states: of cells by id; one that is missing holds nothing and is healthy.
        is_dedicated: whether a cell takes one tenant only.
    """
    reasons: list[CellReason] = []
    fitting: list[tuple[bool, float, int, str]] = []
    for cell in sorted(cells, key=lambda cell: cell.id):
        state = states.get(cell.id, EMPTY)
        if found := obstacles(cell, state, tenant, is_dedicated=is_dedicated):
            reasons.append(CellReason(cell.id, ", ".join(found)))
        else:
            part = utilisation(cell, state, tenant)
            fitting.append((part is None, part or 0.0, state.load.tenants, cell.id))
    if not fitting:
        return NoCell(
            f"none of {len(cells)} cells takes the tenant: add a cell, raise a capacity, or unlock one", tuple(reasons)
        )
    undeclared, least, tenants, cell_id = min(fitting)
    among = f"of {len(fitting)} cells that fit, {len(reasons)} do not"
    if undeclared:
        return CellChoice(cell_id, None, f"fewest tenants ({tenants}) {among}; none of them declares a capacity")
    return CellChoice(cell_id, least, f"least loaded ({least:.1%} with the tenant) {among}")
