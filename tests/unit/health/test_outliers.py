"""Who is worse than the others in one window."""

from dataclasses import replace

import pytest

from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS
from cellplane.health.outliers import Outlier, PeerMeasure, compare
from cellplane.health.rates import Rates
from cellplane.model.health import PeerSettings

SETTINGS = PeerSettings()
FAST, SLOW, STUCK = 14, 24, 35
"""Buckets that end at 0.064 s and at 2.048 s, and the one past all bounds."""


def rates(errors: int = 0, slow: int = 0, fast: int = 500, seconds: float = 25.0, slow_bucket: int = SLOW) -> Rates:
    """Requests of 0.055 s and of 1.7 s."""
    counts = [0] * (len(LATENCY_BOUNDS_SECONDS) + 1)
    counts[FAST] += fast
    counts[slow_bucket] += slow
    return Rates(seconds, fast + slow, errors, tuple(counts), 0.055 * fast + 1.7 * slow)


def measures(found: tuple[Outlier, ...]) -> list[PeerMeasure]:
    return [outlier.measure for outlier in found]


def test_alike_cells_have_no_outlier() -> None:
    assert compare({f"cell-{number}": rates(errors=1) for number in range(4)}, SETTINGS) == {}


def test_errors_alone_are_found_with_their_figures() -> None:
    found = compare({"cell-1": rates(), "cell-2": rates(errors=15), "cell-3": rates()}, SETTINGS)
    assert list(found) == ["cell-2"]
    (outlier,) = found["cell-2"]
    assert (outlier.measure, outlier.value, outlier.usual) == (PeerMeasure.ERROR_RATE, 0.03, 0)
    assert outlier.z == pytest.approx(0.03 / 0.003, rel=0.2)


def test_slow_requests_are_found_by_every_measure_of_latency() -> None:
    found = compare({"cell-1": rates(fast=400, slow=100), "cell-2": rates(), "cell-3": rates()}, SETTINGS)
    assert measures(found["cell-1"]) == [PeerMeasure.MEAN, PeerMeasure.P90, PeerMeasure.P99]
    assert list(found) == ["cell-1"]


def test_better_than_the_others_is_no_outlier() -> None:
    found = compare({"cell-1": rates(), "cell-2": rates(30, 100), "cell-3": rates(30, 100)}, SETTINGS)
    assert found == {}


def test_two_of_five_are_both_found() -> None:
    cells = {f"cell-{number}": rates(errors=20 * (number < 2)) for number in range(5)}
    assert list(compare(cells, SETTINGS)) == ["cell-0", "cell-1"]


def test_two_of_three_are_what_is_usual() -> None:
    assert compare({"cell-1": rates(20), "cell-2": rates(20), "cell-3": rates()}, SETTINGS) == {}


def test_of_two_cells_nobody_knows_which_is_wrong() -> None:
    assert compare({"cell-1": rates(errors=400), "cell-2": rates()}, SETTINGS) == {}


def test_a_cell_with_little_traffic_or_a_short_window_is_neither_judged_nor_a_peer() -> None:
    bad = rates(errors=400)
    few = rates(fast=99)
    assert compare({"cell-1": bad, "cell-2": rates(), "cell-3": few}, SETTINGS) == {}
    assert compare({"cell-1": bad, "cell-2": rates(), "cell-3": rates(seconds=12)}, SETTINGS) == {}
    assert compare({"cell-1": bad, "cell-2": rates(), "cell-3": Rates()}, SETTINGS) == {}
    assert list(compare({"cell-1": bad, "cell-2": rates(), "cell-3": rates(), "cell-4": few}, SETTINGS)) == ["cell-1"]


def test_a_cell_that_answers_nothing_has_an_error_rate() -> None:
    silent = Rates(25.0, 500, 500, (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1))
    cells = {"cell-1": silent, "cell-2": rates(), "cell-3": rates(), "cell-4": rates()}
    found = compare(cells, SETTINGS)
    assert list(found) == ["cell-1"]
    assert measures(found["cell-1"]) == [PeerMeasure.ERROR_RATE]


def test_differences_under_the_floors_are_none() -> None:
    peers = {"cell-2": rates(), "cell-3": rates()}
    assert compare({"cell-1": rates(errors=4), **peers}, SETTINGS) == {}
    a_little_slower = replace(rates(), latency_seconds=500 * 0.055 * 1.8)
    assert compare({"cell-1": a_little_slower, **peers}, SETTINGS) == {}
    much_slower = replace(rates(), latency_seconds=500 * 0.055 * 2)
    assert measures(compare({"cell-1": much_slower, **peers}, SETTINGS)["cell-1"]) == [PeerMeasure.MEAN]


def test_very_fast_cells_are_not_compared_by_milliseconds() -> None:
    peers = {f"cell-{number}": replace(rates(), latency_seconds=0.5) for number in (2, 3)}
    assert compare({"cell-1": replace(rates(), latency_seconds=10.0), **peers}, SETTINGS) == {}


def test_one_request_that_hung_does_not_make_a_cell_slow() -> None:
    hung = replace(rates(slow=1, slow_bucket=STUCK), latency_seconds=500 * 0.055 + 65)
    assert compare({"cell-1": hung, "cell-2": rates(), "cell-3": rates()}, SETTINGS) == {}


def test_a_percentile_at_the_edge_between_fast_and_slow_decides_nothing() -> None:
    """9 and 11 % of the requests are slow: the p90 of the one is 30 times that of the others, by ten requests."""
    cells = {"cell-1": rates(fast=445, slow=55), "cell-2": rates(fast=455, slow=45), "cell-3": rates(fast=455, slow=45)}
    one, other = cells["cell-1"].percentile_seconds(0.9), cells["cell-2"].percentile_seconds(0.9)
    assert one is not None
    assert other is not None
    assert one > 20 * other
    assert compare(cells, SETTINGS) == {}


def test_unlike_peers_widen_what_is_usual() -> None:
    alike = {f"cell-{number}": rates(errors=5) for number in range(2, 6)}
    unlike = {f"cell-{number}": rates(errors=errors) for number, errors in enumerate((0, 5, 15, 20), 2)}
    one = rates(errors=22)
    assert list(compare({"cell-1": one, **alike}, SETTINGS)) == ["cell-1"]
    assert compare({"cell-1": one, **unlike}, SETTINGS) == {}


def test_more_errors_than_requests_are_all_of_them() -> None:
    found = compare({"cell-1": rates(errors=600), "cell-2": rates(), "cell-3": rates()}, SETTINGS)
    assert found["cell-1"][0].value == 1
