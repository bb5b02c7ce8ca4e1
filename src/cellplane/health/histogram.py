"""Latency histograms: fixed bounds, and what a histogram says of the requests in it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import sqrt

from cellplane.errors import ValidationError

LATENCY_BOUNDS_SECONDS: tuple[float, ...] = tuple(0.0005 * 2 ** (step / 2) for step in range(35))
"""Upper bounds of the buckets, seconds: half a millisecond to 65.5 s, each √2 times the one before. A percentile is
at most one bucket off, so by less than 42 %. One more bucket takes what is slower."""


def percentile_seconds(
    counts: Sequence[int], share: float, bounds_seconds: Sequence[float] = LATENCY_BOUNDS_SECONDS
) -> float | None:
    """The latency that this share of the requests does not exceed.

    Within a bucket latencies are taken to be spread evenly over the logarithm, as its bounds are; in the first,
    which begins at 0, evenly. Requests in the last bucket, which has no upper bound, count as the highest bound.
    Source: the interpolation of Prometheus's ``histogram_quantile`` for native histograms.

    Args:
        counts: shape (bounds + 1,): requests of each bucket alone, ≥ 0.
        share: > 0 and ≤ 1; 0.99 is the p99.
        bounds_seconds: rising upper bounds, > 0.

    Returns:
        Seconds, or None where nothing was counted. Never less for a larger share, nor after a request moved to a
        later bucket.

    Raises:
        ValidationError: the share is not > 0 and ≤ 1.
    """
    if not 0 < share <= 1:
        raise ValidationError("share", f"expected more than 0 and at most 1, found {share:g}")
    up_to = list(accumulate(counts))
    if not up_to or not up_to[-1]:
        return None
    rank = share * up_to[-1]
    bucket = bisect_left(up_to, rank)
    if bucket == len(bounds_seconds):
        return bounds_seconds[-1]
    # The first bucket that reaches the rank holds at least one request, since the one before it does not reach it.
    inside = 1 - (up_to[bucket] - rank) / counts[bucket]
    high = bounds_seconds[bucket]
    if bucket == 0:
        return high * inside
    low = bounds_seconds[bucket - 1]
    return float(low * (high / low) ** inside)


def deviation_seconds(counts: Sequence[int], bounds_seconds: Sequence[float] = LATENCY_BOUNDS_SECONDS) -> float:
    """Standard deviation of the latencies, each taken to be in the middle of its bucket; 0 where nothing was counted.

    Args:
        counts: shape (bounds + 1,): requests of each bucket alone, ≥ 0.
        bounds_seconds: rising upper bounds, > 0.
    """
    total = sum(counts)
    if not total:
        return 0.0
    lows = (0.0, *bounds_seconds)
    highs = (*bounds_seconds, bounds_seconds[-1])
    middles = [(low + high) / 2 for low, high in zip(lows, highs, strict=True)]
    mean = sum(count * middle for count, middle in zip(counts, middles, strict=True)) / total
    return sqrt(sum(count * (middle - mean) ** 2 for count, middle in zip(counts, middles, strict=True)) / total)
