"""Rates of counters that restart, and of samples that are missing."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.health.rates import Rates
from cellplane.health.window import Counters, Window, WindowSettings

SETTINGS = WindowSettings(span_seconds=10, bounds_seconds=(0.1, 1.0))


def counters(requests: int, errors: int = 0, **more: float) -> Counters:
    """So many requests, all of 0.5 s."""
    return replace(Counters(requests, errors, (0, requests, 0), requests / 2), **more)  # type: ignore[arg-type]


def observed(*readings: tuple[float, Counters], settings: WindowSettings = SETTINGS) -> Window:
    window = Window(settings)
    for now, reading in readings:
        window = window.observe(reading, now)
    return window


def test_a_window_without_two_samples_knows_nothing() -> None:
    assert Window(SETTINGS).rates(5) == Rates(bounds_seconds=(0.1, 1.0))
    rates = observed((5, counters(1000, 100))).rates(5)
    assert rates == Rates(bounds_seconds=(0.1, 1.0))
    assert (rates.rps, rates.error_rate, rates.mean_seconds, rates.percentile_seconds(0.99)) == (0, None, None, None)


def test_what_was_counted_before_the_first_sample_is_of_no_window() -> None:
    rates = observed((0, counters(1000, 100)), (2, counters(1040, 102))).rates(2)
    assert (rates.seconds, rates.requests, rates.errors, rates.answers) == (2, 40, 2, 40)
    assert (rates.rps, rates.error_rate, rates.mean_seconds) == (20, 0.05, 0.5)
    assert rates.percentile_seconds(0.5) == pytest.approx(0.1 * 10**0.5)
    assert rates.deviation_seconds == 0


def test_a_window_slides() -> None:
    window = observed(*((float(second), counters(second * second)) for second in range(31)))
    rates = window.rates(30)
    assert (rates.seconds, rates.requests) == (10, 30**2 - 20**2)
    assert len(window.samples) == 11
    nearer = window.rates(30, seconds=3)
    assert (nearer.seconds, nearer.requests) == (3, 30**2 - 27**2)


def test_a_missing_sample_loses_nothing() -> None:
    rates = observed((0, counters(0)), (1, counters(20)), (4, counters(80)), (5, counters(100))).rates(5)
    assert (rates.seconds, rates.requests, rates.rps) == (5, 100, 20)


def test_a_window_begins_where_a_sample_is() -> None:
    window = observed((0, counters(0)), (4, counters(40)), (8, counters(80)), (12, counters(120)))
    assert (window.rates(12).seconds, window.rates(12).requests) == (12, 120)
    assert window.rates(12, seconds=5).seconds == 8


def test_after_a_long_silence_a_window_begins_anew() -> None:
    window = observed((0, counters(0)), (1, counters(20)), (7, counters(9000)))
    assert window.rates(7).requests == 0
    assert window.observe(counters(9010), 8).rates(8).requests == 10


def test_old_samples_say_nothing_of_now() -> None:
    window = observed((0, counters(0)), (1, counters(20)))
    assert window.rates(6).requests == 20
    assert window.rates(6.1).requests == 0


def test_a_restart_counts_from_zero() -> None:
    window = observed((0, counters(1000, 50)), (1, counters(1020, 51)), (2, counters(7, 1)), (3, counters(27, 1)))
    rates = window.rates(3)
    assert (rates.requests, rates.errors, rates.answers) == (20 + 7 + 20, 1 + 1 + 0, 47)
    assert rates.latency_seconds == pytest.approx(47 / 2)


@pytest.mark.parametrize(
    "after",
    [
        Counters(200, 3, (0, 150, 0), 75.0),  # errors fell; requests have passed their old number already
        Counters(200, 50, (0, 90, 110), 100.0),  # a bucket fell
        Counters(200, 50, (0, 200, 0), 100.0, generation=1),
    ],
)
def test_a_restart_is_seen_by_any_counter_and_counts_for_all(after: Counters) -> None:
    rates = observed((0, Counters(100, 10, (0, 100, 0), 50.0)), (1, after)).rates(1)
    assert (rates.requests, rates.errors, rates.latency_counts) == (after.requests, after.errors, after.latency_counts)
    assert rates.latency_seconds == after.latency_seconds


def test_a_sum_that_falls_by_a_rounding_is_no_restart() -> None:
    before = Counters(100, 10, (0, 100, 0), 50.0)
    rates = observed((0, before), (1, replace(before, latency_seconds=50.0 - 1e-12))).rates(1)
    assert (rates.requests, rates.latency_seconds) == (0, 0)


def test_gauges_are_means_and_the_lag_is_the_last() -> None:
    rates = observed(
        (0, counters(0, in_flight=99, connections=99, queue_lag_seconds=99)),
        (1, counters(1, in_flight=4, queue_lag_seconds=7)),
        (2, counters(2, in_flight=8, connections=3)),
    ).rates(2)
    assert (rates.in_flight, rates.connections, rates.queue_lag_seconds) == (6, 3, None)
    rates = observed((0, counters(0)), (1, counters(1, queue_lag_seconds=7))).rates(1)
    assert (rates.in_flight, rates.connections, rates.queue_lag_seconds) == (None, None, 7)


def test_frequent_samples_are_merged() -> None:
    window = Window(SETTINGS)
    for sample in range(3001):
        window = window.observe(counters(sample), sample / 100)
        assert len(window.samples) <= 10 / 0.5 + 3
    rates = window.rates(30)
    assert rates.requests == pytest.approx(rates.seconds * 100)
    assert 10 <= rates.seconds < 11


def test_more_errors_than_requests_are_all_of_them() -> None:
    assert Rates(seconds=1, requests=2, errors=3).error_rate == 1


@pytest.mark.parametrize(
    ("reading", "field"),
    [
        (counters(-1), "latency_counts[1]"),
        (Counters(-1, 0, (0, 0, 0), 0), "requests"),
        (counters(1, -1), "errors"),
        (counters(1, latency_seconds=float("nan")), "latency_seconds"),
        (counters(1, in_flight=-1), "in_flight"),
        (counters(1, connections=float("inf")), "connections"),
        (counters(1, queue_lag_seconds=-0.1), "queue_lag_seconds"),
        (Counters(1, 0, (1,), 0), "latency_counts"),
    ],
)
def test_counters_that_cannot_be_name_their_field(reading: Counters, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Window(SETTINGS).observe(reading, 0)
    assert caught.value.field == field


@pytest.mark.parametrize("now", [1.0, 0.5, float("nan")])
def test_time_goes_forward(now: float) -> None:
    with pytest.raises(ValidationError, match="now: expected later than"):
        observed((1, counters(1)), (now, counters(2)))


def test_time_is_a_number() -> None:
    with pytest.raises(ValidationError, match="now: expected monotonic seconds"):
        observed((float("inf"), counters(1)))
