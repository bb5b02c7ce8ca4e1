"""Plans of moves: away from full cells, and away from one that fails."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import (
    Capacity,
    Cell,
    CellStatus,
    Dimension,
    Fleet,
    Load,
    Pool,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
)
from cellplane.planning.batches import batch_numbers
from cellplane.planning.loaded import GIB, LoadedFleet, load_fleet
from cellplane.planning.move_plan import MovePlan, MoveSettings
from cellplane.planning.pins import is_pinned
from cellplane.planning.rebalance import evacuate, rebalance
from cellplane.planning.residency import Resident, residents

USUAL = MoveSettings()
EXPLICIT = StrategyName.EXPLICIT


def cell(number: int, rps: float | None = 100, **fields: Any) -> Cell:
    return Cell(f"cell-{number}", "h", 1, capacity=Capacity(rps=rps), **fields)


def tenant(name: str, *shard: int, rps: float = 10, gib: float = 1, **fields: Any) -> Tenant:
    return Tenant(name, tuple(f"cell-{number}" for number in shard), load=Load(1, rps, gib), **fields)


def loaded(cells: Sequence[Cell], tenants: Sequence[Tenant], *pools: Pool) -> LoadedFleet:
    whole = pools or (Pool("one", tuple(each.id for each in cells), EXPLICIT),)
    topology = Topology(
        Fleet("shop", default_pool=whole[0].name, unknown_tenant=UnknownTenant.REJECT),
        tuple(cells),
        whole,
        tuple(tenants),
    )
    topology.validate()
    return load_fleet(topology, residents(topology, {}))


def ways(plan: MovePlan) -> list[tuple[str, str, str]]:
    return [(move.tenant, move.source, move.target) for move in plan.moves]


def whys(plan: MovePlan) -> dict[str, int]:
    return {each.reason: each.tenants for each in plan.stays}


def test_a_full_cell_gives_its_tenants_with_the_least_data_to_the_emptiest() -> None:
    tenants = [tenant(f"t{number}", 0, gib=10 - number) for number in range(9)]
    found = rebalance(loaded([cell(0), cell(1), cell(2)], [*tenants, tenant("other", 1)]), USUAL)
    assert ways(found) == [("t8", "cell-0", "cell-2"), ("t7", "cell-0", "cell-1")]
    first = found.moves[0]
    assert (first.source_before, first.source_after) == pytest.approx((0.9, 0.8))
    assert (first.target_before, first.target_after) == pytest.approx((0.0, 0.1))
    assert (first.data_bytes, first.reason) == (2 * GIB, "90% of its requests/s are in use")
    assert found.after == pytest.approx({"cell-0": 0.7, "cell-1": 0.2, "cell-2": 0.1})
    assert found.excess_before == pytest.approx(0.2)
    assert found.excess_after == pytest.approx(0.0)
    assert found.stays == ()


def test_a_balanced_fleet_has_an_empty_plan() -> None:
    found = rebalance(loaded([cell(0), cell(1)], [tenant(f"t{number}", 0) for number in range(8)]), USUAL)
    assert (found.moves, found.hours, found.data_bytes, found.stays) == ((), 0, 0, ())


def test_pinned_tenants_stay_and_are_told_of() -> None:
    pinned = [tenant(f"t{number}", 0, attributes=(("pinned", "true"),)) for number in range(9)]
    found = rebalance(loaded([cell(0), cell(1)], pinned), USUAL)
    assert found.moves == ()
    assert whys(found) == {"pinned by a person": 9}


def test_no_target_is_filled_beyond_its_mark() -> None:
    tenants = [*(tenant(f"t{number}", 0) for number in range(9)), *(tenant(f"o{number}", 1) for number in range(7))]
    found = rebalance(loaded([cell(0), cell(1)], tenants), USUAL)
    assert found.moves == ()
    assert whys(found) == {"no open cell of its pool has room for it below the mark": 9}


@pytest.mark.parametrize(
    "other",
    [
        cell(1, status=CellStatus.LOCKED),
        cell(1, status=CellStatus.DRAINING),
        cell(1, jurisdiction="eu"),
        cell(1, rps=None),
    ],
)
def test_a_cell_that_is_not_open_or_under_another_law_or_without_a_measure_takes_nobody(other: Cell) -> None:
    found = rebalance(loaded([cell(0), other], [tenant(f"t{number}", 0) for number in range(9)]), USUAL)
    assert whys(found) == {"its pool has no other open cell under its law": 9}


def test_a_cell_that_is_not_well_takes_nobody() -> None:
    fleet = loaded([cell(0), cell(1)], [tenant(f"t{number}", 0) for number in range(9)])
    assert rebalance(fleet, USUAL, {"cell-1"}).moves == ()


def test_only_cells_of_the_pool_take_its_tenants() -> None:
    pools = (Pool("one", ("cell-0",), EXPLICIT), Pool("two", ("cell-1",), EXPLICIT))
    found = rebalance(loaded([cell(0), cell(1)], [tenant(f"t{number}", 0) for number in range(9)], *pools), USUAL)
    assert found.moves == ()


def test_a_tenant_that_is_being_moved_stays() -> None:
    tenants = [tenant(f"t{number}", 0, state=TenantState.MOVING) for number in range(9)]
    assert whys(rebalance(loaded([cell(0), cell(1)], tenants), USUAL)) == {
        "it is being moved, or in quarantine, now": 9
    }


def test_a_tenant_in_quarantine_stays() -> None:
    tenants = [tenant(f"t{number}", 0) for number in range(9)]
    topology = replace(loaded([cell(0), cell(1)], []).topology, tenants=tuple(tenants))
    fleet = load_fleet(topology, residents(topology, {"t0": "cell-1"}))
    assert "t0" not in {move.tenant for move in evacuate(fleet, "cell-0", USUAL).moves}


def test_a_tenant_without_the_load_that_is_too_much_is_no_relief() -> None:
    tenants = [*(tenant(f"t{number}", 0, rps=0) for number in range(3)), tenant("big", 0, rps=95)]
    assert whys(rebalance(loaded([cell(0), cell(1)], tenants), USUAL)) == {
        "its load is no relief": 3,
        "no open cell of its pool has room for it below the mark": 1,
    }


def test_tenants_of_slots_move_too() -> None:
    pool = Pool("one", ("cell-0", "cell-1"), StrategyName.RENDEZVOUS)
    fleet = loaded(
        [replace(cell(0), weight=20.0), cell(1)], [tenant(f"t{number}", rps=3) for number in range(40)], pool
    )
    found = rebalance(fleet, USUAL)
    assert found.after["cell-0"] == pytest.approx(0.7, abs=0.03)
    assert {move.target for move in found.moves} == {"cell-1"}


def test_the_rest_of_a_shard_stays_and_is_not_repeated() -> None:
    shards = Pool("one", tuple(f"cell-{number}" for number in range(4)), EXPLICIT, shard_size=2)
    tenants = [tenant("a", 0, 1, rps=45), tenant("b", 0, 2, rps=45)]
    found = rebalance(loaded([cell(number) for number in range(4)], tenants, shards), USUAL)
    (move,) = found.moves
    assert (move.tenant, move.shard) == ("a", ("cell-3", "cell-1"))


def test_shards_stay_spread_and_share_few_cells() -> None:
    cells = [cell(number, zone=f"zone-{number % 2}") for number in range(4)]
    ids = tuple(each.id for each in cells)
    spread = Pool("one", ids, StrategyName.SHUFFLE, shard_size=2, max_overlap=1, spread=(Dimension.ZONE,))
    tenants = [tenant("a", 0, 1, rps=45), tenant("b", 0, 3, rps=45), tenant("c", 2, 1, rps=1)]
    found = rebalance(loaded(cells, tenants, spread), USUAL)
    # a may not get cell-2, which with cell-1 would be the shard of c; nor cell-3, which is in the zone of cell-1.
    assert [(move.tenant, move.shard) for move in found.moves] == [("b", ("cell-2", "cell-3"))]


def test_a_tenant_moves_once_in_a_plan() -> None:
    cells = [cell(number) for number in range(6)]
    shards = Pool("one", tuple(each.id for each in cells), EXPLICIT, shard_size=2)
    pin = (("pinned", "true"),)
    others = [tenant("b", 0, 2, rps=45, attributes=pin), tenant("c", 1, 3, rps=45, attributes=pin)]
    found = rebalance(loaded(cells, [tenant("a", 0, 1, rps=45), *others], shards), USUAL)
    assert ways(found) == [("a", "cell-0", "cell-4")]
    assert whys(found) == {"pinned by a person": 1, "it moves from another cell of its shard in this plan": 1}


def test_a_dedicated_cell_takes_one_tenant() -> None:
    own = Pool("one", ("cell-0", "cell-1", "cell-2"), EXPLICIT, dedicated=True)
    found = rebalance(
        loaded([cell(0, 50), cell(1), cell(2)], [tenant("a", 0, rps=45), tenant("b", 1, rps=1)], own), USUAL
    )
    assert ways(found) == [("a", "cell-0", "cell-2")]


def test_an_evacuation_empties_a_cell_the_least_data_first() -> None:
    tenants = [tenant(f"t{number}", 0, gib=5 - number) for number in range(4)]
    found = evacuate(loaded([cell(0, status=CellStatus.DRAINING), cell(1), cell(2)], tenants), "cell-0", USUAL)
    assert [move.tenant for move in found.moves] == ["t3", "t2", "t1", "t0"]
    assert found.after["cell-0"] == 0
    assert Counter(move.target for move in found.moves) == {"cell-1": 2, "cell-2": 2}
    assert found.moves[0].reason == "evacuates a cell that is draining"


def test_an_evacuation_goes_against_pins_only_when_told() -> None:
    tenants = [tenant("a", 0), tenant("b", 0, attributes=(("pinned", "true"),))]
    fleet = loaded([cell(0), cell(1)], tenants)
    careful = evacuate(fleet, "cell-0", USUAL)
    assert ways(careful) == [("a", "cell-0", "cell-1")]
    assert whys(careful) == {"pinned by a person": 1}
    told = evacuate(fleet, "cell-0", USUAL, override_pins=True)
    assert sorted(move.tenant for move in told.moves) == ["a", "b"]
    assert told.moves[1].reason == "evacuates a cell that is active, against its pin"
    assert told.stays == ()


def test_an_evacuation_says_who_cannot_go_and_why() -> None:
    cells = [cell(0, jurisdiction="eu"), cell(1, jurisdiction="eu"), cell(2, jurisdiction="us")]
    tenants = [
        *(tenant(f"t{number}", 0, jurisdiction="eu") for number in range(9)),
        *(tenant(f"o{number}", 1, jurisdiction="eu") for number in range(5)),
        tenant("anywhere", 0),
    ]
    found = evacuate(loaded(cells, tenants), "cell-0", USUAL)
    assert {move.target for move in found.moves} == {"cell-1"}
    assert len(found.moves) == 2
    assert [(each.cell, each.tenants) for each in found.stays] == [("cell-0", 8)]


def test_an_evacuation_uses_a_cell_of_which_nothing_is_declared_where_no_other_takes_them() -> None:
    fleet = loaded([cell(0), cell(1), cell(2, rps=None)], [tenant(f"t{number}", 0) for number in range(9)])
    found = evacuate(fleet, "cell-0", USUAL)
    assert Counter(move.target for move in found.moves) == {"cell-1": 7, "cell-2": 2}
    assert found.after["cell-2"] is None


def test_a_cell_that_is_not_there_cannot_be_evacuated() -> None:
    with pytest.raises(ValidationError, match="no cell is named 'cell-9'; there are cell-0"):
        evacuate(loaded([cell(0)], []), "cell-9", USUAL)


def test_a_bound_cuts_the_plan_and_is_told() -> None:
    fleet = loaded([cell(0), cell(1)], [tenant(f"t{number}", 0) for number in range(9)])
    assert rebalance(fleet, replace(USUAL, max_moves=1)).is_cut
    assert len(evacuate(fleet, "cell-0", replace(USUAL, max_looks=3)).moves) == 3
    assert not rebalance(fleet, USUAL).is_cut


def test_batches_keep_cells_from_giving_or_taking_too_much_at_once() -> None:
    tenants = [tenant(f"t{number}", 0, gib=10) for number in range(6)]
    found = evacuate(loaded([cell(0), cell(1)], tenants), "cell-0", replace(USUAL, per_cell=4, gib_per_hour=10))
    assert [move.batch for move in found.moves] == [1, 1, 1, 1, 2, 2]
    assert found.batch_hours == (4, 2)
    assert (found.hours, found.data_bytes) == (6, 60 * GIB)
    assert batch_numbers([(0, 1), (2, 3), (4, 5)], per_cell=9, at_once=2) == [0, 0, 1]
    assert batch_numbers([(0, 1), (0, 1), (0, 2), (3, 1)], per_cell=1, at_once=9) == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("strategy", "fields", "pinned"),
    [
        (StrategyName.RING, {"shard": ("cell-0",)}, True),
        (StrategyName.RING, {}, False),
        (StrategyName.RING, {"shard": ("cell-0",), "attributes": (("pinned", "false"),)}, False),
        (StrategyName.RING, {"shard": ("cell-0", "cell-1"), "shard_size": 2}, False),
        (EXPLICIT, {"shard": ("cell-0",)}, False),
        (EXPLICIT, {"shard": ("cell-7",)}, True),
        (EXPLICIT, {"shard": ("cell-0",), "attributes": (("pinned", "true"),)}, True),
    ],
)
def test_what_a_pool_chose_is_no_pin(strategy: StrategyName, fields: dict[str, Any], pinned: bool) -> None:
    pool = Pool("one", ("cell-0", "cell-1"), strategy)
    assert is_pinned(Tenant("acme", **fields), pool) is pinned
    assert not is_pinned(Tenant("acme", ("cell-0",)), pool, came_by_overflow=True)


def test_a_tenant_that_overflowed_moves_in_the_pool_that_took_it() -> None:
    own = Pool("own", ("cell-2",), EXPLICIT, overflow="rest")
    rest = Pool("rest", ("cell-0", "cell-1"), StrategyName.RING)
    tenants = [tenant(f"t{number}", 0, pool="own") for number in range(9)]
    found = rebalance(loaded([cell(0), cell(1), cell(2)], tenants, rest, own), USUAL)
    assert {move.target for move in found.moves} == {"cell-1"}


def test_a_tenant_of_a_pool_that_is_not_there_is_refused() -> None:
    topology = Topology(Fleet("shop"), (cell(0),), (Pool("default", ("cell-0",)),))
    with pytest.raises(ValidationError, match=r"tenants\.a"):
        load_fleet(topology, [Resident(Tenant("a"), "gone")])


@pytest.mark.parametrize(
    "change",
    [{"lock_at": 0.9}, {"over_at": 0.0}, {"per_cell": 0}, {"at_once": 0}, {"gib_per_hour": 0.0}, {"max_moves": 0}],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        rebalance(loaded([cell(0)], []), replace(USUAL, **change))


LOOSE, PIN = (("pinned", "false"),), (("pinned", "true"),)


def test_a_shard_of_slots_stays_spread() -> None:
    cells = [cell(number, 200 if number == 1 else 100, zone=f"zone-{number % 2}") for number in range(4)]
    ids = tuple(each.id for each in cells)
    spread = Pool("one", ids, StrategyName.SHUFFLE, shard_size=2, spread=(Dimension.ZONE,))
    tenants = [
        tenant("a", 0, 1, rps=45, attributes=LOOSE),
        tenant("b", 0, 1, rps=45, attributes=PIN),
        tenant("c", 2, 1, rps=1, attributes=PIN),
    ]
    # cell-3 is emptier, and in the zone of cell-1.
    assert rebalance(loaded(cells, tenants, spread), USUAL).moves[0].target == "cell-2"


def test_a_tenant_takes_no_more_than_its_part_of_a_cell() -> None:
    cells = [cell(0), cell(1), cell(2, 85), cell(3)]
    shards = Pool("one", tuple(each.id for each in cells), EXPLICIT, shard_size=2)
    tenants = [tenant("a", 0, 1, rps=45), tenant("b", 0, 3, rps=45, attributes=PIN)]
    found = rebalance(loaded(cells, tenants, shards), USUAL)
    assert found.moves == ()
    assert whys(found) == {"pinned by a person": 1, "no open cell of its pool has room for it below the mark": 1}
