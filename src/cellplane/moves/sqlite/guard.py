"""The guard of a tenant's rows in a SQLite file: it refuses writes where there are to be none, and notes others.

Triggers on each of the tenant's tables, in both files, made of nothing but SQL: an app's connections run them as they
are, and need no function of ours. In the file that has the tenant the guard stands open until the fence falls; in the
other it is closed from the beginning, so that at no time both take writes.

**What passes.** Rows that the move itself brings pass, and are not noted. It says so by a row in a table of its own,
which it deletes again in the same transaction. A file has one writer at a time, and others see what is committed:
nobody else ever writes while that row is there, and after a crash it is gone with the transaction. So the row is a sign
to the triggers, and no lock: whoever has the file may write it too, or drop the triggers. A guard keeps late requests
and forgotten jobs from writing, not an app that means to.

**In-flight writes.** To close the guard is to write: that begins behind the end of the transaction that writes, and
whatever began to read before and wants to write behind it is told that the file has changed (``SQLITE_BUSY_SNAPSHOT``).

**Replaced rows.** ``REPLACE`` deletes rows without a trigger for it. One with the same key is noted as what took its
place; one with another key, which was in the way by a unique index, is noted before it goes. So is one that another
tenant's row replaces behind a closed guard, by what is not unique by tenant: such notes are compared behind the fence.
Where the index is over an expression there is no note, and the numbers of rows, which are compared as well, tell.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cellplane.moves.errors import MoveError
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.catalog import KEY_COLUMNS, unique_columns
from cellplane.moves.sqlite.files import Connection
from cellplane.moves.sqlite.words import listed, literal, quoted, statement
from cellplane.moves.tables import Table

NOTED_KEY = tuple(f"k{number}" for number in range(KEY_COLUMNS))
"""Columns of a noted key. They have no type, so that a value is kept as it is."""

MAKE = (
    """
CREATE TABLE IF NOT EXISTS cellplane_moves_guards (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    move_id TEXT NOT NULL,
    is_closed INTEGER NOT NULL,
    is_claimed INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0
)""",
    # Numbers are never given twice, also when all that was noted is deleted: whoever applies it goes by them.
    f"""
CREATE TABLE IF NOT EXISTS cellplane_moves_touched (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    move_id TEXT NOT NULL,
    table_name TEXT,
    {", ".join(NOTED_KEY)}
)""",
    """
CREATE TABLE IF NOT EXISTS cellplane_moves_positions (
    move_id TEXT NOT NULL,
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (move_id, name)
)""",
    "CREATE TABLE IF NOT EXISTS cellplane_moves_bringing (move_id TEXT NOT NULL PRIMARY KEY)",
)

TABLES = ("cellplane_moves_guards", "cellplane_moves_touched", "cellplane_moves_positions", "cellplane_moves_bringing")


@dataclass(frozen=True, slots=True)
class Guard:
    """The guard of one tenant in one file, for one move. What it does is done in the caller's transaction."""

    tenant_id: str
    move_id: str
    settings: MoverSettings

    def install(self, connection: Connection, tables: Sequence[Table], *, closed: bool) -> None:
        """Put it on the tenant's tables; one that is there stays as it is.

        Raises:
            MoveError: another move has the tenant.
        """
        for words in MAKE:
            connection.execute(words)
        connection.execute(
            "INSERT INTO cellplane_moves_guards (tenant_id, move_id, is_closed) VALUES (?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            (self.tenant_id, self.move_id, closed),
        )
        (found,) = connection.execute(
            "SELECT move_id FROM cellplane_moves_guards WHERE tenant_id = ?", (self.tenant_id,)
        ).fetchone()
        if found != self.move_id:
            raise MoveError(f"{self.tenant_id} is guarded here by the move {found}: end or repair that one first")
        for table in tables:
            for words in self._triggers(connection, table).values():
                connection.execute(words)

    def require(self, connection: Connection, tables: Sequence[Table]) -> None:
        """See that it is whole.

        Raises:
            MoveError: it is not: a table was made anew, and with it its triggers went.
        """
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        for table in tables:
            if not self._triggers(connection, table).keys() <= there:
                raise MoveError(
                    f"{table.name} appeared, or has lost the triggers of the move {self.move_id} by a migration that "
                    "makes tables anew: what was written since is not known; before the flip abort the move and begin "
                    "another, behind it release it, and move the tenant back by another"
                )

    def watches(self, connection: Connection, table: Table) -> bool:
        """Whether anything of it is on the table."""
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
        return not there.isdisjoint(self._triggers(connection, table))

    def close(self, connection: Connection, epoch: int = 0) -> None:
        """Refuse the tenant's writes from the end of the transaction on: none that passed is under way then."""
        self._set(connection, closed=True, epoch=epoch)

    def open(self, connection: Connection, epoch: int = 0) -> None:
        """Take the tenant's writes from the end of the transaction on."""
        self._set(connection, closed=False, epoch=epoch)

    def _set(self, connection: Connection, *, closed: bool, epoch: int) -> None:
        if self.is_closed(connection) is None:
            raise MoveError(f"{self.tenant_id} has no guard of the move {self.move_id} here: prepare it first")
        connection.execute(
            "UPDATE cellplane_moves_guards SET is_closed = ?, epoch = max(epoch, ?) "
            "WHERE tenant_id = ? AND move_id = ?",
            (closed, epoch, self.tenant_id, self.move_id),
        )

    def is_closed(self, connection: Connection) -> bool | None:
        """Whether writes are refused; None where it is not there."""
        return self._asked(connection, "is_closed")

    def claim(self, connection: Connection) -> None:
        """Note that all rows of the tenant that are ever here are this move's."""
        connection.execute("UPDATE cellplane_moves_guards SET is_claimed = 1 WHERE move_id = ?", (self.move_id,))

    def is_claimed(self, connection: Connection) -> bool:
        """Whether that is so."""
        return self._asked(connection, "is_claimed") is True

    def _asked(self, connection: Connection, column: str) -> bool | None:
        if not is_made(connection):
            return None
        row = connection.execute(
            statement("SELECT", column, "FROM cellplane_moves_guards WHERE tenant_id = ? AND move_id = ?"),
            (self.tenant_id, self.move_id),
        ).fetchone()
        return None if row is None else bool(row[0])

    @contextmanager
    def bringing(self, connection: Connection) -> Iterator[None]:
        """What is written in the block passes every guard, and is not noted; it is within one transaction.

        Raises:
            MoveError: the guard is not closed. Nothing is brought to where the tenant is written.
        """
        assert connection.in_transaction
        if not self.is_closed(connection):
            raise MoveError(
                f"{self.tenant_id} is written here: nothing is brought or deleted but behind a closed guard"
            )
        connection.execute("INSERT OR IGNORE INTO cellplane_moves_bringing VALUES (?)", (self.move_id,))
        yield
        connection.execute("DELETE FROM cellplane_moves_bringing")

    def remove(self, connection: Connection) -> None:
        """Take it off the tables, and forget what it noted; the last one takes its tables along."""
        if not is_made(connection):
            return
        remove_triggers(connection, self.move_id)
        for table in TABLES:
            connection.execute(statement("DELETE FROM", table, "WHERE move_id = ?"), (self.move_id,))
        if connection.execute("SELECT 1 FROM cellplane_moves_guards").fetchone() is None:
            for table in TABLES:
                connection.execute(statement("DROP TABLE", table))

    def _triggers(self, connection: Connection, table: Table) -> dict[str, str]:
        """Name → statement."""
        name = f"{trigger_prefix(self.move_id)}{hashlib.sha256(table.name.encode()).hexdigest()[:12]}"
        parts = {
            "i": ("AFTER INSERT", ("NEW",)),
            "u": ("AFTER UPDATE", ("OLD", "NEW")),
            "d": ("AFTER DELETE", ("OLD",)),
        }
        found = {
            f"{name}_{kind}": self._trigger(f"{name}_{kind}", event, table, rows)
            for kind, (event, rows) in parts.items()
        }
        uniques = [columns for columns in unique_columns(connection, table) if None not in columns]
        if self.settings.tenant_column not in table.key:
            uniques.append(table.key)
        if uniques:
            for kind, event in (("ri", "BEFORE INSERT"), ("ru", "BEFORE UPDATE")):
                found[f"{name}_{kind}"] = self._before_replacing(f"{name}_{kind}", event, table, uniques)
        return found

    def _trigger(self, name: str, event: str, table: Table, rows: tuple[str, ...]) -> str:
        """Refuses, or notes the keys of these rows."""
        is_ours = " OR ".join(self._is_ours(row) for row in rows)
        refusal = literal(
            f"tenant {self.tenant_id} is not written in this cell: it is moving, or has moved; ask again, by way of a "
            "router"
        )
        refuse = statement(
            "SELECT RAISE(ABORT,", refusal, ") FROM cellplane_moves_guards WHERE tenant_id =",
            literal(self.tenant_id), "AND is_closed;",
        )  # fmt: skip
        notes = [self._note(table, rows[0], self._is_ours(rows[0]))]
        if len(rows) == 2:
            # Of a row that keeps its key, one note does. Letters that the column takes as equal are another key here.
            moved = " OR ".join(
                f"OLD.{quoted(each)} IS NOT NEW.{quoted(each)} COLLATE BINARY"
                for each in dict.fromkeys((*table.key, self.settings.tenant_column))
            )
            notes.append(self._note(table, "NEW", f"{self._is_ours('NEW')} AND ({moved})"))
        return statement(
            "CREATE TRIGGER IF NOT EXISTS", name, event, "ON", table.name, "WHEN (" + is_ours + ")", _NOBODY_BRINGS,
            "BEGIN", refuse, *notes, "END",
        )  # fmt: skip

    def _before_replacing(self, name: str, event: str, table: Table, uniques: Sequence[tuple[str | None, ...]]) -> str:
        """Notes the tenant's rows that are in a new row's way, whosever that is."""
        notes = [
            statement(
                "INSERT INTO cellplane_moves_touched", self._noted(table), "SELECT",
                literal(self.move_id) + ",", literal(table.name) + ",", listed(table.key),
                "FROM", table.name,
                "WHERE", " AND ".join(f"{quoted(each)} = NEW.{quoted(each)}" for each in columns if each),
                "AND", quoted(self.settings.tenant_column), "=", literal(self.tenant_id), ";",
            )
            for columns in uniques
        ]  # fmt: skip
        return statement(
            "CREATE TRIGGER IF NOT EXISTS", name, event, "ON", table.name, "WHEN true", _NOBODY_BRINGS,
            "BEGIN", *notes, "END",
        )  # fmt: skip

    def _note(self, table: Table, row: str, condition: str) -> str:
        return statement(
            "INSERT INTO cellplane_moves_touched", self._noted(table), "SELECT",
            literal(self.move_id) + ",", literal(table.name) + ",", listed(table.key, f"{row}."),
            "WHERE", condition, ";",
        )  # fmt: skip

    def _is_ours(self, row: str) -> str:
        return f"{row}.{quoted(self.settings.tenant_column)} = {literal(self.tenant_id)}"

    @staticmethod
    def _noted(table: Table) -> str:
        return f"(move_id, table_name, {', '.join(NOTED_KEY[: len(table.key)])})"


def may_lose_rows(connection: Connection, table: Table) -> bool:
    """Whether a row may be replaced without a note."""
    return any(None in columns for columns in unique_columns(connection, table))


_NOBODY_BRINGS = "AND NOT EXISTS (SELECT 1 FROM cellplane_moves_bringing)"


def is_made(connection: Connection) -> bool:
    """Whether moves have tables of their own here."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'cellplane_moves_guards'").fetchone()
    return found is not None


def trigger_prefix(move_id: str) -> str:
    """With which the names of a move's triggers begin."""
    return f"cellplane_{move_id}_"


def remove_triggers(connection: Connection, move_id: str) -> None:
    """Take a move's triggers off all tables."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        if name.startswith(trigger_prefix(move_id)):
            connection.execute(statement("DROP TRIGGER", quoted(name)))
