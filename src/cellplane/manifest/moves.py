"""Whom a change moves: known tenants and slots whose preferred cell, or any cell of their shard, would be another.

Counted with NumPy over all known tenants; a million take seconds, most of it to read them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cellplane.manifest.membership import pool_names
from cellplane.manifest.shapes import Json
from cellplane.model import MissingKey, Pool, Tenant, Topology, UnknownTenant
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement import SLOT_COUNT, place
from cellplane.placement.hashing import hash_keys

Indexes: TypeAlias = npt.NDArray[np.int32]

NO_CELL = -1
"""Fills the places of a shard behind its last cell; a tenant that nothing places has it in all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownTenants:
    """The tenants that a fleet knows, as arrays.

    Attributes:
        slots: shape (tenants,): of each, its slot.
        pools: shape (tenants,): indexes in the pools of the topology.
        shards: shape (tenants, MAX_SHARD_SIZE): indexes in its cells of what each is assigned to, the preferred first,
            then NO_CELL.
    """

    slots: npt.NDArray[np.uint32]
    pools: Indexes
    shards: Indexes


@dataclass(frozen=True, slots=True)
class Flow:
    """What goes from one cell to another.

    Attributes:
        source: id of the cell that was preferred; None where nothing placed them.
        target: id of the cell that would be; None where nothing would place them.
        tenants: known tenants.
        slots: slots of any pool.
    """

    source: str | None
    target: str | None
    tenants: int
    slots: int

    def as_json(self) -> Json:
        """It as the API answers it."""
        return {"from": self.source, "to": self.target, "tenants": self.tenants, "slots": self.slots}


@dataclass(frozen=True, slots=True)
class PoolMoves:
    """What moves in one pool.

    Attributes:
        pool: its name, as it would be.
        tenants: its known tenants whose preferred cell changes.
        tenants_total: of its tenants, those that ``Moves.tenants_total`` counts.
        slots: its slots whose preferred cell changes; 0 for a pool that is there only before or only after.
    """

    pool: str
    tenants: int
    tenants_total: int
    slots: int

    def as_json(self) -> Json:
        """It as the API answers it."""
        return {"pool": self.pool, "tenants": self.tenants, "tenants_total": self.tenants_total, "slots": self.slots}


@dataclass(frozen=True, slots=True)
class Moves:
    """Whom a change moves. Tenants that it deletes do not move; those that it creates do where the fleet served their
    key before, as one that it did not know, from another cell.

    Attributes:
        tenants: known tenants whose preferred cell changes.
        tenants_total: known tenants that are there before and after, and those created whose key was served before.
        tenant_shards: known tenants of whose shard any member changes, in whatever order.
        slots: slots of any pool whose preferred cell changes.
        slot_shards: slots of any pool of whose shard any member changes.
        unknown_share: share of the slots of unknown tenants whose preferred cell changes, 0 to 1; one that is refused
            is at no cell. Where requests without a key are placed by slot before and after, it is at least the share
            of their slots.
        by_cell: from where to where, most tenants first, then most slots.
        by_pool: each pool in which something moves, by name.
    """

    tenants: int = 0
    tenants_total: int = 0
    tenant_shards: int = 0
    slots: int = 0
    slot_shards: int = 0
    unknown_share: float = 0.0
    by_cell: tuple[Flow, ...] = ()
    by_pool: tuple[PoolMoves, ...] = ()

    @property
    def share(self) -> float:
        """The share of known tenants that move, or of unknown ones where that is more; 0 to 1."""
        known = self.tenants / self.tenants_total if self.tenants_total else 0.0
        return max(known, self.unknown_share)

    def as_json(self, max_rows: int) -> Json:
        """It as the API answers it, with at most so many pairs of cells."""
        return {
            "tenants": self.tenants,
            "tenants_total": self.tenants_total,
            "tenant_shards": self.tenant_shards,
            "slots": self.slots,
            "slot_shards": self.slot_shards,
            "share": self.share,
            "unknown_share": self.unknown_share,
            "by_cell": [flow.as_json() for flow in self.by_cell[:max_rows]],
            "by_pool": [moves.as_json() for moves in self.by_pool],
        }


