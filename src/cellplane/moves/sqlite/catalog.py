"""Reads from a SQLite file's catalog what tables it has, and what of it matters to a move."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from cellplane.moves.sqlite.words import listed, quoted, statement, table_name
from cellplane.moves.tables import Column, Obstacle, Reference, Table

PREFIX = "cellplane_moves_"
"""With which the names of a move's own tables begin, in both files."""

KEY_COLUMNS = 8
"""Most columns of a key that is noted."""

_COLUMNS = 'SELECT name, type, "notnull" AS is_not_null, pk, hidden FROM pragma_table_xinfo(?)'
_INDEXES = 'SELECT name, origin FROM pragma_index_list(?) WHERE "unique"'
_INDEXED = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"
_REFERENCES = 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'

_VIRTUAL, _STORED = 2, 3
"""What ``hidden`` of a column says of one that is generated."""

_NO_CODE = re.compile(
    r"'(?:[^']|'')*' | \"(?:[^\"]|\"\")*\" | `(?:[^`]|``)*` | \[[^\]]*\] | --[^\n]* | /\*.*?\*/", re.VERBOSE | re.DOTALL
)


def read_tables(
    connection: sqlite3.Connection, tenant_column: str, left_out: tuple[str, ...] = ()
) -> tuple[Table, ...]:
    """All tables of a file but SQLite's, the moves' own and those left out, by name.

    Args:
        connection: to the file.
        tenant_column: of the column that holds the tenant's id: what keeps a table from being moved is told of those
            that have it.
        left_out: names as in the settings, or as they are quoted; a schema in them is PostgreSQL's.
    """
    without = {each for name in left_out for each in (name, name.rpartition(".")[2])}
    names: dict[str, str] = {
        name: sql or ""
        for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if not name.startswith(("sqlite_", PREFIX)) and without.isdisjoint((name, table_name(name)))
    }
    by_lower = {name.lower(): name for name in names}
    triggers = _triggers(connection)
    found = []
    for name, sql in names.items():
        rows = connection.execute(_COLUMNS, (name,)).fetchall()
        is_numbered = _is_numbered(connection, name, rows)
        table = _table(name, sql, rows, is_numbered=is_numbered)
        table = replace(table, references=tuple(_references(connection, name, by_lower)))
        if table.column(tenant_column) is not None:
            obstacles = _obstacles(table, sql, is_numbered=is_numbered, triggers=triggers.get(name.lower(), []))
            table = replace(table, obstacles=tuple(obstacles))
        found.append(table)
    return tuple(found)


def _table(name: str, sql: str, rows: list[tuple[Any, ...]], *, is_numbered: bool) -> Table:
    key = _key(rows)
    counts_on = is_numbered and re.search(r"\bAUTOINCREMENT\b", _NO_CODE.sub(" ", sql), re.IGNORECASE) is not None
    columns = tuple(
        Column(
            column,
            type_,
            not_null=bool(not_null) or (is_numbered and column in key),
            is_generated=hidden in {_VIRTUAL, _STORED},
            identity="autoincrement" if counts_on and column in key else "",
        )
        for column, type_, not_null, _, hidden in rows
    )
    # A trigger sees the whole row.
    seen = tuple(column.name for column in columns)
    return Table(table_name(name), columns, key, replica_identity=seen, sequences=(name,) if counts_on else ())


def _key(rows: list[tuple[Any, ...]]) -> tuple[str, ...]:
    """Columns of the primary key, in its order, of ``_COLUMNS``."""
    return tuple(row[0] for row in sorted((row for row in rows if row[3]), key=lambda row: row[3]))


def _is_numbered(connection: sqlite3.Connection, name: str, rows: list[tuple[Any, ...]]) -> bool:
    """Whether its key is the number that SQLite itself gives each row."""
    types = [row[1].upper() for row in rows if row[3]]
    return types == ["INTEGER"] and all(origin != "pk" for _, origin in connection.execute(_INDEXES, (name,)))


def _references(connection: sqlite3.Connection, name: str, by_lower: dict[str, str]) -> Iterator[Reference]:
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, table, column, target in connection.execute(_REFERENCES, (name,)):
        found.setdefault(number, []).append((by_lower.get(table.lower(), table), column, target))
    for number, parts in sorted(found.items()):
        table = parts[0][0]
        targets = tuple(target for *_, target in parts if target is not None)
        if not targets:
            # Without names, its parent's key is meant.
            targets = _key(connection.execute(_COLUMNS, (table,)).fetchall())
        yield Reference(str(number), tuple(column for _, column, _ in parts), table_name(table), targets)


def _triggers(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Triggers that are not a move's, by the table in small letters."""
    found: dict[str, list[str]] = {}
    for name, table in connection.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"):
        if not name.startswith("cellplane_"):
            found.setdefault(table.lower(), []).append(name)
    return found


def _obstacles(table: Table, sql: str, *, is_numbered: bool, triggers: list[str]) -> Iterator[Obstacle]:
    if re.match(r"\s*CREATE\s+VIRTUAL\s", sql, re.IGNORECASE):
        yield Obstacle(
            "it is a virtual table, and has no triggers", "make it again at the target from what it is made of"
        )
    if is_numbered and not table.sequences:
        yield Obstacle(
            f"each cell numbers its rows by itself ({', '.join(table.key)}), from the largest number that is there",
            "make the tenant part of its primary key, or the key AUTOINCREMENT",
        )
    for column in table.columns:
        if column.name in table.key and not column.not_null:
            yield Obstacle(
                f"{column.name} is of its primary key and may be NULL, as SQLite lets it", "declare it NOT NULL"
            )
    if len(table.key) > KEY_COLUMNS:
        yield Obstacle(f"its primary key has {len(table.key)} columns", f"give it one of at most {KEY_COLUMNS}")
    if triggers:
        yield Obstacle(
            f"its triggers would run again for rows that are brought here ({', '.join(sorted(triggers))})",
            "do in the app what they do, or drop them in both cells while the tenant moves",
        )


def unique_columns(connection: sqlite3.Connection, table: Table) -> Iterator[tuple[str | None, ...]]:
    """Columns of its unique indexes but the key's; None for an expression."""
    for index, origin in connection.execute(_INDEXES, (unquoted(table),)).fetchall():
        if origin != "pk":
            yield tuple(row[0] for row in connection.execute(_INDEXED, (index,)))


def unquoted(table: Table) -> str:
    """A table's name as the catalog has it."""
    return table.name[1:-1].replace('""', '"') if table.name.startswith('"') else table.name


def keys_of(table: Table) -> str:
    """Its key's columns."""
    return listed(table.key)


def columns_of(table: Table) -> str:
    """The columns that are carried over."""
    return listed(tuple(column.name for column in table.copied))


def whose(tenant_column: str) -> str:
    """The condition that picks a tenant's rows: a parameter."""
    return statement(quoted(tenant_column), "= ?")


def bytes_in(table: Table) -> str:
    """How much a row of it takes, as it is copied."""
    return " + ".join(f"coalesce(length(CAST({quoted(column.name)} AS BLOB)), 0)" for column in table.copied)
