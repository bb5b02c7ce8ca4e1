"""Compiles a topology into a table: every strategy has run, a router only looks up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model import MAX_KEY_BYTES, Cell, Fleet, Pool, TenantState, Topology, UnknownTenant
from cellplane.placement import place
from cellplane.routing import layout
from cellplane.routing.columns import TenantColumns
from cellplane.routing.contents import OverlayContents, PoolSlots, TableContents
from cellplane.routing.shards import ShardRows, distinct, pack_shards, widen


@dataclass(frozen=True, slots=True)
class PlacedTenants:
    """Tenants as the directory knows them, one list a column: a million fit.

    Attributes:
        ids: partition keys, none twice.
        pools: name of each one's pool, after all rules.
        shards: ids of the cells that each is assigned to; none where its slot places it.
        states: see TenantState.
    """

    ids: Sequence[str]
    pools: Sequence[str]
    shards: Sequence[tuple[str, ...]]
    states: Sequence[TenantState]

    @classmethod
    def of(cls, topology: Topology) -> "PlacedTenants":
        """Those of a topology."""
        tenants = topology.tenants
        return cls(
            ids=[tenant.id for tenant in tenants],
            pools=[topology.pool_of(tenant)[0] for tenant in tenants],
            shards=[tenant.shard for tenant in tenants],
            states=[tenant.state for tenant in tenants],
        )


def compile_table(topology: Topology, epoch: int, tenants: PlacedTenants | None = None) -> TableContents:
    """The table of a topology.

    Args:
        topology: the fleet now; validated here.
        epoch: the table's version, ≥ 1.
        tenants: its tenants where they are too many to be objects; by default those of the topology.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    topology.validate()
    known = PlacedTenants.of(topology) if tenants is None else tenants
    names = _Names.of(topology)
    placed = {pool.name: _slots(pool, names) for pool in names.pools if pool.has_slots}
    assigned, of_tenant = _tenant_shards(known.shards, names)
    default = [] if topology.fleet.default_cell is None else [(names.cell(topology.fleet.default_cell),)]
    parts = [rows for rows, _ in placed.values()]
    shards, merged = distinct(np.concatenate([*parts, assigned, pack_shards(default)]))
    pools = []
    start = 0
    for pool in names.pools:
        slots = None
        if pool.has_slots:
            rows, places = placed[pool.name]
            slots = merged[start : start + len(rows)][places]
            start += len(rows)
        pools.append(PoolSlots(pool.name, pool.strategy, slots))
    return TableContents(
        epoch=epoch,
        fleet=topology.fleet,
        cells=names.cells,
        pools=tuple(pools),
        shards=shards,
        tenants=_columns(known, names, _through(merged[start:], of_tenant)).filtered(_said_by_default(topology, names)),
        default_shard=int(merged[-1]) if default else None,
    )


def compile_overlay(
    topology: Topology, base: tuple[int, str], epoch: int, changed: PlacedTenants, gone: Sequence[str]
) -> OverlayContents:
    """The overlay of what has become of some tenants since a base of the same fleet, cells and pools.

    Args:
        topology: as the base was compiled from; its tenants do not count.
        base: epoch and SHA-256 of the base.
        epoch: of base and overlay together, larger than the base's.
        changed: the tenants that there are, also those that now stand in the table by their slot alone.
        gone: ids of those that are no more.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    names = _Names.of(topology)
    assigned, of_tenant = _tenant_shards(changed.shards, names)
    shards, merged = distinct(assigned)
    columns = _columns(changed, names, _through(merged, of_tenant))
    by_default = _said_by_default(topology, names)
    if by_default is not None:
        columns = columns.with_state(layout.GONE, columns.equal(by_default))
    count = len(gone)
    lost = PlacedTenants(gone, [topology.fleet.default_pool] * count, [()] * count, [TenantState.ACTIVE] * count)
    none = np.full(count, layout.NO_SHARD, np.uint32)
    removed = _columns(lost, names, none).with_state(layout.GONE, np.ones(count, bool))
    base_epoch, base_sha256 = base
    return OverlayContents(epoch, base_epoch, base_sha256, shards, columns.joined(removed))


@dataclass(frozen=True, slots=True)
class _Names:
    """The fleet with its cells and pools in the table's order, and the indexes that name them there."""

    fleet: Fleet
    cells: tuple[Cell, ...]
    pools: tuple[Pool, ...]
    cell_index: dict[str, int]
    pool_index: dict[str, int]

    @classmethod
    def of(cls, topology: Topology) -> "_Names":
        cells = tuple(sorted(topology.cells, key=lambda cell: cell.id))
        pools = tuple(sorted(topology.pools, key=lambda pool: pool.name))
        return cls(
            topology.fleet,
            cells,
            pools,
            {cell.id: index for index, cell in enumerate(cells)},
            {pool.name: index for index, pool in enumerate(pools)},
        )

    def cell(self, cell_id: str) -> int:
        if cell_id not in self.cell_index:
            raise ValidationError("tenants", f"no cell is named {cell_id!r}")
        return self.cell_index[cell_id]


