"""The search for a shard: the best by preference of which no max_overlap + 1 cells are together in another.

Sets of cells are masks: bit i is cell i. For each set of max_overlap cells it is known which cells complete it to a
taken set, so that a cell is chosen or passed over by one look at a mask, and a branch with too few cells ends at once.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

Limits = Sequence[tuple[int, int]]
"""Masks of cells, and how many of them a shard may have."""


class ShardSearch:
    """One bounded search, depth first, in the order of preference: what it finds first is the best.

    Args:
        taken: for each sorted set of max_overlap cells, the cells that complete it to a set that another shard has.
        max_overlap: most cells that two shards share.
        order: all cells, the preferred first.
        alike: for each cell, the limits that it counts for; empty where there are none.
        limit: cells that may be tried.
    """

    def __init__(
        self,
        taken: Mapping[tuple[int, ...], int],
        max_overlap: int,
        order: Sequence[int],
        alike: Sequence[Limits],
        limit: int,
    ) -> None:
        self.steps = 0
        self._taken = taken
        self._overlap = max_overlap
        self._order = order
        self._alike = alike
        self._limit = limit

    def best(self, size: int, allowed: int) -> tuple[int, ...] | None:
        """The first ``size`` cells by preference that fit, out of the allowed; None where none do or steps ran out."""
        if self._overlap == 0:
            allowed &= ~self._taken.get((), 0)
        return self._extend((), 0, size, allowed)

    def _extend(self, chosen: tuple[int, ...], start: int, missing: int, allowed: int) -> tuple[int, ...] | None:
        """Add cells that are allowed; all of these stand at ``start`` or behind it."""
        if missing == 0:
            return chosen
        place = start
        while allowed.bit_count() >= missing and self.steps < self._limit:
            cell = self._order[place]
            place += 1
            if allowed >> cell & 1:
                self.steps += 1
                allowed &= ~(1 << cell)
                found = self._extend((*chosen, cell), place, missing - 1, allowed & ~self._excluded(chosen, cell))
                if found is not None:
                    return found
        return None

    def _excluded(self, chosen: tuple[int, ...], cell: int) -> int:
        """Cells that would complete a taken set together with this cell and others chosen, or that would be too many
        alike.
        """
        mask = 0
        if self._overlap > 0:
            for others in combinations(chosen, self._overlap - 1):
                mask |= self._taken.get(tuple(sorted((*others, cell))), 0)
        for group, most in self._alike[cell] if self._alike else ():
            if 1 + sum(group >> other & 1 for other in chosen) >= most:
                mask |= group
        return mask
