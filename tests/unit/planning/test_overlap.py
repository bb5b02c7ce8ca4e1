"""Overlap in theory: the published figures, and the edges."""

from fractions import Fraction

import pytest

from cellplane.errors import ValidationError
from cellplane.planning.overlap import covered, failure_share, shard_count, shared_cells


def test_four_of_fifty_as_in_the_mimir_documentation() -> None:
    """Source: Grafana Mimir documentation, “Configure shuffle sharding”, *Background*.

    https://grafana.com/docs/mimir/latest/configure/configure-shuffle-sharding/: 71 %, 26 %, 2.7 %, 0.08 %, 0.0004 %.
    """
    percent = [float(chance) * 100 for chance in shared_cells(50, 4)]
    assert percent[0] == pytest.approx(71, abs=0.5)
    assert percent[1] == pytest.approx(26, abs=0.5)
    assert percent[2] == pytest.approx(2.7, abs=0.05)
    assert percent[3] == pytest.approx(0.08, abs=0.005)
    assert percent[4] == pytest.approx(0.0004, abs=0.00005)


@pytest.mark.parametrize(("heavy", "published"), [(1, 2.3e-10), (4, 4.9e-4), (16, 0.36)])
def test_hand_of_eight_of_64_queues_as_in_the_kubernetes_documentation(heavy: int, published: float) -> None:
    """Source: Kubernetes documentation, “API Priority and Fairness”, table of example shuffle sharding configurations.

    https://kubernetes.io/docs/concepts/cluster-administration/flow-control/: the probability that a light flow is
    squished by 1, 4 or 16 heavy flows.
    """
    assert float(f"{float(covered(64, 8, heavy)):.2g}") == published


def test_two_of_a_hundred_share_both_once_in_4950() -> None:
    """Source: “Cell-Based Architecture: Limit Blast Radius at Scale” (2026), *Shuffle Sharding*; C(100, 2) = 4,950."""
    assert shared_cells(100, 2)[2] == Fraction(1, 4950)


def test_two_of_sixteen_share_both_once_in_120_and_one_cell_is_an_eighth() -> None:
    """Source: “Cell-Based Architecture: Limit Blast Radius at Scale” (2026), its worked notification service."""
    assert shared_cells(16, 2)[2] == Fraction(1, 120)
    one = failure_share(16, 2, 1)
    assert one.down == 0
    assert one.degraded == Fraction(1, 8)


def test_eight_choose_two_is_28() -> None:
    """Source: AWS Builders' Library, “Workload isolation using shuffle-sharding”: eight workers, shards of two."""
    assert shard_count(8, 2) == 28


def test_a_failure_of_a_whole_shard_takes_down_its_tenants_alone() -> None:
    two = failure_share(8, 2, 2)
    assert two.down == Fraction(1, 28)
    assert two.degraded == Fraction(12, 28)


def test_no_failure_hurts_nobody_and_a_failure_of_all_cells_everybody() -> None:
    none, everything = failure_share(5, 2, 0), failure_share(5, 2, 5)
    assert none.down == none.degraded == 0
    assert everything.down == 1
    assert everything.degraded == 0


def test_without_heavy_tenants_nobody_is_covered() -> None:
    assert covered(16, 2, 0) == 0


def test_shards_of_all_cells_isolate_nothing() -> None:
    assert [int(chance) for chance in shared_cells(3, 3)] == [0, 0, 0, 1]
    assert covered(3, 3, 1) == 1


@pytest.mark.parametrize(
    ("cells", "shard_size", "field"),
    [(0, 1, "cells"), (65_535, 1, "cells"), (4, 0, "shard_size"), (4, 5, "shard_size"), (100, 65, "shard_size")],
)
def test_shards_that_cannot_be_are_refused(cells: int, shard_size: int, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        shared_cells(cells, shard_size)
    assert caught.value.field == field


def test_more_failures_than_cells_and_too_many_heavy_tenants_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"failed: expected 0 to 4, found 5"):
        failure_share(4, 2, 5)
    with pytest.raises(ValidationError, match=r"heavy: expected 0 to 1,000, found 1,001"):
        covered(4, 2, 1_001)
