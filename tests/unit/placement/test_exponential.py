"""−ln in integers: close to the true one, never falling, never below the bound that races rest on."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.placement.exponential import _table, times
from support.depth import examples
from unit.placement import plain

UNIT = 2**40
hashes = st.one_of(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**20),
    st.integers(0, 2**48).map(lambda below: 2**64 - 1 - below),
    st.integers(0, 2**16 - 1).map(lambda index: index << 48),
)


def one(value: int) -> int:
    return int(times(np.array([value], np.uint64))[0])


def test_the_table_is_minus_log() -> None:
    wanted = [-math.log(1 - j / 65536) for j in range(65536)]
    assert np.abs(_table().astype(float) / UNIT - wanted).max() < 2 / UNIT


def test_the_ends() -> None:
    assert one(0) == 0
    assert one(1 << 24) == 1
    # -ln 2**-64: the last table entry, four times.
    assert one(2**64 - 1) == 4 * one(65535 << 48) == 4 * int(_table()[-1])
    assert (one(2**64 - 1) << 18) < 2**64 - 1


@settings(max_examples=examples(100), deadline=None)
@given(hashes)
def test_a_time_is_that_of_plain_integers_and_close_to_the_logarithm(value: int) -> None:
    time = one(value)
    assert time == plain.time(value)
    assert time >= value >> 24
    x = value / 2**64
    if x < 0.5:
        assert abs(time / UNIT + math.log1p(-x)) < 2**-32
    elif value < 2**64 - 2**12:
        true = -math.log((2**64 - value) / 2**64)
        assert abs(time / UNIT - true) <= 0.01 * true


@settings(max_examples=examples(100), deadline=None)
@given(hashes, hashes)
def test_larger_hashes_never_give_shorter_times(one_hash: int, other: int) -> None:
    low, high = sorted((one_hash, other))
    assert one(low) <= one(high)


def test_times_are_exponential() -> None:
    spread = times(np.arange(2**16, dtype=np.uint64) * np.uint64(2**48) + np.uint64(2**47)) / UNIT
    assert abs(spread.mean() - 1) < 1e-4
    assert abs(np.quantile(spread, 0.5) - math.log(2)) < 1e-4
