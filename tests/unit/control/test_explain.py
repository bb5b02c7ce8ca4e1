"""Explaining a route, in fields and in a sentence."""

from cellplane.control.explain import explain
from cellplane.control.schemas import RouteView
from cellplane.directory import TenantRecord
from cellplane.model import Cell, CellStatus, Fleet, Pool, Tenant, TenantState, Topology, UnknownTenant
from cellplane.placement import slot_of
from cellplane.routing import RoutingTable, compile_table, encode
from unit.control.serving import Api


def table_of(
    *tenants: Tenant, status: CellStatus = CellStatus.ACTIVE, unknown: UnknownTenant = UnknownTenant.HASH
) -> RoutingTable:
    cells = (Cell("cell-1", "127.0.0.1", 8001, status=status),)
    topology = Topology(Fleet("shop", unknown_tenant=unknown), cells, (Pool("default", ("cell-1",)),), tenants)
    return RoutingTable(encode(compile_table(topology, 7)))


def explained(table: RoutingTable, tenant_id: str, tenant: Tenant | None = None) -> RouteView:
    topology = Topology(Fleet("shop"), (), ())
    return explain(table, tenant_id, None if tenant is None else TenantRecord(tenant, "default"), topology)


def test_a_slot_is_named_with_its_number() -> None:
    view = explained(table_of(), "acme")
    slot = slot_of(b"acme")
    assert (view.slot, view.pool, view.shard, view.cell, view.reason) == (slot, "default", ["cell-1"], "cell-1", "slot")
    assert view.known is False
    assert view.epoch == 7
    assert view.text == (
        f"acme hashes to slot {slot}, which belongs to cell-1 in pool default: its requests go to cell-1 (epoch 7)"
    )


def test_an_assignment_is_named() -> None:
    acme = Tenant("acme", ("cell-1",))
    view = explained(table_of(acme), "acme", acme)
    assert view.reason == "assignment"
    assert view.text == "acme is assigned to cell-1 in pool default: its requests go to cell-1 (epoch 7)"


def test_a_refusal_is_named_with_its_status() -> None:
    acme = Tenant("acme", state=TenantState.SUSPENDED)
    view = explained(table_of(acme), "acme", acme)
    assert (view.cell, view.pool, view.shard, view.reason) == (None, None, [], "tenant-suspended")
    assert view.text == "acme is refused with 403 tenant-suspended (epoch 7)"
    assert explained(table_of(unknown=UnknownTenant.REJECT), "acme").reason == "unknown-tenant"
    assert explained(table_of(status=CellStatus.MAINTENANCE), "acme").reason == "cell-maintenance"
    assert explained(table_of(status=CellStatus.RETIRED), "acme").reason == "cell-unavailable"


def test_writes_of_a_moving_tenant_wait_but_its_reads_are_explained() -> None:
    acme = Tenant("acme", ("cell-1",), TenantState.MOVING)
    view = explained(table_of(acme), "acme", acme)
    assert view.cell == "cell-1"


def test_the_api_explains_from_the_published_table(shop: Api) -> None:
    shop.published(shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"}))
    view = shop.get("/v1/route", tenant="acme").json()
    assert (view["known"], view["cell"], view["reason"], view["epoch"]) == (True, "cell-2", "assignment", 5)
    stranger = shop.get("/v1/route", tenant="nobody").json()
    assert (stranger["known"], stranger["reason"]) == (False, "slot")
