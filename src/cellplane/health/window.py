"""Window: from counters that only grow to what happened in the last seconds."""

from dataclasses import dataclass, replace
from math import isfinite

from cellplane.errors import ValidationError
from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS
from cellplane.health.rates import Rates
from cellplane.model.bounds import MAX_SECONDS, check_between, check_rising
from cellplane.model.health import MAX_WINDOW_SECONDS

MAX_SAMPLES = 1_000
"""Most samples that a window may be set to keep: each holds a histogram."""

MAX_BUCKETS = 200
"""Most bounds of a histogram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """What a window keeps of one cell."""

    span_seconds: float = MAX_WINDOW_SECONDS
    """How far back a window reaches, seconds: the longest span that anybody asks it for. Peers are compared over 25 s,
    a score is usually made of 10 s."""

    resolution_seconds: float = 0.5
    """Samples nearer to each other than this, seconds, are merged: a window has at most span / resolution + 3 of
    them."""

    max_gap_seconds: float = 5.0
    """Silence after which a window starts anew, seconds: what was counted meanwhile is no rate of now. A few missing
    samples of one a second do not matter, since counters lose nothing."""

    bounds_seconds: tuple[float, ...] = LATENCY_BOUNDS_SECONDS
    """Upper bounds of the latency histogram's buckets, seconds, rising; those that the router's engine is set to."""

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        check_between("span_seconds", self.span_seconds, 0.001, MAX_SECONDS)
        check_between("resolution_seconds", self.resolution_seconds, self.span_seconds / MAX_SAMPLES, self.span_seconds)
        check_between("max_gap_seconds", self.max_gap_seconds, 0.001, MAX_SECONDS)
        check_between("bounds_seconds.length", len(self.bounds_seconds), 1, MAX_BUCKETS)
        below = 0.0
        for place, bound in enumerate(self.bounds_seconds):
            check_rising("the bound before", below, f"bounds_seconds[{place}]", bound)
            check_between(f"bounds_seconds[{place}]", bound, 0, MAX_SECONDS)
            below = bound


@dataclass(frozen=True, slots=True)
class Counters:
    """What a router has counted of one cell since the counting began, and what it sees now.

    Attributes:
        requests: answered, or given up.
        errors: of them, those answered with 5xx or not at all.
        latency_counts: shape (bounds + 1,): answers by latency, each bucket alone.
        latency_seconds: sum of all latencies.
        generation: which counting this is; another number, such as that of a restart, says that all counters began
            at 0.
        in_flight: requests under way now; None where nobody says.
        connections: connections in use now; None where nobody says.
        queue_lag_seconds: age of the oldest job in the cell's queue now; None where nobody says.
    """

    requests: int
    errors: int
    latency_counts: tuple[int, ...]
    latency_seconds: float
    generation: int = 0
    in_flight: float | None = None
    connections: float | None = None
    queue_lag_seconds: float | None = None

    def validate(self, buckets: int) -> None:
        """Raise ValidationError naming the first field that breaks a rule.

        Args:
            buckets: number of buckets, the last one included.
        """
        if len(self.latency_counts) != buckets:
            raise ValidationError("latency_counts", f"expected {buckets} buckets, found {len(self.latency_counts)}")
        for place, count in enumerate(self.latency_counts):
            _check_amount(f"latency_counts[{place}]", count)
        for field in ("requests", "errors", "latency_seconds", "in_flight", "connections", "queue_lag_seconds"):
            _check_amount(field, getattr(self, field))


@dataclass(frozen=True, slots=True)
class _Sample:
    """What had been counted since the window began, when a sample was taken; it never falls from one to the next.

    Attributes:
        at: monotonic seconds.
        total: counters since the window's first sample, and the gauges as they were.
    """

    at: float
    total: Counters


@dataclass(frozen=True, slots=True)
class Window:
    """The last seconds of one cell's counters. A frozen value: ``observe`` returns the next one.

    Attributes:
        settings: valid.
        last: the counters as they were last seen; None before the first.
        samples: the oldest first; the first is where the span begins, so it may be a little older than the span.
    """

    settings: WindowSettings
    last: Counters | None = None
    samples: tuple[_Sample, ...] = ()

    def observe(self, counters: Counters, now: float) -> "Window":
        """The window with one more sample.

        A counter that fell, or another generation, says that counting began anew, and what it shows was counted since
        then: all counters are taken so, since those that have already passed their old value are no less new. What was
        counted between the last sample and the restart is lost. The first sample, and one after a gap, only says from
        where to count.

        Args:
            counters: as read from the router's engine.
            now: monotonic seconds, later than the last sample's.

        Raises:
            ValidationError: a counter is negative, or the histogram has another number of buckets, or time went back.
        """
        counters.validate(len(self.settings.bounds_seconds) + 1)
        if not self.samples or self.last is None:
            return self._anew(counters, now)
        newest = self.samples[-1]
        if not newest.at < now:
            raise ValidationError("now", f"expected later than {newest.at}, where the last sample is; found {now}")
        if now - newest.at > self.settings.max_gap_seconds:
            return self._anew(counters, now)
        sample = _Sample(now, _sum(newest.total, _gain(self.last, counters), counters))
        kept = self.samples
        if len(kept) > 1 and newest.at - kept[-2].at < self.settings.resolution_seconds:
            kept = kept[:-1]
        kept = (*kept, sample)
        begin = now - self.settings.span_seconds
        first = next(place for place, after in enumerate((*kept[1:], None)) if after is None or after.at > begin)
        return replace(self, last=counters, samples=kept[first:])

    def rates(self, now: float, seconds: float | None = None) -> Rates:
        """What happened in the last seconds before the newest sample.

        Args:
            now: monotonic seconds; where the newest sample is older than ``max_gap_seconds``, nothing is known.
            seconds: how far back, > 0; as far as the window reaches where it is None. The answer says how far it was.
        """
        bounds = self.settings.bounds_seconds
        if len(self.samples) < 2 or now - self.samples[-1].at > self.settings.max_gap_seconds:
            return Rates(bounds_seconds=bounds)
        newest = self.samples[-1]
        begin = newest.at - (self.settings.span_seconds if seconds is None else seconds)
        first = max((place for place, sample in enumerate(self.samples[:-1]) if sample.at <= begin), default=0)
        oldest, within = self.samples[first].total, [sample.total for sample in self.samples[first + 1 :]]
        total = newest.total
        return Rates(
            seconds=newest.at - self.samples[first].at,
            requests=total.requests - oldest.requests,
            errors=total.errors - oldest.errors,
            latency_counts=_difference(total.latency_counts, oldest.latency_counts),
            latency_seconds=max(0.0, total.latency_seconds - oldest.latency_seconds),
            in_flight=_mean([sample.in_flight for sample in within]),
            connections=_mean([sample.connections for sample in within]),
            queue_lag_seconds=total.queue_lag_seconds,
            bounds_seconds=bounds,
        )

    def _anew(self, counters: Counters, now: float) -> "Window":
        """The window with this as its only sample."""
        if not isfinite(now):
            raise ValidationError("now", f"expected monotonic seconds, found {now}")
        nothing = Counters(0, 0, (0,) * len(counters.latency_counts), 0.0)
        return replace(self, last=counters, samples=(_Sample(now, _sum(nothing, nothing, counters)),))


def _gain(before: Counters, after: Counters) -> Counters:
    """What was counted between two readings; all of the second where counting began anew.

    The sum of latencies does not tell: it is added up in floating point, and may fall by a rounding.
    """
    is_anew = (
        after.generation != before.generation
        or after.requests < before.requests
        or after.errors < before.errors
        or any(new < old for new, old in zip(after.latency_counts, before.latency_counts, strict=True))
    )
    if is_anew:
        return after
    return Counters(
        after.requests - before.requests,
        after.errors - before.errors,
        _difference(after.latency_counts, before.latency_counts),
        max(0.0, after.latency_seconds - before.latency_seconds),
    )


def _sum(total: Counters, gain: Counters, gauges: Counters) -> Counters:
    """What was counted so far, with the gauges of the newest reading."""
    return Counters(
        total.requests + gain.requests,
        total.errors + gain.errors,
        tuple(old + new for old, new in zip(total.latency_counts, gain.latency_counts, strict=True)),
        total.latency_seconds + gain.latency_seconds,
        in_flight=gauges.in_flight,
        connections=gauges.connections,
        queue_lag_seconds=gauges.queue_lag_seconds,
    )


def _difference(after: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(new - old for new, old in zip(after, before, strict=True))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _check_amount(field: str, value: float | None) -> None:
    """Raise ValidationError where a number is given that is negative or not finite."""
    if value is not None and not (isfinite(value) and value >= 0):
        raise ValidationError(field, f"expected a number ≥ 0, found {value}")
