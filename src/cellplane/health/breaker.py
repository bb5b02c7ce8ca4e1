"""Breaker: whether one cell gets its requests: closed → open → half-open → closed.

Source: Michael Nygard, Release It! (2007), Circuit Breaker. The invariant of every automatic change: an open breaker
becomes half-open and nothing else; a half-open one is closed by good probes, or, where there are few requests, by time
in which ever more of them did not fail.
"""

from dataclasses import dataclass, replace
from enum import Enum

from cellplane.health.score import UNKNOWN, Signals
from cellplane.model.health import BreakerSettings

_MAX_DOUBLINGS = 32


class Phase(Enum):
    """Where a breaker is; the value is what metrics and people see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Hold(Enum):
    """What an operator ordered; it stands until it is taken back."""

    NONE = "none"
    OPEN = "forced open"
    CLOSED = "forced closed"


class Trip(Enum):
    """Why a breaker opened; the value is for people and metrics."""

    SCORE = "score"
    ERROR_RATE = "error rate"
    LATENCY = "latency"
    SATURATION = "saturation"
    PROBES = "probes failed"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one cell since the last step.

    Attributes:
        score: 0 to 100.
        signals: what the score was made of.
        probes_good: answers to probes that were good, since the last step.
        probes_failed: probes that failed or were not answered in time, since the last step.
        jitter: 0 to 1, drawn at random for this cell and step.
    """

    score: float = 100.0
    signals: Signals = UNKNOWN
    probes_good: int = 0
    probes_failed: int = 0
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """One cell's breaker.

    Attributes:
        phase: where it is by itself; what an operator ordered goes before.
        hold: what an operator ordered.
        since: monotonic seconds of the last change of phase or hold.
        low_ticks: ticks in a row with a low score, while closed.
        trip_ticks: ticks in a row over a measure's own limit, while closed.
        openings: how often it opened since it was last forgotten: the exponent of the back-off, plus 1.
        open_until: monotonic seconds at which probes begin, while open.
        probes_good: while half-open.
        probes_failed: while half-open.
        is_kept: whether it would be open, but for the bound on its pool.
    """

    phase: Phase = Phase.CLOSED
    hold: Hold = Hold.NONE
    since: float = 0.0
    low_ticks: int = 0
    trip_ticks: int = 0
    openings: int = 0
    open_until: float = 0.0
    probes_good: int = 0
    probes_failed: int = 0
    is_kept: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether the cell gets all its requests."""
        return self.hold is Hold.CLOSED or (self.hold is Hold.NONE and self.phase is Phase.CLOSED)

    def traffic_share(self, settings: BreakerSettings, now: float) -> float:
        """Share of its requests that the cell gets: 1, 0, or the probes."""
        if self.is_closed:
            return 1.0
        is_probed = self.hold is Hold.NONE and self.phase is Phase.HALF_OPEN
        return _probed_share(now - self.since, settings) if is_probed else 0.0


def tick(breaker: Breaker, seen: Observation, now: float, settings: BreakerSettings) -> tuple[Breaker, Trip | None]:
    """What one step does to a breaker that nobody holds, apart from opening a closed one.

    Args:
        breaker: with ``Hold.NONE``.
        seen: since the last step.
        now: monotonic seconds.
        settings: valid.

    Returns:
        The next breaker, and why it would open, where it was closed and would; the pool says whether it may
        (``opened``).
    """
    assert breaker.hold is Hold.NONE, "a breaker that is held does not change by itself"
    if breaker.phase is Phase.OPEN:
        return (half_opened(breaker, now) if now >= breaker.open_until else breaker), None
    if breaker.phase is Phase.HALF_OPEN:
        good, failed = breaker.probes_good + seen.probes_good, breaker.probes_failed + seen.probes_failed
        if failed >= settings.probe_failures_to_open:
            return opened(breaker, seen.jitter, now, settings), None
        if good >= settings.probes_to_close or _probed_share(now - breaker.since, settings) == 1:
            return Breaker(since=now, openings=breaker.openings), None
        return replace(breaker, probes_good=good, probes_failed=failed), None
    is_low = seen.score < settings.open_below_score
    over = _over(seen.signals, settings)
    low_ticks = min(breaker.low_ticks + 1, settings.open_ticks) if is_low else 0
    trip_ticks = min(breaker.trip_ticks + 1, settings.trip_ticks) if over else 0
    trip = over if trip_ticks >= settings.trip_ticks else Trip.SCORE if low_ticks >= settings.open_ticks else None
    openings = 0 if now - breaker.since >= settings.forget_seconds else breaker.openings
    after = replace(
        breaker,
        low_ticks=low_ticks,
        trip_ticks=trip_ticks,
        openings=openings,
        is_kept=breaker.is_kept and trip is not None,
    )
    return after, trip


def opened(breaker: Breaker, jitter: float, now: float, settings: BreakerSettings) -> Breaker:
    """The breaker, open from now on for ``min(cap, base × 2^openings) × (1 − jitter share × jitter)`` seconds.

    Args:
        breaker: closed or half-open.
        jitter: 0 to 1.
        now: monotonic seconds.
        settings: valid.
    """
    doublings = min(breaker.openings, _MAX_DOUBLINGS)
    bound_seconds = min(settings.open_cap_seconds, settings.open_seconds * 2**doublings)
    open_until = now + bound_seconds * (1 - settings.jitter_share * jitter)
    return Breaker(Phase.OPEN, since=now, openings=breaker.openings + 1, open_until=open_until)


def half_opened(breaker: Breaker, now: float) -> Breaker:
    """The breaker with probes let through from now on, none of them counted yet."""
    return Breaker(Phase.HALF_OPEN, since=now, openings=breaker.openings)


def _probed_share(seconds: float, settings: BreakerSettings) -> float:
    """Share of the requests that are sent to a cell which is half-open for so long."""
    doublings = int(min(seconds / settings.widen_seconds, _MAX_DOUBLINGS)) if settings.widen_seconds else 0
    return min(1.0, 2.0**doublings / settings.probe_one_in)


def _over(signals: Signals, settings: BreakerSettings) -> Trip | None:
    """The first measure that is over its own limit."""
    for trip, value, limit in (
        (Trip.ERROR_RATE, signals.error_rate, settings.trip_error_rate),
        (Trip.LATENCY, signals.p99_seconds, settings.trip_p99_seconds),
        (Trip.SATURATION, signals.saturation, settings.trip_saturation),
    ):
        if value is not None and limit and value >= limit:
            return trip
    return None
