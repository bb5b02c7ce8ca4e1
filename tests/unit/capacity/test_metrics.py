"""What a cell holds: its metrics, their text, and what is left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.capacity.exposition import LIMITS, MAX_BYTES, USED, read_metrics
from cellplane.capacity.headroom import of_cell, of_pool
from cellplane.capacity.metrics import CellMetrics, Resource, Use, Utilisation, is_stale, utilisation, within
from cellplane.capacity.settings import CapacitySettings
from cellplane.errors import ValidationError
from cellplane.model import Capacity, Cell, CellStatus, Pool

TEXT = """# HELP cellplane_cell_cpu_ratio CPU in use
# TYPE cellplane_cell_cpu_ratio gauge
cellplane_cell_cpu_ratio{instance="api-1"} 0.25
cellplane_cell_cpu_ratio{instance="api-2",note="a \\"}\\" b"} 0.5 1700000000000
cellplane_cell_storage_bytes{database="main"} 2.147483648e+09
cellplane_cell_storage_bytes{database="files"} 1073741824
cellplane_cell_storage_limit_bytes 1.073741824e+10
cellplane_cell_connections 30
cellplane_cell_connections_limit 40
cellplane_cell_requests_per_second 120.5
cellplane_cell_tenants 7
cellplane_cell_colour 3
process_cpu_seconds_total 12 not a number at all
# EOF
"""


def metrics(**uses: Use) -> CellMetrics:
    return CellMetrics("cell-1", 100.0, {Resource(name): use for name, use in uses.items()})


def test_metrics_are_read_from_prometheus_text() -> None:
    found = read_metrics("cell-1", TEXT, 5.0)
    assert found == CellMetrics(
        "cell-1",
        5.0,
        {
            Resource.CPU: Use(0.5, 1.0),
            Resource.STORAGE: Use(3.0, 10.0),
            Resource.CONNECTIONS: Use(30.0, 40.0),
            Resource.RPS: Use(120.5),
            Resource.TENANTS: Use(7.0),
        },
    )
    assert utilisation(found) == Utilisation(0.75, Resource.CONNECTIONS)


def test_a_cell_that_says_nothing_has_no_utilisation() -> None:
    found = read_metrics("cell-1", "up 1\n", 5.0)
    assert found.uses == {}
    assert utilisation(found) is None
    assert of_cell(found, 0.7).left is None


def test_a_limit_of_0_is_none() -> None:
    text = "cellplane_cell_connections 3\ncellplane_cell_connections_limit 0\n"
    assert read_metrics("cell-1", text, 0.0).uses[Resource.CONNECTIONS] == Use(3.0)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "many", "1e999", "1e13"])
def test_no_amount_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        read_metrics("cell-1", f"cellplane_cell_tenants {value}\n", 0.0)


@pytest.mark.parametrize(
    "line", ["cellplane_cell_tenants", 'cellplane_cell_tenants{a="b} 1', "cellplane_cell_tenants 1 2 3"]
)
def test_a_broken_line_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ValidationError, match=r"metrics\[2\]: expected name, labels and value"):
        read_metrics("cell-1", f"up 1\n{line}\n", 0.0)


def test_a_long_text_is_refused() -> None:
    with pytest.raises(ValidationError, match="at most"):
        read_metrics("cell-1", "#" * (MAX_BYTES + 1), 0.0)


@given(st.text(max_size=200), st.sampled_from([*USED, *LIMITS, ""]))
def test_any_text_is_read_or_refused(text: str, name: str) -> None:
    try:
        found = read_metrics("cell-1", f"{name}{text}", 0.0)
    except ValidationError:
        return
    found.validate("metrics")


def test_of_two_limits_the_lower_counts() -> None:
    found = within(metrics(rps=Use(50, 200), storage=Use(1), cpu=Use(0.1, 1)), Capacity(rps=100, storage_gib=4))
    assert found.uses == {
        Resource.RPS: Use(50, 100), Resource.STORAGE: Use(1, 4), Resource.CPU: Use(0.1, 1),
    }  # fmt: skip
    assert utilisation(found) == Utilisation(0.5, Resource.RPS)


def test_old_metrics_are_stale_and_those_of_a_clock_ahead_are_not() -> None:
    assert is_stale(metrics(), 220.0, 120.0)
    assert not is_stale(metrics(), 219.0, 120.0)
    assert not is_stale(metrics(), 0.0, 120.0)


def test_headroom_of_a_cell_is_what_is_left_until_the_mark() -> None:
    found = of_cell(metrics(cpu=Use(0.35, 1), storage=Use(9, 10)), 0.7)
    assert (found.share, found.resource, found.left) == (0.9, Resource.STORAGE, 0.0)
    assert found.rooms[Resource.CPU].share == pytest.approx(0.5)


def test_headroom_of_a_pool_is_that_of_its_open_cells() -> None:
    cells = {f"cell-{number}": Cell(f"cell-{number}", "h", 1) for number in range(4)}
    cells["cell-1"] = replace(cells["cell-1"], status=CellStatus.LOCKED)
    cells["cell-3"] = replace(cells["cell-3"], status=CellStatus.DRAINING)
    known = {
        name: of_cell(CellMetrics(name, 0, {Resource.RPS: Use(used, 100), Resource.CPU: Use(0, 1)}), 0.7)
        for name, used in (("cell-0", 35), ("cell-1", 60))
    }
    found = of_pool(Pool("one", tuple(cells)), cells, known)
    assert (found.cells, found.open_cells, found.unknown_cells) == (3, 2, 1)
    assert found.binds is Resource.RPS
    assert found.left == pytest.approx(35 / 140)
    assert of_pool(Pool("one", tuple(cells)), cells, {}).left is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"lock_at": 0.0}, "lock_at"),
        ({"unlock_at": 0.7}, "lock_at"),
        ({"unlock_seconds": -1.0}, "unlock_seconds"),
        ({"max_points": 5}, "max_points"),
        ({"max_cells": 0}, "max_cells"),
        ({"max_total": Capacity(rps=-1)}, "max_total.rps"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], field: str) -> None:
    CapacitySettings().validate("capacity")
    with pytest.raises(ValidationError) as found:
        replace(CapacitySettings(), **change).validate("capacity")  # type: ignore[arg-type]
    assert found.value.field == f"capacity.{field}"
