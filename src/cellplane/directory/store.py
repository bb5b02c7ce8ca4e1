"""The store: every change and its log entry are one transaction, and the log's number is the epoch."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from cellplane.directory import publications
from cellplane.directory.access import AccessBook
from cellplane.directory.capacity import CapacityBook
from cellplane.directory.database import Database, open_database
from cellplane.directory.leadership import Leader, Leadership, read_leader
from cellplane.directory.migrating import bring_up_to_date, revision_of
from cellplane.directory.outline import Outline
from cellplane.directory.past import Past
from cellplane.directory.publications import StoredPublication
from cellplane.directory.records import Author
from cellplane.directory.reports import Reporter, SharedReport, exchange_reports
from cellplane.directory.settings import DatabaseSettings
from cellplane.directory.snapshot import Snapshot, read_epoch, read_outline, read_topology_epoch
from cellplane.directory.together import Answer, Together
from cellplane.directory.transaction import Transaction
from cellplane.errors import DirectoryError, FencedError, NotFoundError
from cellplane.faults import fault_point
from cellplane.model import Fleet, Quarantine
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
        self._known_outline = _NOTHING_KNOWN
        self._database: Database = open_database(location, settings, clock)
        self._together = Together(
            self._writing_together,
            self._begin,
            most=settings.changes_together,
            wait_seconds=settings.busy_timeout_ms / 1_000,
            clock=time.monotonic,
        )
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
    def disk_trouble(self) -> str | None:
        """Why the disk under it takes nothing, and what to do; None where the last write was done."""
        trouble = self._database.trouble
        return None if trouble is None else f"the disk of the directory {trouble.value}"

    def try_writing(self) -> None:
        """Find out whether its disk takes writes again (``Database.try_writing``)."""
        self._database.try_writing()

    @property
    def is_shared(self) -> bool:
        """Whether other processes may change it, and publish."""
        return self._database.is_shared

    def exchange_reports(
        self,
        reporter: Reporter,
        replica: str,
        taken: Mapping[str, tuple[Mapping[str, Any], float]],
        keep_seconds: float,
    ) -> list[SharedReport]:
        """Give and get what routers or cells report (``reports.exchange_reports``)."""
        return exchange_reports(self._database, reporter, replica, taken, keep_seconds)

    def leadership(self, holder: str, clock: Callable[[], float]) -> Leadership:
        """A process' part in who leads (``Leadership``)."""
        return Leadership(self._database, holder, self.settings.lease_seconds, clock)

    @property
    def access(self) -> AccessBook:
        """Who may call the control plane, and who did (``access.AccessBook``)."""
        return AccessBook(self._database)

    @property
    def capacity(self) -> CapacityBook:
        """What is known of how full cells are (``capacity.CapacityBook``)."""
        return CapacityBook(self._database)

    # Reading

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Reads that agree with each other. Others may change the directory meanwhile."""
        with self._database.reading() as connection:
            yield Snapshot(connection, lambda: self._outline(connection))

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

    def revision(self) -> str | None:
        """The last migration that the database has had: another release may have brought it further meanwhile."""
        with self._database.reading() as connection:
            return revision_of(connection)

    def heads(self) -> tuple[int, int]:
        """The epoch of the last change, and that of the last publication; 0 for none."""
        with self._database.reading() as connection:
            return read_epoch(connection), publications.read_last_epoch(connection)

    def epoch(self) -> int:
        """Number of the last change, 0 when there is none."""
        with self.snapshot() as snapshot:
            return snapshot.epoch()

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

    def quarantines(self) -> dict[str, Quarantine]:
        """The last quarantine of each tenant that is remembered (``Snapshot.quarantines``)."""
        with self.snapshot() as snapshot:
            return snapshot.quarantines()

    def quarantine(self, asked: Asked, *, actor: str, leadership: Leadership | None = None) -> Quarantine | LeftAlone:
        """Quarantine a tenant, or say why it is left alone (``placement.quarantine.quarantine``)."""
        with self.changing(Author(actor), leadership=leadership) as transaction:
            return transaction.quarantine(asked)

    def release_due(self, *, actor: str, leadership: Leadership | None = None) -> tuple[Quarantine, ...]:
        """End the quarantines whose time is over."""
        now = self.now()
        if not any(each.lasts and each.until <= now for each in self.quarantines().values()):
            return ()
        with self.changing(Author(actor), leadership=leadership) as transaction:
            return transaction.release_due()

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
            BusyError: others write for longer than is waited, and nothing was changed.
            DirectoryError: the database failed, and nothing was changed.
            UnknownOutcomeError: it failed in the commit.
        """
        with self._database.writing(dry_run=dry_run, is_long=is_long) as connection:
            if leadership is not None:
                leadership.require(connection)
            transaction = self._begin(connection, author, unhealthy)
            yield transaction
            transaction.finish()
            fault_point("change.written")
        fault_point("change.committed")

    def change(self, author: Author, do: Callable[[Transaction], Answer], *, unhealthy: Collection[str] = ()) -> Answer:
        """Change something small, in one commit with what other threads change meanwhile (``together``).

        Args:
            author: who asks, and why.
            do: makes the change; it may be called once.
            unhealthy: ids of cells that get no new tenants, where a change makes some.

        Raises:
            BusyError: others write for longer than is waited, and nothing was changed.
            DirectoryError: the database failed, and nothing was changed.
            UnknownOutcomeError: it failed in the commit.
            CellplaneError: what ``do`` raises, and nothing of it was changed.
        """
        return self._together.change(author, unhealthy, do)

    @contextmanager
    def _writing_together(self, wait_seconds: float) -> Iterator[Connection]:
        try:
            with self._database.writing(wait_seconds=wait_seconds) as connection:
                yield connection
                fault_point("change.written")
        except BaseException:
            # It may be one that was never committed.
            self._known_outline = _NOTHING_KNOWN
            raise
        fault_point("change.committed")

    def _begin(self, connection: Connection, author: Author, unhealthy: Collection[str]) -> Transaction:
        now = self._database.now(connection)
        now -= timedelta(microseconds=now.microsecond % 1_000)
        transaction = Transaction(connection, self._outline(connection), author=author, now=now, unhealthy=unhealthy)
        fault_point("change.begun")
        return transaction

    def _outline(self, connection: Connection) -> Outline:
        """The fleet, cells and pools; read again only when one of them changed."""
        epoch = read_topology_epoch(connection)
        known_epoch, outline = self._known_outline
        if epoch != known_epoch:
            outline = read_outline(connection)
            self._known_outline = (epoch, outline)
        return outline


_NOTHING_KNOWN: tuple[int, Outline] = (0, Outline())
