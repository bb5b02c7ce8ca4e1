"""Copies a tenant's rows as they are at one moment: that from which its stream begins."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.postgres.guard import named
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Table


@dataclass(slots=True)
class Copied:
    """How far a copy is."""

    table: str = ""
    rows: int = 0
    """Also of the table that is being copied."""

    bytes: int = 0
    """As PostgreSQL's binary form of COPY, likewise."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies one tenant's rows.

    Args:
        tenant_id: whose.
        settings: the column that says so, and how fast.
        told: hears how far it is, after each block; may raise, which ends the copy without a trace at the target.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    tenant_id: str
    settings: MoverSettings
    told: Callable[[Copied], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def run(
        self,
        source: psycopg.Connection[Any],
        target: psycopg.Connection[Any],
        tables: Sequence[Table],
        snapshot: str,
    ) -> Copied:
        """Copy all tables, whole or not at all.

        Neither foreign keys nor triggers are run at the target, as for all that replication applies: the rows passed
        them at the source.

        Args:
            source: a connection of its own, in no transaction.
            target: as ``source``.
            tables: what has rows of the tenant.
            snapshot: which moment, as the slot's creation exported it.
        """
        copied = Copied()
        began = self.monotonic()
        with _reading(source, snapshot), target.transaction():
            target.execute("SET LOCAL session_replication_role = replica")
            for table in tables:
                copied.table = table.name
                whose = sql.SQL("{} = {}").format(
                    sql.Identifier(self.settings.tenant_column), sql.Literal(self.tenant_id)
                )
                columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.copied)
                out = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT (FORMAT binary)").format(
                    columns, named(table), whose
                )
                into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(named(table), columns)
                with source.cursor() as reader, target.cursor() as writer:
                    rows = copied.rows
                    with reader.copy(out) as blocks, writer.copy(into) as written:
                        # Each is a row, and the last one the end.
                        for place, block in enumerate(blocks):
                            written.write(block)
                            copied.rows = rows + place
                            copied.bytes += len(block)
                            self.told(copied)
                            self._hold_back(copied.bytes, began)
                    copied.rows = rows + writer.rowcount
            copied.table = ""
        return copied

    def _hold_back(self, copied_bytes: int, began: float) -> None:
        most = self.settings.copy_bytes_per_second
        if most is not None:
            ahead_seconds = copied_bytes / most - (self.monotonic() - began)
            if ahead_seconds > 0:
                self.pause(ahead_seconds)


@contextmanager
def _reading(connection: psycopg.Connection[Any], snapshot: str) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield
