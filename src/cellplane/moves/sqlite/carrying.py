"""One direction of a tenant's changes: what is noted at one end is brought to the other.

What is noted are keys. To bring one is to read its row as it is now, where it is written, and to make it so at the
other end, or gone. How far that is, is kept at the other end, in the transaction that brings the rows: a crash leaves
both or neither, and what is brought twice is the same.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.moves.differences import Key
from cellplane.moves.errors import MoveError, NotInTimeError, NotMovableError
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.catalog import columns_of, whose
from cellplane.moves.sqlite.files import CellFile, Connection
from cellplane.moves.sqlite.guard import NOTED_KEY, Guard, is_made
from cellplane.moves.sqlite.words import of_key, places, statement
from cellplane.moves.tables import Table

COMPARED = "compared"
"""Name of the position up to which what is noted in a file is compared; it is kept in the same file."""


@dataclass(frozen=True, slots=True)
class Noted:
    """One entry of what the guard noted; a **mark** has no table."""

    number: int
    table: str | None
    key: Key


Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is brought at once: what is noted behind ``after``, up to and with ``last``."""

    after: int
    last: int
    rows: Mapping[str, Mapping[Key, Row | None]]
    """Table → key → its row; None: it is gone."""

    late: Mapping[str, Sequence[Key]]
    """Table → keys that are noted behind ``last``, whose rows go for now."""


@dataclass(frozen=True, slots=True)
class End:
    """A file of a move, and a connection to it."""

    file: CellFile
    connection: Connection


