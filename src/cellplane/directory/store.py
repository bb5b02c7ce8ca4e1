"""The store: every change and its log entry are one transaction, and the log's number is the epoch."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from sqlalchemy.exc import SQLAlchemyError

from cellplane.directory import schema
from cellplane.directory.engine import ensure_schema, open_sqlite
from cellplane.directory.outline import Outline
from cellplane.directory.records import Applied, Change, Entry, Page, Placement, TenantRecord
from cellplane.directory.snapshot import Snapshot, one, read_outline, read_topology_epoch
from cellplane.directory.transaction import Resource, Transaction, fields_of
from cellplane.errors import ConflictError, DirectoryError, NotFoundError, ValidationError
from cellplane.model import Cell, Fleet, Load, Pool, Quarantine, Tenant, Topology
from cellplane.placement.quarantine import Asked, LeftAlone


def utc_now() -> datetime:
    """The clock of the change log."""
    return datetime.now(UTC)


class Directory:
    """The fleet's store on SQLite. Safe to share between threads.

    Args:
        path: the database file; created when missing, with its folder.
        clock: the time that log entries carry.

    Raises:
        DirectoryError: the file is no database, or one of another release.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._writing = threading.Lock()
        self._known_outline: tuple[int, Outline] = (0, Outline())
        self._writer = open_sqlite(path, for_writing=True)
        self._reader = open_sqlite(path, for_writing=False)
        try:
            with self._errors(), self._writer.begin() as connection:
                ensure_schema(connection, path)
        except DirectoryError:
            self.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._writer.dispose()
        self._reader.dispose()

    # Reading

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Reads that agree with each other. Others may change the directory meanwhile."""
        with self._errors(), self._reader.begin() as connection:
            yield Snapshot(connection, self._outline(connection))

    def now(self) -> datetime:
        """The time of the directory's clock, UTC."""
        return self._clock()

    def epoch(self) -> int:
        """Number of the last change, 0 when there is none."""
        with self.snapshot() as snapshot:
            return snapshot.epoch()

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

    def fleet(self) -> Fleet:
        """The fleet.

        Raises:
            NotFoundError: none was put yet.
        """
        with self.snapshot() as snapshot:
            fleet = snapshot.outline.fleet
        if fleet is None:
            raise NotFoundError("the directory has no fleet yet: put one first")
        return fleet

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
        """One page of tenants (``Snapshot.tenants``)."""
        with self.snapshot() as snapshot:
            return snapshot.tenants(limit=limit, after=after, cell=cell)

    def quarantines(self) -> dict[str, Quarantine]:
        """The last quarantine of each tenant that is remembered (``Snapshot.quarantines``)."""
        with self.snapshot() as snapshot:
            return snapshot.quarantines()

    def entries(self) -> Iterator[Entry]:
        """What a table says of tenants, streamed (``Snapshot.entries``)."""
        with self.snapshot() as snapshot:
            yield from snapshot.entries()

    def loads(self) -> dict[str, Load]:
        """What the tenants that are assigned to each cell declare, summed (``Snapshot.loads``)."""
        with self.snapshot() as snapshot:
            return snapshot.loads()

    def assigned_tenants(self) -> dict[str, int]:
        """How many tenants are assigned to each cell (``Snapshot.assigned_tenants``)."""
        with self.snapshot() as snapshot:
            return snapshot.assigned_tenants()

    def shards_of_pool(self, pool: str) -> dict[str, tuple[str, ...]]:
        """The shard of each tenant of a pool that is assigned to one."""
        with self.snapshot() as snapshot:
            return snapshot.shards_of_pool(pool)

    def changes(self, *, limit: int, after: int = 0) -> tuple[Change, ...]:
        """Entries of the change log behind an epoch, oldest first."""
        with self.snapshot() as snapshot:
            return snapshot.changes(limit=limit, after=after)

    # Changing. Each returns the epoch from which the change is in the table. ``unhealthy`` names cells that get no new
    # tenants, where a change makes some.

    def put_fleet(self, fleet: Fleet, *, actor: str, unhealthy: Collection[str] = ()) -> int:
        """Set the fleet's policy; there is one fleet in a directory.

        Raises:
            ValidationError: something that it names is not there, though all that the one before named was.
            ConflictError: the directory is another fleet's, or a tenant cannot be placed by these rules.
        """
        with self._changing(actor, unhealthy) as transaction:
            transaction.put_fleet(fleet)
        return transaction.epoch

    def put_cell(self, cell: Cell, *, actor: str) -> int:
        """Create or replace a cell.

        Raises:
            ValidationError: a field of it, or a pool with it, breaks a rule.
            ConflictError: a table can hold no more cells, or a tenant would be under a foreign law.
        """
        with self._changing(actor) as transaction:
            transaction.put_cell(cell)
        return transaction.epoch

    def delete_cell(self, cell_id: str, *, actor: str) -> int:
        """Remove a cell.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: the fleet, a pool or a tenant still names it.
        """
        with self._changing(actor) as transaction:
            transaction.delete_cell(cell_id)
        return transaction.epoch

    def put_pool(self, pool: Pool, *, actor: str, unhealthy: Collection[str] = ()) -> int:
        """Create or replace a pool.

        Raises:
            ValidationError: a field of it breaks a rule.
            ConflictError: a table can hold no more pools, or a tenant cannot be placed in this one.
        """
        with self._changing(actor, unhealthy) as transaction:
            transaction.put_pool(pool)
        return transaction.epoch

    def delete_pool(self, name: str, *, actor: str) -> int:
        """Remove a pool.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: the fleet, a pool or a tenant still names it.
        """
        with self._changing(actor) as transaction:
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
        with self._changing(actor, unhealthy) as transaction:
            return transaction.change_tenant(tenant_id, fields, anew=anew)

    def delete_tenant(self, tenant_id: str, *, actor: str) -> int:
        """Remove a tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        with self._changing(actor) as transaction:
            transaction.delete_tenant(tenant_id)
        return transaction.epoch

    def quarantine(self, asked: Asked, *, actor: str) -> Quarantine | LeftAlone:
        """Quarantine a tenant, or say why it is left alone (``placement.quarantine.quarantine``)."""
        with self._changing(actor) as transaction:
            return transaction.quarantine(asked)

    def release(self, tenant_id: str, reason: str, *, hold_seconds: float = 0.0, actor: str) -> Quarantine:
        """End a tenant's quarantine: it is where it is at home again.

        Args:
            reason: why, for people.
            hold_seconds: for how long no router's finding sends it back.

        Raises:
            NotFoundError: it is not in quarantine.
        """
        with self._changing(actor) as transaction:
            return transaction.release(tenant_id, reason, hold_seconds)

    def release_due(self, *, actor: str) -> tuple[Quarantine, ...]:
        """End the quarantines whose time is over."""
        now = self._clock()
        if not any(each.lasts and each.until <= now for each in self.quarantines().values()):
            return ()
        with self._changing(actor) as transaction:
            return transaction.release_due()

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
        look: Callable[[Snapshot, Sequence[Change]], None] | None = None,
    ) -> Applied:
        """Put and remove many resources at once: all of them, or none.

        They are checked as they are together, so their order does not matter.

        Args:
            puts: whole resources, each at most once.
            deletions: kind (cell, pool, tenant) and id of each to remove; none that is put.
            kept_shards: ids of tenants among the puts whose shard stays as it is, or is their pool's to choose.
            base_epoch: the epoch that the caller knows; None takes any.
            dry_run: check and report all, and change nothing.
            look: called with the directory as it is after all and what was logged, where something changed, before
                others see it; nothing is done where it raises.

        Raises:
            ValidationError: with the path of the first field that breaks a rule, such as ``tenants.acme.jurisdiction``.
            NotFoundError: one to remove is not in the directory.
            ConflictError: the directory is of another epoch, or one of the reasons of each change by itself.
        """
        _check_once(puts, deletions)
        with self._changing(actor, unhealthy, dry_run=dry_run, look=look) as transaction:
            if base_epoch is not None and base_epoch != transaction.epoch:
                raise ConflictError(
                    f"the directory is at epoch {transaction.epoch}, not {base_epoch}: look at the changes since, "
                    "and apply again"
                )
            transaction.apply(puts, deletions, kept_shards)
        return Applied(transaction.epoch, tuple(transaction.changes))

    def record_publication(self, epoch: int, sha256: str) -> bool:
        """Note that an epoch was compiled to a table with this checksum.

        Returns:
            False where the epoch is already known with another checksum: the same epoch must never have two
            contents, so the caller asks for a new one with ``republish``.
        """
        with self._writing, self._errors(), self._writer.begin() as connection:
            known = one(connection, schema.publications, schema.publications.c.epoch == epoch)
            if known is None:
                connection.execute(insert(schema.publications).values(epoch=epoch, sha256=sha256, at=self._now()))
                return True
            return bool(known["sha256"] == sha256)

    def republish(self, *, actor: str) -> int:
        """Make a new epoch of an unchanged fleet, because the compiler of this release writes other bytes."""
        with self._changing(actor) as transaction:
            transaction.republish()
        return transaction.epoch

    @contextmanager
    def _changing(
        self,
        actor: str,
        unhealthy: Collection[str] = (),
        *,
        dry_run: bool = False,
        look: Callable[[Snapshot, Sequence[Change]], None] | None = None,
    ) -> Iterator[Transaction]:
        with self._writing, self._errors(), self._writer.connect() as connection, connection.begin() as begun:
            transaction = Transaction(
                connection, self._outline(connection), actor=actor, now=self._now, unhealthy=unhealthy
            )
            yield transaction
            transaction.finish()
            if look is not None and transaction.changes:
                look(transaction.snapshot(), transaction.changes)
            if dry_run:
                begun.rollback()

    def _outline(self, connection: Connection) -> Outline:
        """The fleet, cells and pools; read again only when one of them changed."""
        epoch = read_topology_epoch(connection)
        known_epoch, outline = self._known_outline
        if epoch != known_epoch:
            outline = read_outline(connection)
            self._known_outline = (epoch, outline)
        return outline

    def _now(self) -> str:
        return self._clock().isoformat(timespec="milliseconds")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise DirectoryError(f"the directory's database failed, nothing was changed: {reason}") from error


def _check_once(puts: Sequence[Resource], deletions: Sequence[tuple[str, str]]) -> None:
    seen = set()
    for name in [*(_name_of(resource) for resource in puts), *deletions]:
        if name in seen:
            raise ValidationError(f"{name[0]}s.{name[1]}", "stands twice: a resource is put or removed once")
        seen.add(name)


def _name_of(resource: Resource) -> tuple[str, str]:
    if isinstance(resource, Fleet):
        return "fleet", resource.name
    if isinstance(resource, Pool):
        return "pool", resource.name
    return ("cell" if isinstance(resource, Cell) else "tenant"), resource.id
