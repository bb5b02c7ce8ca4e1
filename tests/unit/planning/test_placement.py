"""Placements: what is one, and how equal shards are found."""

import math
from dataclasses import replace

import numpy as np
import pytest

from cellplane.errors import ValidationError
from cellplane.planning.placement import Placement, PlannedCell, merge_equal, row_codes
from cellplane.planning.planned import deal, planned_placement, scattered

GOOD = Placement(
    cells=(PlannedCell("eu-1", 10, "eu"), PlannedCell("eu-2", 10, "eu"), PlannedCell("us-1", 10, "us")),
    shards=np.array([[0, 1], [2, -1]], dtype=np.int64),
    tenant_shard=np.array([0, 0, 1], dtype=np.int64),
    tenant_rps=np.array([1.0, 2.0, 3.0]),
)


def ints(*rows: object) -> "np.typing.NDArray[np.int64]":
    return np.array(rows, dtype=np.int64)


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        ({"cells": ()}, "cells"),
        ({"cells": (GOOD.cells[0], GOOD.cells[0], GOOD.cells[2])}, "cells[1].id"),
        ({"cells": (PlannedCell("a", 0), *GOOD.cells[1:])}, "cells[0].capacity_rps"),
        ({"cells": (PlannedCell("a", math.nan), *GOOD.cells[1:])}, "cells[0].capacity_rps"),
        ({"shards": ints(0, 1)}, "shards"),
        ({"shards": ints([0, 3], [2, -1])}, "shards"),
        ({"shards": ints([0, -2], [2, -1])}, "shards"),
        ({"shards": ints([-1, 0], [2, -1])}, "shards"),
        ({"shards": ints([0, -1, 1], [2, -1, -1])}, "shards"),
        ({"shards": ints([0, 0], [2, -1])}, "shards"),
        ({"shards": ints([2, -1], [1, 2])}, "shards[1]"),
        ({"shards": np.empty((2, 0), dtype=np.int64)}, "shards"),
        ({"tenant_shard": ints(0, 1)}, "tenant_rps"),
        ({"tenant_shard": ints(0, 1, 2)}, "tenant_shard"),
        ({"tenant_shard": ints(0, 1, -1)}, "tenant_shard"),
        ({"tenant_rps": np.array([1.0, 2.0, -0.5])}, "tenant_rps"),
        ({"tenant_rps": np.array([1.0, 2.0, np.nan])}, "tenant_rps"),
    ],
)
def test_a_broken_placement_names_its_field(broken: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        replace(GOOD, **broken)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_shard_across_jurisdictions_names_both_cells() -> None:
    with pytest.raises(ValidationError, match=r"'eu-2' is in 'eu' and 'us-1' in 'us'"):
        replace(GOOD, shards=ints([0, 1], [1, 2]))


def test_a_placement_may_have_no_tenants_and_no_shards() -> None:
    empty = Placement(GOOD.cells, np.empty((0, 2), dtype=np.int64), ints(), np.array([]))
    assert len(empty.tenant_shard) == 0


def test_equal_rows_are_merged() -> None:
    rows = ints([0, 1], [1, 0], [0, 1], [2, -1])
    shards, of_row = merge_equal(rows, 3)
    assert len(shards) == 3
    assert (shards[of_row] == rows).all()


def test_rows_too_wide_for_one_number_are_told_apart_all_the_same() -> None:
    generator = np.random.default_rng(5)
    rows = generator.integers(-1, 60_000, size=(500, 9)).astype(np.int64)
    rows = np.concatenate([rows, rows[:100], rows[:1] + (np.arange(9) == 8)])
    assert len(np.unique(row_codes(rows, 65_534))) == len(np.unique(rows, axis=0)) == 501


def test_dealt_shards_are_different_cells_and_every_cell_is_as_likely() -> None:
    shards = deal(cells=10, shard_size=3, tenants=30_000, seed=1)
    in_order = np.sort(shards, axis=1)
    assert (in_order[:, 1:] > in_order[:, :-1]).all()
    for place in range(3):
        counts = np.bincount(shards[:, place], minlength=10)
        chi_squared = float(((counts - 3000) ** 2 / 3000).sum())
        # The 99.99 % quantile of χ² with 9 degrees of freedom; the seed is fixed.
        assert chi_squared < 33.7


def test_equal_seeds_deal_equal_shards_on_every_machine() -> None:
    expected = [[1, 0, 3], [4, 3, 0], [7, 1, 6], [5, 0, 1]]
    assert deal(cells=10, shard_size=3, tenants=4, seed=7).tolist() == expected
    assert deal(cells=10, shard_size=3, tenants=4, seed=8).tolist() != expected


def test_scattered_numbers_are_those_of_splitmix64() -> None:
    """Source: the reference implementation, https://prng.di.unimi.it/splitmix64.c, started at the scrambled seed."""
    mask, state, expected = 2**64 - 1, 0xE220A8397B1DCDAF, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) & mask
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
        expected.append(mixed ^ (mixed >> 31))
    # 0xE220A8397B1DCDAF is the first output of SplitMix64 from seed 0.
    assert scattered(0, 5).tolist() == expected


def test_a_planned_fleet_shares_its_load_equally() -> None:
    fleet = planned_placement(cells=6, shard_size=2, tenants=300, rps=600, capacity_rps=math.inf, seed=0)
    assert [cell.id for cell in fleet.cells] == [f"cell-{number}" for number in range(1, 7)]
    assert fleet.tenant_rps.tolist() == [2.0] * 300
    assert len(fleet.shards) <= 6 * 5


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"tenants": 0}, "tenants"), ({"rps": 0.0}, "rps"), ({"shard_size": 7}, "shard_size"), ({"seed": -1}, "seed")],
)
def test_a_fleet_that_cannot_be_planned_names_the_argument(changed: dict[str, float], field: str) -> None:
    arguments = {"cells": 6, "shard_size": 2, "tenants": 10, "rps": 1.0, "capacity_rps": 1.0, "seed": 0} | changed
    with pytest.raises(ValidationError) as caught:
        planned_placement(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field
