"""Backups: everything that a directory knows, in one file that fits either kind of database.

The file is zstd of lines of JSON: a header, the rows of each table, and a trailer that counts and digests all lines
before it. A backup is of one moment, and is taken while the control plane goes on. What can be made anew is left out:
who leads, and the bytes of published tables.
"""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import zstandard
from sqlalchemy import Connection, MetaData, Table, insert, select, text

from cellplane.directory import schema
from cellplane.directory.database import open_database
from cellplane.directory.migrating import bring_up_to_date, head_revision, revision_of
from cellplane.directory.settings import DatabaseSettings
from cellplane.directory.snapshot import read_epoch
from cellplane.errors import ConflictError, DirectoryError

FORMAT = 1
BATCH_ROWS = 1_000
MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line of a backup: a batch of rows."""

EPOCH_GAP = 1_000_000
"""By how much a restored directory's epochs go on behind those of the backup, unless it is said where: routers that
have seen what was changed since must not take the new epochs for old ones.
"""

_LEFT_OUT = frozenset({"leadership", "bases", "router_reports", "cell_reports", "move_reports"})
_WITHOUT_BYTES = {"publications": ("base", "overlay")}

Progress = Callable[[int], None]
"""Called with the number of rows so far."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup says of itself.

    Attributes:
        epoch: of the directory at its moment.
        taken_at: that moment, UTC, ISO 8601.
        revision: the last migration that its directory had had.
        rows: how many rows it has.
    """

    epoch: int
    taken_at: str
    revision: str
    rows: int


def back_up(location: Path | str, out: Path, progress: Progress = lambda _: None) -> Backup:
    """Write a backup of a directory.

    Args:
        location: as of ``Directory``; it exists.
        out: the file, which is there whole or not at all.

    Raises:
        DirectoryError: there is no directory, it is of another release, or the file cannot be written.
    """
    if isinstance(location, Path) and not location.exists():
        raise DirectoryError(f"there is no directory at {location}: name its file, or its database with --database")
    database = open_database(location, DatabaseSettings())
    aside = out.with_name(f".{out.name}.new")
    try:
        with database.reading() as connection, aside.open("wb") as file:
            now = database.now(connection)
            found = _write(connection, database.name, now, file, progress)
        aside.rename(out)
    except OSError as error:
        raise DirectoryError(f"{out} cannot be written: {error}") from error
    finally:
        aside.unlink(missing_ok=True)
        database.close()
    return found


def restore(
    location: Path | str, file: Path, *, after_epoch: int | None = None, progress: Progress = lambda _: None
) -> tuple[Backup, int]:
    """Make an empty directory what a backup says, all of it or nothing.

    Args:
        location: as of ``Directory``; nothing was ever put into it.
        file: the backup.
        after_epoch: the largest epoch that a router may have seen; None for EPOCH_GAP behind the backup's.

    Returns:
        The backup, and the epoch from which the directory goes on.

    Raises:
        DirectoryError: the file is no whole backup, or of a newer release.
        ConflictError: the directory is not empty, or the backup itself is of a later epoch than ``after_epoch``.
    """
    database = open_database(location, DatabaseSettings())
    try:
        with _Lines(file) as lines, database.writing(is_long=True) as connection:
            header = _header(next(lines, b""), file)
            bring_up_to_date(connection, database.name, header.revision)
            if revision_of(connection) != header.revision or read_epoch(connection):
                raise ConflictError(f"{database.name} is not empty: restore into a new one, then let it take over")
            rows = _read(connection, header, lines, file=file, progress=progress)
            bring_up_to_date(connection, database.name)
            _number_on(connection)
            epoch = _go_on(connection, header, after_epoch, database.now(connection))
    finally:
        database.close()
    return Backup(header.epoch, header.taken_at, header.revision, rows), epoch


def _write(connection: Connection, name: str, now: datetime, file: IO[bytes], progress: Progress) -> Backup:
    revision = revision_of(connection)
    tables = [table for table in schema.metadata.sorted_tables if table.name not in _LEFT_OUT]
    if revision is None:
        raise DirectoryError(
            f"{name} is no directory of this release: start its control plane once, which brings it up"
        )
    header: dict[str, Any] = {
        "cellplane_backup": FORMAT,
        "revision": revision,
        "epoch": read_epoch(connection),
        "taken_at": now.isoformat(timespec="milliseconds"),
    }
    digest, rows = hashlib.sha256(), 0
    with zstandard.ZstdCompressor().stream_writer(file, closefd=False) as stream:

        def write(value: object) -> None:
            line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
            digest.update(line)
            stream.write(line)

        write(header)
        for table in tables:
            for batch in _batches(connection, table):
                write({"table": table.name, "rows": batch})
                rows += len(batch)
                progress(rows)
        trailer = {"rows": rows, "sha256": digest.hexdigest()}
        stream.write(json.dumps(trailer).encode() + b"\n")
    return Backup(int(header["epoch"]), str(header["taken_at"]), revision, rows)


def _batches(connection: Connection, table: Table) -> Iterator[list[dict[str, Any]]]:
    left_out = _WITHOUT_BYTES.get(table.name, ())
    # In the order of keys, so that two backups of one moment are alike.
    query = select(table).order_by(*table.primary_key.columns)
    with connection.execute(query, execution_options={"yield_per": BATCH_ROWS}) as result:
        for batch in result.mappings().partitions():
            yield [{name: None if name in left_out else _plain(value) for name, value in row.items()} for row in batch]


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


class _Lines:
    """The lines of a backup; the last is checked against all before it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> Iterator[bytes]:
        try:
            self._stream = self._file.open("rb")
        except OSError as error:
            raise DirectoryError(f"{self._file} cannot be read: {error}") from error
        return self._read(self._stream)

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def _read(self, stream: IO[bytes]) -> Iterator[bytes]:
        digest, held = hashlib.sha256(), b""
        try:
            reader = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream))
            while line := reader.readline(MAX_LINE_BYTES):
                if held:
                    digest.update(held)
                    yield held
                held = line
        except zstandard.ZstdError as error:
            raise DirectoryError(f"{self._file} is no backup, or damaged: {error}") from error
        trailer = _object(held, self._file)
        if trailer.get("sha256") != digest.hexdigest():
            raise DirectoryError(
                f"{self._file} is cut short or damaged: its end does not fit the rest. Use another one"
            )


