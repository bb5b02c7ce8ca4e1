"""Invariants of placement, over fleets and histories that nobody chose."""

import math
from dataclasses import replace
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import PlacementError
from cellplane.model import Capacity, Load
from cellplane.model.pool import ring_points
from cellplane.placement import (
    SLOT_COUNT,
    Member,
    SearchingAssigner,
    check_share,
    lattice,
    modulo,
    most_shards,
    rendezvous,
    ring,
    shuffle,
    zones,
)
from cellplane.placement.spread import zone_limit
from support.depth import examples
from unit.placement import plain
from unit.placement.fleets import ZONES, SlotStrategy, chi_square, chi_square_limit, sets

ids = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?\Z")
weights = st.one_of(st.just(1.0), st.integers(1, 4000).map(lambda milli: milli / 1000))
members = st.builds(Member, ids, weights, st.sampled_from(ZONES))
seeds = st.integers(0, 2**64 - 1)


def fleets(least: int, most: int = 12) -> st.SearchStrategy[list[Member]]:
    return st.lists(members, min_size=least, max_size=most, unique_by=lambda member: member.id)


@st.composite
def stable_strategies(draw: st.DrawFn) -> SlotStrategy:
    """A strategy that places any fleet of three cells or more, of which each zone has one."""
    shard_size = draw(st.integers(1, 3))
    strategies: list[SlotStrategy] = [
        partial(ring.place, virtual_nodes=draw(st.integers(1, 20)), shard_size=shard_size),
        partial(rendezvous.place, shard_size=shard_size),
        partial(shuffle.place, shard_size=shard_size, seed=draw(seeds)),
        partial(zones.place, zones=ZONES, shard_size=shard_size, seed=draw(seeds)),
    ]
    return draw(st.sampled_from(strategies))


ONE_OF_EACH_ZONE = [Member(f"at-{zone}", 1.0, zone) for zone in ZONES]


@settings(max_examples=examples(8), deadline=None)
@given(fleets(1), members, stable_strategies())
def test_one_cell_more_or_less_changes_one_member_of_the_shards_that_it_joins_or_leaves(
    some: list[Member], newcomer: Member, place: SlotStrategy
) -> None:
    without = [member for member in some if member.id != newcomer.id] + ONE_OF_EACH_ZONE
    for old, new in zip(sets(without, place, 7), sets([*without, newcomer], place, 7), strict=True):
        if newcomer.id in new:
            assert len(old - new) == 1
            assert new - old == {newcomer.id}
        else:
            assert old == new


@settings(max_examples=examples(8), deadline=None)
@given(fleets(1), st.data(), stable_strategies())
def test_a_new_weight_changes_one_member_of_a_shard_and_only_one_way(
    some: list[Member], data: st.DataObject, place: SlotStrategy
) -> None:
    fleet = some + ONE_OF_EACH_ZONE
    index = data.draw(st.integers(0, len(fleet) - 1))
    heavier = replace(fleet[index], weight=fleet[index].weight + data.draw(st.integers(1, 4000)) / 1000)
    after = [*fleet[:index], heavier, *fleet[index + 1 :]]
    for old, new in zip(sets(fleet, place, 7), sets(after, place, 7), strict=True):
        assert new - old <= {heavier.id}
        assert len(old - new) == len(new - old)


def within(moved: int, share: float, spread_of_share: float = 0.0) -> bool:
    """Whether as many slots moved as must, give or take six standard deviations of chance, and of the share itself."""
    chance = math.sqrt(share * (1 - share) / SLOT_COUNT)
    return abs(moved / SLOT_COUNT - share) <= 6 * (chance + spread_of_share) + 1e-4


def moves(before: list[Member], after: list[Member], place: SlotStrategy) -> int:
    """Slots whose set of cells changes."""
    one, other = (
        np.sort(np.array(sorted(member.id for member in members))[place(members)], axis=1)
        for members in (before, after)
    )
    return int((one != other).any(axis=1).sum())


def share_that_must_move(before: list[Member], after: list[Member]) -> float:
    """Half of the sum of what every cell's part of the weights changes by: no placement by weight moves less."""
    one, other = ({member.id: member.weight for member in members} for members in (before, after))
    parts = [
        abs(one.get(cell, 0.0) / sum(one.values()) - other.get(cell, 0.0) / sum(other.values()))
        for cell in {*one, *other}
    ]
    return sum(parts) / 2


@st.composite
def changes(draw: st.DrawFn) -> tuple[list[Member], list[Member]]:
    """A fleet before and after one cell joined, left or got another weight."""
    some = [*draw(fleets(2, 20)), *ONE_OF_EACH_ZONE]
    index = draw(st.integers(0, len(some) - 1))
    rest = some[:index] + some[index + 1 :]
    changed = replace(some[index], weight=draw(weights))
    return draw(st.sampled_from([(rest, some), (some, rest), (some, [*rest, changed])]))