@dataclass(frozen=True, slots=True)
class Way:
    """What is written at ``written`` goes to ``read``.

    Args:
        name: of the direction: lower case letters, digits and ``_``.
        guard: of the tenant.
        settings: sizes and times.
        monotonic: seconds, for waits.
        pause: waits so many seconds.
    """

    name: str
    guard: Guard
    settings: MoverSettings
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def begin(self, read: Connection, number: int) -> None:
        """Bring what is noted behind this number, from now on. It is the caller's transaction."""
        set_position(read, self.guard.move_id, self.name, number)

    def end(self, read: Connection) -> None:
        """Bring nothing any more. It is the caller's transaction."""
        if is_made(read):
            read.execute(
                "DELETE FROM cellplane_moves_positions WHERE move_id = ? AND name = ?", (self.guard.move_id, self.name)
            )

    def position(self, read: Connection) -> int | None:
        """Up to which number all is brought; None where nothing is."""
        return position(read, self.guard.move_id, self.name)

    def head(self, written: Connection) -> int:
        """The last number that is noted; 0 where none is."""
        row = written.execute(
            "SELECT max(number) FROM cellplane_moves_touched WHERE move_id = ?", (self.guard.move_id,)
        ).fetchone()
        return row[0] or 0

    def mark(self, written: End) -> int:
        """Note a mark: when it is brought, so is all that was committed before; returns its number."""
        with written.file.writing(written.connection):
            done = written.connection.execute(
                "INSERT INTO cellplane_moves_touched (move_id) VALUES (?)", (self.guard.move_id,)
            )
            assert done.lastrowid is not None
            return done.lastrowid

    def catch_up(
        self, written: End, read: End, tables: Sequence[Table], within_seconds: float, batches: int | None = None
    ) -> float:
        """Bring all that is committed now, or so many batches of it; returns how long that took, in seconds.

        Raises:
            NotInTimeError: it takes too long.
            MoveError: the other end does not follow, or cannot take a row.
        """
        began = self.monotonic()
        until = self.head(written.connection)
        done = 0
        while (position := self._require_position(read)) < until and done != batches:
            left = within_seconds - (self.monotonic() - began)
            if left <= 0:
                raise NotInTimeError(
                    f"what was written at the other cell was not brought within {within_seconds:g} s: "
                    f"{until - position} changes are left; move the tenant when it writes less"
                )
            self._bring(written, read, tables, (position, until), min(left, self.settings.wait_seconds))
            done += 1
            # Others that write there come in between.
            self.pause(self.settings.poll_seconds)
        return self.monotonic() - began

    def lag_seconds(self, written: End, read: End, tables: Sequence[Table]) -> float:
        """Bring all that is committed now, and a mark behind it, which proves that it can be; returns how long that
        took. Where that takes longer than the lag is looked at, the rest is left.

        Raises:
            NotInTimeError: others keep the other end.
            MoveError: as ``catch_up``.
        """
        began = self.monotonic()
        until = self.mark(written)
        while self._require_position(read) < until:
            self.catch_up(written, read, tables, self.settings.wait_seconds, batches=1)
            if self.monotonic() - began >= self.settings.lag_look_seconds:
                break
        return self.monotonic() - began

    def _require_position(self, read: End) -> int:
        found = self.position(read.connection)
        if found is None:
            raise MoveError(
                f"what is written at the other cell does not come to the {read.file.where}: copy it first, or repair "
                "the move"
            )
        return found

    def _bring(
        self, written: End, read: End, tables: Sequence[Table], span: tuple[int, int], within_seconds: float
    ) -> None:
        """One batch, in one transaction, of what is noted behind one number, up to and with another."""
        by_name = {table.name: table for table in tables}
        for with_late in (False, True):
            with written.file.reading(written.connection):
                entries = noted(written.connection, self.guard.move_id, *span, self.settings.carry_rows)
                rows, last = self._rows(written.connection, by_name, entries)
                late = _keys(noted(written.connection, self.guard.move_id, last, None, -1)) if with_late else {}
            try:
                self._write(read, by_name, _Batch(span[0], last, rows, late), within_seconds)
            except sqlite3.IntegrityError as error:
                # Another of the tenant's rows may still have there what is unique of this one, and only change later:
                # those go first, and are brought in their turn. If that does not help it is in the way for good.
                if with_late:
                    raise NotMovableError(
                        (cannot_write(error, read.file.where, self.settings.tenant_column),)
                    ) from error
            else:
                return

    def _rows(
        self, written: Connection, tables: Mapping[str, Table], entries: Sequence[Noted]
    ) -> tuple[dict[str, dict[Key, Row | None]], int]:
        """Table → key → its row as it is, as many as may be brought at once; and the number that this is up to."""
        found: dict[str, dict[Key, Row | None]] = {}
        size = 0
        for entry in entries:
            if entry.table is None:
                continue
            if entry.table not in tables:
                raise MoveError(f"{entry.table} was written, and is gone now: abort the move, and begin another")
            rows = found.setdefault(entry.table, {})
            if entry.key in rows:
                continue
            row = self._row(written, tables[entry.table], entry.key)
            rows[entry.key] = row
            size += 0 if row is None else bytes_of(row)
            if size >= self.settings.carry_bytes:
                return found, entry.number
        return found, entries[-1].number

    def _row(self, written: Connection, table: Table, key: Key) -> Row | None:
        words = statement(
            "SELECT", columns_of(table), "FROM", table.name,
            "WHERE", of_key(table), "AND", whose(self.settings.tenant_column),
        )  # fmt: skip
        row: Row | None = written.execute(words, (*key[: len(table.key)], self.guard.tenant_id)).fetchone()
        return row

    def _write(self, read: End, tables: Mapping[str, Table], batch: _Batch, within_seconds: float) -> None:
        with read.file.writing(read.connection, within_seconds):
            if self.position(read.connection) != batch.after:
                raise MoveError("another process brings what is written: let one work on a move")
            if any(batch.rows.values()):
                with self.guard.bringing(read.connection):
                    for name, table in tables.items():
                        self._delete(read.connection, table, [*batch.rows.get(name, ()), *batch.late.get(name, ())])
                    for name, found in batch.rows.items():
                        insert(read.connection, tables[name], [row for row in found.values() if row is not None])
            self.begin(read.connection, batch.last)

    def _delete(self, connection: Connection, table: Table, keys: Sequence[Key]) -> None:
        connection.executemany(
            statement("DELETE FROM", table.name, "WHERE", of_key(table), "AND", whose(self.settings.tenant_column)),
            [(*key[: len(table.key)], self.guard.tenant_id) for key in keys],
        )


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Write rows, as ``columns_of`` reads them."""
    connection.executemany(
        statement("INSERT INTO", table.name, f"({columns_of(table)}) VALUES ({places(len(table.copied))})"), rows
    )


def cannot_write(error: sqlite3.IntegrityError, where: str, tenant_column: str) -> str:
    """Why a row cannot be at the other end, with advice."""
    return (
        f"a row cannot be written at the {where}: {error}; another row has its number or name there, or the cells "
        f"check rows differently: make {tenant_column} part of keys and of what is unique, or number rows apart"
    )


def noted(written: Connection, move_id: str, after: int, until: int | None, limit: int) -> list[Noted]:
    """What is noted behind one number, up to and with another, in order; ``limit`` -1: all of it."""
    rows = written.execute(
        statement(
            "SELECT number, table_name,", ", ".join(NOTED_KEY), "FROM cellplane_moves_touched",
            "WHERE move_id = ? AND number > ? AND number <= ? ORDER BY number LIMIT ?",
        ),
        (move_id, after, until if until is not None else 2**63 - 1, limit),
    )  # fmt: skip
    return [Noted(number, table, tuple(key)) for number, table, *key in rows]


def _keys(entries: Sequence[Noted]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for entry in entries:
        if entry.table is not None:
            found.setdefault(entry.table, []).append(entry.key)
    return found


def position(connection: Connection, move_id: str, name: str) -> int | None:
    """A number that a move keeps here; None where it keeps none."""
    if not is_made(connection):
        return None
    row = connection.execute(
        "SELECT number FROM cellplane_moves_positions WHERE move_id = ? AND name = ?", (move_id, name)
    ).fetchone()
    return None if row is None else int(row[0])


def set_position(connection: Connection, move_id: str, name: str, number: int) -> None:
    """Keep it."""
    connection.execute(
        "INSERT INTO cellplane_moves_positions VALUES (?, ?, ?) "
        "ON CONFLICT (move_id, name) DO UPDATE SET number = excluded.number",
        (move_id, name, number),
    )


def bytes_of(row: Row) -> int:
    """About how much a row takes."""
    return sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
