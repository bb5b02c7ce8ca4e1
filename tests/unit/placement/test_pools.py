"""Published hash values, and what a strategy makes of a fleet."""

from collections import Counter

import pytest

from cellplane.model import Cell, Pool, StrategyName
from cellplane.placement import SLOT_COUNT, key_hash, place, slot_of
from cellplane.placement.modulo import fnv1a32

CELLS = {f"cell-{number}": Cell(f"cell-{number}", "h", 1) for number in range(1, 11)}


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


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_every_cell_gets_about_its_share(strategy: StrategyName) -> None:
    counts = Counter(place(Pool("default", tuple(CELLS), strategy), CELLS))
    assert set(counts) == set(CELLS)
    mean = SLOT_COUNT / len(CELLS)
    tolerance = 0.05 if strategy is StrategyName.MODULO else 0.25
    assert all(abs(count - mean) <= tolerance * mean for count in counts.values()), counts


@pytest.mark.parametrize("strategy", list(StrategyName))
def test_weight_is_a_share(strategy: StrategyName) -> None:
    cells = {"heavy": Cell("heavy", "h", 1, weight=3), "light": Cell("light", "h", 1)}
    counts = Counter(place(Pool("default", ("heavy", "light"), strategy), cells))
    assert 2.4 < counts["heavy"] / counts["light"] < 3.6


def test_the_order_of_cells_means_nothing() -> None:
    forth = place(Pool("default", tuple(CELLS)), CELLS)
    back = place(Pool("default", tuple(reversed(CELLS))), dict(reversed(CELLS.items())))
    assert forth == back


def test_one_cell_more_moves_about_its_own_share_of_the_ring_and_nothing_between_the_others() -> None:
    before = place(Pool("default", tuple(CELLS)), CELLS)
    more = {**CELLS, "cell-11": Cell("cell-11", "h", 1)}
    after = place(Pool("default", tuple(more)), more)
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"cell-11"}
    assert len(moved) < SLOT_COUNT / 11 * 1.25


def test_one_cell_less_moves_only_its_own_slots() -> None:
    before = place(Pool("default", tuple(CELLS)), CELLS)
    less = {key: cell for key, cell in CELLS.items() if key != "cell-4"}
    after = place(Pool("default", tuple(less)), less)
    assert all(new == old for old, new in zip(before, after, strict=True) if old != "cell-4")