def _header(line: bytes, file: Path) -> Backup:
    header = _object(line, file)
    if header.get("cellplane_backup") != FORMAT:
        raise DirectoryError(f"{file} is no backup that this release can read")
    return Backup(int(header["epoch"]), str(header["taken_at"]), str(header["revision"]), 0)


def _object(line: bytes, file: Path) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DirectoryError(f"{file} is no backup, or damaged: a line of it is no JSON") from error
    if not isinstance(value, dict):
        raise DirectoryError(f"{file} is no backup, or damaged: a line of it is no object")
    return value


def _read(connection: Connection, header: Backup, lines: Iterator[bytes], *, file: Path, progress: Progress) -> int:
    count, tables = 0, MetaData()
    tables.reflect(connection)
    # Today's tables know how values are kept; of those of another release the database is asked.
    is_todays = header.revision == head_revision()
    known = {table.name: table for table in schema.metadata.sorted_tables} if is_todays else tables.tables
    for line in lines:
        part = _object(line, file)
        name = part.get("table")
        table = known.get(str(name))
        if table is None:
            raise DirectoryError(f"{file} has a table {name!r} that its release did not have: it is damaged")
        names = set(table.columns.keys())
        rows = [{key: _value(value) for key, value in row.items() if key in names} for row in part["rows"]]
        connection.execute(insert(table), rows)
        count += len(rows)
        progress(count)
    return count


def _value(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return value


def _number_on(connection: Connection) -> None:
    """Let PostgreSQL number new rows behind those that came with their numbers; SQLite does so by itself."""
    if connection.dialect.name == "postgresql":
        last = "SELECT coalesce(max(id), 0) + 1 FROM audit"
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('audit', 'id'), ({last}), false)"))


def _go_on(connection: Connection, header: Backup, after_epoch: int | None, now: datetime) -> int:
    if after_epoch is not None and after_epoch < header.epoch:
        raise ConflictError(f"the backup is of epoch {header.epoch}, so the directory cannot go on after {after_epoch}")
    epoch = (header.epoch + EPOCH_GAP if after_epoch is None else after_epoch) + 1
    connection.execute(
        insert(schema.changes).values(
            epoch=epoch,
            at=now.isoformat(timespec="milliseconds"),
            actor="restore",
            reason=f"from the backup of {header.taken_at}, at epoch {header.epoch}",
            kind="table",
            id="table",
            action="restore",
            before=None,
            after=None,
        )
    )
    return epoch
