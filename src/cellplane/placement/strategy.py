"""The one entrance to all strategies: a pool becomes a shard for each slot."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from cellplane.errors import ValidationError
from cellplane.model import Cell, Pool, StrategyName
from cellplane.placement import lattice, modulo, rendezvous, ring, shuffle, zones
from cellplane.placement.member import Member
from cellplane.placement.slots import Shards

_CACHED_POOLS = 32
"""Pools whose slots are kept, since most changes of a directory leave placement as it was."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The shards of a pool's slots.

    Attributes:
        cells: ids of the pool's cells, sorted.
        shards: shape (SLOT_COUNT, K): indexes in ``cells``, the preferred first; read-only.
    """

    cells: tuple[str, ...]
    shards: Shards


def place(pool: Pool, cells: Mapping[str, Cell]) -> Placed:
    """The shard of each slot of a pool.

    The result depends on the pool, its cells' ids, their weights and, where the pool spreads shards, where they are; on
    nothing else: not on the order of cells, not on the machine.

    Args:
        pool: a valid pool whose strategy has slots.
        cells: the fleet's cells by id; has every cell of the pool.

    Raises:
        ValidationError: its cells cannot be spread as the pool says, at ``pools.<name>.spread`` or, where too few cells
            differ, at ``pools.<name>.shard_size``.
    """
    members = tuple(
        Member(cell_id, cells[cell_id].weight, *(cells[cell_id].coordinate(dimension) for dimension in pool.spread[:1]))
        for cell_id in sorted(pool.cells)
    )
    coordinates = tuple(
        tuple(cells[member.id].coordinate(dimension) for dimension in pool.spread) for member in members
    )
    try:
        shards = _place(
            pool.strategy,
            members,
            coordinates,
            shard_size=pool.size,
            seed=pool.seed,
            virtual_nodes=pool.virtual_nodes,
        )
    except ValidationError as error:
        field = "spread" if error.field.startswith(("zones", "coordinates")) else error.field
        raise ValidationError(f"pools.{pool.name}.{field}", error.message) from error
    return Placed(tuple(member.id for member in members), shards)


@lru_cache(maxsize=_CACHED_POOLS)
def _place(
    strategy: StrategyName,
    members: tuple[Member, ...],
    coordinates: tuple[tuple[str, ...], ...],
    *,
    shard_size: int,
    seed: int,
    virtual_nodes: int,
) -> Shards:
    assert strategy is not StrategyName.EXPLICIT, "an explicit pool has no slots"
    if strategy is StrategyName.MODULO:
        shards = modulo.place(members, shard_size=shard_size)
    elif strategy is StrategyName.RING:
        shards = ring.place(members, shard_size=shard_size, virtual_nodes=virtual_nodes)
    elif strategy is StrategyName.RENDEZVOUS:
        shards = rendezvous.place(members, shard_size=shard_size)
    else:
        shards = _shuffle(members, coordinates, shard_size, seed)
    shards.flags.writeable = False
    return shards


def _shuffle(
    members: tuple[Member, ...], coordinates: tuple[tuple[str, ...], ...], shard_size: int, seed: int
) -> Shards:
    dimensions = len(coordinates[0])
    if dimensions == 0:
        return shuffle.place(members, shard_size=shard_size, seed=seed)
    if dimensions == 1:
        return zones.place(members, sorted({member.zone for member in members}), shard_size=shard_size, seed=seed)
    where = {member.id: at for member, at in zip(members, coordinates, strict=True)}
    return lattice.place(members, where, shard_size=shard_size, seed=seed)
