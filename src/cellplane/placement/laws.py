"""Laws of many shards at once: residency (``model.residency``) for arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellplane.model.residency import Place, law_codes


def crossing(cells: Sequence[Place], shards: NDArray[np.integer], no_cell: int) -> NDArray[np.int64]:
    """The shards whose cells are under different laws: what ``violations`` says of a tenant without a law of its own.

    Args:
        cells: at least one.
        shards: shape (n, K), indexes into ``cells``, the first of a row a cell.
        no_cell: fills the places behind a shard's last cell.

    Returns:
        Rows of ``shards``, rising.
    """
    of_cell = np.array(law_codes(cells), np.int64)
    if not of_cell.any():
        return np.empty(0, np.int64)
    of_place = of_cell[np.where(shards == no_cell, shards[:, :1], shards)]
    return np.flatnonzero((of_place != of_place[:, :1]).any(axis=1)).astype(np.int64)
