"""Two databases of one kind between which a tenant moves, as the tests of the contract see them."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from cellplane.moves.mover import DataMover
from cellplane.moves.settings import MoverSettings
from cellplane.moves.stores import mover_between
from unit.moves import cells
from unit.moves.cells import Writer

SOURCE, TARGET = 0, 1

Execute = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement, with ``?`` for its parameters; returns the rows."""

SHOP = """
CREATE TABLE currencies (code TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
INSERT INTO currencies VALUES ('EUR'), ('USD');
CREATE TABLE orders (
    tenant_id TEXT NOT NULL,
    id INTEGER NOT NULL,
    currency TEXT NOT NULL REFERENCES currencies,
    amount NUMERIC NOT NULL,
    tags BLOB NOT NULL DEFAULT x'00ff',
    note TEXT,
    doubled GENERATED ALWAYS AS (amount * 2) STORED,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;
CREATE TABLE lines (
    tenant_id TEXT NOT NULL,
    order_id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (tenant_id, order_id, number),
    FOREIGN KEY (tenant_id, order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE TABLE visits (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, at TEXT NOT NULL);
"""

FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
INSERT INTO orders (tenant_id, id, currency, amount, note)
SELECT tenant, n, 'EUR', n / 4.0, CASE WHEN n % 97 = 0 THEN replace(hex(zeroblob(10000)), '0', 'é') END
FROM (SELECT 'acme' AS tenant UNION SELECT 'globex'), numbers;
INSERT INTO lines SELECT tenant_id, id, 1, '{{"n": 1.50}}' FROM orders WHERE id % 2 = 0;
INSERT INTO visits (tenant_id, at) SELECT tenant_id, datetime('2025-12-30', id || ' minutes') FROM orders;
"""


class Ends(Protocol):
    """Source and target, by ``SOURCE`` and ``TARGET``."""

    kind: str
    urls: tuple[str, str]

    def mover(self, tenant: str = "acme", move_id: str = "m1", **settings: Any) -> DataMover: ...

    def fill(self, rows: int) -> None:
        """Give two tenants so many orders at the source, every second with a line, each with a visit."""

    def rows_of(self, end: int, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
        """All that a tenant has there."""

    def writer(self, end: int, seed: int) -> Writer:
        """Writes acme's orders."""

    def executing(self, end: int) -> Any:
        """A context with ``Execute``, each statement of which is committed by itself."""

    def under_way(self, end: int) -> Any:
        """A context with ``Execute`` in one transaction, which is committed at its end."""

    def spoiling(self, end: int) -> Any:
        """A context with ``Execute`` that passes the guard and is not noted."""

    def refusal_of(self, error: BaseException) -> str:
        """What a refused write was told; empty where it is no refusal."""

    def left_at(self, end: int) -> list[str]:
        """What of moves is in the catalog."""

    errors: tuple[type[Exception], ...]
    """With which a driver tells of what a database refuses."""