def _slots(pool: Pool, names: _Names) -> tuple[ShardRows, NDArray[np.uint32]]:
    """The distinct shards of a pool's slots, and which of them each slot has."""
    placed = place(pool, {cell.id: cell for cell in names.cells})
    indexes = np.array([names.cell_index[cell_id] for cell_id in placed.cells], np.uint32)
    return distinct(widen(indexes[placed.shards]))


def _tenant_shards(shards: Sequence[tuple[str, ...]], names: _Names) -> tuple[ShardRows, NDArray[np.uint32]]:
    """The distinct shards of tenants, and which each one has; layout.NO_SHARD for none."""
    different = sorted(set(shards) - {()})
    index: dict[tuple[str, ...], int] = {shard: place for place, shard in enumerate(different)}
    rows = pack_shards([[names.cell(cell_id) for cell_id in shard] for shard in different])
    index[()] = layout.NO_SHARD
    return rows, np.fromiter(map(index.__getitem__, shards), np.uint32, len(shards))


def _through(merged: NDArray[np.uint32], shard: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Where shards went that were merged with others; those of none stay."""
    assigned = shard != layout.NO_SHARD
    shard[assigned] = merged[shard[assigned]]
    return shard


def _columns(known: PlacedTenants, names: _Names, shard: NDArray[np.uint32]) -> TenantColumns:
    count = len(known.ids)
    for name in set(known.pools) - names.pool_index.keys():
        raise ValidationError("tenants", f"no pool is named {name!r}")
    try:
        keys = "".join(known.ids).encode("ascii")
    except UnicodeEncodeError:
        place = next(place for place, tenant_id in enumerate(known.ids) if not tenant_id.isascii())
        raise ValidationError(f"tenants[{place}].id", f"expected ASCII, found {known.ids[place]!r}") from None
    if count and max(map(len, known.ids)) > MAX_KEY_BYTES:
        place = next(place for place, tenant_id in enumerate(known.ids) if len(tenant_id) > MAX_KEY_BYTES)
        raise ValidationError(f"tenants[{place}].id", f"expected at most {MAX_KEY_BYTES} bytes")
    return TenantColumns(
        keys=keys,
        lengths=np.fromiter(map(len, known.ids), np.uint8, count),
        shard=shard,
        pool=np.fromiter(map(names.pool_index.__getitem__, known.pools), np.uint8, count),
        state=np.fromiter(map(layout.TENANT_STATE_CODES.__getitem__, known.states), np.uint8, count),
    )


def _said_by_default(topology: Topology, names: _Names) -> tuple[int, int, int] | None:
    """Shard, pool and state that a tenant without an entry has; None where an unknown one is not treated like it."""
    if topology.fleet.unknown_tenant is not UnknownTenant.HASH:
        return None
    active = layout.TENANT_STATE_CODES[TenantState.ACTIVE]
    return layout.NO_SHARD, names.pool_index[topology.fleet.default_pool], active
