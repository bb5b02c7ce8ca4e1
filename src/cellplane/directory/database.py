"""The database under the directory: a SQLite file of one control plane, or a PostgreSQL that several share.

Both give the same two things: reads that agree with each other, and writes one after another, of which none that was
acknowledged is lost when a process dies.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from cellplane.directory.disk import DiskTrouble, disk_trouble
from cellplane.directory.failing import refusal, too_long
from cellplane.directory.settings import DatabaseSettings
from cellplane.errors import DirectoryError, UnknownOutcomeError

ONE_WRITER = 0x63656C6C
"""PostgreSQL's advisory lock that a transaction holds while it writes ("cell", as bytes)."""


def utc_now() -> datetime:
    """The clock of a SQLite directory's change log."""
    return datetime.now(UTC)


class Database(ABC):
    """Where a directory is. Safe to share between threads.

    Args:
        name: for messages, without secrets.
        reader: gives connections whose transactions see one moment.
        writer: gives connections whose transactions wait for each other.
        wait_seconds: how long one waits for another of this process before it gives up.
        clock: the time; None for that of the database, or, where it has none, of this machine.

    Attributes:
        trouble: why its disk takes nothing; None where the last write was done.
    """

    def __init__(
        self,
        name: str,
        reader: Engine,
        writer: Engine,
        clock: Callable[[], datetime] | None,
        *,
        wait_seconds: float,
    ) -> None:
        self.name = name
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._writing = threading.Lock()
        self.trouble: DiskTrouble | None = None
        self._is_closed = False
        self._closes_late_ones(reader)
        self._closes_late_ones(writer)

    @property
    @abstractmethod
    def is_shared(self) -> bool:
        """Whether several processes may use it at once."""

    @abstractmethod
    def now(self, connection: Connection) -> datetime:
        """The time, UTC."""

    @abstractmethod
    def _begin_writing(self, connection: Connection, *, is_long: bool) -> None:
        """Wait until nobody else writes."""

    def close(self) -> None:
        """Give back all connections: those that are used now, when they come back."""
        self._is_closed = True
        self._reader.dispose()
        self._writer.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Reads that agree with each other. Others may write meanwhile."""
        with self._errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(
        self, *, dry_run: bool = False, is_long: bool = False, wait_seconds: float | None = None
    ) -> Iterator[Connection]:
        """The one transaction that writes now; it is undone where the block raises.

        Args:
            dry_run: undo it in any case.
            is_long: whether seconds may pass between two of its statements.
            wait_seconds: how long it waits for others of this process; None: as long as any.

        Raises:
            BusyError: others write for longer.
            DirectoryError: the database failed, and nothing was changed.
            UnknownOutcomeError: it failed in the commit: nobody knows whether that was done.
        """
        with (
            self._turn(self._wait_seconds if wait_seconds is None else wait_seconds),
            self._errors(),
            self._writer.connect() as connection,
        ):
            begun = connection.begin()
            try:
                self._begin_writing(connection, is_long=is_long)
                yield connection
            except BaseException:
                if begun.is_active:
                    begun.rollback()
                raise
            if dry_run:
                begun.rollback()
                return
            try:
                begun.commit()
            except DBAPIError as error:
                if error.connection_invalidated:
                    raise UnknownOutcomeError(
                        f"the directory's database was lost while it committed ({error.orig}): whether this was done "
                        "is not known. Look, or ask again with the same Idempotency-Key"
                    ) from error
                trouble = disk_trouble(error)
                if trouble is DiskTrouble.FAILING:
                    # What could not be synced may be on the disk all the same, for whoever reads it after a crash.
                    self.trouble = trouble
                    raise UnknownOutcomeError(
                        f"the disk of the directory {trouble.value}. It did so in a commit ({error.orig}): "
                        "whether this was done is not known. Look, or ask again with the same Idempotency-Key"
                    ) from error
                raise
            self.trouble = None

    def try_writing(self) -> None:
        """Find out whether the disk takes writes again: one that changes nothing.

        Raises:
            DirectoryError: it does not.
        """
        with self.writing() as connection:
            connection.execute(text("CREATE TABLE written (nothing INTEGER)"))
            connection.execute(text("DROP TABLE written"))

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """A short transaction beside those that change the directory."""
        with self.writing() as connection:
            yield connection

    def _closes_late_ones(self, engine: Engine) -> None:
        """Whoever is cancelled leaves a thread behind, whose connection would go back to a pool that nobody has."""

        @event.listens_for(engine, "checkin")
        def close(_connection: object, entry: ConnectionPoolEntry) -> None:
            if self._is_closed:
                entry.close()

    @contextmanager
    def _turn(self, wait_seconds: float) -> Iterator[None]:
        if not self._writing.acquire(timeout=wait_seconds):
            raise too_long()
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            self.trouble = disk_trouble(error) or self.trouble
            raise refusal(error) from error


class SqliteDatabase(Database):
    """A SQLite file, in WAL mode, each commit on disk before it is acknowledged.

    Writers begin with BEGIN IMMEDIATE: a transaction that reads first and upgrades later deadlocks against another.
    """

    def __init__(self, path: Path, settings: DatabaseSettings, clock: Callable[[], datetime] | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Who the tenants are is nobody else's business; what SQLite puts beside the file has its mode.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self.path = path
        super().__init__(
            str(path),
            _sqlite_engine(path, settings, for_writing=False),
            _sqlite_engine(path, settings, for_writing=True),
            clock or utc_now,
            wait_seconds=settings.busy_timeout_ms / 1_000,
        )

    @property
    def is_shared(self) -> bool:
        """Not: whoever opens it has made sure of that (``control.exclusive``)."""
        return False

    def now(self, connection: Connection) -> datetime:  # noqa: ARG002
        """The time of this machine."""
        assert self._clock is not None
        return self._clock()

    def _begin_writing(self, connection: Connection, *, is_long: bool) -> None:
        pass


class PostgresDatabase(Database):
    """A PostgreSQL database, for several control planes.

    Reads are REPEATABLE READ: one moment. Writes are READ COMMITTED behind an advisory lock of the transaction, so that
    each begins with all that was committed before it. What a process holds that was stopped in the middle is taken from
    it after ``idle_transaction_ms``.
    """

    def __init__(self, url: str, settings: DatabaseSettings, clock: Callable[[], datetime] | None) -> None:
        try:
            parsed = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise DirectoryError(
                "the directory's URL is none: expected postgresql://user:password@host:port/database"
            ) from error
        self._settings = settings
        connect = {
            "application_name": "cellplane",
            "connect_timeout": settings.connect_timeout_seconds,
            "keepalives_idle": settings.keepalive_seconds,
            "keepalives_interval": settings.keepalive_seconds,
            "keepalives_count": 2,
            "tcp_user_timeout": settings.lost_connection_ms,
        }

        def engine(size: int, isolation: Literal["REPEATABLE READ", "READ COMMITTED"], **limits_ms: int) -> Engine:
            said = {"timezone": "UTC", "synchronous_commit": "on", **limits_ms}
            options = " ".join(f"-c {name}={value}" for name, value in said.items())
            return create_engine(
                parsed,
                pool_size=size,
                max_overflow=0,
                pool_pre_ping=True,
                isolation_level=isolation,
                connect_args={**connect, "options": options},
            )

        limits_ms = {
            "lock_timeout": settings.busy_timeout_ms,
            "idle_in_transaction_session_timeout": settings.idle_transaction_ms,
        }
        super().__init__(
            parsed.render_as_string(hide_password=True),
            engine(
                settings.readers, "REPEATABLE READ", idle_in_transaction_session_timeout=settings.long_transaction_ms
            ),
            engine(1, "READ COMMITTED", **limits_ms),
            clock,
            wait_seconds=settings.busy_timeout_ms / 1_000,
        )
        self._aside = engine(1, "READ COMMITTED", **limits_ms, statement_timeout=settings.aside_timeout_ms)
        self._closes_late_ones(self._aside)

    def close(self) -> None:
        """Give back all connections: those that are used now, when they come back."""
        super().close()
        self._aside.dispose()

    @property
    def is_shared(self) -> bool:
        """By all that know its URL."""
        return True

    def now(self, connection: Connection) -> datetime:
        """The time of the database, which all control planes share."""
        if self._clock is not None:
            return self._clock()
        found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        return found.astimezone(UTC)

    @contextmanager
    def aside(self) -> Iterator[Connection]:
        """A short transaction beside those that change the directory: it does not wait for them."""
        with self._errors(), self._aside.begin() as connection:
            yield connection

    def _begin_writing(self, connection: Connection, *, is_long: bool) -> None:
        if is_long:
            connection.execute(
                text(f"SET LOCAL idle_in_transaction_session_timeout = {self._settings.long_transaction_ms}")
            )
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ONE_WRITER})


def open_database(
    location: Path | str, settings: DatabaseSettings, clock: Callable[[], datetime] | None = None
) -> Database:
    """The database of a file's path, or of a URL that begins with ``postgresql:``.

    Raises:
        DirectoryError: it is no such URL.
    """
    if isinstance(location, str):
        return PostgresDatabase(location, settings, clock)
    return SqliteDatabase(location, settings, clock)


def _sqlite_engine(path: Path, settings: DatabaseSettings, *, for_writing: bool) -> Engine:
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        pool_size=1 if for_writing else settings.readers,
        max_overflow=0,
        # A fifth of the time of the standard library's.
        json_serializer=lambda value: to_json(value).decode(),
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # SQLAlchemy, not the driver, begins transactions.
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"busy_timeout = {settings.busy_timeout_ms}",
            "foreign_keys = ON",
            f"cache_size = -{settings.sqlite_cache_kib}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if for_writing else "BEGIN")

    return engine
