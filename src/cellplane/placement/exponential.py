"""Exponential times from hashes, in integers: what makes weighted placement equal on every machine.

A weighted race needs −ln u of a uniform u. The logarithm of a C library may differ in its last bit from machine to
machine, and one bit can decide an order. Here −ln is a table of integers, made with integer arithmetic, and
interpolated with integer arithmetic: no floating-point number takes part.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from cellplane.placement.slots import Hashes

UNIT_BITS = 40
"""A time of 1 is 2**40 units. The longest, 64·ln 2, is then below 2**46, so that a weight can be divided out of it."""

FRACTION_BITS = 24
"""Bits of a hash behind the table's index that interpolation uses: 16 + 24 bits are the units of time at 0."""

_INDEX_BITS = 16
_GUARD_BITS = 96
_FRACTION_MASK = np.uint64(2**FRACTION_BITS - 1)


def times(hashes: Hashes) -> Hashes:
    """−ln(1 − h / 2**64) of each hash h, in units of 2**-UNIT_BITS: exponentially distributed with mean 1.

    Larger hashes never give shorter times, and a time is never less than ``h >> 24``, since −ln(1 − x) ≥ x; the races
    rest on both. Interpolation is off by less than 2**-32 where x < ½, and by less than 1 % of the time everywhere.

    Args:
        hashes: any shape.
    """
    index = (hashes >> np.uint64(48)).astype(np.intp)
    table = _table()
    # The last entry has no right neighbour: −ln(1 − x) = −ln 2**-16 + −ln(1 − x'), x' from the bits that follow.
    last = index == 2**_INDEX_BITS - 1
    index[last] = 0
    left = table[index]
    fraction = (hashes >> np.uint64(FRACTION_BITS)) & _FRACTION_MASK
    result: Hashes = left + (((table[index + 1] - left) * fraction) >> np.uint64(FRACTION_BITS))
    if last.any():
        result[last] = table[-1] + times(hashes[last] << np.uint64(_INDEX_BITS))
    return result


@cache
def _table() -> NDArray[np.uint64]:
    """−ln(1 − j / 2**16) for j = 0 to 65,535, in units of 2**-UNIT_BITS, rounded to the nearest.

    Sums of ln((n + 1) / n) = 2 artanh(1 / (2n + 1)) (Abramowitz and Stegun, 4.1.27) with 96 bits behind the point: the
    error of a sum is below 2**-70, far from deciding how it is rounded, and the same everywhere in any case.
    """
    size = 2**_INDEX_BITS
    total = 0
    entries = np.zeros(size, np.uint64)
    for j in range(1, size):
        odd = 2 * (size - j) + 1
        square = odd * odd
        power = (2 << _GUARD_BITS) // odd
        divisor = 1
        while power:
            total += power // divisor
            power //= square
            divisor += 2
        entries[j] = (total + (1 << (_GUARD_BITS - UNIT_BITS - 1))) >> (_GUARD_BITS - UNIT_BITS)
    entries.flags.writeable = False
    return entries