@dataclass
class PostgresEnds:
    """Databases of two servers."""

    urls: tuple[str, str]
    kind: str = "postgres"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def mover(self, tenant: str = "acme", move_id: str = "m1", **settings: Any) -> DataMover:
        return mover_between(tenant, move_id, *self.urls, _settings(settings))

    def fill(self, rows: int) -> None:
        cells.fill(self.urls[SOURCE], rows)

    def rows_of(self, end: int, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
        return cells.rows_of(self.urls[end], tenant)

    def writer(self, end: int, seed: int) -> Writer:
        return cells.PostgresWriter(self.urls[end], "acme", seed)

    @contextmanager
    def executing(self, end: int) -> Iterator[Execute]:
        with psycopg.connect(self.urls[end], autocommit=True) as connection:
            yield _of_psycopg(connection)

    @contextmanager
    def under_way(self, end: int) -> Iterator[Execute]:
        with psycopg.connect(self.urls[end]) as connection:
            yield _of_psycopg(connection)

    @contextmanager
    def spoiling(self, end: int) -> Iterator[Execute]:
        # With an origin, as replication does, so that it is not carried back either.
        with psycopg.connect(self.urls[end], autocommit=True) as connection:
            connection.execute("SELECT pg_replication_origin_create('spoiler')")
            connection.execute("SELECT pg_replication_origin_session_setup('spoiler')")
            connection.execute("SET session_replication_role = replica")
            yield _of_psycopg(connection)
            connection.execute("SELECT pg_replication_origin_session_reset()")
            connection.execute("SELECT pg_replication_origin_drop('spoiler')")

    def refusal_of(self, error: BaseException) -> str:
        return str(error) if isinstance(error, psycopg.Error) and error.sqlstate == "57CP1" else ""

    def left_at(self, end: int) -> list[str]:
        with psycopg.connect(self.urls[end]) as connection:
            found = connection.execute(
                "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal UNION ALL "
                "SELECT proname FROM pg_proc WHERE proname LIKE 'zz_cellplane%' UNION ALL "
                "SELECT slot_name FROM pg_replication_slots WHERE database = current_database() UNION ALL "
                "SELECT pubname FROM pg_publication UNION ALL "
                "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid "
                "WHERE datname = current_database() UNION ALL "
                "SELECT roname FROM pg_replication_origin WHERE roname LIKE 'cellplane%'"
            )
            return [name for (name,) in found]


@dataclass
class SqliteEnds:
    """Two files."""

    folder: Path
    kind: str = "sqlite"
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __post_init__(self) -> None:
        self.paths = (self.folder / "source.sqlite3", self.folder / "target.sqlite3")
        self.urls = (f"sqlite:///{self.paths[0]}", f"sqlite:///{self.paths[1]}")
        for path in self.paths:
            with app_connection(path) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SHOP)

    def mover(self, tenant: str = "acme", move_id: str = "m1", **settings: Any) -> DataMover:
        return mover_between(tenant, move_id, *self.urls, _settings({"carry_rows": 100, **settings}))

    def fill(self, rows: int) -> None:
        with app_connection(self.paths[SOURCE]) as connection:
            connection.executescript(FILL.format(rows=rows))

    def rows_of(self, end: int, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
        with app_connection(self.paths[end]) as connection:
            return {
                table: connection.execute(
                    f"SELECT * FROM {table} WHERE tenant_id = ? ORDER BY 1, 2, 3", (tenant,)
                ).fetchall()
                for table in ("orders", "lines", "visits")
            }

    def writer(self, end: int, seed: int) -> Writer:
        return SqliteWriter(str(self.paths[end]), "acme", seed)

    @contextmanager
    def executing(self, end: int) -> Iterator[Execute]:
        with app_connection(self.paths[end]) as connection:
            yield _of_sqlite(connection)

    @contextmanager
    def under_way(self, end: int) -> Iterator[Execute]:
        with app_connection(self.paths[end]) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield _of_sqlite(connection)
            connection.execute("COMMIT")

    @contextmanager
    def spoiling(self, end: int) -> Iterator[Execute]:
        with self.under_way(end) as execute:
            execute("INSERT INTO cellplane_moves_bringing VALUES ('spoiler')")
            yield execute
            execute("DELETE FROM cellplane_moves_bringing")

    def refusal_of(self, error: BaseException) -> str:
        is_refusal = isinstance(error, sqlite3.IntegrityError) and error.sqlite_errorname == "SQLITE_CONSTRAINT_TRIGGER"
        return str(error) if is_refusal else ""

    def left_at(self, end: int) -> list[str]:
        with app_connection(self.paths[end]) as connection:
            return [
                name
                for (name,) in connection.execute(
                    "SELECT name FROM sqlite_master UNION SELECT name FROM sqlite_sequence"
                )
                if name.startswith("cellplane")
            ]


@dataclass
class SqliteWriter(Writer):
    """Of a file."""

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        with app_connection(Path(self.url)) as connection:
            yield connection

    def is_refusal(self, error: Exception) -> bool:
        return "not written in this cell" in str(error)

    @contextmanager
    def transaction(self, connection: Any) -> Iterator[Execute]:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield _of_sqlite(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def new_order(self, execute: Execute, note: str) -> int:
        # A number that was deleted does not come back as another order.
        number = 1_000_000 * (self.seed + 1) + len(self.acknowledged)
        execute(
            "INSERT INTO orders (tenant_id, id, currency, amount, note) VALUES (?, ?, 'USD', 1, ?)",
            (self.tenant, number, note),
        )
        execute("INSERT INTO visits (tenant_id, at) VALUES (?, 'now')", (self.tenant,))
        return number


@contextmanager
def app_connection(path: Path) -> Iterator[sqlite3.Connection]:
    """As an app has it: with foreign keys, a busy timeout, and none of the mover's functions."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        yield connection
    finally:
        connection.close()


def _settings(settings: dict[str, object]) -> MoverSettings:
    return MoverSettings(**{"range_rows": 500, **settings})  # type: ignore[arg-type]


def _of_psycopg(connection: psycopg.Connection[Any]) -> Execute:
    def execute(words: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        cursor = connection.execute(words.replace("?", "%s").encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    return execute


def _of_sqlite(connection: sqlite3.Connection) -> Execute:
    def execute(words: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return connection.execute(words, parameters).fetchall()

    return execute
