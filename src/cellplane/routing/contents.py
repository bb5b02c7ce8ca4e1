"""What a routing table says, before it is bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cellplane.model import Cell, Fleet, StrategyName
from cellplane.routing.columns import TenantColumns
from cellplane.routing.policies import CanaryRow, PolicyRow
from cellplane.routing.shards import ShardRows


@dataclass(frozen=True, slots=True)
class PoolSlots:
    """A pool, compiled.

    Attributes:
        name: the pool's name.
        strategy: the strategy that made the slots.
        slots: index in TableContents.shards of each of the 65,536 slots; None where every tenant is assigned.
        policy: index in TableContents.policies.
        canary: its canary; None for none.
    """

    name: str
    strategy: StrategyName
    slots: Sequence[int] | NDArray[np.uint32] | None
    policy: int = 0
    canary: CanaryRow | None = None


@dataclass(frozen=True, slots=True)
class TableContents:
    """A routing table as values.

    Attributes:
        epoch: version of the table, ≥ 1.
        fleet: name and what it says of keys; its default_pool names one of the pools. Its policy stands in policies.
        cells: sorted by id.
        pools: at least one.
        shards: each 1 to 8 distinct indexes in cells, the preferred first.
        tenants: in any order, keys unique.
        default_shard: index in shards of the fleet's default cell, where it has one.
        policies: the fleet's, then those of tenants, then those of pools (``policies.in_order``).
        objectives: p99 objective, seconds, of cells whose pool has one of its own, by index in cells.
    """

    epoch: int
    fleet: Fleet
    cells: Sequence[Cell]
    pools: Sequence[PoolSlots]
    shards: Sequence[Sequence[int]] | ShardRows
    tenants: TenantColumns
    default_shard: int | None = None
    policies: Sequence[PolicyRow] = (PolicyRow(),)
    objectives: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OverlayContents:
    """All changes of tenants since a base, as values.

    Attributes:
        epoch: version of base and overlay together, larger than the base's.
        base_epoch: version of the base.
        base_sha256: its checksum, in hexadecimal digits.
        shards: each 1 to 8 distinct indexes in the base's cells.
        tenants: in any order, keys unique; ``shard`` is an index in ``shards``, ``pool`` one in the base's pools,
            ``policy`` one in the base's policies, and state layout.GONE where a tenant has no entry any more.
    """

    epoch: int
    base_epoch: int
    base_sha256: str
    shards: Sequence[Sequence[int]] | ShardRows
    tenants: TenantColumns
