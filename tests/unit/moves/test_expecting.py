"""About how long a move takes, and from which size on it has to be forced."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.moves.config import parse_config
from cellplane.moves.errors import MoveError
from cellplane.moves.expecting import Carried, Expected, expected, is_too_large
from cellplane.moves.settings import CutoverSettings, EstimateSettings, SizeLimits

ROUND = EstimateSettings(
    copy_rows_per_second=1_000.0,
    copy_bytes_per_second=1e6,
    compare_rows_per_second=2_000.0,
    compare_bytes_per_second=4e6,
    file_rows_per_second=500.0,
    steps_seconds=3.0,
    pause_seconds=0.2,
    pause_rare_seconds=0.5,
    message_seconds=0.001,
)


def test_small_rows_cost_by_their_number_and_large_ones_by_their_size() -> None:
    small = expected(Carried(10_000, 1_000_000), settings=ROUND)
    assert (small.copy_seconds, small.compare_seconds, small.seconds) == (10, 5, 18)
    large = expected(Carried(10, 40_000_000), settings=ROUND)
    assert (large.copy_seconds, large.compare_seconds, large.seconds) == (40, 10, 53)


def test_a_rate_bounds_the_copy_alone_and_makes_it_no_faster() -> None:
    carried = Carried(10, 40_000_000)
    slow = expected(carried, copy_bytes_per_second=100_000, settings=ROUND)
    assert (slow.copy_seconds, slow.compare_seconds) == (400, 10)
    assert expected(carried, copy_bytes_per_second=10**9, settings=ROUND) == expected(carried, settings=ROUND)


def test_a_shadow_files_and_messages_count() -> None:
    plain = expected(Carried(1_000, 0), settings=ROUND)
    assert expected(Carried(1_000, 0), shadow_seconds=60, settings=ROUND).seconds == plain.seconds + 60
    files = expected(Carried(1_000, 0), of_files=True, settings=ROUND)
    assert (files.copy_seconds, files.compare_seconds) == (2, 2)
    queued = expected(Carried(1_000, 0, messages=100), settings=ROUND)
    assert queued.pause_seconds == pytest.approx(0.3)
    assert queued.pause_rare_seconds == pytest.approx(0.6)
    assert queued.seconds == plain.seconds
    bounded = expected(Carried(0, 0), settings=ROUND, cutover=CutoverSettings(pause_seconds=1.5))
    assert bounded == Expected(0, 0, 3, 0.2, 0.5, 1.5)


SIZES = st.integers(0, 10**12)


@given(SIZES, SIZES, SIZES, SIZES)
def test_more_never_takes_less(rows: int, count: int, more_rows: int, more: int) -> None:
    less, most = expected(Carried(rows, count)), expected(Carried(rows + more_rows, count + more))
    assert less.copy_seconds <= most.copy_seconds
    assert less.seconds <= most.seconds
    limits = SizeLimits()
    assert is_too_large(Carried(rows, count), limits) <= is_too_large(Carried(rows + more_rows, count), limits)


def test_what_is_beyond_a_limit_is_too_large() -> None:
    limits = SizeLimits(100, 1_000)
    found = [is_too_large(Carried(*each), limits) for each in ((100, 1_000), (101, 0), (0, 1_001))]
    assert found == [False, True, True]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("", SizeLimits()),
        ("limits: {rows: 5}", SizeLimits(rows=5)),
        ("limits: {bytes: 2e9}", SizeLimits(bytes=2_000_000_000)),
    ],
)
def test_limits_are_read_and_have_defaults(text: str, limits: SizeLimits) -> None:
    assert parse_config(text, Path()).limits == limits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {size: 1}", "limits.size: no field is named 'size' here: expected rows, bytes"),
        ("limits: {rows: 0}", r"moves.yaml:1:16: limits.rows: expected a number from 1 to 1e\+18, found the number 0"),
        ("limits: {bytes: 50GB}", "limits.bytes: expected a number from 1 to"),
    ],
)
def test_what_is_no_limit_is_said_by_its_field(text: str, said: str) -> None:
    with pytest.raises(MoveError, match=said):
        parse_config(text, Path())
