"""Compiles a topology into a table: every strategy has run, a router only looks up."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import BaseNeededError, ValidationError
from cellplane.model import (
    MAX_KEY_BYTES,
    NO_POLICY,
    Cell,
    Fleet,
    Policy,
    Pool,
    ResolvedPolicy,
    TenantState,
    Topology,
    Traffic,
    UnknownTenant,
)
from cellplane.model.traffic import check_tenant_policies
from cellplane.placement import place
from cellplane.routing import layout
from cellplane.routing.columns import TenantColumns
from cellplane.routing.contents import OverlayContents, PoolSlots, TableContents
from cellplane.routing.policies import CanaryRow, PolicyRow, in_order, index_of_pools, index_of_tenants, row_of
from cellplane.routing.shards import ShardRows, distinct, pack_shards, widen


@dataclass(frozen=True, slots=True)
class PlacedTenants:
    """Tenants as the directory knows them, one list a column: a million fit.

    Attributes:
        ids: partition keys, none twice.
        pools: name of each one's pool, after all rules.
        shards: ids of the cells that each is assigned to; none where its slot places it.
        states: see TenantState.
        policies: what each says itself; empty where none does.
    """

    ids: Sequence[str]
    pools: Sequence[str]
    shards: Sequence[tuple[str, ...]]
    states: Sequence[TenantState]
    policies: Sequence[Policy] = ()

    @classmethod
    def of(cls, topology: Topology) -> "PlacedTenants":
        """Those of a topology."""
        tenants = topology.tenants
        return cls(
            ids=[tenant.id for tenant in tenants],
            pools=[topology.pool_of(tenant)[0] for tenant in tenants],
            shards=[tenant.shard for tenant in tenants],
            states=[tenant.state for tenant in tenants],
            policies=[tenant.policy for tenant in tenants],
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
    policies = _Policies.of(topology, names)
    own = policies.of_tenants(known)
    rows_of_pools = [policies.of_pool(pool.name) for pool in names.pools]
    check_tenant_policies("tenants", len(set(own.values())))
    listed = in_order(policies.of_fleet(), own.values(), rows_of_pools)
    index = index_of_pools(listed)
    pools = []
    start = 0
    for pool in names.pools:
        slots = None
        if pool.has_slots:
            rows, places = placed[pool.name]
            slots = merged[start : start + len(rows)][places]
            start += len(rows)
        pools.append(
            PoolSlots(pool.name, pool.strategy, slots, index[policies.of_pool(pool.name)], _canary(pool, names))
        )
    by_tenant = index_of_tenants(listed)
    columns = _columns(
        known,
        names,
        _through(merged[start:], of_tenant),
        {place: by_tenant[row] for place, row in own.items()},
    )
    return TableContents(
        epoch=epoch,
        fleet=topology.fleet,
        cells=names.cells,
        pools=tuple(pools),
        shards=shards,
        tenants=columns.filtered(_said_by_default(topology, names)),
        default_shard=int(merged[-1]) if default else None,
        policies=listed,
        objectives=_objectives(names),
    )


def compile_overlay(
    topology: Topology,
    base: tuple[int, str],
    epoch: int,
    changed: PlacedTenants,
    gone: Sequence[str],
    *,
    policies: Sequence[PolicyRow] = (),
) -> OverlayContents:
    """The overlay of what has become of some tenants since a base of the same fleet, cells and pools.

    Args:
        topology: as the base was compiled from; its tenants do not count.
        base: epoch and SHA-256 of the base.
        epoch: of base and overlay together, larger than the base's.
        changed: the tenants that there are, also those that now stand in the table by their slot alone.
        gone: ids of those that are no more.
        policies: of the base.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
        BaseNeededError: a tenant has a policy that the base does not have.
    """
    names = _Names.of(topology)
    assigned, of_tenant = _tenant_shards(changed.shards, names)
    shards, merged = distinct(assigned)
    by_tenant = index_of_tenants(policies)
    own = _Policies.of(topology, names).of_tenants(changed)
    unknown = next((changed.ids[place] for place, row in own.items() if row not in by_tenant), None)
    if unknown is not None:
        raise BaseNeededError(f"the policy of tenant {unknown!r} is not among those of base {base[0]}: compile another")
    columns = _columns(
        changed, names, _through(merged, of_tenant), {place: by_tenant[row] for place, row in own.items()}
    )
    by_default = _said_by_default(topology, names)
    if by_default is not None:
        columns = columns.with_state(layout.GONE, columns.equal(by_default))
    count = len(gone)
    lost = PlacedTenants(gone, [topology.fleet.default_pool] * count, [()] * count, [TenantState.ACTIVE] * count)
    none = np.full(count, layout.NO_SHARD, np.uint32)
    removed = _columns(lost, names, none, {}).with_state(layout.GONE, np.ones(count, bool))
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

    def check_pools(self, names: Collection[str]) -> None:
        for name in set(names) - self.pool_index.keys():
            raise ValidationError("tenants", f"no pool is named {name!r}")


class _Policies:
    """The policies of a fleet as rows of its table."""

    def __init__(self, traffic: Traffic, names: _Names, routers: int) -> None:
        self._traffic = traffic
        self._names = names
        self._routers = routers

    @classmethod
    def of(cls, topology: Topology, names: _Names) -> "_Policies":
        return cls(topology.traffic, names, topology.fleet.routers)

    def of_fleet(self) -> PolicyRow:
        return self._row(self._traffic.of_fleet())

    def of_pool(self, pool: str) -> PolicyRow:
        return self._row(self._traffic.of_pool(pool))

    def of_tenants(self, known: PlacedTenants) -> dict[int, PolicyRow]:
        """By place, the policies of those that have another than their pool."""
        # Of a million tenants, most say nothing, and have the very object that says so.
        said = [index for index, policy in enumerate(known.policies) if policy is not NO_POLICY]
        rows: dict[tuple[Policy, str], PolicyRow] = {}
        found: dict[int, PolicyRow] = {}
        for index in said:
            policy, pool = known.policies[index], known.pools[index]
            if (policy, pool) not in rows:
                self._names.check_pools({pool})
                rows[policy, pool] = self._row(self._traffic.of_tenant(policy, pool))
            if rows[policy, pool] != self.of_pool(pool):
                found[index] = rows[policy, pool]
        return found

    def _row(self, policy: ResolvedPolicy) -> PolicyRow:
        for cell_id in (policy.standby, policy.shadow):
            if cell_id is not None:
                self._names.cell(cell_id)
        return row_of(policy, self._names.cell_index, self._routers)


def _objectives(names: _Names) -> dict[int, float]:
    """The p99 objective of each cell whose pool says one; the lower of two."""
    found: dict[int, float] = {}
    for pool in names.pools:
        if pool.p99_objective_seconds is not None:
            for cell in map(names.cell, pool.cells):
                found[cell] = min(pool.p99_objective_seconds, found.get(cell, pool.p99_objective_seconds))
    return found


def _canary(pool: Pool, names: _Names) -> CanaryRow | None:
    canary = pool.canary
    return None if canary is None else CanaryRow(names.cell_index[canary.cell], canary.basis_points, canary.by)


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


def _columns(known: PlacedTenants, names: _Names, shard: NDArray[np.uint32], own: Mapping[int, int]) -> TenantColumns:
    """Columns of these tenants; ``own`` says by place which of them have a policy of their own."""
    count = len(known.ids)
    names.check_pools(set(known.pools))
    try:
        keys = "".join(known.ids).encode("ascii")
    except UnicodeEncodeError:
        place = next(place for place, tenant_id in enumerate(known.ids) if not tenant_id.isascii())
        raise ValidationError(f"tenants[{place}].id", f"expected ASCII, found {known.ids[place]!r}") from None
    if count and max(map(len, known.ids)) > MAX_KEY_BYTES:
        place = next(place for place, tenant_id in enumerate(known.ids) if len(tenant_id) > MAX_KEY_BYTES)
        raise ValidationError(f"tenants[{place}].id", f"expected at most {MAX_KEY_BYTES} bytes")
    policy = np.full(count, layout.POOL_POLICY, np.uint8)
    policy[list(own)] = list(own.values())
    return TenantColumns(
        keys=keys,
        lengths=np.fromiter(map(len, known.ids), np.uint8, count),
        shard=shard,
        pool=np.fromiter(map(names.pool_index.__getitem__, known.pools), np.uint8, count),
        state=np.fromiter(map(layout.TENANT_STATE_CODES.__getitem__, known.states), np.uint8, count),
        policy=policy,
    )


def _said_by_default(topology: Topology, names: _Names) -> tuple[int, int, int, int] | None:
    """Shard, pool, state and policy of a tenant without an entry; None where an unknown one is not treated like it."""
    if topology.fleet.unknown_tenant is not UnknownTenant.HASH:
        return None
    active = layout.TENANT_STATE_CODES[TenantState.ACTIVE]
    return layout.NO_SHARD, names.pool_index[topology.fleet.default_pool], active, layout.POOL_POLICY
