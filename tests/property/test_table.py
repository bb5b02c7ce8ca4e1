"""Invariants of the routing table, over topologies, changes and damage that nobody chose."""

import hashlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import TableError
from cellplane.model import Cell, CellStatus, Fleet, Pool, StrategyName, Tenant, TenantState, Topology, UnknownTenant
from cellplane.routing import (
    PlacedTenants,
    Refusal,
    Route,
    RoutingTable,
    compile_overlay,
    compile_table,
    decide,
    decide_many,
    encode,
    encode_overlay,
)
from cellplane.routing.decide import Decision
from support.depth import examples

keys = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:@|+=~-]{0,30}\Z")


@st.composite
def fleets(draw: st.DrawFn) -> Topology:
    """A fleet without tenants."""
    count = draw(st.integers(2, 8))
    statuses = st.sampled_from(list(CellStatus))
    cells = tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number, status=draw(statuses)) for number in range(count))
    ids = tuple(cell.id for cell in cells)
    unknown = draw(st.sampled_from(list(UnknownTenant)))
    usual = [name for name in StrategyName if name is not StrategyName.EXPLICIT or unknown is not UnknownTenant.HASH]
    strategy = draw(st.sampled_from(usual))
    pools = (
        Pool("default", ids, strategy, virtual_nodes=draw(st.integers(1, 3)), shard_size=draw(st.integers(1, count))),
        Pool("spare", ids[:1], StrategyName.MODULO),
    )
    default_cell = ids[-1] if unknown is UnknownTenant.DEFAULT_CELL else None
    return Topology(Fleet("shop", unknown_tenant=unknown, default_cell=default_cell), cells, pools)


@st.composite
def tenants_of(draw: st.DrawFn, fleet: Topology, ids: st.SearchStrategy[str] = keys) -> tuple[Tenant, ...]:
    cells = [cell.id for cell in fleet.cells]
    shards = st.lists(st.sampled_from(cells), max_size=min(8, len(cells)), unique=True).map(tuple)
    pools = st.sampled_from([None, "default", "spare"])
    found = draw(
        st.lists(
            st.builds(Tenant, ids, shards, st.sampled_from(list(TenantState)), pools),
            max_size=30,
            unique_by=lambda tenant: tenant.id,
        )
    )
    return tuple(found)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    fleet = draw(fleets())
    return replace(fleet, tenants=draw(tenants_of(fleet)))


def all_decisions(table: RoutingTable, asked: list[str]) -> list[Decision]:
    """What a table says of keys, read and written; without its epoch, which two tables need not have in common."""
    return [
        decide(table, key.encode(), writes=writes, has_healthy_host=lambda _cell: True)._replace(epoch=1)
        for key in asked
        for writes in (False, True)
    ]


@settings(max_examples=examples(20), deadline=None)
@given(topologies(), st.integers(1, 2**64 - 1))
def test_a_table_says_what_was_compiled(topology: Topology, epoch: int) -> None:
    table = RoutingTable(encode(compile_table(topology, epoch)))
    assert table.epoch == epoch
    assert [cell.id for cell in table.cells] == sorted(cell.id for cell in topology.cells)
    listed = {row.key.decode(): row for row in table.tenants()}
    assert len(listed) == len(table)
    for tenant in topology.tenants:
        row = table.find(tenant.id.encode())
        needs_entry = (
            bool(tenant.shard)
            or tenant.state is not TenantState.ACTIVE
            or tenant.pool == "spare"
            or topology.fleet.unknown_tenant is not UnknownTenant.HASH
        )
        assert (row is not None) == needs_entry == (tenant.id in listed)
        if row is not None:
            assert row == listed[tenant.id]
            assert row.state is tenant.state
            assert tuple(table.cells[cell].id for cell in row.shard) == tenant.shard
            assert table.pools[row.pool] == (tenant.pool or "default")


@settings(max_examples=examples(20), deadline=None)
@given(topologies(), keys, st.booleans(), st.sets(st.integers(0, 7)))
def test_a_request_goes_to_a_cell_that_serves_and_is_up_or_nowhere(
    topology: Topology, key: str, writes: bool, down: set[int]
) -> None:
    table = RoutingTable(encode(compile_table(topology, 1)))
    down_ids = {f"cell-{number}" for number in down}
    decision = decide(table, key.encode(), writes=writes, has_healthy_host=lambda cell: cell not in down_ids)
    tenant = next((tenant for tenant in topology.tenants if tenant.id == key), None)
    if isinstance(decision, Route):
        cell = next(cell for cell in topology.cells if cell.id == decision.cell)
        assert cell.status.serves
        assert cell.id not in down_ids
        assert tenant is None or not tenant.shard or cell.id in tenant.shard
        assert tenant is not None or topology.fleet.unknown_tenant is not UnknownTenant.REJECT
    else:
        assert isinstance(decision, Refusal)


