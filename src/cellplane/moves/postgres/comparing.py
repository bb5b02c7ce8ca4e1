"""Compares a tenant's rows at both ends: all of them while they are written, and at the end those written since.

All rows are compared in ranges of their key, by count and by the sum of their hashes, which both databases compute.
A range that differs is looked at row by row, and a row that differs again, since it may only be on its way: it counts
as different where the target has something else after all that the source had committed has come.

Rows that are written after they were compared are **touched** (the guard notes them), and are compared once more when
no writes are taken. A row is thus either as it was compared, or compared after its last change: the end takes as long
as what changed, not as long as what is there.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cellplane.moves.differences import Compared, Key, differences
from cellplane.moves.postgres.guard import named
from cellplane.moves.postgres.ranges import Ranges, as_literal, type_of
from cellplane.moves.postgres.stream import Stream
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Column, Table

Connection = psycopg.Connection[Any]

SAME_WORDS: tuple[LiteralString, ...] = (
    "SET datestyle = 'ISO, YMD'",
    "SET intervalstyle = 'iso_8601'",
    "SET timezone = 'UTC'",
    "SET bytea_output = 'hex'",
    "SET extra_float_digits = 3",
    "SET xmloption = content",
    "SET lc_monetary = 'C'",
)
"""What both sessions have to be set to, so that equal values are equal texts."""

_HASHED_AS_THEY_ARE = frozenset(
    {
        "bigint",
        "boolean",
        "bytea",
        "date",
        "integer",
        "smallint",
        "timestamp with time zone",
        "timestamp without time zone",
        "uuid",
    }
)
"""Types whose values are equal only where they are written alike, so that the database's own hash says all."""

_TEXTS = frozenset({"character varying", "text"})
"""As these, by the right collation."""

_MODIFIER = re.compile(r"\(\d+(?:,-?\d+)?\)")
"""What a type is narrowed to: the ``(12,2)`` of ``numeric(12,2)``."""

_ROWS_AND_NOTES = """
SELECT count(*), coalesce(sum(notes), 0)::bigint FROM (
    SELECT count(*) AS notes
    FROM (SELECT table_name, key FROM cellplane_moves.touched WHERE move_id = %s LIMIT %s) AS noted
    GROUP BY table_name, key
) AS of_rows
"""