@settings(max_examples=examples(7), deadline=None)
@given(changes(), seeds)
def test_one_cell_by_the_least_movement_moves_what_must_move_and_no_more(
    change: tuple[list[Member], list[Member]], seed: int
) -> None:
    share = share_that_must_move(*change)
    assert within(moves(*change, rendezvous.place), share)
    assert within(moves(*change, partial(shuffle.place, shard_size=1, seed=seed)), share)
    assert within(moves(*change, partial(zones.place, zones=ZONES, shard_size=1, seed=seed)), share)


@settings(max_examples=examples(7), deadline=None)
@given(changes())
def test_a_ring_moves_what_must_move_as_closely_as_its_points_lie(change: tuple[list[Member], list[Member]]) -> None:
    before, after = ({member.id: ring_points(150, member.weight) for member in members} for members in change)
    differing = sum(abs(before.get(cell, 0) - after.get(cell, 0)) for cell in {*before, *after})
    points = max(sum(before.values()), sum(after.values()))
    # An arc is about exponentially distributed, so that n of them vary by √n of the mean.
    moved = moves(*change, partial(ring.place, virtual_nodes=150))
    assert within(moved, differing / points, (math.sqrt(differing) + 1) / points if differing else 0.0)


@settings(max_examples=examples(7), deadline=None)
@given(st.integers(3, 24), st.integers(1, 3), seeds)
def test_a_cell_that_joins_others_of_its_weight_is_in_its_part_of_the_shards(
    count: int, shard_size: int, seed: int
) -> None:
    before = [Member(f"cell-{number}", 1.0, ZONES[number % 3]) for number in range(count)]
    after = [*before, Member("cell-99", 1.0, ZONES[count % 3])]
    place = partial(shuffle.place, shard_size=shard_size, seed=seed)
    assert within(moves(before, after, place), shard_size / (count + 1))


@settings(max_examples=examples(7), deadline=None)
@given(st.integers(1, 5), weights, seeds)
def test_a_cell_that_joins_a_lattice_takes_its_part_of_one_point(at_a_point: int, weight: float, seed: int) -> None:
    points = [(zone, release) for zone in ZONES for release in ("r1", "r2")]
    at = {f"cell-{place}-{number}": point for place, point in enumerate(points) for number in range(at_a_point)}
    before = [Member(cell) for cell in at]
    after = [*before, Member("cell-99", weight)]
    place = partial(lattice.place, coordinates={**at, "cell-99": points[0]}, shard_size=2, seed=seed)
    assert within(moves(before, after, place), 2 / len(points) * weight / (at_a_point + weight))


@settings(max_examples=examples(7), deadline=None)
@given(fleets(2, 20), seeds)
def test_the_preferred_cell_is_spread_by_weight(fleet: list[Member], seed: int) -> None:
    fleet = sorted((replace(member, weight=max(member.weight, 0.1)) for member in fleet), key=lambda one: one.id)
    counts = np.bincount(shuffle.place(fleet, shard_size=1, seed=seed)[:, 0], minlength=len(fleet))
    shares = np.array([member.weight for member in fleet])
    assert chi_square(counts, shares / shares.sum() * SLOT_COUNT) < chi_square_limit(len(fleet) - 1)


@settings(max_examples=examples(10), deadline=None)
@given(fleets(1, 40), st.integers(1, 8), seeds, st.data())
def test_arrays_say_what_plain_python_says(
    fleet: list[Member], shard_size: int, seed: int, data: st.DataObject
) -> None:
    shard_size = min(shard_size, len(fleet))
    nodes = data.draw(st.integers(1, 5))
    names = sorted(member.id for member in fleet)
    plain_ring = plain.ring(fleet, nodes, shard_size)
    by_modulo = modulo.place(fleet, shard_size=shard_size)
    by_ring = ring.place(fleet[::-1], virtual_nodes=nodes, shard_size=shard_size)
    by_shuffle = shuffle.place(fleet[::-1], shard_size=shard_size, seed=seed)
    for slot in data.draw(st.lists(st.integers(0, SLOT_COUNT - 1), min_size=1, max_size=20)):
        order = plain.racing_order(fleet, slot.to_bytes(2, "little"), seed)
        assert [names[index] for index in by_modulo[slot]] == plain.modulo(fleet, slot, shard_size)
        assert [names[index] for index in by_ring[slot]] == plain_ring(slot)
        assert [names[index] for index in by_shuffle[slot]] == [member.id for member in order[:shard_size]]


