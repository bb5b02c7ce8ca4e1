"""How many cells, and why."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.planning.bands import BANDS, band_named
from cellplane.planning.sizing import Constraint, Workload, size

BASE = Workload(peak_rps=50_000, cell_rps=5_000)


def test_ten_full_cells_with_headroom_are_fifteen() -> None:
    """Formula: “Cell-Based Architecture: Limit Blast Radius at Scale” (2026), ceil(peak / ceiling) × 1.5.

    Its worked example says 16 for the same figures; the formula gives 15.
    """
    answer = size(BASE)
    assert answer.cells == 15
    assert answer.binding is Constraint.RPS
    assert answer.needs[0].full_cells == 10
    assert answer.needs[0].utilisation == pytest.approx(2 / 3)
    assert answer.blast_radius == pytest.approx(1 / 15)
    assert answer.survives_one
    assert answer.fits is None
    assert answer.findings == ()


@pytest.mark.parametrize(
    ("peak", "ceiling", "headroom", "cells"),
    [(1.1, 0.1, 1.0, 11), (10, 1, 1.1, 11), (0.3, 0.1, 1.0, 3), (10.001, 1, 1.0, 11), (1, 5, 1.5, 2), (3, 1, 1.34, 5)],
)
def test_decimals_are_taken_as_written(peak: float, ceiling: float, headroom: float, cells: int) -> None:
    assert size(Workload(peak_rps=peak, cell_rps=ceiling, headroom=headroom)).cells == cells


def test_the_constraint_that_needs_most_binds() -> None:
    by_storage = size(replace(BASE, storage_gib=90_000, cell_storage_gib=1_000))
    assert (by_storage.cells, by_storage.binding) == (135, Constraint.STORAGE)
    by_tenants = size(replace(BASE, tenants=20_000, cell_tenants=500))
    assert (by_tenants.cells, by_tenants.binding) == (60, Constraint.TENANTS)
    assert [need.constraint for need in by_tenants.needs] == [Constraint.RPS, Constraint.TENANTS]


def test_of_equals_the_first_binds() -> None:
    assert size(replace(BASE, tenants=100, cell_tenants=10)).binding is Constraint.RPS


def test_a_fleet_has_at_least_the_cells_of_one_shard() -> None:
    assert size(Workload(peak_rps=1, cell_rps=10, headroom=1, shard_size=4)).cells == 4


def test_a_largest_tenant_beyond_a_cell_is_said() -> None:
    answer = size(replace(BASE, largest_rps=6_000))
    assert answer.fits is False
    assert "does not fit one cell: it needs 1.20" in answer.findings[0]


def test_a_largest_tenant_beyond_its_share_of_a_shard_is_said() -> None:
    answer = size(replace(BASE, largest_rps=3_000, shard_size=2))
    assert answer.fits is False
    assert "takes 60% of a cell, more than 1/2" in answer.findings[0]


def test_a_large_tenant_that_fits_is_mentioned_and_a_small_one_is_not() -> None:
    large = size(replace(BASE, largest_rps=1_500))
    assert large.fits is True
    assert "takes 30% of a cell. As a rule of thumb" in large.findings[0]
    small = size(replace(BASE, largest_rps=1_000))
    assert small.fits is True
    assert small.findings == ()


def test_the_largest_tenant_may_not_fit_by_its_data() -> None:
    answer = size(replace(BASE, largest_rps=1, largest_storage_gib=300, cell_storage_gib=200))
    assert answer.fits is False


def test_a_fleet_without_headroom_does_not_survive_a_cell() -> None:
    answer = size(replace(BASE, headroom=1))
    assert not answer.survives_one
    assert "With one cell down the others do not hold the peak" in answer.findings[0]


def test_very_small_and_very_large_fleets_are_remarked() -> None:
    assert "1 cell: the smallest fleet" in size(Workload(peak_rps=1, cell_rps=9, headroom=1)).findings[-1]
    assert "2 cells: the smallest fleet" in size(Workload(peak_rps=1, cell_rps=9)).findings[-1]
    assert "More than 200 cells" in size(Workload(peak_rps=1000, cell_rps=1)).findings[-1]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"peak_rps": 0}, "peak_rps"),
        ({"peak_rps": float("nan")}, "peak_rps"),
        ({"cell_rps": float("inf")}, "cell_rps"),
        ({"headroom": 0.9}, "headroom"),
        ({"storage_gib": 5}, "cell_storage_gib"),
        ({"largest_storage_gib": 5}, "cell_storage_gib"),
        ({"cell_tenants": 5}, "tenants"),
        ({"tenants": 0}, "tenants"),
        ({"shard_size": 0}, "shard_size"),
        ({"largest_rps": 50_001}, "largest_rps"),
        ({"cell_rps": 0.001}, "cell_rps"),
        ({"storage_gib": 1e9, "cell_storage_gib": 1}, "cell_storage_gib"),
        ({"tenants": 10**9, "cell_tenants": 1}, "cell_tenants"),
    ],
)
def test_a_workload_that_cannot_be_names_its_field(changed: dict[str, float], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        size(replace(BASE, **changed))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_the_four_kinds_have_bands_with_their_source() -> None:
    """Source: “Cell-Based Architecture: Limit Blast Radius at Scale” (2026), table of typical cell sizes."""
    assert {band.name: (band.cell_tenants, band.region_cells) for band in BANDS} == {
        "b2b-saas": ((500, 5_000), (8, 32)),
        "consumer-messaging": ((100_000, 1_000_000), (16, 64)),
        "database": ((50, 500), (16, 128)),
        "internal-platform": ((10, 50), (4, 16)),
    }
    assert all("rule of thumb" in band.source for band in BANDS)


def test_a_fleet_is_compared_with_its_band() -> None:
    band = band_named("b2b-saas")
    assert band.findings(16, 16_000) == ()
    assert band.findings(16, None) == ()
    few, small = band.findings(4, 400)
    assert few == "4 cells are fewer than is usual for B2B SaaS: 8 to 32 a region."
    assert small == "100 companies a cell are fewer than is usual for B2B SaaS: 500 to 5,000."
    assert "more than is usual" in band.findings(64, None)[0]
