"""Score: how healthy one cell is, 0 to 100, from four measures and two thresholds each."""

from dataclasses import dataclass
from enum import Enum
from math import prod

from cellplane.health.rates import Rates
from cellplane.model.bounds import MAX_COUNT, check_between
from cellplane.model.health import HealthThresholds


class Measure(Enum):
    """What a score is made of; the value is its name for people and metrics."""

    ERROR_RATE = "error rate"
    LATENCY = "latency"
    SATURATION = "saturation"
    QUEUE_LAG = "queue lag"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a cell's owner says of it: what its gauges are measured against.

    Attributes:
        concurrency: requests that it serves at once, > 0; None where nothing is declared.
        connections: size of the connection pool that the gauge counts, > 0; None where nothing is declared.
        has_queue: whether its queue lag is to be known.
    """

    concurrency: float | None = None
    connections: float | None = None
    has_queue: bool = False

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name, amount in (("concurrency", self.concurrency), ("connections", self.connections)):
            if amount is not None:
                check_between(f"{field}.{name}", amount, 0.001, MAX_COUNT)


@dataclass(frozen=True, slots=True)
class Signals:
    """The four measures of one cell; None where nothing is known.

    Attributes:
        error_rate: 0 to 1.
        p99_seconds: ≥ 0.
        saturation: in flight ÷ concurrency, or connections ÷ connection pool, whichever is more; ≥ 0.
        queue_lag_seconds: age of the oldest job, ≥ 0.
        expected: which of the four should be known: error rate and latency always, the others where declared.
    """

    error_rate: float | None = None
    p99_seconds: float | None = None
    saturation: float | None = None
    queue_lag_seconds: float | None = None
    expected: frozenset[Measure] = frozenset({Measure.ERROR_RATE, Measure.LATENCY})


UNKNOWN = Signals()
"""Nothing is known of a cell."""


@dataclass(frozen=True, slots=True)
class Component:
    """What one measure says.

    Attributes:
        measure: which.
        value: as measured; None where it says nothing.
        penalty: 0 up to good or where nothing is known, 1 from bad on, linear between.
    """

    measure: Measure
    value: float | None
    penalty: float


@dataclass(frozen=True, slots=True)
class HealthScore:
    """How healthy a cell is.

    Attributes:
        value: 0 to 100; 100 is nothing wrong that is known.
        confidence: share of the expected measures that are known, 0 to 1. A score of 100 with 0 knows nothing.
        components: one a measure, in the order of ``Measure``.
    """

    value: float
    confidence: float
    components: tuple[Component, ...]

    @property
    def worst(self) -> Component | None:
        """The component that costs most; the first of equals; None where nothing costs anything."""
        worst = max(self.components, key=lambda component: component.penalty)
        return worst if worst.penalty else None


def signals(rates: Rates, declared: Declared, thresholds: HealthThresholds) -> Signals:
    """The measures of one cell. The error rate and the p99 of too few requests are not known.

    Args:
        rates: of the last seconds.
        declared: valid.
        thresholds: valid.
    """
    uses = [
        gauge / limit
        for gauge, limit in ((rates.in_flight, declared.concurrency), (rates.connections, declared.connections))
        if gauge is not None and limit is not None
    ]
    expected = {Measure.ERROR_RATE, Measure.LATENCY}
    if declared.concurrency is not None or declared.connections is not None:
        expected.add(Measure.SATURATION)
    if declared.has_queue:
        expected.add(Measure.QUEUE_LAG)
    return Signals(
        error_rate=rates.error_rate if rates.requests >= thresholds.min_requests else None,
        p99_seconds=rates.percentile_seconds(0.99) if rates.answers >= thresholds.min_answers else None,
        saturation=max(uses, default=None),
        queue_lag_seconds=rates.queue_lag_seconds if declared.has_queue else None,
        expected=frozenset(expected),
    )


def score(found: Signals, thresholds: HealthThresholds) -> HealthScore:
    """The health of one cell: ``100 × Π (1 − penalty)`` over the four measures.

    Each penalty is 0 up to its good threshold, 1 from its bad one on, and linear between. So the score is 100 when
    all is good, 0 when any measure is at its worst, and never rises when a measure gets worse.

    A product, and not the worst measure alone: two things half wrong are worse than one, and under a worst measure the
    others could double unseen. Its price is that an overload, which shows as latency, saturation and lag at once, falls
    faster than a fault that shows once; the components say which it was. A weighted mean would hide one measure at
    its worst.

    What is not known counts as good: a cell without traffic has no errors, and must not look ill for it. ``confidence``
    tells the two apart.

    Args:
        found: the measures.
        thresholds: valid.
    """
    ratio = None if found.p99_seconds is None else found.p99_seconds / thresholds.p99_objective_seconds
    latency = penalty(ratio, thresholds.p99_good_ratio, thresholds.p99_bad_ratio)
    components = (
        Component(
            Measure.ERROR_RATE,
            found.error_rate,
            penalty(found.error_rate, thresholds.error_rate_good, thresholds.error_rate_bad),
        ),
        Component(Measure.LATENCY, found.p99_seconds, latency),
        Component(
            Measure.SATURATION,
            found.saturation,
            penalty(found.saturation, thresholds.saturation_good, thresholds.saturation_bad),
        ),
        Component(
            Measure.QUEUE_LAG,
            found.queue_lag_seconds,
            penalty(found.queue_lag_seconds, thresholds.queue_lag_good_seconds, thresholds.queue_lag_bad_seconds),
        ),
    )
    known = sum(component.measure in found.expected and component.value is not None for component in components)
    return HealthScore(
        value=100 * prod(1 - component.penalty for component in components),
        confidence=known / len(found.expected) if found.expected else 1.0,
        components=components,
    )


def penalty(value: float | None, good: float, bad: float) -> float:
    """0 up to good, 1 from bad on, linear between; 0 where nothing is known.

    Args:
        value: a measure that is worse the larger it is.
        good: < bad.
        bad: in the unit of the value.
    """
    if value is None or value <= good:
        return 0.0
    return min(1.0, (value - good) / (bad - good))
