"""Overlap: how many cells two tenants share, and what failures and heavy tenants do to a shard, in theory.

Every shard is taken to be a uniformly random set of ``shard_size`` of ``cells`` cells, independent of all others.
All probabilities are exact fractions.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import comb

from cellplane.planning.checks import MAX_CELLS, MAX_SHARD_SIZE, check_whole

MAX_HEAVY = 1_000
"""Most heavy tenants of one question: the exact fraction's digits grow with them."""


@dataclass(frozen=True, slots=True)
class FailureShare:
    """What a failure of some cells does to a random shard; with all shards in equal use, the share of tenants too.

    Attributes:
        failed: number of cells that fail together. With random shards every choice of them is the worst one.
        down: probability that the whole shard failed.
        degraded: probability that a part of it failed, but not all.
    """

    failed: int
    down: Fraction
    degraded: Fraction


def check_shards(cells: int, shard_size: int) -> None:
    """Raise ValidationError unless so many cells can hold shards of this size."""
    check_whole("cells", cells, 1, MAX_CELLS)
    check_whole("shard_size", shard_size, 1, min(cells, MAX_SHARD_SIZE))


def shard_count(cells: int, shard_size: int) -> int:
    """Number of different shards: the binomial coefficient C(cells, shard_size)."""
    check_shards(cells, shard_size)
    return comb(cells, shard_size)


def shared_cells(cells: int, shard_size: int) -> tuple[Fraction, ...]:
    """P(two tenants share exactly j cells) for j = 0 … shard_size.

    The hypergeometric distribution C(K, j) · C(N − K, K − j) / C(N, K)
    (https://en.wikipedia.org/wiki/Hypergeometric_distribution): the second tenant draws K of N cells, K of which are
    the first one's.

    Raises:
        ValidationError: naming ``cells`` or ``shard_size``.
    """
    check_shards(cells, shard_size)
    return tuple(_drawn(cells, shard_size, shard_size, shared) for shared in range(shard_size + 1))


def failure_share(cells: int, shard_size: int, failed: int) -> FailureShare:
    """What the failure of any ``failed`` of ``cells`` cells does to a random shard.

    Down is C(f, K) / C(N, K), untouched C(N − f, K) / C(N, K), degraded the rest.

    Raises:
        ValidationError: naming ``cells``, ``shard_size`` or ``failed``.
    """
    check_shards(cells, shard_size)
    check_whole("failed", failed, 0, cells)
    down = _drawn(cells, failed, shard_size, shard_size)
    untouched = _drawn(cells, failed, shard_size, 0)
    return FailureShare(failed, down, 1 - down - untouched)


def covered(cells: int, shard_size: int, heavy: int) -> Fraction:
    """P(every cell of a light tenant's shard is also in the shard of at least one of ``heavy`` heavy tenants).

    By inclusion and exclusion over the light tenant's cells that no heavy shard touches:
    Σᵢ (−1)ⁱ · C(K, i) · (C(N − i, K) / C(N, K))ʰ. It is what the Kubernetes documentation of API priority and fairness
    tabulates for hands of queues
    (https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#prioritylevelconfiguration).

    Raises:
        ValidationError: naming ``cells``, ``shard_size`` or ``heavy``.
    """
    check_shards(cells, shard_size)
    check_whole("heavy", heavy, 0, MAX_HEAVY)
    # Over one denominator: fractions that were reduced one by one would cost a division of long numbers each.
    terms = (
        (-1) ** spared * comb(shard_size, spared) * comb(cells - spared, shard_size) ** heavy
        for spared in range(shard_size + 1)
    )
    return Fraction(sum(terms), comb(cells, shard_size) ** heavy)


def _drawn(cells: int, marked: int, draws: int, hits: int) -> Fraction:
    """P(exactly ``hits`` of ``draws`` cells drawn without replacement are among the ``marked`` ones)."""
    return Fraction(comb(marked, hits) * comb(cells - marked, draws - hits), comb(cells, draws))
