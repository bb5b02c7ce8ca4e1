"""The health of one cell in one number, and what it is made of."""

from dataclasses import replace

import pytest

from cellplane.health.rates import Rates
from cellplane.health.score import UNKNOWN, Declared, Measure, Signals, penalty, score, signals
from cellplane.model.health import HealthThresholds

THRESHOLDS = HealthThresholds()
GOOD = Signals(0.001, 0.3, 0.5, 2.0, frozenset(Measure))


def test_a_good_cell_has_100() -> None:
    found = score(GOOD, THRESHOLDS)
    assert (found.value, found.confidence, found.worst) == (100, 1, None)


@pytest.mark.parametrize(
    "bad",
    [
        replace(GOOD, error_rate=0.25),
        replace(GOOD, p99_seconds=5.0),
        replace(GOOD, saturation=1.2),
        replace(GOOD, queue_lag_seconds=300.0),
        replace(GOOD, queue_lag_seconds=1e9),
    ],
)
def test_one_measure_at_its_worst_is_0(bad: Signals) -> None:
    assert score(bad, THRESHOLDS).value == 0


def test_two_measures_half_wrong_are_worse_than_one() -> None:
    one = score(replace(GOOD, p99_seconds=3.0), THRESHOLDS)
    two = score(replace(GOOD, p99_seconds=3.0, saturation=0.95), THRESHOLDS)
    assert one.value == pytest.approx(50)
    assert two.value == pytest.approx(25)
    assert one.worst is not None
    assert (one.worst.measure, one.worst.value, one.worst.penalty) == (Measure.LATENCY, 3.0, 0.5)


def test_a_cell_that_is_full_and_otherwise_well_keeps_40() -> None:
    assert score(replace(GOOD, saturation=1.0), THRESHOLDS).value == pytest.approx(40)


def test_the_objective_is_what_the_p99_is_measured_by() -> None:
    strict = replace(THRESHOLDS, p99_objective_seconds=0.1)
    assert score(GOOD, strict).value == pytest.approx(50)


def test_what_is_not_known_counts_as_good_and_is_said() -> None:
    found = score(UNKNOWN, THRESHOLDS)
    assert (found.value, found.confidence) == (100, 0)
    assert [component.value for component in found.components] == [None] * 4
    assert score(replace(GOOD, p99_seconds=None), THRESHOLDS).confidence == 0.75
    assert score(replace(UNKNOWN, expected=frozenset()), THRESHOLDS).confidence == 1


@pytest.mark.parametrize(("value", "cost"), [(None, 0), (0, 0), (1, 0), (1.5, 0.25), (3, 1), (99, 1)])
def test_a_penalty_rises_from_good_to_bad(value: float | None, cost: float) -> None:
    assert penalty(value, 1, 3) == cost


def rates(requests: int, answers: int, **more: float) -> Rates:
    return Rates(10.0, requests, requests // 10, (answers, 0), 1.0, bounds_seconds=(1.0,), **more)


def test_signals_are_taken_from_the_rates() -> None:
    found = signals(
        rates(200, 200, in_flight=8.0, connections=45.0, queue_lag_seconds=3.0),
        Declared(concurrency=10, connections=50, has_queue=True),
        THRESHOLDS,
    )
    assert found.p99_seconds == pytest.approx(0.99)
    assert replace(found, p99_seconds=1.0) == Signals(0.1, 1.0, 0.9, 3.0, frozenset(Measure))


def test_too_few_requests_say_nothing() -> None:
    few = signals(rates(49, 49), Declared(), THRESHOLDS)
    assert few == UNKNOWN
    some = signals(rates(50, 99), Declared(), THRESHOLDS)
    assert (some.error_rate, some.p99_seconds) == (0.1, None)
    assert score(some, THRESHOLDS).confidence == 0.5


def test_gauges_that_nobody_declared_say_nothing() -> None:
    found = signals(rates(200, 200, in_flight=8.0, connections=45.0, queue_lag_seconds=3.0), Declared(), THRESHOLDS)
    assert (found.saturation, found.queue_lag_seconds) == (None, None)
    assert found.expected == {Measure.ERROR_RATE, Measure.LATENCY}


def test_what_is_declared_and_not_said_lowers_the_confidence() -> None:
    found = signals(rates(200, 200), Declared(concurrency=10, has_queue=True), THRESHOLDS)
    assert (found.saturation, found.queue_lag_seconds, found.expected) == (None, None, frozenset(Measure))
    assert score(found, THRESHOLDS).confidence == 0.5
    by_connections = signals(rates(200, 200, connections=5.0), Declared(connections=10), THRESHOLDS)
    assert by_connections.saturation == 0.5
