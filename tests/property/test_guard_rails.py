"""What the guard rails count is what one decision after the other would say."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.model import Cell, CellStatus, Fleet, Pool, Tenant, Topology, UnknownTenant
from cellplane.placement import SLOT_COUNT, slot_of
from cellplane.publishing.guard_rails import GuardRails, Rail, violations
from cellplane.routing import PlacedTenants, RoutingTable, compile_overlay, compile_table, encode, encode_overlay

STRICT = GuardRails(max_moved_share=0.0, free_tenants=0)
CELLS = tuple(f"cell-{number}" for number in range(4))
KEYS = [f"tenant-{number}" for number in range(12)]
statuses = st.sampled_from([CellStatus.ACTIVE, CellStatus.DRAINING, CellStatus.MAINTENANCE])
shards = st.lists(st.sampled_from(CELLS), min_size=1, max_size=3, unique=True).map(tuple)
unknowns = st.sampled_from([UnknownTenant.HASH, UnknownTenant.REJECT])


@st.composite
def fleets(draw: st.DrawFn) -> Topology:
    cells = tuple(Cell(cell, "127.0.0.1", 8000, status=draw(statuses)) for cell in CELLS)
    pool = Pool("default", tuple(draw(st.lists(st.sampled_from(CELLS), min_size=1, unique=True))))
    pins = draw(st.dictionaries(st.sampled_from(KEYS), shards))
    tenants = tuple(Tenant(key, shard) for key, shard in pins.items())
    return Topology(Fleet("shop", unknown_tenant=draw(unknowns)), cells, (pool,), tenants)


def shard_of(table: RoutingTable, key: str) -> tuple[str, ...]:
    """The cells of a key's shard, looked up by itself."""
    row = table.find(key.encode())
    if row is None and table.unknown_tenant is UnknownTenant.REJECT:
        return ()
    if row is not None and row.shard:
        return tuple(table.cells[cell].id for cell in row.shard)
    return tuple(table.cells[cell].id for cell in table.shard_of_slot(0, slot_of(key.encode())))


def serves(table: RoutingTable, shard: tuple[str, ...]) -> bool:
    return any(cell.id in shard and cell.status.serves for cell in table.cells)


def expected(before: RoutingTable, after: RoutingTable, keys: list[str]) -> Counter[Rail]:
    count: Counter[Rail] = Counter()
    for key in keys:
        was, will = shard_of(before, key), shard_of(after, key)
        count[Rail.TENANTS_MOVED] += bool(was and will and was[0] != will[0])
        count[Rail.TENANTS_LOST] += bool(was and not will)
        count[Rail.TENANTS_UNSERVED] += bool(will and serves(before, was) and not serves(after, will))
    return +count


def tenant_rails(before: RoutingTable, after: RoutingTable) -> Counter[Rail]:
    made = violations(before, after, STRICT)
    return Counter({each.rail: each.found for each in made if each.rail.startswith("tenants")})


@settings(deadline=None)
@given(fleets(), fleets())
def test_between_two_bases(one: Topology, other: Topology) -> None:
    before, after = (RoutingTable(encode(compile_table(fleet, epoch))) for epoch, fleet in ((1, one), (2, other)))
    keys = sorted({tenant.id for fleet in (one, other) for tenant in fleet.tenants})
    assert tenant_rails(before, after) == expected(before, after, keys)
    slots = [each for each in violations(before, after, STRICT) if each.rail.startswith(("slots", "pool"))]
    for each in slots:
        assert 0 < each.found <= each.of == SLOT_COUNT


@settings(deadline=None)
@given(fleets(), st.dictionaries(st.sampled_from(KEYS), st.none() | shards, min_size=1))
def test_between_a_base_and_an_overlay(fleet: Topology, changes: dict[str, tuple[str, ...] | None]) -> None:
    base = RoutingTable(encode(compile_table(fleet, 1)))
    there = tuple(Tenant(key, shard) for key, shard in changes.items() if shard is not None)
    gone = [key for key, shard in changes.items() if shard is None]
    placed = PlacedTenants.of(replace(fleet, tenants=there))
    overlay = encode_overlay(compile_overlay(fleet, (1, base.sha256), 2, placed, gone))
    after = RoutingTable(base.base, overlay)
    assert tenant_rails(base, after) == expected(base, after, list(changes))
    assert tenant_rails(after, base) == expected(after, base, list(changes))
