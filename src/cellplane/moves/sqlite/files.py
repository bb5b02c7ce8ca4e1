"""A cell's SQLite file, as a move opens it: its transactions are short, and its waits end."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from cellplane.moves.errors import MoveError, NotInTimeError, StoreError
from cellplane.moves.settings import MoverSettings

Connection = sqlite3.Connection

SCHEME = "sqlite:///"


def path_of(url: str) -> Path:
    """The file that a URL names: ``sqlite:///relative/path``, ``sqlite:////absolute/path``.

    Raises:
        MoveError: it names none.
    """
    path = unquote(url.removeprefix(SCHEME).partition("?")[0])
    if not url.startswith(SCHEME) or path in {"", ":memory:"}:
        raise MoveError(
            f"{url!r} names no SQLite file: expected sqlite:///PATH, with four slashes where it is absolute"
        )
    return Path(path)


@dataclass(frozen=True, slots=True)
class CellFile:
    """One end of a move.

    Args:
        path: of the file, which is there.
        where: ``source`` or ``target``, for messages.
        settings: times.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    path: Path
    where: str
    settings: MoverSettings
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    @contextmanager
    def opened(self) -> Iterator[Connection]:
        """A connection to it, until the block ends.

        Raises:
            StoreError: it cannot be opened, or fails in the block.
        """
        try:
            connection = connect(self.path, self.settings.connect_seconds)
            try:
                self._prepare(connection)
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"the {self.where}'s database: {self._said(error)}") from error

    def _prepare(self, connection: Connection) -> None:
        # What is flipped to is on the disk; rows passed their foreign keys, and what these do, where they were written.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        mode, encoding = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "encoding"))
        if mode != "wal":
            raise StoreError(
                f"the {self.where}'s database {self.path} has the journal mode {mode}, in which readers and writers "
                "wait for each other: `PRAGMA journal_mode = WAL` once, then ask again"
            )
        if encoding != "UTF-8":
            raise StoreError(
                f"the {self.where}'s database {self.path} keeps text as {encoding}: only UTF-8 is moved; write it anew"
            )

    def _said(self, error: sqlite3.Error) -> str:
        said = str(error)
        if "decode to UTF-8" in said:
            # SQLite's own words have the text.
            return f"{self.path} has a text that is not UTF-8: mend it, or store it as a BLOB"
        if "unable to open" in said:
            return f"{self.path} cannot be opened: expected a file that is there, and may be written"
        return f"{said or type(error).__name__} ({self.path})"

    @contextmanager
    def writing(self, connection: Connection, within_seconds: float | None = None) -> Iterator[None]:
        """One short transaction that writes: all of it, or nothing.

        Args:
            connection: to this file.
            within_seconds: how long the only writer that there may be at a time is waited for; None: as
                ``lock_seconds``, ``lock_tries`` times.

        Raises:
            NotInTimeError: another one writes all the while.
        """
        self._begin(connection, within_seconds)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _begin(self, connection: Connection, within_seconds: float | None) -> None:
        if within_seconds is None:
            within_seconds = self.settings.lock_seconds * self.settings.lock_tries
        began = self.monotonic()
        # SQLite's own wait sleeps longer and longer, and loses against those that ask more often.
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not _is_busy(error):
                        raise
                if self.monotonic() - began > within_seconds:
                    raise NotInTimeError(
                        f"the {self.where}'s database was written by others for {within_seconds:g} s without a pause "
                        f"({self.path}): end the transaction that goes on, or move the tenant when it is quiet"
                    )
                self.pause(self.settings.poll_seconds)
        finally:
            connection.execute(_busy_timeout(self.settings.connect_seconds))

    @contextmanager
    def reading(self, connection: Connection) -> Iterator[None]:
        """One transaction that reads: all of it as at its first look, while others write."""
        connection.execute("BEGIN")
        try:
            yield
        finally:
            connection.rollback()


def connect(path: Path, busy_seconds: float) -> Connection:
    """A connection to a file that is there; each statement is its own transaction where none was begun."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=busy_seconds, isolation_level=None, cached_statements=256
    )


def _busy_timeout(seconds: float) -> str:
    return f"PRAGMA busy_timeout = {int(1000 * seconds)}"


def _is_busy(error: sqlite3.OperationalError) -> bool:
    # The primary code: BUSY_SNAPSHOT and BUSY_RECOVERY too.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
