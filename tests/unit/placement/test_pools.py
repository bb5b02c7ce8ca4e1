"""Published hash values, and what pools make of their cells: every strategy, reached as a fleet reaches it."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cellplane.errors import ValidationError
from cellplane.model import Cell, Dimension, Fleet, Pool, StrategyName, Topology, UnknownTenant
from cellplane.placement import MAX_SHARD_SIZE, SLOT_COUNT, Placed, key_hash, place, slot_of
from cellplane.placement.modulo import fnv1a32
from unit.placement.fleets import STRATEGIES, chi_square, chi_square_limit, coordinates
from unit.placement.test_golden import FLEET, GOLDEN

MODULO, RING, RENDEZVOUS, SHUFFLE, EXPLICIT = StrategyName
ZONE, REGION, RELEASE = Dimension

CELLS = {
    member.id: Cell(member.id, "h", 1, weight=member.weight, zone=member.zone, release=coordinates(FLEET)[member.id][1])
    for member in FLEET
}


def pool(**fields: Any) -> Pool:
    return Pool(**{"name": "default", "cells": tuple(CELLS), **fields})


POOLS = {
    "modulo": pool(strategy=MODULO),
    "modulo of 4": pool(strategy=MODULO, shard_size=4),
    "ring": pool(),
    "ring of 4": pool(strategy=RING, shard_size=4),
    "rendezvous": pool(strategy=RENDEZVOUS),
    "rendezvous of 4": pool(strategy=RENDEZVOUS, shard_size=4),
    "shuffle of 2": pool(strategy=SHUFFLE),
    "shuffle of 4": pool(strategy=SHUFFLE, shard_size=4, seed=7, max_overlap=2),
    "zones of 4": pool(strategy=SHUFFLE, shard_size=4, spread=(ZONE,)),
    "lattice of 2": pool(strategy=SHUFFLE, spread=(ZONE, RELEASE)),
}

each_pool = pytest.mark.parametrize("name", sorted(POOLS))


def named(placed: Placed) -> list[frozenset[str]]:
    """The cells of each slot."""
    ids = np.array(placed.cells)
    return [frozenset(shard) for shard in ids[placed.shards].tolist()]


@pytest.mark.parametrize(
    ("key", "value"),
    # The XXH32 values of the reference implementation with seed 0 (xxhash.com).
    [
        (b"", 0x02CC5D05),
        (b"a", 0x550D7456),
        (b"abc", 0x32D153FF),
        (b"Nobody inspects the spammish repetition", 0xE2293B2F),
    ],
)
def test_key_hash_is_xxh32(key: bytes, value: int) -> None:
    assert key_hash(key) == value
    assert slot_of(key) == value & 0xFFFF


@pytest.mark.parametrize(
    ("data", "value"),
    # http://www.isthe.com/chongo/src/fnv/test_fnv.c
    [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)],
)
def test_fnv1a(data: bytes, value: int) -> None:
    assert fnv1a32(data) == value


def test_every_strategy_is_reached_from_a_pool() -> None:
    assert set(POOLS) == set(STRATEGIES)
    reached = {some.strategy for some in POOLS.values()}
    assert reached == set(StrategyName) - {EXPLICIT}


@each_pool
def test_a_pool_is_placed_by_the_bytes_of_its_strategy(name: str) -> None:
    placed = place(POOLS[name], CELLS)
    assert placed.cells == tuple(sorted(CELLS))
    assert hashlib.sha256(placed.shards.astype("<u4").tobytes()).hexdigest() == GOLDEN[name]


@each_pool
def test_what_is_placed_is_sound(name: str) -> None:
    some = POOLS[name]
    Topology(Fleet("shop"), tuple(CELLS.values()), (some,)).validate()
    shards = place(some, CELLS).shards
    assert shards.shape == (SLOT_COUNT, some.size)
    assert shards.dtype == np.uint32
    assert not shards.flags.writeable
    ascending = np.sort(shards, axis=1)
    assert (ascending[:, 1:] != ascending[:, :-1]).all()
    assert ascending.max() < len(CELLS)


@each_pool
def test_the_order_of_cells_means_nothing(name: str) -> None:
    back = replace(POOLS[name], cells=POOLS[name].cells[::-1])
    there = place(back, dict(reversed(CELLS.items())))
    assert there.cells == place(POOLS[name], CELLS).cells
    assert there.shards.tobytes() == place(POOLS[name], CELLS).shards.tobytes()


@each_pool
def test_what_does_not_place_moves_nobody(name: str) -> None:
    before = place(POOLS[name], CELLS)
    elsewhere = {cell_id: replace(cell, address="other", port=9, region="mars") for cell_id, cell in CELLS.items()}
    after = place(replace(POOLS[name], name="renamed"), elsewhere)
    assert after.shards.tobytes() == before.shards.tobytes()


@pytest.mark.parametrize("name", ["rendezvous", "shuffle of 4", "zones of 4"])
def test_the_preferred_cell_is_spread_by_weight(name: str) -> None:
    placed = place(POOLS[name], CELLS)
    weights = np.array([CELLS[cell_id].weight for cell_id in placed.cells])
    counts = np.bincount(placed.shards[:, 0], minlength=len(weights))
    assert chi_square(counts, weights / weights.sum() * SLOT_COUNT) < chi_square_limit(len(weights) - 1)


@pytest.mark.parametrize(("strategy", "tolerance"), [(MODULO, 0.05), (RING, 0.25), (RENDEZVOUS, 0.1), (SHUFFLE, 0.1)])
def test_weight_is_a_share(strategy: StrategyName, tolerance: float) -> None:
    cells = {"heavy": Cell("heavy", "h", 1, weight=3), "light": Cell("light", "h", 1)}
    shards = place(Pool("default", ("heavy", "light"), strategy), cells).shards
    assert (shards[:, 0] == 0).mean() == pytest.approx(0.75, rel=tolerance)


@pytest.mark.parametrize("name", sorted(set(POOLS) - {"modulo", "modulo of 4"}))
def test_a_cell_that_joins_changes_one_member_of_its_own_shards_and_so_does_one_that_leaves(name: str) -> None:
    less = named(place(POOLS[name], CELLS))
    newcomer = Cell("cell-99", "h", 1, zone="zone-b", release="r1")
    more = {**CELLS, newcomer.id: newcomer}
    after = named(place(replace(POOLS[name], cells=tuple(more)), more))
    assert any(newcomer.id in shard for shard in after)
    for old, new in zip(less, after, strict=True):
        assert len(new - old) == len(old - new) == (newcomer.id in new)
        assert new - old <= {newcomer.id}


def test_over_one_dimension_a_shard_has_its_even_part_of_each_coordinate() -> None:
    some = pool(strategy=SHUFFLE, shard_size=4, spread=(RELEASE,))
    for shard in set(named(place(some, CELLS))):
        assert sorted(CELLS[cell_id].release for cell_id in shard) == ["r1", "r1", "r2", "r2"]


def test_over_two_dimensions_the_cells_of_a_shard_differ_in_each() -> None:
    for one, other in set(named(place(POOLS["lattice of 2"], CELLS))):
        assert CELLS[one].zone != CELLS[other].zone
        assert CELLS[one].release != CELLS[other].release


def test_a_cell_without_zone_or_release_stands_at_its_region_and_at_none() -> None:
    bare = {cell_id: replace(cell, zone="", release="", region=cell.zone) for cell_id, cell in CELLS.items()}
    for dimension in (ZONE, REGION):
        some = pool(strategy=SHUFFLE, shard_size=4, spread=(dimension,))
        assert place(some, bare).shards.tobytes() == place(POOLS["zones of 4"], CELLS).shards.tobytes()
    one_release = pool(strategy=SHUFFLE, shard_size=4, spread=(RELEASE,))
    unspread = pool(strategy=SHUFFLE, shard_size=4)
    assert place(one_release, bare).shards.tobytes() == place(unspread, bare).shards.tobytes()


def test_another_seed_gives_other_shards() -> None:
    one, other = (place(pool(strategy=SHUFFLE, seed=seed), CELLS).shards for seed in (1, 2))
    assert (one != other).any(axis=1).mean() > 0.5


def test_slots_are_kept_while_nothing_changes() -> None:
    assert place(POOLS["ring"], CELLS).shards is place(POOLS["ring"], dict(CELLS)).shards


UNEVEN = {f"cell-{number}": Cell(f"cell-{number}", "h", 1, zone="b" if number == 9 else "a") for number in range(10)}
ALONE = {f"cell-{number}": Cell(f"cell-{number}", "h", 1, zone=f"z{number}") for number in range(33)}


@pytest.mark.parametrize(
    ("cells", "fields", "field", "message"),
    [
        (UNEVEN, {"shard_size": 4, "spread": (ZONE,)}, "shard_size", "9 in a, 1 in b"),
        (
            UNEVEN,
            {"shard_size": 3, "spread": (ZONE, REGION)},
            "shard_size",
            "dimension 0 has the coordinates a, b only",
        ),
        (
            CELLS,
            {"shard_size": 2, "spread": (ZONE, REGION)},
            "shard_size",
            "dimension 1 has the coordinates local only",
        ),
        (ALONE, {"spread": (ZONE,)}, "spread", "expected 1 to 32 zones, found 33"),
        (
            {**CELLS, "x": Cell("x", "h", 1, zone="x", release="r1")},
            {"spread": (ZONE, RELEASE)},
            "spread",
            "no cell is at",
        ),
    ],
)
def test_cells_that_cannot_be_spread_are_refused_at_the_field_of_the_pool(
    cells: dict[str, Cell], fields: dict[str, Any], field: str, message: str
) -> None:
    some = Pool("gold", tuple(cells), SHUFFLE, **fields)
    # The pool and the fleet are sound: only together with where the cells are, it cannot be.
    Topology(Fleet("shop", default_pool="gold"), tuple(cells.values()), (some,)).validate()
    with pytest.raises(ValidationError, match=message) as refused:
        place(some, cells)
    assert refused.value.field == f"pools.gold.{field}"


@pytest.mark.parametrize(
    ("some", "field"),
    [
        (pool(strategy=SHUFFLE, shard_size=MAX_SHARD_SIZE + 1), "shard_size"),
        (pool(strategy=RENDEZVOUS, shard_size=0), "shard_size"),
        (pool(strategy=MODULO, shard_size=4, cells=("cell-1",)), "shard_size"),
        (pool(strategy=SHUFFLE, seed=-1), "seed"),
        (pool(virtual_nodes=0), "virtual_nodes"),
    ],
)
def test_a_pool_that_nobody_validated_is_refused_at_its_field(some: Pool, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        place(some, CELLS)
    assert refused.value.field == f"pools.default.{field}"


def test_an_explicit_pool_has_no_slots_to_place() -> None:
    some = pool(strategy=EXPLICIT)
    Topology(Fleet("shop", unknown_tenant=UnknownTenant.REJECT), tuple(CELLS.values()), (some,)).validate()
    with pytest.raises(AssertionError, match="has no slots"):
        place(some, CELLS)
