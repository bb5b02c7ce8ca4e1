"""What a publication would do to tenants."""

from dataclasses import replace

import pytest

from cellplane.model import Cell, CellStatus, Fleet, Pool, StrategyName, Tenant, Topology, UnknownTenant
from cellplane.publishing.guard_rails import GuardRails, Rail, Violation, violations
from cellplane.routing import PlacedTenants, RoutingTable, compile_overlay, compile_table, encode, encode_overlay
from unit.publishing.tables import topology

RAILS = GuardRails()


def table_of(fleet: Topology, epoch: int = 1) -> RoutingTable:
    return RoutingTable(encode(compile_table(fleet, epoch)))


def overlay_of(
    base: RoutingTable, fleet: Topology, tenants: tuple[Tenant, ...], gone: tuple[str, ...] = ()
) -> RoutingTable:
    placed = PlacedTenants.of(replace(fleet, tenants=tenants))
    overlay = encode_overlay(compile_overlay(fleet, (base.epoch, base.sha256), base.epoch + 1, placed, gone))
    return RoutingTable(base.base, overlay)


def pinned(count: int, cell: str, first: int = 0) -> tuple[Tenant, ...]:
    return tuple(Tenant(f"tenant-{number}", (cell,)) for number in range(first, first + count))


def found(before: RoutingTable, after: RoutingTable, rails: GuardRails = RAILS) -> dict[Rail, Violation]:
    made = violations(before, after, rails)
    assert len({each.rail for each in made}) == len(made), "one pool, so one of each"
    return {each.rail: each for each in made}


def test_nothing_changed_breaks_nothing() -> None:
    fleet = topology(3, pinned(100, "cell-1"))
    assert found(table_of(fleet), table_of(fleet, 2)) == {}


@pytest.mark.parametrize(("moved", "broken"), [(5, False), (10, False), (11, True), (100, True)])
def test_moved_tenants_are_counted(moved: int, broken: bool) -> None:
    before = topology(3, pinned(100, "cell-1"))
    after = topology(3, (*pinned(moved, "cell-2"), *pinned(100 - moved, "cell-1", moved)))
    made = found(table_of(before), table_of(after, 2))
    assert (Rail.TENANTS_MOVED in made) is broken
    if broken:
        assert (made[Rail.TENANTS_MOVED].found, made[Rail.TENANTS_MOVED].of) == (moved, 100)


def test_an_overlay_is_judged_by_its_own_tenants_against_all_that_are_known() -> None:
    fleet = topology(3, pinned(1000, "cell-1"))
    base = table_of(fleet)
    few, many = (overlay_of(base, fleet, pinned(count, "cell-3")) for count in (50, 51))
    assert found(base, few) == {}
    assert found(base, many)[Rail.TENANTS_MOVED].of == 1000
    assert found(few, many) == {}, "one more than before"
    assert found(many, base)[Rail.TENANTS_MOVED].found == 51, "and back"


def test_tenants_that_lose_their_cell_are_counted() -> None:
    fleet = replace(topology(2), fleet=Fleet("shop", unknown_tenant=UnknownTenant.REJECT))
    full, half = (replace(fleet, tenants=pinned(count, "cell-1")) for count in (100, 50))
    made = found(table_of(full), table_of(half, 2))
    assert made.keys() == {Rail.TENANTS_LOST}
    assert made[Rail.TENANTS_LOST].found == 50
    assert found(table_of(half), table_of(full, 2)) == {}, "new ones lose nothing"


def test_a_cell_more_moves_slots_and_so_those_whom_no_table_lists() -> None:
    made = found(table_of(topology(3)), table_of(topology(4), 2))
    assert made.keys() == {Rail.SLOTS_MOVED}
    assert 0.2 < made[Rail.SLOTS_MOVED].found / made[Rail.SLOTS_MOVED].of < 0.3
    assert found(table_of(topology(3)), table_of(topology(4), 2), GuardRails(max_moved_share=0.3)) == {}


def test_slots_by_which_nobody_is_placed_do_not_count() -> None:
    known = pinned(20, "cell-1")
    closed = [
        replace(topology(cells, known), fleet=Fleet("shop", unknown_tenant=UnknownTenant.REJECT)) for cells in (3, 4)
    ]
    assert found(table_of(closed[0]), table_of(closed[1], 2)) == {}


def test_a_pool_that_becomes_empty_and_a_shard_without_a_cell_that_serves() -> None:
    down = CellStatus.MAINTENANCE
    sound = topology(2, pinned(3, "cell-1"))
    one = topology(2, pinned(3, "cell-1"), statuses={"cell-1": down})
    both = topology(2, pinned(3, "cell-1"), statuses={"cell-1": down, "cell-2": down})
    made = found(table_of(sound), table_of(one, 2))
    assert made.keys() == {Rail.SLOTS_UNSERVED, Rail.TENANTS_UNSERVED}
    assert made[Rail.TENANTS_UNSERVED].found == 3
    assert found(table_of(sound), table_of(both, 2)).keys() == {Rail.POOL_EMPTY, Rail.TENANTS_UNSERVED}
    assert found(table_of(one), table_of(one, 2)) == {}, "what is so already is no news"
    assert found(table_of(both), table_of(sound, 2)) == {}


def test_a_shard_of_two_is_served_by_the_other() -> None:
    def fleet(status: CellStatus) -> Topology:
        cells = (Cell("cell-1", "127.0.0.1", 8001, status=status), Cell("cell-2", "127.0.0.1", 8002))
        pool = Pool("default", ("cell-1", "cell-2"), StrategyName.SHUFFLE, shard_size=2)
        return Topology(Fleet("shop"), cells, (pool,))

    assert found(table_of(fleet(CellStatus.ACTIVE)), table_of(fleet(CellStatus.MAINTENANCE), 2)) == {}


def test_cells_are_known_by_their_name_not_by_their_place() -> None:
    before = topology(3, pinned(100, "cell-3"))
    cells = before.cells[1:]
    after = Topology(before.fleet, cells, (Pool("default", ("cell-2", "cell-3")),), before.tenants)
    assert Rail.TENANTS_MOVED not in found(table_of(before), table_of(after, 2))
