"""A loaded fleet: cells with what they hold, and the tenants that they hold it for, as arrays for a million of them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellplane.errors import ValidationError
from cellplane.model import Tenant, TenantState, Topology
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement import place, slot_of
from cellplane.placement.fitting import needed
from cellplane.planning.checks import MAX_TENANTS, check_whole
from cellplane.planning.pins import is_pinned
from cellplane.planning.placement import NO_CELL, Indexes, Loads
from cellplane.planning.residency import Resident

Flags = npt.NDArray[np.bool_]

DIMENSIONS = ("tenants", "requests/s", "GiB")
"""What a cell's capacity is declared in, as columns."""

GIB = 2**30
"""Bytes."""

_STILL = {TenantState.MOVING, TenantState.QUARANTINED}


@dataclass(frozen=True, slots=True, eq=False)
class LoadedFleet:
    """A fleet with the tenants that its cells hold.

    Attributes:
        topology: valid; its fleet, cells and pools count, its tenants do not.
        tenants: those that some cell holds.
        pools: shape (tenants,): the pool of each, an index in the topology's.
        shards: shape (tenants, MAX_SHARD_SIZE): indexes in its cells, the preferred first, then NO_CELL.
        is_assigned: shape (tenants,): whether the shard is the tenant's own, not its slot's.
        is_pinned: shape (tenants,) (``pins``).
        is_still: shape (tenants,): whether it is being moved, or in quarantine: it stays for now.
        loads: shape (tenants, 3): what each takes of every cell of its shard, by DIMENSIONS.
        data_bytes: shape (tenants,): what would be copied of each.
        capacities: shape (cells, 3): infinite where nothing is declared.
    """

    topology: Topology
    tenants: tuple[Tenant, ...]
    pools: Indexes
    shards: Indexes
    is_assigned: Flags
    is_pinned: Flags
    is_still: Flags
    loads: Loads
    data_bytes: Indexes
    capacities: Loads

    def used(self) -> Loads:
        """What each cell holds, shape (cells, 3)."""
        cells = len(self.topology.cells)
        found = np.zeros((cells, len(DIMENSIONS)))
        for place_ in range(MAX_SHARD_SIZE):
            rows = np.flatnonzero(self.shards[:, place_] != NO_CELL)
            for column in range(len(DIMENSIONS)):
                weights = self.loads[rows, column]
                found[:, column] += np.bincount(self.shards[rows, place_], weights, minlength=cells)
        return found


def load_fleet(topology: Topology, residents: Iterable[Resident]) -> LoadedFleet:
    """A fleet from its tenants. One that no cell holds is left out.

    A tenant's load and data are what it declares (``Load``): its data are ``storage_gib`` in bytes, in each cell of its
    shard.

    Args:
        topology: valid; its own tenants do not count.
        residents: the tenants, with the pools that they are in.

    Raises:
        ValidationError: there are too many, or a tenant is in a pool or a cell that is not there.
    """
    cells = {cell.id: index for index, cell in enumerate(topology.cells)}
    pools = {pool.name: index for index, pool in enumerate(topology.pools)}
    by_id = {cell.id: cell for cell in topology.cells}
    slots: dict[str, Indexes] = {}
    tenants: list[Tenant] = []
    in_pool: list[int] = []
    shards: list[list[int]] = []
    pinned: list[bool] = []
    still: list[bool] = []
    loads: list[tuple[float, float, float]] = []
    for resident in residents:
        tenant, name = resident.tenant, resident.pool
        if name is None or name not in pools or not cells.keys() >= set(tenant.shard):
            raise ValidationError(f"tenants.{tenant.id}", "it is in a pool or a cell that is not there")
        pool = topology.pools[pools[name]]
        if tenant.shard:
            shard = [cells[cell_id] for cell_id in tenant.shard]
        elif pool.has_slots:
            if name not in slots:
                placed = place(pool, by_id)
                slots[name] = np.array([cells[cell_id] for cell_id in placed.cells])[placed.shards]
            shard = slots[name][slot_of(tenant.id.encode())].tolist()
        else:
            continue
        load = needed(tenant)
        tenants.append(tenant)
        in_pool.append(pools[name])
        shards.append(shard + [NO_CELL] * (MAX_SHARD_SIZE - len(shard)))
        overflowed = bool(tenant.shard) and topology.pool_of(tenant)[0] != name
        pinned.append(is_pinned(tenant, pool, came_by_overflow=overflowed))
        still.append(tenant.state in _STILL or resident.quarantine is not None)
        loads.append((load.tenants, load.rps, load.storage_gib))
    check_whole("tenants", len(tenants), 0, MAX_TENANTS)
    amounts = np.array(loads, np.float64).reshape(-1, len(DIMENSIONS))
    return LoadedFleet(
        topology,
        tuple(tenants),
        np.array(in_pool, np.int64),
        np.array(shards, np.int64).reshape(-1, MAX_SHARD_SIZE),
        np.array([bool(tenant.shard) for tenant in tenants], np.bool_),
        np.array(pinned, np.bool_),
        np.array(still, np.bool_),
        amounts,
        np.rint(amounts[:, 2] * GIB).astype(np.int64),
        np.array(
            [
                [_limit(cell.capacity.tenants), _limit(cell.capacity.rps), _limit(cell.capacity.storage_gib)]
                for cell in topology.cells
            ]
        ),
    )


def _limit(amount: float | None) -> float:
    return math.inf if amount is None else float(amount)
