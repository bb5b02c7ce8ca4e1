"""One cell's breaker: when it would open, for how long, and how it closes."""

from dataclasses import replace

import pytest

from cellplane.health.breaker import Breaker, Hold, Observation, Phase, Trip, half_opened, opened, tick
from cellplane.health.score import Signals
from cellplane.model.health import BreakerSettings

SETTINGS = BreakerSettings(
    open_ticks=3, trip_ticks=2, open_seconds=10, open_cap_seconds=35, probes_to_close=4, probe_failures_to_open=2
)
LOW, FINE = Observation(score=10), Observation()


def trips(*observations: Observation, breaker: Breaker | None = None) -> list[Trip | None]:
    """What each tick says."""
    breaker = breaker or Breaker()
    said = []
    for now, seen in enumerate(observations):
        breaker, trip = tick(breaker, seen, float(now), SETTINGS)
        said.append(trip)
    return said


def test_it_would_open_after_some_low_scores_in_a_row() -> None:
    assert trips(LOW, LOW, LOW, LOW) == [None, None, Trip.SCORE, Trip.SCORE]
    assert trips(LOW, LOW, FINE, LOW, LOW) == [None] * 5
    assert trips(*[Observation(score=20)] * 5) == [None] * 5


@pytest.mark.parametrize(
    ("signals", "trip"),
    [
        (Signals(error_rate=0.5), Trip.ERROR_RATE),
        (Signals(p99_seconds=10), Trip.LATENCY),
        (Signals(saturation=2), Trip.SATURATION),
        (Signals(error_rate=0.5, p99_seconds=10, saturation=2), Trip.ERROR_RATE),
        (Signals(error_rate=0.49, p99_seconds=9.9, saturation=1.9, queue_lag_seconds=1e6), None),
    ],
)
def test_it_would_open_when_a_measure_is_over_its_own_limit(signals: Signals, trip: Trip | None) -> None:
    over = Observation(signals=signals)
    assert trips(over, over) == [None, trip]
    assert trips(over, FINE, over) == [None] * 3


def test_a_limit_that_is_none_never_trips() -> None:
    settings = replace(SETTINGS, trip_error_rate=0, trip_p99_seconds=0, trip_saturation=0)
    breaker = Breaker(trip_ticks=1)
    _, trip = tick(breaker, Observation(signals=Signals(1.0, 99, 99)), 1, settings)
    assert trip is None


def test_the_time_open_doubles_up_to_a_cap() -> None:
    breaker, taken = Breaker(), []
    for _ in range(4):
        breaker = opened(breaker, 0, 100, SETTINGS)
        taken.append(breaker.open_until - 100)
    assert taken == [10, 20, 35, 35]
    assert opened(Breaker(openings=10**6), 0, 0, SETTINGS).open_until == 35


def test_jitter_shortens_the_time_open() -> None:
    assert opened(Breaker(), 0.5, 0, SETTINGS).open_until == pytest.approx(9)
    assert opened(Breaker(), 1, 0, SETTINGS).open_until == pytest.approx(8)


def test_open_becomes_half_open_when_its_time_is_over_whatever_is_seen() -> None:
    breaker = opened(Breaker(), 0, 0, SETTINGS)
    assert tick(breaker, FINE, 9.9, SETTINGS) == (breaker, None)
    after, trip = tick(breaker, Observation(probes_good=100), 10, SETTINGS)
    assert (after.phase, after.since, after.probes_good, after.openings, trip) == (Phase.HALF_OPEN, 10, 0, 1, None)


def test_good_probes_close_it() -> None:
    breaker = half_opened(Breaker(openings=2), 0)
    breaker, _ = tick(breaker, Observation(score=0, probes_good=3, probes_failed=1), 1, SETTINGS)
    assert (breaker.phase, breaker.probes_good, breaker.probes_failed) == (Phase.HALF_OPEN, 3, 1)
    breaker, _ = tick(breaker, Observation(score=0, probes_good=1), 2, SETTINGS)
    assert breaker == Breaker(since=2, openings=2)


def test_failed_probes_open_it_again_for_longer_even_among_good_ones() -> None:
    breaker = half_opened(Breaker(openings=1), 0)
    breaker, trip = tick(breaker, Observation(probes_good=9, probes_failed=2), 1, SETTINGS)
    assert (breaker.phase, breaker.open_until, breaker.openings, trip) == (Phase.OPEN, 21, 2, None)


def test_without_failed_probes_ever_more_is_let_through_until_it_is_closed() -> None:
    breaker = half_opened(Breaker(openings=2), 100)
    shares = [breaker.traffic_share(SETTINGS, 100 + seconds) for seconds in (0, 4.9, 5, 10, 15, 20, 24.9)]
    assert shares == [0.05, 0.05, 0.1, 0.2, 0.4, 0.8, 0.8]
    assert tick(breaker, FINE, 124.9, SETTINGS) == (breaker, None)
    assert tick(breaker, FINE, 125, SETTINGS) == (Breaker(since=125, openings=2), None)


def test_failed_probes_open_it_also_where_time_would_close_it() -> None:
    breaker, _ = tick(half_opened(Breaker(), 0), Observation(probes_failed=1), 24, SETTINGS)
    assert tick(breaker, Observation(probes_failed=1), 1e6, SETTINGS)[0].phase is Phase.OPEN


def test_without_probes_it_stays_half_open_where_nothing_widens_it() -> None:
    settings, breaker = replace(SETTINGS, widen_seconds=0), half_opened(Breaker(), 0)
    assert tick(breaker, FINE, 1e6, settings) == (breaker, None)
    assert breaker.traffic_share(settings, 1e6) == 0.05


def test_earlier_openings_are_forgotten_after_a_long_time_closed() -> None:
    closed = Breaker(since=100, openings=3)
    assert tick(closed, FINE, 699, SETTINGS)[0].openings == 3
    assert tick(closed, FINE, 700, SETTINGS)[0].openings == 0


@pytest.mark.parametrize(
    ("breaker", "share", "is_closed"),
    [
        (Breaker(), 1, True),
        (Breaker(Phase.OPEN), 0, False),
        (Breaker(Phase.HALF_OPEN), 0.05, False),
        (Breaker(Phase.CLOSED, Hold.OPEN), 0, False),
        (Breaker(Phase.HALF_OPEN, Hold.OPEN), 0, False),
        (Breaker(Phase.OPEN, Hold.CLOSED), 1, True),
    ],
)
def test_the_share_of_requests_follows_the_phase_and_the_order(breaker: Breaker, share: float, is_closed: bool) -> None:
    assert breaker.traffic_share(SETTINGS, 0) == share
    assert breaker.is_closed is is_closed
