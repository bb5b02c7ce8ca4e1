"""Moves of tenants between cells: what their movers report, and what people want of them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import (
    CHANGING,
    EVERYWHERE,
    MISSING,
    CurrentChange,
    CurrentService,
    Limit,
    problems,
    tag,
)
from cellplane.control.api.threads import to_read, to_write
from cellplane.control.move_schemas import (
    MoveList,
    MoveOrder,
    MovePlan,
    MoveQuestion,
    MoveReport,
    MoveSpec,
    MoveView,
    PhaseName,
    WishSpec,
    wish_of,
)
from cellplane.control.moving import reports_by_move, require_movable, view_of
from cellplane.directory.moving import ENDING, KIND, MoveFilter, MoveRecord
from cellplane.directory.transaction import Transaction
from cellplane.errors import ConflictError, ValidationError
from cellplane.moves.move import Phase

router = APIRouter(prefix="/v1/moves", tags=["moves"], responses=EVERYWHERE)

MoveName = Annotated[str, Path(pattern=r"^[a-z0-9]{1,20}$", description="Id of the move, which its mover gave it")]


@router.get("", dependencies=[needs(Permission.READ)])
def list_moves(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before")] = 0,
    before: Annotated[int | None, Query(ge=0, lt=2**63, description="The last first, before this number")] = None,
    tenant: str | None = None,
    cell: Annotated[str | None, Query(description="Those from it, or to it")] = None,
    phase: PhaseName | None = None,
    living: Annotated[bool | None, Query(description="Those that have not ended, or the others")] = None,
) -> MoveList:
    """Moves in the order in which they began, one page; the last first where `before` is given."""
    size = service.page_size(limit)
    wanted = MoveFilter(tenant=tenant, cell=cell, phase=None if phase is None else Phase(phase), living=living)
    with service.directory.snapshot() as snapshot:
        found = snapshot.moves(wanted, limit=size + 1, after=after, before=before)
    reports = reports_by_move(service)
    items = [view_of(record, reports) for record in found[:size]]
    return MoveList(items=items, next=found[size - 1].number if len(found) > size else None)


@router.post(
    "/plan",
    dependencies=[needs(Permission.READ)],
    responses={**MISSING, **problems(s409="The tenant cannot be moved there; the detail says why")},
)
def plan_move(question: MoveQuestion, service: CurrentService) -> MovePlan:
    """Look whether a tenant may be moved to a cell: its jurisdiction, where it is, and that the cell takes it.

    What is in the cells' databases is not looked at: its mover does that.
    """
    source = require_movable(service, question.tenant, question.target)
    with service.directory.snapshot() as snapshot:
        living = snapshot.moves(MoveFilter(tenant=question.tenant, living=True), limit=service.page_size(None))
    for each in living:
        if each.said.phase not in ENDING:
            raise ConflictError(f"tenant {question.tenant!r} is moving already, by {each.said.id}")
    return MovePlan(tenant=question.tenant, source=source, target=question.target)


@router.get("/{move_id}", dependencies=[needs(Permission.READ)], responses=MISSING)
async def get_move(move_id: MoveName, service: CurrentService, response: Response) -> MoveView:
    """One move."""

    def read() -> MoveView:
        with service.directory.snapshot() as snapshot:
            record = snapshot.move(move_id)
        return view_of(record, reports_by_move(service))

    move = await to_read(service, read)
    tag(response, move.version)
    return move


@router.put("/{move_id}", dependencies=[needs(Permission.WRITE_TENANTS)], responses={**MISSING, **CHANGING})
async def put_move(move_id: MoveName, spec: MoveSpec, change: CurrentChange) -> MoveView:
    """Take what a move has reached from its mover; the same again changes nothing.

    A new one is checked as `plan` does, and a tenant has one at a time. The change log tells of each phase.
    """
    if spec.source == spec.target:
        raise ValidationError("target", f"expected another cell than the source, found {spec.target!r} twice")
    said = spec.said_of(move_id)

    news: list[MoveView] = []

    def reach() -> MoveView:
        with change.service.directory.snapshot() as snapshot:
            is_known = snapshot.find_move(move_id) is not None
        if said.phase is Phase.PLANNED and not is_known:
            source = require_movable(change.service, said.tenant, said.target)
            if source != said.source:
                raise ConflictError(f"tenant {said.tenant!r} is served by {source!r}, not by {said.source!r}")

        def do(transaction: Transaction) -> MoveView:
            found = transaction.reach_move(said)
            transaction.finish()
            view = view_of(found, reports_by_move(change.service))
            if transaction.changes:
                news.append(view)
            return view

        # Routers need nothing of it: it is in the next table that they get anyway.
        return change.change(MoveView, do, resource=(KIND, move_id), is_quiet=True)

    view = await to_write(change.service, reach)
    for each in news:
        change.service.metrics.moves.reached(each)
    return view


@router.post(
    "/{move_id}/report",
    dependencies=[needs(Permission.REPORT_MOVE)],
    responses={**MISSING, **problems(s409="The move has ended, or there are too many")},
)
async def report_move(move_id: MoveName, report: MoveReport, service: CurrentService) -> MoveOrder:
    """Take how far a mover is; the answer says what people want of it."""

    def read() -> MoveRecord:
        with service.directory.snapshot() as snapshot:
            return snapshot.move(move_id)

    record = await to_read(service, read)
    if record.ended is not None:
        raise ConflictError(f"move {move_id!r} has ended: it is {record.said.phase.value}")
    service.moves.take(move_id, report)
    return MoveOrder(wish=record.wish.value, wish_epoch=record.wish_epoch, phase=record.said.phase.value)


@router.put("/{move_id}/wish", dependencies=[needs(Permission.WRITE_TENANTS)], responses={**MISSING, **CHANGING})
async def put_wish(move_id: MoveName, spec: WishSpec, change: CurrentChange) -> MoveView:
    """Want something of a move: its mover learns of it within a second or two, and does it as soon as it may."""

    def do(transaction: Transaction) -> MoveView:
        found = transaction.want_of_move(move_id, wish_of(spec.wish))
        transaction.finish()
        return view_of(found, reports_by_move(change.service))

    return await to_write(change.service, lambda: change.change(MoveView, do, resource=(KIND, move_id), is_quiet=True))
