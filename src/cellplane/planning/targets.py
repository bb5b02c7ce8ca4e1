"""Targets: the cells that a tenant may move to, and the best of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from cellplane.model import CellStatus
from cellplane.model.residency import Act, violations
from cellplane.placement.spread import Alike, alike
from cellplane.planning.loaded import DIMENSIONS, Flags, LoadedFleet
from cellplane.planning.placement import NO_CELL, Indexes, Loads

Key = tuple[int, str, int, int]
"""Pool, law, home cell and shard size of tenants that may go to the same cells."""

ROUNDING = 1e-9
"""Share by which room is taken for larger where only those are sorted out that surely do not fit."""

NO_OTHER = "its pool has no other open cell under its law"
NO_ROOM = "no open cell of its pool has room for it below the mark"
NO_SHARD = "no open cell of its pool makes a shard with its others that the pool allows"


@dataclass(eq=False)
class Targets:
    """Cells as they fill up while a plan is made.

    Attributes:
        fleet: the fleet as it is.
        act: what would bring tenants there.
        closed: cells that take nobody.
        lock_at: the utilisation that none is filled beyond.
        takes_unmeasured: whether a cell that declares no capacity takes tenants, where no other does.
        used: shape (cells, 3), with the moves so far.
        shards: shape (tenants, K), with the moves so far.
    """

    fleet: LoadedFleet
    act: Act
    closed: Collection[int]
    lock_at: float
    takes_unmeasured: bool
    used: Loads
    shards: Indexes
    _open: dict[Key, Indexes] = field(default_factory=dict)
    _room: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    _alike: dict[tuple[int, int], tuple[Alike, ...]] = field(default_factory=dict)
    _beside: dict[int, Flags] = field(default_factory=dict)

    def best(self, tenant: int, source: int) -> int | str:
        """The cell that is fullest least with the tenant in it; a sentence where none takes it.

        Args:
            tenant: its index.
            source: index of the cell that it leaves.
        """
        fleet, shard = self.fleet, self.shards[tenant]
        size = int((shard != NO_CELL).sum())
        key = (int(fleet.pools[tenant]), fleet.tenants[tenant].jurisdiction, int(shard[0]), size)
        if key not in self._open:
            self._open[key] = self._open_to(tenant, key)
        open_ = self._open[key]
        if not len(open_):
            return NO_OTHER
        load = fleet.loads[tenant]
        is_alone = size == 1
        # Cells only fill up: what was too much for all of them in one dimension is so ever after.
        if key in self._room and any(map(float.__gt__, load.tolist(), self._room[key])):
            return NO_ROOM
        with_it = (self.used[open_] + load) / fleet.capacities[open_]
        full = with_it.max(axis=1)
        is_dedicated = fleet.topology.pools[key[0]].dedicated
        fits = (full <= self.lock_at) & (not is_dedicated or (self.used[open_, 0] == 0))
        # No more than 1/K of a cell, by requests and storage, as in placement.
        fits &= is_alone | (load[1:] * size <= fleet.capacities[open_][:, 1:]).all(axis=1)
        if not fits.any():
            room = (self.lock_at * fleet.capacities[open_] - self.used[open_]).max(axis=0)
            self._room[key] = tuple((room + ROUNDING * np.abs(room)).tolist())
            return NO_ROOM
        unmeasured = np.isinf(fleet.capacities[open_]).all(axis=1)
        order = np.lexsort((open_, full, unmeasured))
        for place in order[fits[order]].tolist():
            if is_alone or self._is_shard(tenant, source, int(open_[place])):
                return int(open_[place])
        return NO_SHARD

    def move(self, tenant: int, source: int, target: int) -> None:
        """Put a tenant into another cell."""
        self.used[source] -= self.fleet.loads[tenant]
        self.used[target] += self.fleet.loads[tenant]
        row = self.shards[tenant]
        row[row == source] = target

    def _open_to(self, tenant: int, key: Key) -> Indexes:
        """Cells of the pool that take anybody, and under whose law the tenant may be beside its home."""
        topology, (pool, law, home, _) = self.fleet.topology, key
        names, found = set(topology.pools[pool].cells), []
        for index, cell in enumerate(topology.cells):
            if cell.id not in names or cell.status is not CellStatus.ACTIVE or index in self.closed:
                continue
            if not self.takes_unmeasured and np.isinf(self.fleet.capacities[index]).all():
                continue
            # With its home: no move changes the law that a tenant's data are under, also where it names none.
            places = (topology.cells[home], cell)
            if not violations(self.act, self.fleet.tenants[tenant].id, law, places):
                found.append(index)
        return np.array(found, np.int64)

    def _is_shard(self, tenant: int, source: int, target: int) -> bool:
        """Whether the pool allows the shard with one cell in place of another."""
        row = self.shards[tenant]
        cells = [target if cell == source else cell for cell in row[row != NO_CELL].tolist()]
        if len(set(cells)) < len(cells):
            return False
        pool_index = int(self.fleet.pools[tenant])
        pool, topology = self.fleet.topology.pools[pool_index], self.fleet.topology
        group_key = (pool_index, len(cells))
        if group_key not in self._alike:
            by_id = {cell.id: cell for cell in topology.cells}
            self._alike[group_key] = alike([by_id[each] for each in pool.cells], pool.spread, len(cells))
        ids = [topology.cells[cell].id for cell in cells]
        if any(sum(each in group.cells for each in ids) > group.most for group in self._alike[group_key]):
            return False
        return pool.overlap is None or self._shares_few(tenant, cells, pool.overlap)

    def _shares_few(self, tenant: int, cells: Sequence[int], most: int) -> bool:
        """Whether no other tenant's own shard has more than so many of these cells."""
        others = np.flatnonzero(self.fleet.is_assigned | self._has_moved())
        shared = np.isin(self.shards[others], cells).sum(axis=1)
        return not (shared[others != tenant] > most).any()

    def _has_moved(self) -> Flags:
        """Tenants whose shard is another than at first: it is their own from then on."""
        return np.asarray((self.shards != self.fleet.shards).any(axis=1))


def excess(used: Loads, capacities: Loads, lock_at: float) -> Loads:
    """What is beyond the mark in each cell, summed over its dimensions; shape (cells,)."""
    assert used.shape[-1] == len(DIMENSIONS), "a column for each dimension"
    found: Loads = np.maximum(used / capacities - lock_at, 0.0).sum(axis=-1)
    return found
