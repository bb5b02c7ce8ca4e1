"""Compares a tenant's rows at both ends: all of them while they are written, and at the end those written since.

SQLite has no hashes: rows are read in ranges of their key, and hashed here. A value's type counts: 1, 1.0 and '1'
differ.

The other end changes by nothing but this move, and knows up to which note it is brought. So a row that differs and is
not noted behind that is a difference, and one that is noted is only on its way. Both are read of one moment each, the
other end first.

Rows that are written after they were compared are compared once more when no writes are taken; then also those that
another tenant's took the place of at the other end, and the numbers of rows of tables in which one may go without a
note (``guard``).
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.moves.differences import Compared, Difference, Key, differences
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import COMPARED, End, Noted, Way, noted, position, set_position
from cellplane.moves.sqlite.catalog import keys_of, whose
from cellplane.moves.sqlite.files import Connection
from cellplane.moves.sqlite.guard import may_lose_rows
from cellplane.moves.sqlite.words import listed, of_key, places, statement
from cellplane.moves.tables import Table

_SUMMED_ROWS = 200
"""Rows that are written out at once to be hashed: as many at both ends, where the same are there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares one tenant's rows.

    Args:
        written: the end that is written.
        read: the one that follows.
        way: from the one to the other.
        settings: sizes and times.
        monotonic: seconds.
        told: hears how many rows are compared; may raise, which ends the comparison.
    """

    written: End
    read: End
    way: Way
    settings: MoverSettings
    monotonic: Callable[[], float] = time.monotonic
    told: Callable[[int], None] = lambda _: None

    def all_rows(self, tables: Sequence[Table]) -> Compared:
        """Compare everything, while it is written; what was touched before need not be compared at the end."""
        began = self.monotonic()
        until = self.way.head(self.written.connection)
        # What is touched before this moment is at the other end before it is compared.
        self.way.catch_up(self.written, self.read, tables, self.settings.coming_seconds)
        compared = Compared()
        for table in tables:
            for after, last in self._ranges(table):
                # What is written meanwhile is brought meanwhile.
                self.way.catch_up(
                    self.written, self.read, tables, self.settings.wait_seconds, self.settings.hold_batches
                )
                self._range(table, after, last, compared)
                self.told(compared.rows)
                if len(compared.differences) >= self.settings.max_differences:
                    break
        if not compared.differences:
            self._is_compared(until)
        compared.seconds = self.monotonic() - began
        return compared

    def touched(self) -> int:
        """How many changes are noted that are not compared yet."""
        (count,) = self.written.connection.execute(
            "SELECT count(*) FROM cellplane_moves_touched WHERE move_id = ? AND number > ? AND table_name IS NOT NULL",
            (self.way.guard.move_id, self._compared),
        ).fetchone()
        return int(count)

    def touched_rows(self, tables: Sequence[Table], batches: int | None = None) -> Compared:
        """Compare what was touched since it was compared, and is brought; all of it, or so many batches."""
        began = self.monotonic()
        compared = Compared()
        by_name = {table.name: table for table in tables}
        done = 0
        while done != batches:
            with self.read.file.reading(self.read.connection), self.written.file.reading(self.written.connection):
                brought = self.way.position(self.read.connection) or 0
                entries = noted(
                    self.written.connection, self.way.guard.move_id, self._compared, brought, self.settings.carry_rows
                )
                if not entries:
                    break
                self._entries(by_name, entries, brought, compared)
            if compared.differences:
                break
            self._is_compared(entries[-1].number)
            done += 1
        compared.seconds = self.monotonic() - began
        return compared

    def replaced_rows(self, tables: Sequence[Table], way_back: str) -> Compared:
        """Compare what was noted at the other end while it was closed, when nothing is written and all is brought.

        Args:
            tables: what has rows of the tenant.
            way_back: name of the other direction, whose position says what is noted there since.
        """
        compared = Compared()
        move_id = self.way.guard.move_id
        since = position(self.written.connection, move_id, way_back) or 0
        entries = noted(self.read.connection, move_id, since, None, -1)
        self._entries(
            {table.name: table for table in tables}, entries, self.way.position(self.read.connection) or 0, compared
        )
        return compared

    def counted(self, tables: Sequence[Table]) -> tuple[str, ...]:
        """Tables in which a row may go without a note, and of which one end has more rows while nothing is written."""
        found = []
        for table in tables:
            if not may_lose_rows(self.written.connection, table):
                continue
            here, there = (self._count(end.connection, table) for end in (self.written, self.read))
            if here != there:
                found.append(f"{table.name}: {here} rows where it was written last, {there} at the other end")
        return tuple(found)

    def note(self, wanted: Iterable[Difference], tables: Sequence[Table]) -> None:
        """Bring these rows again."""
        keys = {table.name: table.key for table in tables}
        with self.written.file.writing(self.written.connection):
            for each in wanted:
                names = ", ".join(f"k{number}" for number in range(len(keys[each.table])))
                self.written.connection.execute(
                    statement(
                        f"INSERT INTO cellplane_moves_touched (move_id, table_name, {names})",
                        f"VALUES (?, ?, {places(len(each.key))})",
                    ),
                    (self.way.guard.move_id, each.table, *each.key),
                )

    @property
    def _compared(self) -> int:
        return position(self.written.connection, self.way.guard.move_id, COMPARED) or 0

    def _is_compared(self, until: int) -> None:
        """Nothing that is noted up to here is needed any more, at either end."""
        brought = self.way.position(self.read.connection) or 0
        connection, move_id = self.written.connection, self.way.guard.move_id
        with self.written.file.writing(connection):
            until = max(until, self._compared)
            set_position(connection, move_id, COMPARED, until)
        while True:
            with self.written.file.writing(connection):
                count = connection.execute(
                    "DELETE FROM cellplane_moves_touched WHERE number IN "
                    "(SELECT number FROM cellplane_moves_touched WHERE move_id = ? AND number <= ? LIMIT ?)",
                    (move_id, min(until, brought), self.settings.clean_rows),
                ).rowcount
            if count < self.settings.clean_rows:
                return

    def _ranges(self, table: Table) -> Iterator[tuple[Key | None, Key | None]]:
        """Ranges of rows by key, so many each where it is written: behind the first key, up to and with the second."""
        order = listed(table.order_within(self.settings.tenant_column))
        after: Key | None = None
        while order:
            condition, values = self._where(table, after, None)
            row = self.written.connection.execute(
                statement(
                    "SELECT", order, "FROM", table.name, "WHERE", condition, "ORDER BY", order, "LIMIT 1 OFFSET ?"
                ),
                (*values, self.settings.range_rows - 1),
            ).fetchone()
            if row is None:
                break
            yield after, row
            after = row
        yield after, None

    def _range(self, table: Table, after: Key | None, last: Key | None, compared: Compared) -> None:
        # Cheap, and most often enough; where rows are on their way it is not, and they are looked at one by one.
        rows, there_sum = self._sum(self.read, table, after, last)
        if self._sum(self.written, table, after, last) == (rows, there_sum):
            compared.rows += rows
            return
        with self.read.file.reading(self.read.connection):
            there = self._hashes(self.read.connection, table, after, last)
            brought = self.way.position(self.read.connection) or 0
        with self.written.file.reading(self.written.connection):
            here = self._hashes(self.written.connection, table, after, last)
            compared.rows += len(here)
            if here == there:
                return
            on_their_way = {
                each.key[: len(table.key)]
                for each in noted(self.written.connection, self.way.guard.move_id, brought, None, -1)
                if each.table == table.name
            }
        self._judge(differences(table.name, here, there), on_their_way, compared)

    def _entries(self, tables: dict[str, Table], entries: Sequence[Noted], brought: int, compared: Compared) -> None:
        """Compare the rows of notes, by key."""
        wanted: dict[str, dict[Key, None]] = {}
        for entry in entries:
            if entry.table in tables:
                wanted.setdefault(entry.table, {})[entry.key[: len(tables[entry.table].key)]] = None
        late = noted(self.written.connection, self.way.guard.move_id, brought, None, -1)
        for name, keys in wanted.items():
            there = self._hashes_of(self.read.connection, tables[name], keys)
            here = self._hashes_of(self.written.connection, tables[name], keys)
            on_their_way = {each.key[: len(tables[name].key)] for each in late if each.table == name}
            self._judge(differences(name, here, there), on_their_way, compared)
            compared.rows += len(keys)

    @staticmethod
    def _judge(found: Sequence[Difference], on_their_way: set[Key], compared: Compared) -> None:
        steady = [each for each in found if each.key not in on_their_way]
        compared.differences += steady
        compared.undecided += len(found) - len(steady)

    def _sum(self, end: End, table: Table, after: Key | None, last: Key | None) -> tuple[int, bytes]:
        """How many rows there are, and what stands for all of them."""
        condition, values = self._where(table, after, last)
        words = statement(
            "SELECT", _all_columns(table), "FROM", table.name, "WHERE", condition, "ORDER BY", keys_of(table)
        )  # fmt: skip
        total = hashlib.blake2b(digest_size=16)
        rows = 0
        cursor = end.connection.execute(words, values)
        while some := cursor.fetchmany(_SUMMED_ROWS):
            total.update(repr(some).encode())
            rows += len(some)
        return rows, total.digest()

    def _hashes(self, connection: Connection, table: Table, after: Key | None, last: Key | None) -> dict[Key, bytes]:
        condition, values = self._where(table, after, last)
        return _hashed(
            connection.execute(
                statement("SELECT", _all_columns(table), "FROM", table.name, "WHERE", condition), values
            ),
            len(table.key),
        )

    def _hashes_of(self, connection: Connection, table: Table, keys: Iterable[Key]) -> dict[Key, bytes]:
        words = statement(
            "SELECT", _all_columns(table), "FROM", table.name,
            "WHERE", of_key(table), "AND", whose(self.settings.tenant_column),
        )  # fmt: skip
        found: dict[Key, bytes] = {}
        for key in keys:
            found |= _hashed(connection.execute(words, (*key, self.way.guard.tenant_id)), len(table.key))
        return found

    def _where(self, table: Table, after: Key | None, last: Key | None) -> tuple[str, tuple[Any, ...]]:
        order = listed(table.order_within(self.settings.tenant_column))
        parts, values = [whose(self.settings.tenant_column)], [self.way.guard.tenant_id]
        for sign, key in ((">", after), ("<=", last)):
            if key is not None:
                parts.append(f"({order}) {sign} ({places(len(key))})")
                values += key
        return " AND ".join(parts), tuple(values)

    def _count(self, connection: Connection, table: Table) -> int:
        (count,) = connection.execute(
            statement("SELECT count(*) FROM", table.name, "WHERE", whose(self.settings.tenant_column)),
            (self.way.guard.tenant_id,),
        ).fetchone()
        return int(count)


def _all_columns(table: Table) -> str:
    """Its key first, then all its columns, of which both cells may have another order."""
    return listed((*table.key, *sorted(column.name for column in table.columns)))


def _hashed(rows: Iterable[tuple[Any, ...]], key_columns: int) -> dict[Key, bytes]:
    return {row[:key_columns]: row_hash(row) for row in rows}


def row_hash(row: tuple[Any, ...]) -> bytes:
    """What stands for a row: other values, and values of another type, have another one."""
    # As Python writes them, texts have quotes, BLOBs a b before them, and floats a point: exactly what is there.
    return hashlib.blake2b(repr(row).encode(), digest_size=16).digest()
