"""The one entrance to all strategies: a pool becomes a cell for each slot."""

from collections.abc import Mapping
from functools import lru_cache

from cellplane.model import Cell, Pool, StrategyName
from cellplane.placement import modulo, ring
from cellplane.placement.member import Member, members_of
from cellplane.placement.slots import Shards

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
    members = members_of(cells[cell_id] for cell_id in sorted(pool.cells))
    return _place(pool.strategy, members, pool.virtual_nodes)


@lru_cache(maxsize=_CACHED_POOLS)
def _place(strategy: StrategyName, members: tuple[Member, ...], virtual_nodes: int) -> tuple[str, ...]:
    first: list[int] = _shards(strategy, members, virtual_nodes)[:, 0].tolist()
    return tuple(members[index].id for index in first)


def _shards(strategy: StrategyName, members: tuple[Member, ...], virtual_nodes: int) -> Shards:
    if strategy is StrategyName.MODULO:
        return modulo.place(members)
    return ring.place(members, virtual_nodes=virtual_nodes)
