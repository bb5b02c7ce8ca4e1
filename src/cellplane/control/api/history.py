"""What was changed, and what was published."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse

from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, CurrentChange, CurrentService, Limit, problems
from cellplane.control.api.threads import to_write
from cellplane.control.apply_schemas import Applied
from cellplane.control.applying import applied
from cellplane.control.differences import State, differences, reversed_log
from cellplane.control.history_schemas import (
    AllowSpec,
    ChangeList,
    ChangeView,
    Difference,
    EpochList,
    EpochView,
    HeldView,
    RailView,
    RollbackSpec,
    TenantAtEpoch,
)
from cellplane.control.publication import base_of
from cellplane.control.schemas import Changed
from cellplane.directory import Change
from cellplane.directory.history import ChangeFilter
from cellplane.directory.serving import serving_cells
from cellplane.directory.transaction import Transaction
from cellplane.errors import NotFoundError
from cellplane.model.key import check_key

router = APIRouter(tags=["history"], responses=EVERYWHERE)

Number = Annotated[int | None, Query(ge=0, lt=2**63)]


@router.get("/v1/events", dependencies=[needs(Permission.READ)])
def list_changes(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="Oldest first, behind this epoch")] = None,
    before: Annotated[int | None, Query(ge=0, lt=2**63, description="Newest first, before this epoch")] = None,
    kind: str | None = None,
    id: Annotated[str | None, Query(description="Of the resource; a tenant's finds its moves, too")] = None,  # noqa: A002
    action: Annotated[str | None, Query(description="What became of it; of a move the phase that it reached")] = None,
    actor: str | None = None,
) -> ChangeList:
    """The change log, one page; the newest first, unless `after` is given."""
    size = service.page_size(limit)
    wanted = ChangeFilter(kind=kind, id=id, actor=actor, action=action)
    with service.directory.snapshot() as snapshot:
        found = snapshot.history(wanted, limit=size + 1, after=after, before=before)
    items = [ChangeView.of(change) for change in found[:size]]
    return ChangeList(items=items, next=items[-1].epoch if len(found) > size else None)


@router.post("/v1/epochs/allow", dependencies=[needs(Permission.WRITE_FLEET)], responses=CHANGING)
async def allow_publication(spec: AllowSpec, change: CurrentChange) -> Changed:
    """Let what the directory says be published, whatever it does to tenants; refused where it has changed since."""

    def do(transaction: Transaction) -> Changed:
        transaction.require_epoch(spec.epoch)
        transaction.allow(anyway=True)
        transaction.finish()
        return Changed(epoch=transaction.epoch)

    return await to_write(change.service, lambda: change.change(Changed, do))


@router.get("/v1/diff", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_difference(
    service: CurrentService,
    before: Annotated[int, Query(ge=1, lt=2**63, description="The one epoch")],
    after: Annotated[int, Query(ge=1, lt=2**63, description="The other; it may be the older")],
) -> Difference:
    """What differs between the fleet at two epochs, and whom that moves."""
    first, last = sorted((before, after))
    with service.directory.past(first) as past:
        one = State.of(past)
    with service.directory.past(last) as past:
        other = State.of(past)
        logged = past.tenants_logged(behind=first)
    if before > after:
        one, other, logged = other, one, tuple(reversed_log(logged))
    if other.topology is None:
        raise NotFoundError(f"at epoch {after} there was no fleet yet: compare with a later one")
    found = differences(one, other, logged)
    return Difference(before=before, after=after, **found)


@router.post("/v1/rollback", dependencies=[needs(Permission.WRITE_FLEET)], responses={**MISSING, **CHANGING})
def roll_back(
    spec: RollbackSpec,
    change: CurrentChange,
    dry_run: Annotated[bool, Query(alias="dryRun", description="Only say what would change")] = False,  # noqa: FBT002
) -> Applied:
    """Make the fleet, its cells, pools and tenants what they were at an epoch, as a new one.

    Quarantines stay as they are.
    """

    def do(transaction: Transaction) -> Applied:
        transaction.require_epoch(spec.base_epoch)
        now = State.of(transaction.snapshot())
        transaction.restore(transaction.past(spec.epoch))
        transaction.finish()
        return applied(now, transaction, dry_run=dry_run)

    return change.change(Applied, do, is_dry=dry_run, is_long=True)


@router.get(
    "/v1/epochs/{epoch}/table",
    dependencies=[needs(Permission.READ)],
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The table (docs/table-format.md)"},
        **MISSING,
    },
)
def get_table_of_epoch(epoch: Annotated[int, Path(ge=1, lt=2**63)], service: CurrentService) -> Response:
    """The table of any epoch, compiled anew, as one base."""
    with service.directory.past(epoch) as past:
        base = base_of(past)
    if base is None:
        raise NotFoundError(f"at epoch {epoch} there was nothing to route to")
    headers = {"X-Cellplane-Epoch": str(epoch), "ETag": f'"{base.table.tag}"'}
    return Response(base.data, media_type="application/octet-stream", headers=headers)


@router.get("/v1/epochs/{epoch}/tenants/{tenant_id:rest}", dependencies=[needs(Permission.READ)], responses=MISSING)
def get_tenant_of_epoch(
    epoch: Annotated[int, Path(ge=1, lt=2**63)], tenant_id: str, service: CurrentService
) -> TenantAtEpoch:
    """Who served a tenant at an epoch: where work finds the cell that it began in, also after a move."""
    check_key("tenant_id", tenant_id)
    with service.directory.past(epoch) as past:
        record = past.named_tenants([tenant_id]).get(tenant_id)
        cells = serving_cells(past.outline, tenant_id, record)
    state = None if record is None else record.tenant.state.value
    return TenantAtEpoch(tenant=tenant_id, epoch=epoch, cells=list(cells), state=state)


@router.get(
    "/v1/events/watch",
    dependencies=[needs(Permission.READ)],
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
            "description": "An event for each entry of the change log: its epoch as `id`, the entry as `data`",
        },
        **problems(s503="As many watch as may"),
    },
)
async def watch_changes(
    service: CurrentService,
    *,
    last_event_id: Annotated[
        int | None, Header(ge=0, lt=2**63, description="The last event that was seen, as browsers say it")
    ] = None,
    after: Annotated[
        int | None, Query(ge=0, lt=2**63, description="Changes behind this epoch; by default those from now on")
    ] = None,
    kind: str | None = None,
    id: Annotated[str | None, Query(description="Of the resource")] = None,  # noqa: A002
    action: Annotated[str | None, Query(description="What became of it")] = None,
    actor: str | None = None,
) -> StreamingResponse:
    """Every change as it happens, in order, none twice (server-sent events); a comment where there is none for 15 s."""
    service.feed.require_room()
    begin = last_event_id if last_event_id is not None else after
    if begin is None:
        begin = await asyncio.to_thread(service.directory.epoch)
    found = service.feed.watch(begin, ChangeFilter(kind=kind, id=id, actor=actor, action=action))
    return StreamingResponse(_events(found), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(changes: AsyncIterator[Change | None]) -> AsyncIterator[str]:
    # So that a client knows at once that it is heard.
    yield ": watching\n\n"
    async for change in changes:
        if change is None:
            yield ": nothing new\n\n"
        else:
            yield f"id: {change.epoch}\nevent: change\ndata: {ChangeView.of(change).model_dump_json()}\n\n"


@router.get("/v1/epochs", dependencies=[needs(Permission.READ)])
def list_epochs(service: CurrentService, limit: Limit = None, before: Number = None) -> EpochList:
    """The tables that were published, the last first."""
    size = service.page_size(limit)
    with service.directory.snapshot() as snapshot:
        found = snapshot.epochs(limit=size + 1, before=before)
    items = [EpochView(**asdict(each)) for each in found[:size]]
    held = service.publisher.held
    view = (
        None
        if held is None
        else HeldView(epoch=held.epoch, violations=[RailView(**asdict(each)) for each in held.violations])
    )
    return EpochList(held=view, items=items, next=items[-1].epoch if len(found) > size else None)
