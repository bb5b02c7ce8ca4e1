"""What fleets cost."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.planning.cost import CellShape, Cost, Demand, Price, Prices, Traffic, compare


def price(usd: float) -> Price:
    return Price(usd, "unit", "what", "https://example.org/", "2026-11-21")


PRICES = Prices(price(0.1), price(0.2), price(0.05), price(0.01), price(0.02))
DEMAND = Demand(tenants=100, peak_rps=1_000, headroom=1.5)
SHAPE = CellShape(rps_per_instance=100, rps_per_database=500, operations_usd_month=10)
TRAFFIC = Traffic(internal_gb_month=3_000, cross_region_gb_month=500)


def month(cells: int, *, shape: CellShape = SHAPE, traffic: Traffic = TRAFFIC) -> Cost:
    return compare(DEMAND, shape, traffic, PRICES, [cells]).fleets[0]


def test_one_cell_buys_what_the_peak_needs() -> None:
    one = month(1)
    assert (one.instances, one.databases) == (15, 6)
    assert one.fixed_usd == pytest.approx((2 * 0.1 + 2 * 0.2 + 0.05) * 730 + 10)
    assert one.variable_usd == pytest.approx((13 * 0.1 + 4 * 0.2) * 730)
    assert one.total_usd == pytest.approx(one.fixed_usd + one.variable_usd)
    assert one.tenant_usd == pytest.approx(one.total_usd / 100)


def test_small_cells_round_up_and_then_cost_their_least_size() -> None:
    assert month(4).instances == 16, "375 requests/s each: four instances instead of 3.75"
    many = month(100)
    assert (many.instances, many.databases) == (200, 200)
    assert many.variable_usd == 0
    assert many.fixed_usd == pytest.approx(100 * month(1).fixed_usd)


def test_traffic_between_three_zones_crosses_two_times_in_three_and_is_charged_twice() -> None:
    comparison = compare(DEMAND, SHAPE, TRAFFIC, PRICES, [2])
    assert comparison.shared.transfer_usd == pytest.approx(3_000 * 2 / 3 * 2 * 0.01 + 500 * 0.02)
    assert comparison.shared.saved_usd == 0
    (cells,) = comparison.fleets
    assert cells.transfer_usd == 0
    assert cells.saved_usd == pytest.approx(comparison.shared.transfer_usd)


def test_a_cell_over_several_zones_saves_less() -> None:
    two_zones = month(2, traffic=replace(TRAFFIC, zones_per_cell=2))
    assert two_zones.transfer_usd == pytest.approx(3_000 / 2 * 2 * 0.01)
    three_zones = month(2, traffic=replace(TRAFFIC, zones_per_cell=3))
    assert three_zones.saved_usd == pytest.approx(500 * 0.02), "only what crossed regions"


def test_the_cheapest_fleet_is_the_smallest_of_equals() -> None:
    comparison = compare(DEMAND, SHAPE, TRAFFIC, PRICES, [8, 1, 1])
    assert comparison.cheapest.cells == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"demand": replace(DEMAND, tenants=0)}, "tenants"),
        ({"demand": replace(DEMAND, peak_rps=-1)}, "peak_rps"),
        ({"demand": replace(DEMAND, headroom=0.5)}, "headroom"),
        ({"shape": replace(SHAPE, rps_per_instance=0)}, "rps_per_instance"),
        ({"shape": replace(SHAPE, rps_per_database=0)}, "rps_per_database"),
        ({"shape": replace(SHAPE, least_instances=0)}, "least_instances"),
        ({"shape": replace(SHAPE, database_copies=0)}, "database_copies"),
        ({"shape": replace(SHAPE, operations_usd_month=-1)}, "operations_usd_month"),
        ({"traffic": replace(TRAFFIC, internal_gb_month=-1)}, "internal_gb_month"),
        ({"traffic": replace(TRAFFIC, cross_region_gb_month=-1)}, "cross_region_gb_month"),
        ({"traffic": replace(TRAFFIC, zones=0)}, "zones"),
        ({"traffic": replace(TRAFFIC, zones_per_cell=4)}, "zones_per_cell"),
        ({"cells": []}, "cells"),
        ({"cells": [1, 0]}, "cells"),
    ],
)
def test_what_cannot_be_names_its_field(changed: dict[str, object], field: str) -> None:
    arguments = {"demand": DEMAND, "shape": SHAPE, "traffic": TRAFFIC, "prices": PRICES, "cells": [1]} | changed
    with pytest.raises(ValidationError) as caught:
        compare(**arguments)  # type: ignore[arg-type]
    assert caught.value.field == field
