"""What a histogram says of the requests in it."""

import pytest

from cellplane.errors import ValidationError
from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS, deviation_seconds, percentile_seconds

BOUNDS = (1.0, 2.0, 4.0)


def test_the_bounds_reach_from_half_a_millisecond_past_a_minute() -> None:
    assert LATENCY_BOUNDS_SECONDS[0] == 0.0005
    assert LATENCY_BOUNDS_SECONDS[-1] == pytest.approx(65.536)
    neighbours = zip(LATENCY_BOUNDS_SECONDS[:-1], LATENCY_BOUNDS_SECONDS[1:], strict=True)
    assert all(high / low == pytest.approx(2**0.5) for low, high in neighbours)


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ((0, 10, 0, 0), 1.0, 2.0),
        ((0, 10, 0, 0), 0.5, 2**0.5),  # the middle of a bucket's logarithm
        ((10, 0, 0, 0), 0.25, 0.25),  # the first begins at 0
        ((5, 0, 5, 0), 0.5, 1.0),
        ((5, 0, 5, 0), 0.75, 2 * 2**0.5),
        ((99, 0, 0, 1), 0.99, 1.0),
        ((98, 0, 0, 2), 0.99, 4.0),  # slower than the highest bound
    ],
)
def test_a_percentile_lies_in_its_bucket(counts: tuple[int, ...], share: float, seconds: float) -> None:
    assert percentile_seconds(counts, share, BOUNDS) == pytest.approx(seconds)


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile_seconds((), 0.5) is None
    assert percentile_seconds((0, 0, 0, 0), 0.5, BOUNDS) is None


@pytest.mark.parametrize("share", [0, -1, 1.01, float("nan")])
def test_a_share_is_above_0_and_at_most_1(share: float) -> None:
    with pytest.raises(ValidationError, match="share: expected more than 0 and at most 1"):
        percentile_seconds((1, 0, 0, 0), share, BOUNDS)


def test_the_deviation_is_that_of_the_middles_of_the_buckets() -> None:
    assert deviation_seconds((0, 0, 0, 0), BOUNDS) == 0
    assert deviation_seconds((0, 7, 0, 0), BOUNDS) == 0
    assert deviation_seconds((5, 0, 5, 0), BOUNDS) == pytest.approx((3.0 - 0.5) / 2)
    assert deviation_seconds((0, 0, 5, 5), BOUNDS) == pytest.approx((4.0 - 3.0) / 2)