@settings(max_examples=examples(20), deadline=None)
@given(st.data())
def test_base_and_overlay_are_what_is_compiled_at_once(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    before = data.draw(tenants_of(fleet))
    known = [tenant.id for tenant in before]
    some = st.one_of(st.sampled_from(known), keys) if known else keys
    changed = data.draw(tenants_of(fleet, some))
    rest = [tenant_id for tenant_id in known if tenant_id not in {tenant.id for tenant in changed}]
    gone = data.draw(st.lists(st.sampled_from(rest), unique=True)) if rest else []
    base = RoutingTable(encode(compile_table(replace(fleet, tenants=before), 7)))
    placed = PlacedTenants.of(replace(fleet, tenants=changed))
    overlay = encode_overlay(compile_overlay(fleet, (base.epoch, base.sha256), 9, placed, gone))
    table = RoutingTable(base.base, overlay)
    after = {tenant.id: tenant for tenant in (*before, *changed) if tenant.id not in gone}
    whole = RoutingTable(encode(compile_table(replace(fleet, tenants=tuple(after.values())), 9)))
    asked = [*after, *gone, "nobody"]
    assert table.epoch == 9
    assert all_decisions(table, asked) == all_decisions(whole, asked)
    assert sorted(table.tenants(), key=lambda row: row.key) == sorted(whole.tenants(), key=lambda row: row.key)
    together, at_once = (decide_many(each, [key.encode() for key in asked]) for each in (table, whole))
    assert (together.cell == at_once.cell).all()
    assert (together.refusal == at_once.refusal).all()


@settings(max_examples=examples(10), deadline=None)
@given(topologies())
def test_equal_fleets_give_equal_bytes_in_any_order(topology: Topology) -> None:
    shuffled = Topology(topology.fleet, topology.cells[::-1], topology.pools[::-1], topology.tenants[::-1])
    assert encode(compile_table(topology, 3)) == encode(compile_table(shuffled, 3))


FLEET = Topology(
    Fleet("shop"),
    (Cell("cell-1", "127.0.0.1", 8001), Cell("cell-2", "127.0.0.1", 8002)),
    (Pool("default", ("cell-1", "cell-2")),),
    tuple(Tenant(f"tenant-{number}", ("cell-1",)) for number in range(20)),
)
TABLE = encode(compile_table(FLEET, 7))
BASE = RoutingTable(TABLE).base
OVERLAY = encode_overlay(
    compile_overlay(FLEET, (BASE.epoch, BASE.sha256), 9, PlacedTenants.of(FLEET), ["gone-1", "gone-2"])
)
# All but the slots, which fill most of the file.
INTERESTING = [*range(1100), *range(len(TABLE) - 1500, len(TABLE))]


def opened(data: bytes, overlay: bool) -> RoutingTable:
    return RoutingTable(BASE, data) if overlay else RoutingTable(data)


@st.composite
def damaged_files(draw: st.DrawFn) -> tuple[bool, bytearray]:
    """A table or an overlay with one byte flipped."""
    overlay = draw(st.booleans())
    data = bytearray(OVERLAY if overlay else TABLE)
    position = draw(st.integers(0, len(data) - 1) if overlay else st.sampled_from(INTERESTING))
    data[position] ^= draw(st.integers(1, 255))
    return overlay, data


@settings(max_examples=examples(133), deadline=None)
@given(damaged_files())
def test_any_flipped_byte_is_noticed(damaged: tuple[bool, bytearray]) -> None:
    overlay, data = damaged
    try:
        opened(bytes(data), overlay)
    except TableError:
        return
    raise AssertionError("a byte was flipped and nobody noticed")


@settings(max_examples=examples(133), deadline=None)
@given(damaged_files(), keys)
def test_a_forged_file_is_refused_or_answers_within_its_cells(damaged: tuple[bool, bytearray], key: str) -> None:
    overlay, data = damaged
    data[96:128] = hashlib.sha256(data[:96] + data[128:]).digest()
    try:
        table = opened(bytes(data), overlay)
    except TableError:
        return
    decision = decide(table, key.encode(), writes=False, has_healthy_host=lambda _cell: True)
    assert isinstance(decision, Refusal) or decision.cell in {cell.id for cell in table.cells}
    decide_many(table, [key.encode()])


@settings(max_examples=examples(67), deadline=None)
@given(st.booleans(), st.data())
def test_any_truncation_is_noticed(overlay: bool, data: st.DataObject) -> None:
    whole = OVERLAY if overlay else TABLE
    length = data.draw(st.integers(0, len(whole) - 1))
    try:
        opened(whole[:length], overlay)
    except TableError:
        return
    raise AssertionError(f"{length} instead of {len(whole)} bytes were taken")
