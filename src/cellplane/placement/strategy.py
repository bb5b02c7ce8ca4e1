"""The one entrance to all strategies: a pool becomes a cell for each slot."""

from collections.abc import Mapping
from functools import lru_cache

from cellplane.model import Cell, Pool, StrategyName
from cellplane.placement import modulo, ring

_CACHED_POOLS = 32
"""Pools whose slots are kept, since most changes of a directory leave placement as it was."""


def place(pool: Pool, cells: Mapping[str, Cell]) -> tuple[str, ...]:
    """The cell of each slot of a pool.

    The result depends on the pool, its cells' ids and their weights, on nothing else: not on the order of cells, not
    on the machine.

    Args:
        pool: a valid pool.
        cells: the fleet's cells by id; has every cell of the pool.

    Returns:
        SLOT_COUNT cell ids, by slot.
    """
    weights = tuple(sorted((cell_id, cells[cell_id].weight) for cell_id in pool.cells))
    return _place(pool.strategy, weights, pool.virtual_nodes)


@lru_cache(maxsize=_CACHED_POOLS)
def _place(strategy: StrategyName, weights: tuple[tuple[str, float], ...], virtual_nodes: int) -> tuple[str, ...]:
    if strategy is StrategyName.MODULO:
        return modulo.place(weights)
    return ring.place(weights, virtual_nodes)
