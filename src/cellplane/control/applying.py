"""Applies resources: what of them the directory does not say yet becomes one change, and is reported with its moves."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellplane.control.apply_schemas import Applied, ApplySpec
from cellplane.directory import Directory, Snapshot
from cellplane.directory.records import Change as LoggedChange
from cellplane.directory.rows import tenant_of
from cellplane.directory.transaction import Transaction
from cellplane.errors import ConflictError, ValidationError
from cellplane.manifest.changes import Action, changes, wanted
from cellplane.manifest.kinds import KINDS, Kind, spec_path
from cellplane.manifest.moves import NO_CELL, KnownTenants, Moves, count_moves
from cellplane.manifest.resources import Resource, parse_resource
from cellplane.manifest.settings import ApplySettings
from cellplane.model import Tenant, Topology
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement import SLOT_COUNT
from cellplane.placement.hashing import hash_keys

MAX_TRIES = 3
"""How often an apply that names no base epoch is planned anew, where others change the directory meanwhile."""


Change = Callable[..., Applied]


def apply(directory: Directory, spec: ApplySpec, change: Change, *, dry_run: bool) -> Applied:
    """Make the directory what the resources say, or only find out what that would change.

    Args:
        change: makes a change of the directory (``api.asking.Changing.change``).

    Raises:
        ValidationError: with the path of the first field that breaks a rule, such as ``Cell/cell-2.spec.port``.
        ConflictError: the directory is not at the base epoch, or refuses a change.
    """
    resources = [parse_resource(each.kind, each.name, each.spec) for each in spec.resources]
    tries = MAX_TRIES if spec.base_epoch is None else 1
    while True:
        plan = _Plan.of(directory, resources, spec)
        tries -= 1
        try:
            return plan.carry_out(change, dry_run=dry_run)
        except ConflictError:
            if tries == 0 or directory.epoch() == plan.epoch:
                raise


@dataclass(frozen=True, slots=True)
class _Placements:
    """Where all known tenants are, one list a column, by id."""

    ids: list[str]
    pools: list[str]
    shards: list[tuple[str, ...]]

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Placements":
        found = cls([], [], [])
        for tenant_id, pool, shard in snapshot.placements():
            found.ids.append(tenant_id)
            found.pools.append(pool)
            found.shards.append(shard)
        return found

    def without(self, tenant_ids: Collection[str]) -> "_Placements":
        if not tenant_ids:
            return self
        return self._at([place for place, tenant_id in enumerate(self.ids) if tenant_id not in tenant_ids])

    def only(self, tenant_ids: Collection[str]) -> "_Placements":
        if not tenant_ids:
            return _Placements([], [], [])
        return self._at([place for place, tenant_id in enumerate(self.ids) if tenant_id in tenant_ids])

    def _at(self, kept: Sequence[int]) -> "_Placements":
        return _Placements(
            [self.ids[place] for place in kept],
            [self.pools[place] for place in kept],
            [self.shards[place] for place in kept],
        )

    def in_topology(self, topology: Topology) -> KnownTenants:
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
class _Plan:
    """What of the resources the directory does not say at one epoch."""

    epoch: int
    before: Topology | None
    was_whole: bool
    placements: _Placements
    puts: list[Any]
    kept_shards: frozenset[str]
    deletions: list[tuple[str, str]]

    @classmethod
    def of(cls, directory: Directory, resources: Sequence[Resource], spec: ApplySpec) -> "_Plan":
        named = [resource.name for resource in resources if resource.kind is Kind.TENANT]
        with directory.snapshot() as snapshot:
            epoch = snapshot.epoch()
            if spec.base_epoch is not None and spec.base_epoch != epoch:
                raise ConflictError(
                    f"the directory is at epoch {epoch}, not {spec.base_epoch}: look at the changes since, and apply "
                    "again"
                )
            before, was_whole = snapshot.topology, snapshot.outline.is_whole
            known = snapshot.all_tenants() if spec.prune and named else snapshot.named_tenants(named).values()
            tenants = tuple(record.tenant for record in known)
            placements = _Placements.of(snapshot)
        current = None if before is None else _with_tenants(before, tenants)
        after = wanted(current, resources, prune=spec.prune)
        puts, deletions = _differences(current, after)
        shards = {tenant.id: tenant.shard for tenant in after.tenants}
        says_shard = {
            each.name
            for each in resources
            # Where it is to have no cells and has some, they are its pool's choice (``wanted``).
            if isinstance(each.value, Tenant) and "shard" in each.named and each.value.shard == shards[each.name]
        }
        return cls(epoch, before, was_whole, placements, puts, frozenset(named) - says_shard, deletions)

    def carry_out(self, change: Change, *, dry_run: bool) -> Applied:
        def do(transaction: Transaction) -> Applied:
            transaction.apply(self.puts, self.deletions, self.kept_shards, self.epoch)
            transaction.finish()
            report: dict[str, Any] = {"changes": [], "moves": Moves().as_json(0)}
            if transaction.changes:
                # Before the commit: what cannot be reported is not done.
                snapshot = transaction.snapshot()
                assert snapshot.topology is not None, "what is wanted has a fleet"
                snapshot.topology.validate()
                report.update(self._report(transaction.changes, snapshot.topology, _Placements.of(snapshot)))
            return Applied(epoch=self.epoch if dry_run else transaction.epoch, **report)

        try:
            return change(Applied, do, is_dry=dry_run, is_long=True)
        except ValidationError as error:
            raise ValidationError(self._path(error.field), error.message) from error

    def _report(self, logged: Sequence[LoggedChange], after: Topology, placements: _Placements) -> dict[str, Any]:
        old, new = _tenants_of(logged)
        before = None if self.before is None else _with_tenants(self.before, tuple(old.values()))
        listed = changes(before, _with_tenants(after, tuple(new.values())))
        moved = Moves()
        # Before a fleet is whole, its tenants are nowhere.
        if self.before is not None and self.was_whole:
            one = self.placements.without(old.keys() - new.keys())
            created = new.keys() - old.keys()
            other = placements.without(created)
            assert one.ids == other.ids, "the log names every tenant that came or went"
            moved = count_moves(
                self.before,
                one.in_topology(self.before),
                after,
                other.in_topology(after),
                placements.only(created).in_topology(after),
            )
        return {
            "changes": [change.as_json() for change in listed],
            "moves": moved.as_json(ApplySettings().max_rows),
        }

    def _path(self, field: str) -> str:
        """What a manifest calls a field that an error of the directory names."""
        for value in self.puts:
            kind = next(kind for kind, declared in KINDS.items() if isinstance(value, declared.of))
            name = getattr(value, KINDS[kind].name)
            prefix = "fleet" if kind is Kind.FLEET else f"{KINDS[kind].collection}.{name}"
            if field.startswith(f"{prefix}."):
                return f"{kind.value}/{name}.{spec_path(kind, field.removeprefix(f'{prefix}.'))}"
        return field


def _differences(current: Topology | None, after: Topology) -> tuple[list[Any], list[tuple[str, str]]]:
    """The resources to put, and kind and id of those to remove."""
    values = {(Kind.FLEET, after.fleet.name): after.fleet}
    for kind in (Kind.CELL, Kind.POOL, Kind.TENANT):
        values |= {(kind, getattr(value, KINDS[kind].name)): value for value in getattr(after, KINDS[kind].collection)}
    puts, deletions = [], []
    for change in changes(current, after):
        if change.action is Action.DELETE:
            deletions.append((change.kind.value.lower(), change.name))
        else:
            puts.append(values[change.kind, change.name])
    return puts, deletions


def _tenants_of(logged: Sequence[LoggedChange]) -> tuple[dict[str, Tenant], dict[str, Tenant]]:
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


def _with_tenants(topology: Topology, tenants: tuple[Tenant, ...]) -> Topology:
    return Topology(topology.fleet, topology.cells, topology.pools, tenants)
