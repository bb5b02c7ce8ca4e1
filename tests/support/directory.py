"""A directory that is told and asked one thing at a time: what tests and benchmarks of one change need."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from cellplane import directory
from cellplane.directory import Author, Change, Page, TenantRecord
from cellplane.directory.applying import Resource, apply_all, fields_of
from cellplane.directory.records import Applied, Entry, Placement
from cellplane.directory.snapshot import TenantFilter
from cellplane.model import Cell, Fleet, Load, Pool, Quarantine, Tenant, Topology


class Directory(directory.Directory):
    """Each change is a transaction of its own, and returns the epoch from which it is in the table; each read is of a
    snapshot of its own. ``unhealthy`` names cells that get no new tenants, where a change makes some.
    """

    def topology_epoch(self) -> int:
        """Number of the last change of anything but a tenant (``Snapshot.topology_epoch``)."""
        with self.snapshot() as snapshot:
            return snapshot.topology_epoch()

    def topology(self) -> tuple[Topology, int] | None:
        """The whole fleet and the epoch it is of, or None as long as there is no fleet."""
        with self.snapshot() as snapshot:
            outline = snapshot.topology
            if outline is None:
                return None
            tenants = tuple(record.tenant for record in snapshot.all_tenants())
            return Topology(outline.fleet, outline.cells, outline.pools, tenants), snapshot.epoch()

    def cells(self) -> tuple[Cell, ...]:
        """All cells, by id."""
        with self.snapshot() as snapshot:
            return tuple(snapshot.outline.cells.values())

    def pools(self) -> tuple[Pool, ...]:
        """All pools, by name."""
        with self.snapshot() as snapshot:
            return tuple(snapshot.outline.pools.values())

    def tenant(self, tenant_id: str) -> TenantRecord:
        """One tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        with self.snapshot() as snapshot:
            return snapshot.tenant(tenant_id)

    def tenants(self, *, limit: int, after: str = "", cell: str | None = None) -> Page[TenantRecord]:
        """One page of tenants, of one cell or of all (``Snapshot.tenants``)."""
        with self.snapshot() as snapshot:
            return snapshot.tenants(limit=limit, after=after, wanted=TenantFilter(cell=cell))

    def entries(self) -> Iterator[Entry]:
        """What a table says of tenants, streamed (``Snapshot.entries``)."""
        with self.snapshot() as snapshot:
            yield from snapshot.entries()

    def loads(self) -> dict[str, Load]:
        """What the tenants that are assigned to each cell declare, summed (``Snapshot.loads``)."""
        with self.snapshot() as snapshot:
            held = snapshot.holdings(list(snapshot.outline.cells))
        return {cell: holding.load for cell, holding in held.items()}

    def assigned_tenants(self) -> dict[str, int]:
        """How many tenants are assigned to each cell (``Snapshot.assigned_tenants``)."""
        with self.snapshot() as snapshot:
            return snapshot.assigned_tenants()

    def shards_of_pool(self, pool: str) -> dict[str, tuple[str, ...]]:
        """The shard of each tenant of a pool that is assigned to one."""
        with self.snapshot() as snapshot:
            return {tenant: shard for tenant, placed, shard in snapshot.placements() if placed == pool and shard}

    def changes(self, *, limit: int, after: int = 0) -> tuple[Change, ...]:
        """Entries of the change log behind an epoch, oldest first."""
        with self.snapshot() as snapshot:
            return snapshot.changes(limit=limit, after=after)

    def put_fleet(self, fleet: Fleet, *, actor: str, unhealthy: Collection[str] = ()) -> int:
        """Set the fleet's policy; there is one fleet in a directory.

        Raises:
            ValidationError: something that it names is not there, though all that the one before named was.
            ConflictError: the directory is another fleet's, or a tenant cannot be placed by these rules.
        """
        with self.changing(Author(actor), unhealthy=unhealthy) as transaction:
            transaction.put_fleet(fleet)
        return transaction.epoch

    def put_cell(self, cell: Cell, *, actor: str) -> int:
        """Create or replace a cell.

        Raises:
            ValidationError: a field of it, or a pool with it, breaks a rule.
            ConflictError: a table can hold no more cells, or a tenant would be under a foreign law.
        """
        with self.changing(Author(actor)) as transaction:
            transaction.put_cell(cell)
        return transaction.epoch

    def delete_cell(self, cell_id: str, *, actor: str) -> int:
        """Remove a cell.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: the fleet, a pool or a tenant still names it.
        """
        with self.changing(Author(actor)) as transaction:
            transaction.delete_cell(cell_id)
        return transaction.epoch

    def put_pool(self, pool: Pool, *, actor: str, unhealthy: Collection[str] = ()) -> int:
        """Create or replace a pool.

        Raises:
            ValidationError: a field of it breaks a rule.
            ConflictError: a table can hold no more pools, or a tenant cannot be placed in this one.
        """
        with self.changing(Author(actor), unhealthy=unhealthy) as transaction:
            transaction.put_pool(pool)
        return transaction.epoch

    def delete_pool(self, name: str, *, actor: str) -> int:
        """Remove a pool.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: the fleet, a pool or a tenant still names it.
        """
        with self.changing(Author(actor)) as transaction:
            transaction.delete_pool(name)
        return transaction.epoch

    def put_tenant(self, tenant: Tenant, *, actor: str, unhealthy: Collection[str] = ()) -> int:
        """Create or replace a tenant; one without a shard is left to its pool. Raises as ``change_tenant`` does."""
        return self.change_tenant(tenant.id, fields_of(tenant), actor=actor, unhealthy=unhealthy).epoch

    def change_tenant(
        self,
        tenant_id: str,
        fields: Mapping[str, Any],
        *,
        anew: bool = False,
        actor: str,
        unhealthy: Collection[str] = (),
    ) -> Placement:
        """Create or change a tenant (``Transaction.change_tenant``).

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            NoCellError: its pool assigns tenants, and no cell takes it.
            ConflictError: the shard shares too many cells with another tenant's.
        """
        with self.changing(Author(actor), unhealthy=unhealthy) as transaction:
            return transaction.change_tenant(tenant_id, fields, anew=anew)

    def delete_tenant(self, tenant_id: str, *, actor: str) -> int:
        """Remove a tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        with self.changing(Author(actor)) as transaction:
            transaction.delete_tenant(tenant_id)
        return transaction.epoch

    def release(self, tenant_id: str, reason: str, *, hold_seconds: float = 0.0, actor: str) -> Quarantine:
        """End a tenant's quarantine: it is where it is at home again.

        Args:
            reason: why, for people.
            hold_seconds: for how long no router's finding sends it back.

        Raises:
            NotFoundError: it is not in quarantine.
        """
        with self.changing(Author(actor)) as transaction:
            return transaction.release(tenant_id, reason, hold_seconds)

    def apply(
        self,
        puts: Sequence[Resource],
        deletions: Sequence[tuple[str, str]] = (),
        *,
        actor: str,
        kept_shards: Collection[str] = (),
        base_epoch: int | None = None,
        dry_run: bool = False,
        unhealthy: Collection[str] = (),
    ) -> Applied:
        """Put and remove many resources at once: all of them, or none.

        They are checked as they are together, so their order does not matter.

        Args:
            puts: whole resources, each at most once.
            deletions: kind (cell, pool, tenant) and id of each to remove; none that is put.
            kept_shards: ids of tenants among the puts whose shard stays as it is, or is their pool's to choose.
            base_epoch: the epoch that the caller knows; None takes any.
            dry_run: check and report all, and change nothing.

        Raises:
            ValidationError: with the path of the first field that breaks a rule, such as ``tenants.acme.jurisdiction``.
            NotFoundError: one to remove is not in the directory.
            ConflictError: the directory is of another epoch, or one of the reasons of each change by itself.
        """
        with self.changing(Author(actor), unhealthy=unhealthy, dry_run=dry_run, is_long=True) as transaction:
            apply_all(transaction, puts, deletions, kept_shards, base_epoch)
        return Applied(transaction.epoch, tuple(transaction.changes))
