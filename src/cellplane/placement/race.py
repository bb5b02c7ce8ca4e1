"""The weighted race behind rendezvous and shuffle sharding: who is first, second … at each place.

Each pair of a place (a slot, a tenant) and a member has a hash, which gives an exponential time; the time divided by
the member's weight is its **key**, and the least keys win. So the first at a place is a given member with the
probability of its share of the weights (as closely as ``exponential`` says), and a member's key depends on nothing but
the pair, the weight and the seed: who else takes part changes no key. Everything is in integers. Members with equal
keys come in the order of their ids; among 1,000 members the first two at a place are equal about once in 2**30.

Sources: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, IEEE/ACM Transactions on Networking
6(1), 1998 (highest random weight); the weighted form −w / ln u: Efraimidis and Spirakis, Weighted random sampling with
a reservoir, Information Processing Letters 97(5), 2006; the mixing function: Steele, Lea and Flood, Fast Splittable
Pseudorandom Number Generators, OOPSLA 2014 (Stafford's variant 13).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xxhash
from numpy.typing import NDArray

from cellplane.placement.exponential import FRACTION_BITS, UNIT_BITS, times
from cellplane.placement.member import Member
from cellplane.placement.slots import Hashes, Shards

_KEY_BITS = 18
"""Bits that a time is shifted before it is divided by a weight: the longest time still fits into 64 bits."""

_NO_KEY = 2**64 - 1
"""Larger than any key: fills places where nobody runs."""

_CHUNK_PAIRS = 2**17
"""Pairs that are hashed at once: 1 MiB of hashes, what a processor's cache holds, whatever the fleet."""


@dataclass(frozen=True, slots=True)
class Entrants:
    """Those who take part in a race.

    Attributes:
        hashes: shape (N,), of their names.
        weights_milli: shape (N,), each 1 to 100,000.
    """

    hashes: Hashes
    weights_milli: NDArray[np.uint64]

    def only(self, indexes: NDArray[np.intp]) -> "Entrants":
        """Some of them, in the order of these indexes."""
        return Entrants(self.hashes[indexes], self.weights_milli[indexes])


@dataclass(frozen=True, slots=True)
class Standing:
    """Who came in first.

    Attributes:
        indexes: shape (places, count), of the entrants, the first first.
        keys: shape (places, count), ascending.
    """

    indexes: Shards
    keys: Hashes


def entrants(members: Sequence[Member], seed: int) -> Entrants:
    """The members as entrants; another seed gives another, independent race."""
    names = np.fromiter((xxhash.xxh64_intdigest(m.id.encode(), seed) for m in members), np.uint64, len(members))
    return Entrants(names, np.array([member.weight_milli for member in members], np.uint64))


def first(places: Hashes, runners: Entrants, count: int) -> Standing:
    """The ``count`` least keys at each place.

    Only pairs that can be among the first are raced: the number of keys below a limit at a place is about Poisson
    distributed, so a limit is chosen under which there are almost surely enough, and turned into one number a member
    that its hash must not exceed. A place with too few below the limit is raced again with everybody. So the result
    does not depend on the limit; the time does.

    Args:
        places: shape (places,), hashes.
        runners: N of them, in the order that decides between equal keys.
        count: 1 to N.
    """
    total_weight = int(runners.weights_milli.sum())
    expected = count + math.isqrt(16 * count) + 6
    limit = min((expected << (UNIT_BITS + _KEY_BITS)) // total_weight, _NO_KEY - 1)
    standing = Standing(np.empty((len(places), count), np.uint32), np.empty((len(places), count), np.uint64))
    again = _race(places, runners, limit, standing, np.arange(len(places)))
    if len(again):
        left = _race(places, runners, _NO_KEY - 1, standing, again)
        assert not len(left), "with no limit everybody takes part"
    return standing


def _race(
    places: Hashes, runners: Entrants, limit: int, standing: Standing, rows: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Fill these rows of the standing; return the rows where fewer than enough keys are within the limit."""
    bounds = _bounds(runners.weights_milli, limit)
    count = standing.keys.shape[1]
    step = max(1, _CHUNK_PAIRS // len(bounds))
    short: list[NDArray[np.intp]] = []
    for start in range(0, len(rows), step):
        chunk = rows[start : start + step]
        pairs = mixed(places[chunk][:, None] ^ runners.hashes)
        # Who is not here has a key above the limit.
        row, runner = np.nonzero(pairs <= bounds)
        keys = (times(pairs[row, runner]) << np.uint64(_KEY_BITS)) // runners.weights_milli[runner]
        lengths = np.bincount(row, minlength=len(chunk))
        width = max(count, int(lengths.max()))
        column = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        table = np.full((len(chunk), width), _NO_KEY, np.uint64)
        table[row, column] = keys
        runner_table = np.zeros((len(chunk), width), np.uint32)
        runner_table[row, column] = runner
        # Stable, and runners ascend along a row: equal keys stay in their order.
        best = np.argsort(table, axis=1, kind="stable")[:, :count]
        standing.keys[chunk] = np.take_along_axis(table, best, axis=1)
        standing.indexes[chunk] = np.take_along_axis(runner_table, best, axis=1)
        short.append(chunk[standing.keys[chunk, -1] > np.uint64(limit)])
    return np.concatenate(short)


def _bounds(weights_milli: NDArray[np.uint64], limit: int) -> Hashes:
    """The largest hash of each runner whose key may be within the limit.

    A key k of weight w is a time t with t·2**18 < (k + 1)·w, and t ≥ h >> 24 for its hash h.
    """
    longest = [((limit + 1) * weight - 1) >> _KEY_BITS for weight in weights_milli.tolist()]
    return np.array([min(((time + 1) << FRACTION_BITS) - 1, 2**64 - 1) for time in longest], np.uint64)


def mixed(hashes: Hashes) -> Hashes:
    """Each hash mixed so that every bit depends on every bit; in place, and a permutation of all 64-bit numbers."""
    shifted = np.empty_like(hashes)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(hashes, np.uint64(shift), out=shifted)
        hashes ^= shifted
        hashes *= np.uint64(factor)
    np.right_shift(hashes, np.uint64(31), out=shifted)
    hashes ^= shifted
    return hashes
