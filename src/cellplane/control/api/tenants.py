"""Tenants, and where they are."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from cellplane.control import schemas
from cellplane.control.access.needs import needs
from cellplane.control.access.roles import Permission
from cellplane.control.api.asking import CHANGING, EVERYWHERE, MISSING, After, CurrentChange, CurrentService, Limit, tag
from cellplane.control.api.threads import to_read, to_write
from cellplane.control.publication import Publication
from cellplane.control.quarantine_schemas import QuarantineView
from cellplane.control.tenant_schemas import PlacedTenant, TenantChanged, TenantList, TenantSpec, TenantView
from cellplane.directory import TenantRecord
from cellplane.directory.snapshot import TenantFilter
from cellplane.directory.transaction import Transaction
from cellplane.errors import ValidationError
from cellplane.model import Quarantine, TenantState
from cellplane.model.key import check_key
from cellplane.placement import slot_of
from cellplane.routing import Refusal, RoutingTable, decide

router = APIRouter(prefix="/v1/tenants", tags=["tenants"], responses=EVERYWHERE)


@router.get("", dependencies=[needs(Permission.READ)])
def list_tenants(
    service: CurrentService,
    *,
    limit: Limit = None,
    after: After = "",
    cell: Annotated[str | None, Query(description="Those assigned to it, alone or among others")] = None,
    pool: Annotated[str | None, Query(description="Those placed in it")] = None,
    jurisdiction: str | None = None,
    tier: str | None = None,
    state: schemas.State | None = None,
    prefix: Annotated[str, Query(description="What their ids begin with")] = "",
) -> TenantList:
    """Tenants by id, one page."""
    wanted = TenantFilter(
        cell=cell,
        pool=pool,
        jurisdiction=jurisdiction,
        tier=tier,
        state=None if state is None else TenantState(state),
        prefix=prefix,
    )
    with service.directory.snapshot() as snapshot:
        page = snapshot.tenants(limit=service.page_size(limit), after=after, wanted=wanted)
        away = snapshot.quarantines()
    current = service.publisher.current
    items = [_placed(current, record, away.get(record.tenant.id)) for record in page.items]
    return TenantList(items=items, next=page.next)


@router.get("/{tenant_id:rest}", dependencies=[needs(Permission.READ)], responses=MISSING)
async def get_tenant(tenant_id: str, service: CurrentService, response: Response) -> PlacedTenant:
    """One tenant."""
    check_key("tenant_id", tenant_id)

    def read() -> PlacedTenant:
        with service.directory.snapshot() as snapshot:
            record, away = snapshot.tenant(tenant_id), snapshot.quarantine(tenant_id)
        return _placed(service.publisher.current, record, away)

    tenant = await to_read(service, read)
    tag(response, tenant.version)
    return tenant


@router.put("/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_TENANTS)], responses=CHANGING)
async def put_tenant(tenant_id: str, spec: TenantSpec, change: CurrentChange) -> TenantChanged:
    """Create or change a tenant; what is absent stays as it is.

    `{"cell": "cell-3"}` pins it, `{"cells": ["cell-3", "cell-1"]}` assigns it a shard; `{}` leaves its place to its
    pool: to its slot, or, where the pool assigns tenants, to be placed anew.
    """

    def do(transaction: Transaction) -> TenantChanged:
        placement = transaction.change_tenant(tenant_id, spec.fields(), anew=spec.places_anew)
        transaction.finish()
        return TenantChanged(
            **TenantView.fields_of(placement.record),
            epoch=transaction.epoch,
            rule=placement.rule,
            reason=placement.reason,
        )

    try:
        return await to_write(change.service, lambda: change.change(TenantChanged, do, resource=("tenant", tenant_id)))
    except ValidationError as error:
        raise error.at(spec.path(error.field)) from error


@router.delete("/{tenant_id:rest}", dependencies=[needs(Permission.WRITE_TENANTS)], responses={**MISSING, **CHANGING})
async def delete_tenant(tenant_id: str, change: CurrentChange) -> schemas.Changed:
    """Remove a tenant from the directory."""
    check_key("tenant_id", tenant_id)
    return await change.put("tenant", tenant_id, lambda transaction: transaction.delete_tenant(tenant_id))


def _placed(current: Publication | None, record: TenantRecord, quarantine: Quarantine | None) -> PlacedTenant:
    """A tenant, with the cell that the published table sends it to."""
    placed = slot_cell = None
    if current is not None:
        key = record.tenant.id.encode()
        slot_cell = _slot_cell(current.table, key)
        decision = decide(current.table, key, writes=False, has_healthy_host=lambda _cell: True)
        placed = None if isinstance(decision, Refusal) else decision.cell
    view = QuarantineView.of(quarantine) if quarantine is not None and quarantine.lasts else None
    epoch = None if current is None else current.epoch
    return PlacedTenant(
        **TenantView.fields_of(record), placed=placed, slot_cell=slot_cell, placed_epoch=epoch, quarantine=view
    )


def _slot_cell(table: RoutingTable, key: bytes) -> str | None:
    row = table.find(key)
    # Of whom the table says nothing, the fleet's default is said.
    shard = table.shard_of_slot(table.default_pool if row is None else row.pool, slot_of(key))
    return table.cells[shard[0]].id if shard else None
