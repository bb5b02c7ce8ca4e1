"""Batches: moves that go on at once, so that no cell gives or takes more than a few."""

from collections import defaultdict
from collections.abc import Sequence


def batch_numbers(pairs: Sequence[tuple[int, int]], *, per_cell: int, at_once: int) -> list[int]:
    """The batch of each move, from 0: the first that has room for it, and not before an earlier move of its source.

    Args:
        pairs: (source, target) of each move, in order.
        per_cell: most moves of a batch that one cell gives or takes.
        at_once: most moves of a batch.
    """
    of_cell: dict[tuple[int, int], int] = defaultdict(int)
    in_batch: dict[int, int] = defaultdict(int)
    last: dict[int, int] = defaultdict(int)
    # Batches before these are full, of a cell or altogether: nothing is ever taken out again.
    first: dict[int, int] = defaultdict(int)
    first_open = 0
    found = []
    for source, target in pairs:
        batch = max(last[source], first[source], first[target], first_open)
        while in_batch[batch] >= at_once or max(of_cell[source, batch], of_cell[target, batch]) >= per_cell:
            batch += 1
        found.append(batch)
        last[source] = batch
        in_batch[batch] += 1
        for cell in (source, target):
            of_cell[cell, batch] += 1
            while of_cell[cell, first[cell]] >= per_cell:
                first[cell] += 1
        while in_batch[first_open] >= at_once:
            first_open += 1
    return found