def moves(before: Topology, after: Topology) -> Moves:
    """Whom the change from one fleet to another moves.

    A tenant is where it is assigned, else where its slot is. Whom a pool assigns at its next placement (``explicit``,
    or with an overlap) counts as placed by its slot, or by nothing, until then. The status of cells does not count:
    which cell a shard prefers is no matter of who is up.

    Raises:
        ValidationError: a pool's cells cannot be spread as it says.
    """
    here = {tenant.id for tenant in before.tenants}
    there = {tenant.id: tenant for tenant in after.tenants}
    pairs = [(tenant, there[tenant.id]) for tenant in before.tenants if tenant.id in there]
    one = known_tenants(before, [tenant for tenant, _ in pairs])
    other = known_tenants(after, [tenant for _, tenant in pairs], slots=one.slots)
    listed = known_tenants(after, [tenant for tenant in after.tenants if tenant.id not in here])
    return count_moves(before, one, after, other, listed)


def known_tenants(
    topology: Topology, tenants: Sequence[Tenant], slots: npt.NDArray[np.uint32] | None = None
) -> KnownTenants:
    """Tenants of a topology as arrays.

    Args:
        topology: has their pools and cells; its own tenants do not count.
        tenants: which.
        slots: theirs, where they are known already.
    """
    cells = {cell.id: index for index, cell in enumerate(topology.cells)}
    pools = {pool.name: index for index, pool in enumerate(topology.pools)}
    shards = np.full((len(tenants), MAX_SHARD_SIZE), NO_CELL, np.int32)
    for row, tenant in enumerate(tenants):
        if tenant.shard:
            shards[row, : len(tenant.shard)] = [cells[cell] for cell in tenant.shard]
    in_pool = np.fromiter((pools[name] for name in pool_names(topology, tenants)), np.int32, len(tenants))
    return KnownTenants(_slots(tenants) if slots is None else slots, in_pool, shards)


def count_moves(
    before: Topology, one: KnownTenants, after: Topology, other: KnownTenants, listed: KnownTenants | None = None
) -> Moves:
    """Whom the change from one fleet to another moves, by arrays.

    Args:
        before: the fleet; its own tenants do not count.
        one: the known tenants there.
        after: the fleet as it would be.
        other: the same tenants there, in the same order.
        listed: those that are known there only.

    Raises:
        ValidationError: a pool's cells cannot be spread as it says.
    """
    assert len(one.slots) == len(other.slots), "both sides have the same tenants"
    names = sorted({cell.id for cell in before.cells} | {cell.id for cell in after.cells})
    numbers = {name: number for number, name in enumerate(names)}
    old, new = _Fleet(before, numbers), _Fleet(after, numbers)
    was, becomes, in_pool = old.shards_of(one), new.shards_of(other), other.pools
    if listed is not None and before.fleet.unknown_tenant is not UnknownTenant.REJECT:
        # Their keys were served before anybody listed them.
        was = np.concatenate([was, old.unknown()[listed.slots]])
        becomes = np.concatenate([becomes, new.shards_of(listed)])
        in_pool = np.concatenate([in_pool, listed.pools])
    moved = was[:, 0] != becomes[:, 0]
    tenant_flows = _flows(was[:, 0], becomes[:, 0], moved, len(names))
    pool_sizes = np.bincount(in_pool, minlength=len(after.pools))
    pool_moved = np.bincount(in_pool[moved], minlength=len(after.pools))
    slot_flows: dict[int, int] = {}
    by_pool, slots_moved, slot_shards = [], 0, 0
    for index, pool in enumerate(after.pools):
        slots = 0
        if pool.name in old.index and (pool.has_slots or before.pools[old.index[pool.name]].has_slots):
            placed, places = old.slots_of(old.index[pool.name]), new.slots_of(index)
            differ = placed[:, 0] != places[:, 0]
            slots = int(differ.sum())
            slot_shards += _other_members(placed, places)
            for pair, count in _flows(placed[:, 0], places[:, 0], differ, len(names)).items():
                slot_flows[pair] = slot_flows.get(pair, 0) + count
        slots_moved += slots
        if slots or pool_moved[index]:
            by_pool.append(PoolMoves(pool.name, int(pool_moved[index]), int(pool_sizes[index]), slots))
    return Moves(
        tenants=int(moved.sum()),
        tenants_total=len(moved),
        tenant_shards=_other_members(was, becomes),
        slots=slots_moved,
        slot_shards=slot_shards,
        unknown_share=_unknown_share(old, new),
        by_cell=tuple(_ranked(tenant_flows, slot_flows, names)),
        by_pool=tuple(sorted(by_pool, key=lambda moves: moves.pool)),
    )


