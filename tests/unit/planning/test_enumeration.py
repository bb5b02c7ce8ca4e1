"""Overlap and cover counted over real assignments."""

from math import comb

import numpy as np
import pytest

from cellplane.errors import ValidationError
from cellplane.planning import enumeration
from cellplane.planning.enumeration import count_pairs, covered_share
from cellplane.planning.overlap import covered, shared_cells
from cellplane.planning.planned import deal


def rows(*shards: tuple[int, ...]) -> "np.typing.NDArray[np.int64]":
    return np.array(shards, dtype=np.int64)


def test_pairs_are_counted_by_what_they_share() -> None:
    counts = count_pairs(rows((0, 1), (1, 0), (1, 2), (3, -1)))
    assert counts.by_shared == (3, 2, 1)
    assert counts.pairs == 6
    assert counts.shards == 3
    assert counts.largest_shared == 2
    assert counts.shares() == pytest.approx((0.5, 1 / 3, 1 / 6))


def test_one_tenant_makes_no_pair() -> None:
    counts = count_pairs(rows((0, 1)))
    assert counts.by_shared == (0, 0, 0)
    assert counts.shares() == (0.0, 0.0, 0.0)
    assert counts.largest_shared == 0


def test_every_shard_of_eight_choose_two_once_gives_the_theory_without_replacement() -> None:
    shards = deal(cells=8, shard_size=2, tenants=2000, seed=3)
    every = np.unique(np.sort(shards, axis=1), axis=0)
    assert len(every) == comb(8, 2) == 28
    assert count_pairs(every).by_shared == (28 * 15 // 2, 28 * 12 // 2, 0)


@pytest.mark.parametrize(("cells", "shard_size"), [(50, 4), (16, 2), (12, 1)])
def test_a_hundred_thousand_dealt_tenants_come_close_to_theory(cells: int, shard_size: int) -> None:
    counts = count_pairs(deal(cells=cells, shard_size=shard_size, tenants=100_000, seed=11))
    for share, chance in zip(counts.shares(), shared_cells(cells, shard_size), strict=True):
        assert share == pytest.approx(float(chance), rel=0.02, abs=1e-7)


def test_cover_of_many_dealt_hands_comes_close_to_the_published_figure() -> None:
    """Source: Kubernetes documentation, “API Priority and Fairness”: hands of 8 of 64 queues, 16 heavy flows: 0.36."""
    found = [covered_share(deal(cells=64, shard_size=8, tenants=2016, seed=seed), range(16)) for seed in range(60)]
    assert np.mean(found) == pytest.approx(float(covered(64, 8, 16)), abs=0.03)


def test_a_tenant_is_covered_when_no_cell_of_it_is_free() -> None:
    shards = rows((0, 1), (2, -1), (1, 2), (1, 3), (0, -1))
    assert covered_share(shards, [0, 1]) == pytest.approx(2 / 3)
    assert covered_share(shards, []) == 0
    assert covered_share(shards, range(5)) == 0


def test_a_heavy_tenant_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"heavy: tenant 2 is none of 2"):
        covered_share(rows((0,), (1,)), [2])


def test_more_subsets_than_can_be_counted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enumeration, "MAX_SUBSETS", 7)
    with pytest.raises(ValidationError, match=r"tenants: 2 different shards of 2 .* count fewer"):
        count_pairs(rows((0, 1), (1, 2)))