@settings(max_examples=examples(7), deadline=None)
@given(fleets(0, 20), st.integers(1, 8), seeds, st.data())
def test_zones_are_passed_over_when_they_are_full(
    some: list[Member], shard_size: int, seed: int, data: st.DataObject
) -> None:
    # Three of each zone more, so that the zones always have enough.
    fleet = some + [Member(f"{zone}-{number}-x", 1.0, zone) for zone in ZONES for number in range(3)]
    fleet = list({member.id: member for member in fleet}.values())
    names = sorted(member.id for member in fleet)
    shards = zones.place(fleet, ZONES, shard_size=shard_size, seed=seed)
    limit = zone_limit(shard_size, len(ZONES))
    for slot in data.draw(st.lists(st.integers(0, SLOT_COUNT - 1), min_size=1, max_size=20)):
        order = plain.racing_order(fleet, slot.to_bytes(2, "little"), seed)
        assert [names[index] for index in shards[slot]] == plain.passing_over_full_zones(order, limit, shard_size)


# The searching assigner.

TENANTS = [f"tenant-{number}" for number in range(12)]
steps = st.lists(st.tuples(st.sampled_from(TENANTS), st.one_of(st.none(), st.integers(1, 4))), max_size=60)


def free_shards(assigner: SearchingAssigner, cells: list[str], size: int, overlap: int) -> bool:
    """Whether any shard at all could be given, by trying every one."""
    taken = [set(shard) for shard in assigner.assigned.values()]
    return any(all(len(one & {*cells}) <= overlap for one in taken) for cells in combinations(cells, size))


@settings(max_examples=examples(50), deadline=None)
@given(st.integers(4, 8), st.integers(1, 4), st.integers(0, 3), seeds, steps)
def test_no_history_makes_two_tenants_share_too_much_or_a_refusal_wrong(
    count: int, shard_size: int, overlap: int, seed: int, history: list[tuple[str, int | None]]
) -> None:
    overlap = min(overlap, shard_size - 1)
    fleet = [Member(f"cell-{number}") for number in range(count)]
    cells = [member.id for member in fleet]
    assigner = SearchingAssigner(fleet, shard_size=shard_size, max_overlap=overlap, seed=seed)
    for tenant, own_size in history:
        before = assigner.assigned
        if tenant in before:
            assert assigner.release(tenant) == before[tenant]
        else:
            size = shard_size if own_size is None else own_size
            try:
                shard = assigner.assign(tenant, shard_size=own_size)
            except PlacementError:
                assert not free_shards(assigner, cells, size, overlap)
                assert assigner.assigned == before
            else:
                assert len(set(shard)) == size
                assert assigner.assigned == {**before, tenant: shard}
        shards = [set(shard) for shard in assigner.assigned.values()]
        assert all(len(one & other) <= overlap for one, other in combinations(shards, 2))
        usual = sum(len(shard) == shard_size for shard in shards)
        assert usual <= assigner.most_shards
    again = SearchingAssigner(
        fleet[::-1], shard_size=shard_size, max_overlap=overlap, seed=seed, assigned=assigner.assigned
    )
    assert again.assigned == assigner.assigned
    assert again._taken == assigner._taken


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 4))
def test_the_bound_is_no_more_than_counting_sets_allows(cells: int, size: int, overlap: int) -> None:
    size = min(size, cells)
    overlap = min(overlap, size - 1)
    sets_of_cells = len(list(combinations(range(cells), overlap + 1)))
    sets_in_a_shard = len(list(combinations(range(size), overlap + 1)))
    assert 1 <= most_shards(cells, size, overlap) <= sets_of_cells // sets_in_a_shard


# The guard.

amounts = st.floats(0, 1000)


@given(st.builds(Load, st.just(1), amounts, amounts), st.floats(1, 1000), st.integers(1, 8))
def test_the_guard_lets_in_exactly_what_k_times_fits(load: Load, limit: float, shard_size: int) -> None:
    refused = check_share(load, {"cell-1": Capacity(rps=limit, storage_gib=limit)}, shard_size=shard_size)
    assert (refused is None) == (max(load.rps, load.storage_gib) * shard_size <= limit)


def test_the_limit_of_a_race_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # With the smallest limit nearly every slot is raced again with everybody.
    fleet = [Member(f"cell-{number}", 1 + number % 3) for number in range(100)]
    usual = shuffle.place(fleet, shard_size=4, seed=3)
    monkeypatch.setattr("cellplane.placement.race.math.isqrt", lambda _number: -9)
    assert (shuffle.place(fleet, shard_size=4, seed=3) == usual).all()
