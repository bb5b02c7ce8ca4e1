"""Invariants of the routing table, over topologies and damage that nobody chose."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import TableError
from cellplane.model import Cell, CellStatus, Fleet, Pool, StrategyName, Tenant, TenantState, Topology, UnknownTenant
from cellplane.routing import Refusal, Route, RoutingTable, compile_table, decide, encode

keys = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:@|+=~-]{0,30}\Z")


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    count = draw(st.integers(1, 8))
    statuses = st.sampled_from(list(CellStatus))
    cells = tuple(Cell(f"cell-{number}", "127.0.0.1", 8000 + number, status=draw(statuses)) for number in range(count))
    ids = [cell.id for cell in cells]
    strategy = draw(st.sampled_from(list(StrategyName)))
    pools = (
        Pool("default", tuple(ids), strategy, virtual_nodes=draw(st.integers(1, 3))),
        Pool("spare", (ids[0],), StrategyName.MODULO),
    )
    tenants = draw(
        st.lists(
            st.builds(Tenant, keys, st.one_of(st.none(), st.sampled_from(ids)), st.sampled_from(list(TenantState))),
            max_size=40,
            unique_by=lambda tenant: tenant.id,
        )
    )
    fleet = Fleet("shop", unknown_tenant=draw(st.sampled_from(list(UnknownTenant))))
    return Topology(fleet, cells, pools, tuple(tenants))


@settings(max_examples=60, deadline=None)
@given(topologies(), st.integers(1, 2**64 - 1))
def test_a_table_says_what_was_compiled(topology: Topology, epoch: int) -> None:
    contents = compile_table(topology, epoch)
    data = encode(contents)
    table = RoutingTable(data)
    assert table.epoch == epoch
    assert [cell.id for cell in table.cells] == sorted(cell.id for cell in topology.cells)
    listed = {row.key.decode(): row for row in table.tenants()}
    for tenant in topology.tenants:
        row = table.find(tenant.id.encode())
        needs_entry = (
            tenant.cell is not None
            or tenant.state is not TenantState.ACTIVE
            or topology.fleet.unknown_tenant is UnknownTenant.REJECT
        )
        assert (row is not None) == needs_entry == (tenant.id in listed)
        if row is not None:
            assert row.state is tenant.state
            pinned = None if row.shard is None else table.cells[table.shards[row.shard][0]].id
            assert pinned == tenant.cell


@settings(max_examples=60, deadline=None)
@given(topologies(), keys, st.booleans(), st.sets(st.integers(0, 7)))
def test_a_request_goes_to_a_cell_that_serves_and_is_up_or_nowhere(
    topology: Topology, key: str, writes: bool, down: set[int]
) -> None:
    table = RoutingTable(encode(compile_table(topology, 1)))
    down_ids = {f"cell-{number}" for number in down}
    decision = decide(table, [key.encode()], writes=writes, has_healthy_host=lambda cell: cell not in down_ids)
    tenant = next((tenant for tenant in topology.tenants if tenant.id == key), None)
    if isinstance(decision, Route):
        cell = next(cell for cell in topology.cells if cell.id == decision.cell)
        assert cell.status.serves
        assert cell.id not in down_ids
        assert tenant is None or tenant.cell in {None, cell.id}
        assert tenant is not None or topology.fleet.unknown_tenant is UnknownTenant.HASH
    else:
        assert isinstance(decision, Refusal)


@settings(max_examples=30, deadline=None)
@given(topologies())
def test_equal_fleets_give_equal_bytes_in_any_order(topology: Topology) -> None:
    shuffled = Topology(topology.fleet, topology.cells[::-1], topology.pools[::-1], topology.tenants[::-1])
    assert encode(compile_table(topology, 3)) == encode(compile_table(shuffled, 3))


TABLE = encode(
    compile_table(
        Topology(
            Fleet("shop"),
            (Cell("cell-1", "127.0.0.1", 8001), Cell("cell-2", "127.0.0.1", 8002)),
            (Pool("default", ("cell-1", "cell-2")),),
            tuple(Tenant(f"tenant-{number}", "cell-1") for number in range(20)),
        ),
        7,
    )
)
# All but the slots, which fill most of the file.
INTERESTING = [*range(1100), *range(len(TABLE) - 1500, len(TABLE))]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(INTERESTING), st.integers(1, 255))
def test_any_flipped_byte_is_noticed(position: int, mask: int) -> None:
    damaged = bytearray(TABLE)
    damaged[position] ^= mask
    try:
        RoutingTable(bytes(damaged))
    except TableError:
        return
    raise AssertionError(f"byte {position} was flipped and nobody noticed")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(INTERESTING), st.integers(1, 255), keys)
def test_a_forged_table_is_refused_or_answers_within_its_cells(position: int, mask: int, key: str) -> None:
    damaged = bytearray(TABLE)
    damaged[position] ^= mask
    damaged[96:128] = hashlib.sha256(damaged[:96] + damaged[128:]).digest()
    try:
        table = RoutingTable(bytes(damaged))
    except TableError:
        return
    decision = decide(table, [key.encode()], writes=False, has_healthy_host=lambda _cell: True)
    assert isinstance(decision, Refusal) or decision.cell in {cell.id for cell in table.cells}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TABLE) - 1))
def test_any_truncation_is_noticed(length: int) -> None:
    try:
        RoutingTable(TABLE[:length])
    except TableError:
        return
    raise AssertionError(f"a table of {length} instead of {len(TABLE)} bytes was taken")
