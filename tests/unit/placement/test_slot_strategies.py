"""What every slot strategy promises, with exact counts on fixed fleets: shape, speed, balance, least movement."""

import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest

from cellplane.placement import SLOT_COUNT, Member, lattice, modulo, rendezvous, ring, shuffle
from cellplane.placement.zones import place as place_in_zones
from unit.placement import plain
from unit.placement.fleets import (
    STABLE,
    STRATEGIES,
    ZONES,
    by_id,
    chi_square,
    chi_square_limit,
    coordinates,
    fleet,
    on_lattice,
    sets,
)

FLEET = fleet(12, weights=(1.0, 0.5, 2.5, 1.0))
NEWCOMER = Member("cell-99", 1.0, "zone-b")
SAMPLED_SLOTS = range(0, SLOT_COUNT, 509)
EVERY = 8
"""Of so many slots one is looked at, where all are compared in Python."""

each_strategy = pytest.mark.parametrize("name", sorted(STRATEGIES))
each_stable_strategy = pytest.mark.parametrize("name", STABLE)


@each_strategy
def test_a_shard_has_distinct_cells_of_the_fleet(name: str) -> None:
    shards = STRATEGIES[name](FLEET)
    assert shards.dtype == np.uint32
    assert shards.shape == (SLOT_COUNT, int(name.partition(" of ")[2] or 1))
    assert shards.max() < len(FLEET)
    ascending = np.sort(shards, axis=1)
    assert (ascending[:, 1:] != ascending[:, :-1]).all()


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param((1.0,), id="equal", marks=pytest.mark.long),
        pytest.param(tuple(1 + step / 100 for step in range(97)), id="unequal"),
    ],
)
@each_strategy
def test_a_thousand_cells_take_seconds_and_not_minutes(name: str, weights: Sequence[float]) -> None:
    members = fleet(1000, weights=weights)
    started = time.process_time()
    STRATEGIES[name](members)
    assert time.process_time() - started < 30  # generous: this is for what grows with the square


@pytest.mark.long
@each_strategy
def test_memory_does_not_grow_with_slots_times_cells(name: str) -> None:
    members = fleet(1000)
    STRATEGIES[name](members[:12])
    tracemalloc.start()
    STRATEGIES[name](members)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # All pairs at once would be 500 MiB of hashes.
    assert peak_bytes < 48 * 2**20


def test_modulo_and_ring_are_what_plain_python_says() -> None:
    plain_ring = plain.ring(FLEET, 150, 4)
    by_modulo, by_ring = by_id(FLEET, modulo.place(FLEET, shard_size=4)), by_id(FLEET, STRATEGIES["ring of 4"](FLEET))
    first_of_ring = by_id(FLEET, STRATEGIES["ring"](FLEET))
    for slot in SAMPLED_SLOTS:
        assert by_modulo[slot] == plain.modulo(FLEET, slot, 4)
        assert by_ring[slot] == plain_ring(slot)
        assert first_of_ring[slot] == plain_ring(slot)[:1]


@pytest.mark.parametrize("count", [4, 12, 300])
def test_races_are_what_plain_python_says(count: int) -> None:
    members = fleet(count, weights=(1.0, 0.5, 2.5, 100.0, 0.001))
    by_rendezvous = by_id(members, rendezvous.place(members, shard_size=3))
    by_shuffle = by_id(members, shuffle.place(members, shard_size=4, seed=2**64 - 1))
    by_zone = by_id(members, place_in_zones(members, ZONES, shard_size=4, seed=5)) if count > 4 else []
    for slot in SAMPLED_SLOTS if count < 100 else SAMPLED_SLOTS[::10]:
        place = slot.to_bytes(2, "little")
        assert by_rendezvous[slot] == [member.id for member in plain.racing_order(members, place, 0)[:3]]
        assert by_shuffle[slot] == [member.id for member in plain.racing_order(members, place, 2**64 - 1)[:4]]
        if by_zone:
            order = plain.racing_order(members, place, 5)
            assert by_zone[slot] == plain.passing_over_full_zones(order, 2, 4)


def test_shuffle_with_seed_0_prefers_what_rendezvous_chooses() -> None:
    assert (shuffle.place(FLEET, shard_size=3)[:, :1] == rendezvous.place(FLEET)).all()


