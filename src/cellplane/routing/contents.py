"""What a routing table says, before it is bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellplane.model import Cell, Fleet, StrategyName, TenantState


@dataclass(frozen=True, slots=True)
class PoolSlots:
    """A pool, compiled.

    Attributes:
        name: the pool's name.
        strategy: the strategy that made the slots.
        slots: index in TableContents.shards of each of the 65,536 slots.
    """

    name: str
    strategy: StrategyName
    slots: Sequence[int]


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant that its slot alone does not place.

    Attributes:
        key: its partition key.
        shard: index in TableContents.shards, or None for the shard of its slot in its pool.
        pool: index in TableContents.pools.
        state: see TenantState.
    """

    key: bytes
    shard: int | None
    pool: int = 0
    state: TenantState = TenantState.ACTIVE


@dataclass(frozen=True, slots=True)
class TableContents:
    """A routing table as values.

    Attributes:
        epoch: version of the table, ≥ 1.
        fleet: name and policy; its default_pool names one of the pools.
        cells: sorted by id.
        pools: at least one.
        shards: each 1 to 8 distinct indexes in cells, the preferred first.
        tenants: in any order, keys unique.
    """

    epoch: int
    fleet: Fleet
    cells: Sequence[Cell]
    pools: Sequence[PoolSlots]
    shards: Sequence[tuple[int, ...]]
    tenants: Sequence[TenantEntry]
