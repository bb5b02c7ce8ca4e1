"""Enumeration: overlap and cover counted over the shards that tenants really have, not assumed to be random."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from cellplane.errors import ValidationError
from cellplane.planning.checks import MAX_CELLS
from cellplane.planning.placement import NO_CELL, Indexes, check_assignments, merge_equal, row_codes

MAX_SUBSETS = 32_000_000
"""Most subsets of shards that one count visits: a minute and two gigabytes at most."""


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many cells the pairs of tenants share.

    Attributes:
        tenants: how many.
        shards: how many different sets of cells they have.
        by_shared: number of pairs that share exactly j cells, for j = 0 … K.
    """

    tenants: int
    shards: int
    by_shared: tuple[int, ...]

    @property
    def pairs(self) -> int:
        """All pairs of two tenants."""
        return comb(self.tenants, 2)

    @property
    def largest_shared(self) -> int:
        """The largest overlap that any two tenants have."""
        return max((shared for shared, pairs in enumerate(self.by_shared) if pairs), default=0)

    def shares(self) -> tuple[float, ...]:
        """Share of the pairs for each j; zeros where there is no pair."""
        return tuple(pairs / self.pairs if self.pairs else 0.0 for pairs in self.by_shared)


def count_pairs(assignments: Indexes) -> PairCounts:
    """Count all pairs of tenants by the cells that they share, without visiting the pairs.

    For each subset of m cells, the tenants that hold all of it form C(count, 2) pairs; summed over all subsets this is
    B(m) = Σ over pairs of C(shared, m), the binomial moments of the overlap. They are inverted exactly:
    pairs(j) = Σₘ≥ⱼ (−1)ᵐ⁻ʲ · C(m, j) · B(m). The cost is different shards × 2ᴷ, so a million tenants take
    seconds.

    Args:
        assignments: shape (tenants, K), the cells of each tenant, NO_CELL behind the last one.

    Raises:
        ValidationError: a row is not a shard, or there are too many subsets to count.
    """
    check_assignments("assignments", assignments, MAX_CELLS)
    tenants, size = assignments.shape
    # In ascending order equal sets are equal rows; the empty places come first then.
    shards, of_tenant = merge_equal(np.sort(assignments, axis=1), MAX_CELLS)
    if len(shards) << size > MAX_SUBSETS:
        raise ValidationError(
            "tenants",
            f"{len(shards):,} different shards of {size} have more than {MAX_SUBSETS:,} subsets: count fewer tenants",
        )
    holders = np.bincount(of_tenant, minlength=len(shards))
    moments = [comb(tenants, 2)]
    for chosen in range(1, size + 1):
        places = list(combinations(range(size), chosen))
        subsets = np.concatenate([shards[:, list(columns)] for columns in places])
        weights = np.tile(holders, len(places))
        whole = subsets[:, 0] != NO_CELL
        alike = np.unique(row_codes(subsets[whole], MAX_CELLS), return_inverse=True)[1]
        # Sums of whole numbers below 2**53 are exact in floats.
        counts = np.bincount(alike, weights=weights[whole]).astype(np.int64)
        moments.append(sum(int(count) * (int(count) - 1) // 2 for count in counts[counts > 1]))
    by_shared = tuple(
        sum((-1) ** (m - shared) * comb(m, shared) * moments[m] for m in range(shared, size + 1))
        for shared in range(size + 1)
    )
    assert sum(by_shared) == moments[0]
    return PairCounts(tenants, len(shards), by_shared)


def covered_share(assignments: Indexes, heavy: Sequence[int]) -> float:
    """Share of the other tenants whose every cell is also a cell of a heavy tenant; 0 where there is no other tenant.

    Args:
        assignments: shape (tenants, K).
        heavy: rows of the heavy tenants.

    Raises:
        ValidationError: a row is not a shard, or a heavy tenant is none of the rows.
    """
    check_assignments("assignments", assignments, MAX_CELLS)
    light = np.ones(len(assignments), dtype=np.bool_)
    for tenant in heavy:
        if not 0 <= tenant < len(assignments):
            raise ValidationError("heavy", f"tenant {tenant} is none of {len(assignments)}")
        light[tenant] = False
    if not light.any():
        return 0.0
    busy = np.zeros(MAX_CELLS + 1, dtype=np.bool_)
    busy[assignments[~light].ravel()] = True
    # NO_CELL is the last entry: an empty place is no cell that could be left.
    busy[NO_CELL] = True
    return float(busy[assignments[light]].all(axis=1).mean())
