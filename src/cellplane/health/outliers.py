"""Outliers: the cells of a pool that are worse than the others, in one window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from math import pi, sqrt

from cellplane.health.rates import Rates
from cellplane.health.robust import MAD_TO_DEVIATION, without_each
from cellplane.model.health import PeerSettings


class PeerMeasure(Enum):
    """What cells are compared by; the value is its name for people and metrics."""

    ERROR_RATE = "error rate"
    MEAN = "mean latency"
    P90 = "p90"
    P99 = "p99"


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