_NOTE_ONCE = """
WITH often AS (
    SELECT table_name, key FROM cellplane_moves.touched WHERE move_id = %(move)s
    GROUP BY table_name, key HAVING count(*) > 1
), gone AS (
    DELETE FROM cellplane_moves.touched AS t USING often AS o
    WHERE t.move_id = %(move)s AND t.table_name = o.table_name AND t.key = o.key
    RETURNING t.table_name, t.key
)
INSERT INTO cellplane_moves.touched (move_id, table_name, key) SELECT DISTINCT %(move)s, table_name, key FROM gone
"""
"""What is noted instead is new, so that no comparison takes it for a change of before it began."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Compares one tenant's rows.

    Args:
        tenant_id: whose.
        move_id: whose touched rows.
        source: a connection of its own to the database that is written, with ``SAME_WORDS``
            and ``BY_INDEX``.
        target: as ``source``, to the one that follows.
        stream: from source to target.
        settings: sizes and times.
        monotonic: seconds.
        pause: waits so many seconds.
        told: hears how many rows are compared; may raise, which ends the comparison.
    """

    tenant_id: str
    move_id: str
    source: Connection
    target: Connection
    stream: Stream
    settings: MoverSettings
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    told: Callable[[int], None] = lambda _: None

    def all_rows(self, tables: Sequence[Table]) -> Compared:
        """Compare everything, while it is written; what was touched before need not be compared at the end."""
        began = self.monotonic()
        snapshot = self.source.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert snapshot is not None
        # What is touched before this moment is at the target before it is compared.
        compared = Compared()
        self._keep_up(compared)
        with ThreadPoolExecutor(1, thread_name_prefix="compare") as aside:
            for table in tables:
                self._all_of(table, compared, aside)
        if not compared.differences:
            # An undecided row changed behind that moment, so that its note stays.
            self.source.execute(
                "DELETE FROM cellplane_moves.touched "
                "WHERE move_id = %s AND pg_visible_in_snapshot(xid, %s::pg_snapshot)",
                (self.move_id, snapshot[0]),
            )
        compared.seconds = self.monotonic() - began
        return compared

    def _keep_up(self, compared: Compared) -> None:
        self.stream.keep_up(self.source, self.target, lambda: self.told(compared.rows))

    def _all_of(self, table: Table, compared: Compared, aside: Executor) -> None:
        ranges = self._rows(table).of(self.source, self.settings.range_rows)
        some = next(ranges, None)
        while some is not None and len(compared.differences) < self.settings.max_differences:
            after, until = some
            # Both databases count at once, and where the source is done first, it looks for the next range.
            there = aside.submit(self._sum, self.target, table, after, until)
            here = self._sum(self.source, table, after, until)
            some = next(ranges, None)
            if here != there.result():
                self._row_by_row(table, after, until, compared)
            compared.rows += here[0]
            self.told(compared.rows)

    def touched(self) -> int:
        """How many rows are noted that are not compared yet; where many of the notes are of the same rows, one is kept
        of each, so that the end does not take as long as a row was written often.
        """
        row = self.source.execute(_ROWS_AND_NOTES, (self.move_id, self.settings.noted_max)).fetchone()
        assert row is not None
        rows, notes = row
        if notes == self.settings.noted_max:
            return int(notes)
        if notes - rows > self.settings.repeated_max:
            self.source.execute(_NOTE_ONCE, {"move": self.move_id})
        return int(rows)

    def touched_rows(self, tables: Sequence[Table]) -> Compared:
        """Compare what was touched since, while nothing is written and all has come."""
        began = self.monotonic()
        compared = Compared()
        for table in tables:
            keys = [
                tuple(row[0])
                for row in self.source.execute(
                    "SELECT DISTINCT array(SELECT jsonb_array_elements_text(key)) FROM cellplane_moves.touched "
                    "WHERE move_id = %s AND table_name = %s",
                    (self.move_id, table.name),
                )
            ]
            here, there = self._hashes_of(self.source, table, keys), self._hashes_of(self.target, table, keys)
            compared.differences += differences(table.name, here, there)
            compared.rows += len(keys)
        compared.seconds = self.monotonic() - began
        return compared

    def recopy(self, table: Table, keys: Sequence[Key]) -> None:
        """Make rows at the target what they are at the source, or gone as they are there."""
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.copied)
        self.stream.keep_up(self.source, self.target)
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(each.name)) for each in table.copied)
        rows = self._of_keys(self.source, table, keys, texts)
        places = sql.SQL(", ").join(
            sql.SQL("%s::text::" + "{}").format(sql.SQL(as_literal(column.type))) for column in table.copied
        )
        same = sql.SQL(" AND ").join(
            sql.SQL("{} = %s::text::" + "{}").format(sql.Identifier(name), sql.SQL(type_of(table, name)))
            for name in table.key
        )
        with _as_replicated(self.target, f"cellplane_{self.move_id}_recopy"), self.target.transaction():
            self.target.execute("SET LOCAL session_replication_role = replica")
            with self.target.cursor() as cursor:
                cursor.executemany(sql.SQL("DELETE FROM {} WHERE {}").format(named(table), same), keys)
                cursor.executemany(
                    sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({})").format(
                        named(table), columns, places
                    ),
                    rows,
                )

    def _rows(self, table: Table) -> Ranges:
        return Ranges(table, self.settings.tenant_column, self.tenant_id)

    def _sum(self, connection: Connection, table: Table, after: Key | None, until: Key | None) -> tuple[int, Any]:
        """How many rows there are, and the sum of their hashes; None of none."""
        row = connection.execute(
            sql.SQL("SELECT count(*), sum({}) FROM {} AS t WHERE {}").format(
                _hash(table), named(table), self._rows(table).where(after, until)
            )
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    def _hashes(self, connection: Connection, table: Table, after: Key | None, until: Key | None) -> dict[Key, int]:
        return {
            tuple(row[:-1]): row[-1]
            for row in connection.execute(
                sql.SQL("SELECT {}, {} FROM {} AS t WHERE {}").format(
                    _key_texts(table), _hash(table), named(table), self._rows(table).where(after, until)
                )
            )
        }

    def _hashes_of(self, connection: Connection, table: Table, keys: Sequence[Key]) -> dict[Key, int]:
        wanted = sql.SQL(", ").join((_key_texts(table), _hash(table)))
        return {tuple(row[:-1]): row[-1] for row in self._of_keys(connection, table, keys, wanted)}

    def _of_keys(
        self, connection: Connection, table: Table, keys: Sequence[Key], wanted: sql.Composed
    ) -> list[tuple[Any, ...]]:
        """What is wanted of the rows ``t`` that have these keys."""
        if not keys:
            return []
        arrays = sql.SQL(", ").join(
            sql.SQL("%s::text[]::{}[]").format(sql.SQL(type_of(table, name))) for name in table.key
        )
        names = sql.SQL(", ").join(map(sql.Identifier, table.key))
        same = sql.SQL(" AND ").join(sql.SQL("t.{0} = wanted.{0}").format(sql.Identifier(name)) for name in table.key)
        # OFFSET 0 keeps the planner from another way than to look for each key by itself.
        statement = sql.SQL(
            "SELECT found.* FROM unnest({}) AS wanted({}), LATERAL (SELECT {} FROM {} AS t WHERE {} OFFSET 0) AS found"
        ).format(arrays, names, wanted, named(table), same)
        return connection.execute(
            statement, [[key[place] for key in keys] for place in range(len(table.key))]
        ).fetchall()

    def _row_by_row(self, table: Table, after: Key | None, until: Key | None, compared: Compared) -> None:
        here = self._hashes(self.source, table, after, until)
        there = self._hashes(self.target, table, after, until)
        suspects = [each.key for each in differences(table.name, here, there)]
        for _ in range(self.settings.compare_tries):
            if not suspects:
                return
            before = self._hashes_of(self.source, table, suspects)
            self._keep_up(compared)
            there = self._hashes_of(self.target, table, suspects)
            now = self._hashes_of(self.source, table, suspects)
            steady = [key for key in suspects if before.get(key) == now.get(key)]
            compared.differences += differences(table.name, _only(now, steady), _only(there, steady))
            suspects = [key for key in suspects if before.get(key) != now.get(key)]
            self.pause(self.settings.compare_pause_seconds if suspects else 0.0)
        compared.undecided += len(suspects)


@contextmanager
def _as_replicated(connection: Connection, origin: str) -> Iterator[None]:
    """What is written in the block has an origin, as what replication applies: it does not go back where it is from."""
    connection.execute(
        "SELECT pg_replication_origin_create(%(name)s) WHERE pg_replication_origin_oid(%(name)s) IS NULL",
        {"name": origin},
    )
    connection.execute("SELECT pg_replication_origin_session_setup(%s)", (origin,))
    try:
        yield
    finally:
        connection.execute("SELECT pg_replication_origin_session_reset()")
        connection.execute("SELECT pg_replication_origin_drop(%s)", (origin,))


def _only(hashes: dict[Key, int], keys: Sequence[Key]) -> dict[Key, int]:
    return {key: hashes[key] for key in keys if key in hashes}


def _hash(table: Table) -> sql.Composed:
    """A row's hash, whatever the order of its columns."""
    columns = sorted(table.columns, key=lambda column: column.name)
    return sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(map(_hashed, columns)))


def _hashed(column: Column) -> sql.Composed:
    """What of a column's value is hashed: the value, where another one has another hash; else what it is written as."""
    name = sql.Identifier(column.name)
    kind = _MODIFIER.sub("", column.type)
    if kind in _HASHED_AS_THEY_ARE:
        return sql.SQL("t.{}").format(name)
    if kind in _TEXTS:
        return sql.SQL('t.{} COLLATE "C"').format(name)
    if kind == "numeric":
        # 1.0 and 1.00 have one hash.
        return sql.SQL("t.{0}, scale(t.{0})").format(name)
    return sql.SQL('t.{}::text COLLATE "C"').format(name)


def _key_texts(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in table.key)