def test_another_seed_gives_other_shards() -> None:
    same = (shuffle.place(FLEET, seed=1)[:, 0] == shuffle.place(FLEET, seed=2)[:, 0]).mean()
    weights = np.array([member.weight for member in FLEET])
    by_chance = float(((weights / weights.sum()) ** 2).sum())
    assert abs(same - by_chance) < 0.01


# Balance.


@pytest.mark.parametrize("name", ["rendezvous", "shuffle of 4", "zones of 4"])
def test_the_preferred_cell_is_spread_by_weight(name: str) -> None:
    members = sorted(FLEET, key=lambda member: member.id)
    counts = np.bincount(STRATEGIES[name](members)[:, 0], minlength=len(members))
    weights = np.array([member.weight for member in members])
    expected = weights / weights.sum() * SLOT_COUNT
    assert chi_square(counts, expected) < chi_square_limit(len(members) - 1)


@pytest.mark.parametrize(
    ("name", "most"),
    # The fullest cell against the mean, of 30 cells of one weight, counting every place of a shard. A ring's figure is
    # that of its points: about 1 + 3 / √150.
    [
        ("modulo", 1.02),
        ("modulo of 4", 1.02),
        ("ring", 1.25),
        ("ring of 4", 1.25),
        ("rendezvous", 1.08),
        ("rendezvous of 4", 1.04),
        ("shuffle of 2", 1.06),
        ("shuffle of 4", 1.04),
        ("zones of 4", 1.04),
        ("lattice of 2", 1.06),
    ],
)
def test_the_fullest_cell_is_within_its_bound(name: str, most: float) -> None:
    counts = np.bincount(STRATEGIES[name](fleet(30)).ravel(), minlength=30)
    assert counts.max() / counts.mean() < most


def test_two_of_eight_are_28_shards_used_alike() -> None:
    # 8 choose 2 = 28: MacCárthaigh, Workload isolation using shuffle-sharding, Amazon Builders' Library.
    counts = Counter(sets(fleet(8), shuffle.place))
    assert len(counts) == 28
    assert chi_square(list(counts.values()), [SLOT_COUNT / 28] * 28) < chi_square_limit(27)


