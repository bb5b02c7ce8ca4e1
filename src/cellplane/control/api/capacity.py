"""How full the fleet is."""

from typing import Annotated

from fastapi import APIRouter, Query

from cellplane.capacity.growth import Ask
from cellplane.capacity.headroom import Room
from cellplane.capacity.locks import Hold, Lock
from cellplane.capacity.metrics import Resource
from cellplane.capacity.trend import DaysLeft
from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import (
    CHANGING,
    EVERYWHERE,
    MISSING,
    After,
    CurrentChange,
    CurrentService,
    Limit,
    problems,
)
from cellplane.control.capacity.looking import Look
from cellplane.control.capacity_schemas import (
    CapacityView,
    CellCapacityView,
    CellReport,
    DaysView,
    PoolAsk,
    PoolCapacityView,
    ResourceName,
    RoomView,
)
from cellplane.control.paging import page_of
from cellplane.control.service import Service
from cellplane.directory.capacity import CellAsk
from cellplane.errors import NotFoundError
from cellplane.model import Cell

router = APIRouter(tags=["capacity"], responses=EVERYWHERE)


@router.get("/v1/capacity", dependencies=[needs(Permission.READ)])
def get_capacity(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    pool: Annotated[str | None, Query(description="Of this pool and its cells alone")] = None,
) -> CapacityView:
    """How full pools are, and cells by id, one page; for how long their room lasts, and what is done about it."""
    look = service.lookout.look()
    pools = [each for each in look.outline.pools.values() if pool in {None, each.name}]
    wanted = None if pool is None else {cell for each in pools for cell in each.cells}
    cells = [each for each in look.outline.cells.values() if wanted is None or each.id in wanted]
    page = page_of(cells, lambda cell: cell.id, after, service.page_size(limit))
    days = service.lookout.cell_days(look.known.last_sample_at, [cell.id for cell in page.items])
    return CapacityView(
        lock_at=service.settings.capacity.lock_at,
        unlock_at=service.settings.capacity.unlock_at,
        locks_cells=service.settings.locks_cells,
        provisions=bool(service.settings.provisioner),
        pools=[_pool_view(service, look, each.name) for each in pools],
        cells=[_cell_view(service, look, cell, days[cell.id]) for cell in page.items],
        next=page.next,
    )


@router.post(
    "/v1/cells/{cell_id}/report",
    dependencies=[needs(Permission.REPORT_CELL, "cell_id")],
    responses={**MISSING, **problems(s409="There are too many cells")},
)
def report_cell(cell_id: str, report: CellReport, service: CurrentService) -> schemas.Health:
    """Take a cell's report of how full it is."""
    with service.directory.snapshot() as snapshot:
        is_known = cell_id in snapshot.outline.cells
    if not is_known:
        raise NotFoundError(f"no cell is named {cell_id!r}")
    service.cells.take(cell_id, report)
    current = service.publisher.current
    epoch = 0 if current is None else current.epoch
    return schemas.Health(status="ok", epoch=epoch, published_epoch=None if current is None else epoch)


@router.delete(
    "/v1/cells/{cell_id}/hold", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING}
)
async def release_hold(cell_id: str, change: CurrentChange) -> schemas.Changed:
    """Take back what a person ordered of a cell's lock: what it reports decides again."""
    return await change.put(
        "cell", cell_id, lambda transaction: transaction.locks.release(transaction.outline, cell_id)
    )


def _cell_view(service: Service, look: Look, cell: Cell, days: DaysLeft) -> CellCapacityView:
    survey = look.survey
    full, headroom, age = survey.utilisations.get(cell.id), survey.headrooms.get(cell.id), look.ages.get(cell.id)
    lock = survey.step.locks.get(cell.id, Lock())
    kept = next((each.reason for each in survey.step.kept if each.cell == cell.id), "")
    return CellCapacityView(
        id=cell.id,
        status=cell.status.value,
        utilisation=None if full is None else round(full.share, 4),
        resource=None if full is None else full.resource.value,
        rooms=_rooms({} if headroom is None else dict(headroom.rooms)),
        report_age_seconds=None if age is None else round(age, 1),
        lock="automatic" if lock.hold is Hold.NONE else lock.hold.value,
        kept_open=kept if service.settings.locks_cells else "",
        days_left=_days_view(days),
    )


def _pool_view(service: Service, look: Look, name: str) -> PoolCapacityView:
    found = look.survey.pools[name]
    need = next((each for each in look.survey.growth if each.pool == name), None)
    wants, kept = "", ""
    if isinstance(need, Ask):
        wants, kept = need.reason, "" if service.settings.provisioner else "no provisioner makes cells here"
    elif need is not None:
        wants, kept = need.why_needed, need.reason
    ask = look.known.asks.get(name)
    return PoolCapacityView(
        name=name,
        cells=found.cells,
        open_cells=found.open_cells,
        unknown_cells=found.unknown_cells,
        headroom=None if found.left is None else round(found.left, 4),
        resource=None if found.binds is None else found.binds.value,
        days_left=_days_view(look.survey.pool_days[name]),
        wants=wants,
        kept=kept,
        ask=None if ask is None else _ask_view(ask, look.known.now),
    )


def _ask_view(ask: CellAsk, now: float) -> PoolAsk:
    return PoolAsk(
        reason=ask.reason,
        age_seconds=round(max(0.0, now - ask.at), 1),
        cell=ask.cell,
        failure=ask.failure,
        done=ask.done_at is not None,
    )


def _rooms(rooms: dict[Resource, Room]) -> dict[ResourceName, RoomView]:
    return {each.value: RoomView(left=round(room.left, 3), whole=round(room.whole, 3)) for each, room in rooms.items()}


def _days_view(days: DaysLeft) -> DaysView:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 1)

    return DaysView(
        outlook=days.outlook.value,
        days=rounded(days.days),
        earliest=rounded(days.earliest),
        latest=rounded(days.latest),
    )
