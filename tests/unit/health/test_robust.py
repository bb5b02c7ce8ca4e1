"""Median and deviation of the others."""

import random
import statistics

import pytest

from cellplane.health.robust import without_each


def by_leaving_out(values: list[float], place: int) -> tuple[float, float]:
    others = values[:place] + values[place + 1 :]
    center = statistics.median(others)
    return center, statistics.median(abs(other - center) for other in others)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 30])
def test_each_is_left_out_in_turn(count: int) -> None:
    rng = random.Random(count)
    for _ in range(200):
        # Few different values, so that many are equal.
        values = [float(rng.randrange(5)) for _ in range(count)]
        assert without_each(values) == [by_leaving_out(values, place) for place in range(count)]


def test_one_that_is_far_away_does_not_hide_itself() -> None:
    assert without_each([1.0, 1.0, 9.0])[2] == (1.0, 0.0)
