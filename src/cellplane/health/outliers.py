"""Outliers: the cells of a pool that are worse than the others, in one window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from math import pi, sqrt

from cellplane.health.checks import MAX_COUNT, MAX_SECONDS, check_between
from cellplane.health.rates import Rates
from cellplane.health.robust import MAD_TO_DEVIATION, without_each


class PeerMeasure(Enum):
    """What cells are compared by; the value is its name for people and metrics."""

    ERROR_RATE = "error rate"
    MEAN = "mean latency"
    P90 = "p90"
    P99 = "p99"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """When a cell counts as worse than its peers."""

    window_seconds: float = 25.0
    """Span of the rates that are compared, seconds; rates of less than half of it are not. At 20 requests a second it
    holds 500: enough to tell 3 % errors from 0.3 %."""

    step_seconds: float = 2.0
    """Time between two comparisons, seconds."""

    windows: int = 22
    """Comparisons that are remembered (n)."""

    wrong_windows: int = 15
    """Comparisons of them in which a cell must be worse in the same measure (m). More than window ÷ step: otherwise one
    burst of errors, which is in so many windows, would be enough."""

    clear_windows: int = 4
    """A cell that was found gray is so until at most this many of the n are wrong; fewer than m, so that it does not
    flap."""

    z: float = 3.0
    """Robust z-score from which a cell is worse. One window at 3 is no rarity; fifteen of 22 are."""

    min_cells: int = 3
    """Cells with enough requests that a comparison takes, > 2: of two, nobody knows which is wrong."""

    min_requests: int = 100
    """Requests in the window under which a cell's error rate, and answers under which its latencies, are neither
    compared nor those of a peer."""

    error_rate_floor: float = 0.003
    """Least spread of error rates, 0 to 1: what peers without any error are taken to differ by."""

    latency_floor_seconds: float = 0.010
    """Least spread of latencies, seconds: below it lie scheduling and garbage collection."""

    latency_floor_ratio: float = 0.3
    """Least spread of latencies as a share of the peers' median: cells of one pool serve different tenants. With z =
    3 a cell must be 1.9 times as slow as its peers."""

    percentile_deviations: float = 2.0
    """Standard errors by which a percentile is lowered for the cell that is judged, and raised for its peers. Where
    a share of the requests that is near 10 % or 1 % is slow, the percentile itself jumps between slow and fast by
    chance."""

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        check_between("window_seconds", self.window_seconds, 0.001, MAX_SECONDS)
        check_between("step_seconds", self.step_seconds, 0, MAX_SECONDS)
        check_between("windows", self.windows, 1, 1_000)
        check_between("wrong_windows", self.wrong_windows, 1, self.windows)
        check_between("clear_windows", self.clear_windows, 0, self.wrong_windows - 1)
        check_between("z", self.z, 0.1, 1_000)
        check_between("min_cells", self.min_cells, 3, MAX_COUNT)
        check_between("min_requests", self.min_requests, 1, MAX_COUNT)
        check_between("error_rate_floor", self.error_rate_floor, 0.0001, 1)
        check_between("latency_floor_seconds", self.latency_floor_seconds, 0.0001, MAX_SECONDS)
        check_between("latency_floor_ratio", self.latency_floor_ratio, 0, 100)
        check_between("percentile_deviations", self.percentile_deviations, 0, 10)


@dataclass(frozen=True, slots=True)
class Outlier:
    """A measure in which a cell was worse than its peers, in one window.

    Attributes:
        measure: which.
        value: the cell's: a share of 0 to 1, or seconds; a percentile is its lower bound.
        usual: median of the peers, in the same unit; of a percentile's upper bounds.
        z: (value − usual) ÷ spread, ≥ ``PeerSettings.z``.
    """

    measure: PeerMeasure
    value: float
    usual: float
    z: float


def compare(rates: Mapping[str, Rates], settings: PeerSettings) -> dict[str, tuple[Outlier, ...]]:
    """The cells that are worse than their peers in one window, and in what.

    ``z = (value − median of the others) ÷ spread``, where the spread is the largest of 1.4826 × the median absolute
    deviation of the others, the floors of the settings, and what chance alone does to so many requests:

    - error rate: √(p (1 − p) (1/n + π/2 · 1/N)), where p is the others' median and one error more in this cell's n
      requests, and N the others' requests: the variance of a median is up to π/2 times that of a mean;
    - mean latency: the cell's standard deviation ÷ √n;
    - p90 and p99: the cell's is taken at the lower end of its distribution-free confidence interval, that of the
      others at the upper end: at q ∓ k √(q (1 − q) / n). Source: order statistics, Conover, Practical Nonparametric
      Statistics (1999).

    Only worse counts. What makes most cells worse together moves the median, and nobody is an outlier.

    Args:
        rates: over the same seconds, of each cell of one pool, by id.
        settings: valid.

    Returns:
        Outliers by cell; cells without any are left out.
    """
    timely = {cell: each for cell, each in sorted(rates.items()) if each.seconds * 2 >= settings.window_seconds}
    # A cell that answers nothing has no latency to compare, and an error rate all the same.
    asked = {cell: each for cell, each in timely.items() if each.requests >= settings.min_requests}
    answered = {cell: each for cell, each in timely.items() if each.answers >= settings.min_requests}
    outliers: dict[str, list[Outlier]] = {cell: [] for cell in timely}
    for measure, judged, compared in (
        (PeerMeasure.ERROR_RATE, asked, _by_error_rate),
        (PeerMeasure.MEAN, answered, _by_mean),
        (PeerMeasure.P90, answered, partial(_by_percentile, 0.90)),
        (PeerMeasure.P99, answered, partial(_by_percentile, 0.99)),
    ):
        if len(judged) < settings.min_cells:
            continue
        for cell, (value, usual, spread) in zip(judged, compared(tuple(judged.values()), settings), strict=True):
            z = (value - usual) / spread
            if z >= settings.z:
                outliers[cell].append(Outlier(measure, value, usual, z))
    return {cell: tuple(found) for cell, found in outliers.items() if found}


_Compared = Iterator[tuple[float, float, float]]
"""Of each cell in turn: its value, the median of its peers, and their spread."""


def _by_error_rate(cells: Sequence[Rates], settings: PeerSettings) -> _Compared:
    values = [min(1.0, rates.errors / rates.requests) for rates in cells]
    total = sum(rates.requests for rates in cells)
    for rates, value, (usual, deviation) in zip(cells, values, without_each(values), strict=True):
        expected = min(1.0, usual + 1 / rates.requests)
        weight = 1 / rates.requests + pi / 2 / (total - rates.requests)
        chance = sqrt(expected * (1 - expected) * weight)
        yield value, usual, max(deviation * MAD_TO_DEVIATION, settings.error_rate_floor, chance)


def _by_mean(cells: Sequence[Rates], settings: PeerSettings) -> _Compared:
    values = [rates.latency_seconds / rates.answers for rates in cells]
    for rates, value, (usual, deviation) in zip(cells, values, without_each(values), strict=True):
        chance = rates.deviation_seconds / sqrt(rates.answers)
        yield value, usual, max(_least(deviation, usual, settings), chance)


def _by_percentile(share: float, cells: Sequence[Rates], settings: PeerSettings) -> _Compared:
    lows, highs = zip(*(_interval(rates, share, settings.percentile_deviations) for rates in cells), strict=True)
    for low, (usual, deviation) in zip(lows, without_each(highs), strict=True):
        yield low, usual, _least(deviation, usual, settings)


def _least(deviation: float, usual: float, settings: PeerSettings) -> float:
    """The spread of latencies, at least its floors."""
    return max(deviation * MAD_TO_DEVIATION, settings.latency_floor_seconds, settings.latency_floor_ratio * usual)


def _interval(rates: Rates, share: float, deviations: float) -> tuple[float, float]:
    """Lower and upper end of a percentile's confidence interval, seconds."""
    width = deviations * sqrt(share * (1 - share) / rates.answers)
    low = rates.percentile_seconds(max(share - width, 1 / rates.answers))
    high = rates.percentile_seconds(min(share + width, 1.0))
    assert low is not None
    assert high is not None
    return low, high
