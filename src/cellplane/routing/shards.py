"""Shards as rows of cell indexes: packed as the table holds them, and interned so that each stands once."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cellplane.routing import layout

ShardRows: TypeAlias = NDArray[np.uint16]
"""Shape (n, layout.SHARD_PLACES): cell indexes, the preferred first; layout.NO_CELL behind the last."""


def pack_shards(shards: Sequence[Sequence[int]] | ShardRows) -> ShardRows:
    """Rows of these shards; rows are passed on as they are."""
    if isinstance(shards, np.ndarray):
        return shards
    rows = np.full((len(shards), layout.SHARD_PLACES), layout.NO_CELL, np.uint16)
    for size in {len(shard) for shard in shards}:
        places = [place for place, shard in enumerate(shards) if len(shard) == size]
        rows[places, :size] = [shards[place] for place in places]
    return rows


def widen(cells: NDArray[np.uint32]) -> ShardRows:
    """Rows of shards that all have K cells, shape (n, K)."""
    rows = np.full((len(cells), layout.SHARD_PLACES), layout.NO_CELL, np.uint16)
    rows[:, : cells.shape[1]] = cells
    return rows


def distinct(rows: ShardRows) -> tuple[ShardRows, NDArray[np.uint32]]:
    """Each shard once, in the order of its cells; and where each of the given ones went, shape (n,)."""
    # Big-endian, so that comparing bytes compares cells in order.
    packed = np.ascontiguousarray(rows.astype(">u2")).view(f"S{2 * layout.SHARD_PLACES}").reshape(-1)
    _, first, places = np.unique(packed, return_index=True, return_inverse=True)
    return rows[first], places.reshape(-1).astype(np.uint32)


def cells_of(row: Sequence[int]) -> tuple[int, ...]:
    """The cell indexes of one row."""
    return tuple(int(cell) for cell in row if cell != layout.NO_CELL)


def first_bad_shard(rows: ShardRows, cells: int) -> int | None:
    """The first row with a gap, no cell, a cell twice, or one that is not among so many; None where all are sound."""
    used = rows != layout.NO_CELL
    sizes = used.sum(axis=1)
    # Every place before the last used one is used: the place of each used one is below the number of them.
    gaps = (used & (np.arange(layout.SHARD_PLACES) >= sizes[:, None])).any(axis=1)
    outside = (used & (rows >= cells)).any(axis=1)
    ordered = np.sort(rows, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != layout.NO_CELL)).any(axis=1)
    bad = np.flatnonzero((sizes == 0) | gaps | outside | twice)
    return int(bad[0]) if len(bad) else None