class _Fleet:
    """A fleet whose cells have numbers that another fleet shares."""

    def __init__(self, topology: Topology, numbers: dict[str, int]) -> None:
        self.topology = topology
        self.index = {pool.name: index for index, pool in enumerate(topology.pools)}
        self._cells = {cell.id: cell for cell in topology.cells}
        self._numbers = numbers
        # The last place is that of NO_CELL, which is -1.
        self._renumbered = np.array([*(numbers[cell.id] for cell in topology.cells), NO_CELL], np.int32)
        self._slots: dict[int, Indexes] = {}

    def slots_of(self, index: int) -> Indexes:
        """The shards of a pool's slots, shape (SLOT_COUNT, MAX_SHARD_SIZE); NO_CELL where the pool has none."""
        if index not in self._slots:
            self._slots[index] = self._placed(self.topology.pools[index])
        return self._slots[index]

    def _placed(self, pool: Pool) -> Indexes:
        shards = np.full((SLOT_COUNT, MAX_SHARD_SIZE), NO_CELL, np.int32)
        if pool.has_slots:
            placed = place(pool, self._cells)
            numbers = np.array([self._numbers[cell] for cell in placed.cells], np.int32)
            shards[:, : placed.shards.shape[1]] = numbers[placed.shards]
        return shards

    def shards_of(self, tenants: KnownTenants) -> Indexes:
        """The shard of each tenant, by assignment or slot, shape (tenants, MAX_SHARD_SIZE)."""
        shards: Indexes = self._renumbered[tenants.shards]
        by_slot = shards[:, 0] == NO_CELL
        for index in np.unique(tenants.pools[by_slot]):
            rows = np.flatnonzero(by_slot & (tenants.pools == index))
            shards[rows] = self.slots_of(int(index))[tenants.slots[rows]]
        return shards

    def unknown(self) -> Indexes:
        """The shards of tenants that it does not know, by slot; NO_CELL where it refuses them."""
        fleet = self.topology.fleet
        if fleet.unknown_tenant is UnknownTenant.HASH:
            return self.slots_of(self.index[fleet.default_pool])
        shards = np.full((SLOT_COUNT, MAX_SHARD_SIZE), NO_CELL, np.int32)
        if fleet.unknown_tenant is UnknownTenant.DEFAULT_CELL:
            assert fleet.default_cell is not None, "a valid fleet names the cell that default-cell means"
            shards[:, 0] = self._numbers[fleet.default_cell]
        return shards

    def keyless(self) -> Indexes | None:
        """The shards of requests without a key, by slot of their source; None where it does not place them so."""
        fleet = self.topology.fleet
        by_source = fleet.missing_key is MissingKey.SOURCE_HASH
        return self.slots_of(self.index[fleet.default_pool]) if by_source else None


def _slots(tenants: Sequence[Tenant]) -> npt.NDArray[np.uint32]:
    keys = [tenant.id.encode() for tenant in tenants]
    lengths = np.fromiter((len(key) for key in keys), np.uint8, len(keys))
    offsets = np.zeros(len(keys), np.uint32)
    np.cumsum(lengths[:-1], out=offsets[1:])
    return hash_keys(np.frombuffer(b"".join(keys), np.uint8), offsets, lengths) & np.uint32(SLOT_COUNT - 1)


def _flows(source: Indexes, target: Indexes, moved: npt.NDArray[np.bool_], cells: int) -> dict[int, int]:
    """How many go from where to where, by (source + 1) · (cells + 1) + target + 1."""
    pairs = (source[moved].astype(np.int64) + 1) * (cells + 1) + target[moved] + 1
    found, counts = np.unique(pairs, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _ranked(tenants: dict[int, int], slots: dict[int, int], names: Sequence[str]) -> Iterator[Flow]:
    named = (None, *names)
    ranked = sorted(tenants.keys() | slots.keys(), key=lambda pair: (-tenants.get(pair, 0), -slots.get(pair, 0), pair))
    for pair in ranked:
        source, target = divmod(pair, len(named))
        yield Flow(named[source], named[target], tenants.get(pair, 0), slots.get(pair, 0))


def _other_members(one: Indexes, other: Indexes) -> int:
    """How many rows have other cells, in whatever order."""
    return int((np.sort(one, axis=1) != np.sort(other, axis=1)).any(axis=1).sum())


def _unknown_share(old: _Fleet, new: _Fleet) -> float:
    share = _moved_share(old.unknown(), new.unknown())
    was, becomes = old.keyless(), new.keyless()
    return share if was is None or becomes is None else max(share, _moved_share(was, becomes))


def _moved_share(one: Indexes, other: Indexes) -> float:
    return float((one[:, 0] != other[:, 0]).mean())
