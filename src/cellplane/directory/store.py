"""The store: every change and its log entry are one transaction, and the log's number is the epoch."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from cellplane.directory import publications
from cellplane.directory.access import AccessBook
from cellplane.directory.database import Database, open_database
from cellplane.directory.leadership import Leader, Leadership, read_leader
from cellplane.directory.migrating import bring_up_to_date
from cellplane.directory.outline import Outline
from cellplane.directory.past import Past
from cellplane.directory.publications import StoredPublication
from cellplane.directory.records import Applied, Author, Change, Entry, Page, Placement, TenantRecord
from cellplane.directory.reports import SharedReport, exchange_reports
from cellplane.directory.settings import DatabaseSettings
from cellplane.directory.snapshot import Snapshot, TenantFilter, read_epoch, read_outline, read_topology_epoch
from cellplane.directory.transaction import Resource, Transaction, fields_of
from cellplane.errors import DirectoryError, FencedError, NotFoundError
from cellplane.faults import fault_point
from cellplane.model import Cell, Fleet, Load, Pool, Quarantine, Tenant, Topology
from cellplane.placement.quarantine import Asked, LeftAlone


class Directory:
    """The fleet's store. Safe to share between threads.

    Args:
        location: path of a SQLite file, created when missing, with its folder; or URL of a PostgreSQL database.
        clock: the time that log entries carry; None for that of the database, or, on SQLite, of this machine.
        settings: limits of the database.

    Raises:
        DirectoryError: the database cannot be used, is none, or is of another release.
    """

    def __init__(
        self,
        location: Path | str,
        clock: Callable[[], datetime] | None = None,
        settings: DatabaseSettings | None = None,
    ) -> None:
        self.settings = settings = settings or DatabaseSettings()
        self._known_outline: tuple[int, Outline] = (0, Outline())
        self._database: Database = open_database(location, settings, clock)
        try:
            with self._database.writing(is_long=True) as connection:
                bring_up_to_date(connection, self._database.name)
        except DirectoryError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """Where it is, without secrets."""
        return self._database.name

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change it, and publish."""
        return self._database.is_shared

    def exchange_reports(
        self, replica: str, taken: Mapping[str, tuple[Mapping[str, Any], float]], keep_seconds: float
    ) -> list[SharedReport]:
        """Give and get what routers report (``reports.exchange_reports``)."""
        return exchange_reports(self._database, replica, taken, keep_seconds)

    def leadership(self, holder: str, clock: Callable[[], float]) -> Leadership:
        """A process' part in who leads (``Leadership``)."""
        return Leadership(self._database, holder, self.settings.lease_seconds, clock)

    @property
    def access(self) -> AccessBook:
        """Who may call the control plane, and who did (``access.AccessBook``)."""
        return AccessBook(self._database)

    # Reading

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Reads that agree with each other. Others may change the directory meanwhile."""
        with self._database.reading() as connection:
            yield Snapshot(connection, self._outline(connection))

    @contextmanager
    def past(self, epoch: int) -> Iterator[Past]:
        """The directory as it was at an epoch.

        Raises:
            NotFoundError: there is no such epoch yet.
        """
        with self._database.reading() as connection:
            yield Past(connection, epoch)

    def now(self) -> datetime:
        """The time of the directory's clock, UTC."""
        with self._database.reading() as connection:
            return self._database.now(connection)

    def leader(self) -> Leader | None:
        """Who publishes, or did last; None before anybody did."""
        with self._database.reading() as connection:
            return read_leader(self._database, connection)

    def heads(self) -> tuple[int, int]:
        """The epoch of the last change, and that of the last publication; 0 for none."""
        with self._database.reading() as connection:
            return read_epoch(connection), publications.read_last_epoch(connection)

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
        """One page of tenants, of one cell or of all (``Snapshot.tenants``)."""
        with self.snapshot() as snapshot:
            return snapshot.tenants(limit=limit, after=after, wanted=TenantFilter(cell=cell))

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

    def quarantine(self, asked: Asked, *, actor: str, leadership: Leadership | None = None) -> Quarantine | LeftAlone:
        """Quarantine a tenant, or say why it is left alone (``placement.quarantine.quarantine``)."""
        with self.changing(Author(actor), leadership=leadership) as transaction:
            return transaction.quarantine(asked)

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

    def release_due(self, *, actor: str, leadership: Leadership | None = None) -> tuple[Quarantine, ...]:
        """End the quarantines whose time is over."""
        now = self.now()
        if not any(each.lasts and each.until <= now for each in self.quarantines().values()):
            return ()
        with self.changing(Author(actor), leadership=leadership) as transaction:
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
            transaction.apply(puts, deletions, kept_shards, base_epoch)
        return Applied(transaction.epoch, tuple(transaction.changes))

    def publish(self, publication: StoredPublication, base_epoch: int, base: bytes, leadership: Leadership) -> bool:
        """Keep a publication, as the leader.

        Args:
            publication: ``at`` and ``token`` are set here.
            base_epoch: the epoch of its base.
            base: bytes of its base.

        Returns:
            False where the epoch was already published with another checksum: the same epoch must never have two
            contents, so the caller asks for a new one with ``republish``.

        Raises:
            FencedError: another process leads, or one published a later epoch.
        """
        with self._database.writing() as connection:
            token = leadership.require(connection)
            known = publications.find_checksum(connection, publication.epoch)
            if known is not None and known != publication.sha256:
                return False
            if known is not None and publications.has_bytes(connection, publication.epoch):
                return True
            last = publications.read_last_epoch(connection)
            if last > publication.epoch:
                raise FencedError(f"epoch {last} is published already, {publication.epoch} comes too late")
            at = self._database.now(connection).isoformat(timespec="milliseconds")
            publications.write(
                connection,
                replace(publication, at=at, token=token),
                base_epoch,
                base,
                self.settings.publications_kept,
            )
            fault_point("publication.written")
        fault_point("publication.committed")
        return True

    def republish(self, *, actor: str, leadership: Leadership | None = None) -> int:
        """Make a new epoch of an unchanged fleet, because the compiler of this release writes other bytes."""
        with self.changing(Author(actor), leadership=leadership) as transaction:
            transaction.republish()
        return transaction.epoch

    @contextmanager
    def changing(
        self,
        author: Author,
        *,
        unhealthy: Collection[str] = (),
        dry_run: bool = False,
        leadership: Leadership | None = None,
        is_long: bool = False,
    ) -> Iterator[Transaction]:
        """Changes that happen together or not at all; others see them when the block has ended.

        Args:
            author: who asks, and why.
            unhealthy: ids of cells that get no new tenants, where a change makes some.
            dry_run: check all, and change nothing.
            leadership: that of whoever may change this only as the leader.
            is_long: whether it is about many resources.

        Raises:
            FencedError: another process leads.
            DirectoryError: the database failed, and nothing was changed.
            UnknownOutcomeError: it failed in the commit.
        """
        with self._database.writing(dry_run=dry_run, is_long=is_long) as connection:
            if leadership is not None:
                leadership.require(connection)
            now = self._database.now(connection)
            now -= timedelta(microseconds=now.microsecond % 1_000)
            transaction = Transaction(
                connection, self._outline(connection), author=author, now=now, unhealthy=unhealthy
            )
            fault_point("change.begun")
            yield transaction
            transaction.finish()
            fault_point("change.written")
        fault_point("change.committed")

    def _outline(self, connection: Connection) -> Outline:
        """The fleet, cells and pools; read again only when one of them changed."""
        epoch = read_topology_epoch(connection)
        known_epoch, outline = self._known_outline
        if epoch != known_epoch:
            outline = read_outline(connection)
            self._known_outline = (epoch, outline)
        return outline
