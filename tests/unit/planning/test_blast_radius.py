"""Whom failures hurt, and whether the survivors hold the load."""

import math
import time

import numpy as np
import pytest

from cellplane.errors import ValidationError
from cellplane.planning import blast_radius
from cellplane.planning.blast_radius import Exposure, LoadSplit
from cellplane.planning.placement import Placement, PlannedCell
from cellplane.planning.planned import planned_placement


def fleet(capacity_rps: float = 100.0) -> Placement:
    """Three cells; ten tenants on (a, b), five on (b, c), three on c alone; 2 requests a second each."""
    return Placement(
        cells=tuple(PlannedCell(name, capacity_rps) for name in ("a", "b", "c")),
        shards=np.array([[0, 1], [1, 2], [2, -1]], dtype=np.int64),
        tenant_shard=np.repeat(np.arange(3), [10, 5, 3]),
        tenant_rps=np.full(18, 2.0),
    )


def test_load_is_on_the_first_cell_of_a_shard() -> None:
    exposure = Exposure(fleet())
    assert exposure.cell_rps.tolist() == [20, 10, 6]
    assert (exposure.tenants, exposure.rps) == (18, 36)


def test_load_may_be_even_over_a_shard() -> None:
    assert Exposure(fleet(), LoadSplit.EVEN).cell_rps.tolist() == [10, 15, 11]


def test_one_failure_degrades_whom_another_cell_serves() -> None:
    impact = Exposure(fleet()).fail(["a"])
    assert (impact.tenants_down, impact.tenants_degraded) == (0, 10)
    assert (impact.rps_down, impact.rps_moved) == (0, 20)
    assert impact.holds is True


def test_a_failed_spare_moves_no_load() -> None:
    impact = Exposure(fleet()).fail(["c"])
    assert (impact.tenants_down, impact.tenants_degraded) == (3, 5)
    assert (impact.rps_down, impact.rps_moved) == (6, 0)


def test_two_failures_take_down_the_shard_that_has_no_third() -> None:
    impact = Exposure(fleet()).fail(["b", "a", "a"])
    assert impact.failed == ("a", "b")
    assert (impact.tenants_down, impact.tenants_degraded) == (10, 5)
    assert (impact.rps_down, impact.rps_moved) == (20, 10)


def test_even_load_moves_from_the_failed_part_of_a_shard() -> None:
    impact = Exposure(fleet(), LoadSplit.EVEN).fail(["b"])
    assert impact.rps_moved == pytest.approx(15)
    assert impact.rps_down == 0


def test_an_overloaded_survivor_is_named_with_its_load() -> None:
    exposure = Exposure(fleet(capacity_rps=25.0))
    impact = exposure.fail(["a"])
    (over,) = impact.overloaded
    assert (over.cell, over.before_rps, over.rps, over.capacity_rps) == ("b", 10, 30, 25)
    assert impact.holds is False
    assert exposure.overloaded_before() == ()


def test_a_cell_that_was_over_capacity_before_is_no_consequence_of_the_failure() -> None:
    exposure = Exposure(fleet(capacity_rps=19.0))
    assert exposure.overloaded_before() == ("a",)
    assert exposure.fail(["b"]).overloaded == ()


def test_unknown_capacity_is_no_promise() -> None:
    exposure = Exposure(fleet(math.inf))
    assert exposure.fail(["a"]).holds is None
    assert exposure.fail(["c"]).holds is True, "nothing moved"


def test_all_cells_are_everybody() -> None:
    for split in LoadSplit:
        impact = Exposure(fleet(), split).fail(["a", "b", "c"])
        assert (impact.tenants_down, impact.tenants_degraded, impact.rps_down) == (18, 0, 36)


def test_every_single_cell_and_every_pair_is_failed_once() -> None:
    exposure = Exposure(fleet())
    assert [impact.failed for impact in exposure.fail_each()] == [("a",), ("b",), ("c",)]
    assert [impact.failed for impact in exposure.fail_pairs()] == [("a", "b"), ("a", "c"), ("b", "c")]


def test_an_unknown_cell_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"fail: no cell is named 'x'; there are a, b, c"):
        Exposure(fleet()).fail(["a", "x"])
    with pytest.raises(ValidationError, match=r"fail: expected at least one cell"):
        Exposure(fleet()).fail([])


def test_more_pairs_than_are_worth_it_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blast_radius, "MAX_FAILURES", 2)
    exposure = Exposure(fleet())
    assert len(exposure.fail_each()) == 3, "singles are as many as cells, and a fleet's cells are bounded"
    with pytest.raises(ValidationError, match=r"all_pairs: 3 cells have 3 pairs, more than 2"):
        exposure.fail_pairs()


def test_a_fleet_without_tenants_loses_none() -> None:
    empty = Placement(fleet().cells, np.empty((0, 1), dtype=np.int64), np.array([], dtype=np.int64), np.array([]))
    impact = Exposure(empty).fail(["a"])
    assert (impact.tenants_down, impact.rps_down, impact.holds) == (0, 0, True)


@pytest.mark.parametrize(("cells", "tenants"), [(300, 100_000), pytest.param(1000, 1_000_000, marks=pytest.mark.long)])
def test_many_cells_fail_one_by_one(cells: int, tenants: int) -> None:
    began = time.process_time()
    placement = planned_placement(cells=cells, shard_size=2, tenants=tenants, rps=50_000, capacity_rps=250, seed=1)
    impacts = Exposure(placement).fail_each()
    seconds = time.process_time() - began
    assert len(impacts) == cells
    assert sum(impact.tenants_degraded for impact in impacts) == 2 * tenants
    assert seconds < 60  # generous: this is for what grows with the square