def test_four_of_fifty_share_as_published() -> None:
    # Grafana Mimir, Configure shuffle sharding: 4 of 50 instances: 71 % share none, 26 % one, 2.7 % two, 0.08 % three.
    shards = shuffle.place(fleet(50), shard_size=4)
    first, second = shards[: SLOT_COUNT // 2], shards[SLOT_COUNT // 2 :]
    shared = (first[:, :, None] == second[:, None, :]).sum(axis=(1, 2))
    parts = np.bincount(shared, minlength=5) / len(shared)
    assert parts[:4] == pytest.approx([0.71, 0.26, 0.027, 0.0008], abs=0.01)
    assert parts[2] == pytest.approx(0.027, abs=0.003)
    assert parts[3] == pytest.approx(0.0008, abs=0.0006)


# Least movement.


@each_stable_strategy
def test_a_joining_cell_takes_its_own_and_moves_nothing_else(name: str) -> None:
    place = STRATEGIES[name]
    changes = list(zip(sets(FLEET, place, EVERY), sets((*FLEET, NEWCOMER), place, EVERY), strict=True))
    for old, new in changes:
        assert new - old <= {NEWCOMER.id}
        assert len(old - new) == len(new - old)
    took = sum(new != old for old, new in changes)
    assert took == sum(NEWCOMER.id in new for _, new in changes)
    assert took > 0


@each_stable_strategy
def test_a_leaving_cell_gives_up_its_own_and_moves_nothing_else(name: str) -> None:
    place = STRATEGIES[name]
    # Twice as many cells as points: every point of the lattice keeps a cell.
    before = FLEET
    gone = before[4].id
    after = tuple(member for member in before if member.id != gone)
    for old, new in zip(sets(before, place, EVERY), sets(after, place, EVERY), strict=True):
        assert old - new == old & {gone}
        assert len(new - old) == len(old & {gone})


@each_stable_strategy
def test_a_heavier_cell_only_takes(name: str) -> None:
    place = STRATEGIES[name]
    heavier = tuple(replace(member, weight=member.weight * 2) if member.id == "cell-4" else member for member in FLEET)
    changes = list(zip(sets(FLEET, place, EVERY), sets(heavier, place, EVERY), strict=True))
    for old, new in changes:
        assert new - old <= {"cell-4"}
        assert len(old - new) == len(new - old)
    if not name.startswith("lattice"):
        # There a point's share is what it was.
        assert any(old != new for old, new in changes)


@pytest.mark.parametrize("name", ["rendezvous", "shuffle of 4"])
def test_the_preferred_cell_moves_as_often_as_shares_change_and_no_more(name: str) -> None:
    place = STRATEGIES[name]
    before, after = by_id(FLEET, place(FLEET)), by_id((*FLEET, NEWCOMER), place((*FLEET, NEWCOMER)))
    moved = sum(old[0] != new[0] for old, new in zip(before, after, strict=True))
    share = NEWCOMER.weight / (sum(member.weight for member in FLEET) + NEWCOMER.weight)
    # Five standard deviations of a binomial.
    assert abs(moved - SLOT_COUNT * share) < 5 * (SLOT_COUNT * share * (1 - share)) ** 0.5


def test_modulo_moves_nearly_everything_and_says_so() -> None:
    before, after = fleet(10), fleet(11)
    pairs = zip(by_id(before, modulo.place(before)), by_id(after, modulo.place(after)), strict=True)
    assert sum(old != new for old, new in pairs) / SLOT_COUNT == pytest.approx(10 / 11, abs=0.01)


# Zones.


@pytest.mark.parametrize(("shard_size", "limit"), [(1, 1), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (8, 3)])
def test_no_zone_has_more_than_its_part(shard_size: int, limit: int) -> None:
    members = sorted(fleet(20), key=lambda member: member.id)
    zone_of = np.array([ZONES.index(member.zone) for member in members])
    in_zones = zone_of[place_in_zones(members, ZONES, shard_size=shard_size)]
    assert max(int((in_zones == zone).sum(axis=1).max()) for zone in range(3)) == limit


def test_one_zone_limits_nothing() -> None:
    members = tuple(replace(member, zone="here") for member in FLEET)
    in_zones = place_in_zones(members, ["here"], shard_size=3, seed=4)
    assert (in_zones == shuffle.place(members, shard_size=3, seed=4)).all()


def test_the_last_cell_of_a_zone_may_leave() -> None:
    before = fleet(5)
    after = tuple(member for member in before if member.id != "cell-2")
    assert "zone-c" not in {member.zone for member in after}
    old, new = (sets(members, partial(place_in_zones, zones=ZONES, shard_size=2)) for members in (before, after))
    assert all(mine - theirs <= {"cell-2"} for mine, theirs in zip(old, new, strict=True))


def test_a_zone_of_its_own_for_each_cell() -> None:
    members = tuple(Member(f"cell-{number}", zone=f"zone-{number}") for number in range(32))
    shards = place_in_zones(members, [member.zone for member in members], shard_size=2)
    assert (shards == shuffle.place(members)).all()


# The lattice.


def test_cells_of_a_shard_differ_in_every_dimension() -> None:
    at = coordinates(FLEET)
    for shard in set(sets(FLEET, on_lattice)):
        for one, other in combinations(shard, 2):
            assert all(mine != theirs for mine, theirs in zip(at[one], at[other], strict=True))


def test_points_of_a_lattice_are_used_alike_however_many_cells_they_have() -> None:
    members = (*fleet(6), Member("cell-12", 100.0, ZONES[0]))
    at = coordinates(members)
    counts = Counter(at[cell] for shard in by_id(members, on_lattice(members)) for cell in shard)
    assert len(counts) == 6
    assert chi_square(list(counts.values()), [SLOT_COUNT * 2 / 6] * 6) < chi_square_limit(5)


def test_one_dimension_is_a_shard_over_zones() -> None:
    shards = lattice.place(FLEET, {member.id: (member.zone,) for member in FLEET}, shard_size=3)
    zone_of = {member.id: member.zone for member in FLEET}
    assert all({zone_of[cell] for cell in shard} == set(ZONES) for shard in by_id(FLEET, shards))


def test_a_ring_with_one_very_light_cell_finds_it_all_the_same() -> None:
    members = (Member("heavy", 100.0), Member("light", 0.001))
    shards = ring.place(members, virtual_nodes=4096, shard_size=2)
    assert (np.sort(shards, axis=1) == [0, 1]).all()
