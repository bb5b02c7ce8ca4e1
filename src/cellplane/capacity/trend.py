"""Days left: when a utilisation reaches a mark, by a trend that a few wrong samples do not bend.

The slope is the median of the slopes between all pairs of points, its bounds those of Sen (1968): Estimates of the
Regression Coefficient Based on Kendall's Tau, JASA 63. Up to 29 % of the points may be arbitrarily wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import combinations
from math import sqrt
from statistics import median

from cellplane.capacity.settings import CapacitySettings

NORMAL_95 = 1.96
"""Quantile of the normal distribution for bounds that hold in 95 of 100 cases."""


class Outlook(Enum):
    """What a trend says; the value is for people and metrics."""

    UNKNOWN = "unknown"
    FULL = "full"
    DAYS = "days"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Sample:
    """A utilisation at a time.

    Attributes:
        day: days since anything, such as Unix time ÷ 86,400.
        share: from 0.
    """

    day: float
    share: float


@dataclass(frozen=True, slots=True)
class DaysLeft:
    """When the mark is reached.

    Attributes:
        outlook: UNKNOWN with too little data, FULL where it is reached, NEVER where the trend does not rise, LATER
            where that is beyond the horizon.
        days: for DAYS, ≥ 0, and for FULL 0; else None.
        earliest: by the steepest slope that the data allow; None where that does not reach it within the horizon.
        latest: by the least steep; None likewise.
        growth_a_day: the slope, share a day; None for UNKNOWN.
    """

    outlook: Outlook
    days: float | None = None
    earliest: float | None = None
    latest: float | None = None
    growth_a_day: float | None = None


def days_left(samples: Sequence[Sample], mark: float, settings: CapacitySettings) -> DaysLeft:
    """When a utilisation reaches a mark.

    Args:
        samples: finite, in whatever order; equally long spans between them are no condition.
        mark: utilisation.
        settings: valid.
    """
    points = gathered(samples, settings.max_points)
    if len(samples) < settings.min_samples or len(points) < 3 or points[-1].day - points[0].day < settings.min_days:
        return DaysLeft(Outlook.UNKNOWN)
    slopes = sorted(
        (other.share - one.share) / (other.day - one.day)
        for one, other in combinations(points, 2)
        if other.day > one.day
    )
    slope = median(slopes)
    now = points[-1].day
    # Where the line is now: the last sample alone may be an outlier.
    level = median(point.share + slope * (now - point.day) for point in points)
    low, high = _bounds(slopes, len(points))
    if level >= mark:
        return DaysLeft(Outlook.FULL, 0.0, 0.0, 0.0, slope)
    days, earliest, latest = (_until(mark - level, each, settings.horizon_days) for each in (slope, high, low))
    if days is not None:
        return DaysLeft(Outlook.DAYS, days, earliest, latest, slope)
    return DaysLeft(Outlook.LATER if slope > 0 else Outlook.NEVER, None, earliest, None, slope)


def gathered(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many points, by day: neighbours in time are gathered to their medians."""
    ordered = sorted(samples, key=lambda sample: sample.day)
    count = min(len(ordered), most)
    groups = [ordered[len(ordered) * place // count : len(ordered) * (place + 1) // count] for place in range(count)]
    return [
        Sample(median(each.day for each in group), median(each.share for each in group)) for group in groups if group
    ]


def _bounds(slopes: Sequence[float], points: int) -> tuple[float, float]:
    """The slopes between which the true one is in 95 of 100 cases."""
    spread = NORMAL_95 * sqrt(points * (points - 1) * (2 * points + 5) / 18)
    low = int((len(slopes) - spread) / 2)
    high = int((len(slopes) + spread) / 2) + 1
    return slopes[max(low, 0)], slopes[min(high, len(slopes) - 1)]


def _until(distance: float, slope: float, horizon_days: float) -> float | None:
    """Days; None where that is beyond the horizon, or never. No division: a slope may be as small as it likes."""
    return distance / slope if slope > 0 and distance <= slope * horizon_days else None
