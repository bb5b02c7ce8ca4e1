"""Robust statistics: what is usual among the others, with one of them wrong."""

from bisect import bisect_left
from collections.abc import Sequence

MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation × this is the standard deviation of a normal distribution: 1 / Φ⁻¹(3/4). Source:
Rousseeuw and Croux, Alternatives to the Median Absolute Deviation, JASA 88 (1993)."""


def without_each(values: Sequence[float]) -> list[tuple[float, float]]:
    """For each value, median and median absolute deviation of all the others.

    Leaving out the one that is judged keeps it from widening the spread that it is measured by, which among three or
    four cells would hide it. The others have three different medians at most, so that all take O(n log n).

    Args:
        values: shape (n,), n ≥ 2, finite.

    Returns:
        n pairs, in the order of the values.
    """
    ordered = sorted(values)
    deviations: dict[float, list[float]] = {}
    found = []
    for value in values:
        center = _median_without(ordered, bisect_left(ordered, value))
        if center not in deviations:
            deviations[center] = sorted(abs(other - center) for other in ordered)
        spread = deviations[center]
        found.append((center, _median_without(spread, bisect_left(spread, abs(value - center)))))
    return found


def _median_without(ordered: Sequence[float], place: int) -> float:
    """Median of rising numbers without the one at a place."""
    left = len(ordered) - 1
    low, high = ((left - 1) // 2, left // 2)
    return (ordered[low + (low >= place)] + ordered[high + (high >= place)]) / 2
