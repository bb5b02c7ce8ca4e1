"""What differs between two states of the directory: resources field by field, and whom that moves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellplane.directory import Change, Past, Snapshot
from cellplane.directory.rows import tenant_of
from cellplane.manifest.changes import changes
from cellplane.manifest.moves import NO_CELL, KnownTenants, Moves, count_moves
from cellplane.manifest.settings import ApplySettings
from cellplane.model import Tenant, Topology
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement import SLOT_COUNT
from cellplane.placement.hashing import hash_keys


@dataclass(frozen=True, slots=True)
class Placements:
    """Where all known tenants are, one list a column, by id."""

    ids: list[str]
    pools: list[str]
    shards: list[tuple[str, ...]]

    @classmethod
    def of(cls, source: Snapshot | Past) -> "Placements":
        """Those of a snapshot, or of the past."""
        found = cls([], [], [])
        for tenant_id, pool, shard in source.placements():
            found.ids.append(tenant_id)
            found.pools.append(pool)
            found.shards.append(shard)
        return found

    def without(self, tenant_ids: Collection[str]) -> "Placements":
        """All but these tenants."""
        if not tenant_ids:
            return self
        return self._at([place for place, tenant_id in enumerate(self.ids) if tenant_id not in tenant_ids])

    def only(self, tenant_ids: Collection[str]) -> "Placements":
        """These tenants alone."""
        if not tenant_ids:
            return Placements([], [], [])
        return self._at([place for place, tenant_id in enumerate(self.ids) if tenant_id in tenant_ids])

    def _at(self, kept: Sequence[int]) -> "Placements":
        return Placements(
            [self.ids[place] for place in kept],
            [self.pools[place] for place in kept],
            [self.shards[place] for place in kept],
        )

    def in_topology(self, topology: Topology) -> KnownTenants:
        """The same by numbers of cells and pools."""
        cells = {cell.id: index for index, cell in enumerate(topology.cells)}
        pools = {pool.name: index for index, pool in enumerate(topology.pools)}
        shards = np.full((len(self.ids), MAX_SHARD_SIZE), NO_CELL, np.int32)
        for row, shard in enumerate(self.shards):
            if shard:
                shards[row, : len(shard)] = [cells[cell] for cell in shard]
        lengths = np.fromiter(map(len, self.ids), np.uint8, len(self.ids))
        offsets = np.zeros(len(self.ids), np.uint32)
        np.cumsum(lengths[:-1], out=offsets[1:])
        hashes = hash_keys(np.frombuffer("".join(self.ids).encode(), np.uint8), offsets, lengths)
        in_pool = np.fromiter(map(pools.__getitem__, self.pools), np.int32, len(self.ids))
        return KnownTenants(hashes & np.uint32(SLOT_COUNT - 1), in_pool, shards)


@dataclass(frozen=True, slots=True)
class State:
    """The directory at one moment.

    Attributes:
        epoch: the number of its last change.
        topology: the fleet, its cells and pools; None as long as there is no fleet.
        is_whole: whether all that the fleet names is there.
        placements: where all known tenants are.
    """

    epoch: int
    topology: Topology | None
    is_whole: bool
    placements: Placements

    @classmethod
    def of(cls, source: Snapshot | Past) -> "State":
        """That of a snapshot, or of the past."""
        return cls(source.epoch(), source.topology, source.outline.is_whole, Placements.of(source))


def differences(before: State, after: State, logged: Sequence[Change]) -> dict[str, Any]:
    """``changes`` and ``moves``, as of ``cellplane.manifest``.

    Args:
        before: one state, the older.
        after: the other; it has a fleet.
        logged: all changes of tenants between the two, in order.
    """
    assert after.topology is not None, "what is compared has a fleet"
    old, new = tenants_of(logged)
    topology = None if before.topology is None else with_tenants(before.topology, tuple(old.values()))
    listed = changes(topology, with_tenants(after.topology, tuple(new.values())))
    moved = Moves()
    # As long as a fleet is not whole, its tenants are nowhere.
    if before.topology is not None and before.is_whole and after.is_whole:
        one = before.placements.without(old.keys() - new.keys())
        created = new.keys() - old.keys()
        other = after.placements.without(created)
        assert one.ids == other.ids, "the log names every tenant that came or went"
        moved = count_moves(
            before.topology,
            one.in_topology(before.topology),
            after.topology,
            other.in_topology(after.topology),
            after.placements.only(created).in_topology(after.topology),
        )
    return {
        "changes": [change.as_json() for change in listed],
        "moves": moved.as_json(ApplySettings().max_rows),
    }


def reversed_log(logged: Sequence[Change]) -> list[Change]:
    """The changes that undo these."""
    return [replace(change, before=change.after, after=change.before) for change in reversed(logged)]


def tenants_of(logged: Sequence[Change]) -> tuple[dict[str, Tenant], dict[str, Tenant]]:
    """The tenants that changed, by id, as they were before all changes and as they are after them."""
    old: dict[str, Tenant] = {}
    new: dict[str, Tenant] = {}
    seen: set[str] = set()
    for change in logged:
        if change.kind != "tenant":
            continue
        if change.before is not None and change.id not in seen:
            old[change.id] = tenant_of(change.before).tenant
        seen.add(change.id)
        new.pop(change.id, None)
        if change.after is not None:
            new[change.id] = tenant_of(change.after).tenant
    return old, new


def with_tenants(topology: Topology, tenants: tuple[Tenant, ...]) -> Topology:
    """A topology with these tenants."""
    return Topology(topology.fleet, topology.cells, topology.pools, tenants)
