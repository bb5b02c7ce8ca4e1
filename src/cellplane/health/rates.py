"""Rates: what happened in one cell over some seconds."""

from dataclasses import dataclass

from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS, deviation_seconds, percentile_seconds


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened in one cell over some seconds. Without samples: nothing, over 0 s.

    Attributes:
        seconds: how long, ≥ 0.
        requests: in that time.
        errors: of them, those answered with 5xx or not at all.
        latency_counts: shape (bounds + 1,): answers by latency, each bucket alone; none where there are no samples.
        latency_seconds: sum of their latencies.
        in_flight: mean of the samples; None where nobody said.
        connections: mean of the samples; None where nobody said.
        queue_lag_seconds: as last said; None where the last sample does not say.
        bounds_seconds: upper bounds of the buckets.
    """

    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    latency_counts: tuple[int, ...] = ()
    latency_seconds: float = 0.0
    in_flight: float | None = None
    connections: float | None = None
    queue_lag_seconds: float | None = None
    bounds_seconds: tuple[float, ...] = LATENCY_BOUNDS_SECONDS

    @property
    def rps(self) -> float:
        """Requests a second; 0 over 0 s."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def error_rate(self) -> float | None:
        """Errors ÷ requests, 0 to 1; None without requests. Counters are not read at one instant, so it is capped."""
        return min(1.0, self.errors / self.requests) if self.requests else None

    @property
    def answers(self) -> int:
        """Requests whose latency is known."""
        return sum(self.latency_counts)

    @property
    def mean_seconds(self) -> float | None:
        """Mean latency; None without answers."""
        answers = self.answers
        return self.latency_seconds / answers if answers else None

    @property
    def deviation_seconds(self) -> float:
        """Standard deviation of the latencies, as exact as the buckets."""
        return deviation_seconds(self.latency_counts, self.bounds_seconds)

    def percentile_seconds(self, share: float) -> float | None:
        """See ``histogram.percentile_seconds``."""
        return percentile_seconds(self.latency_counts, share, self.bounds_seconds)
