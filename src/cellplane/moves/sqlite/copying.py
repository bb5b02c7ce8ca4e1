"""Copies a tenant's rows as they are at one moment: that from which on the guard's notes are brought."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cellplane.moves.errors import NotMovableError
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End, Row, Way, cannot_write, insert
from cellplane.moves.sqlite.catalog import bytes_in, columns_of, whose
from cellplane.moves.sqlite.words import statement
from cellplane.moves.tables import Table


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies one tenant's rows.

    Args:
        way: from the one end to the other; it begins where the copy is complete.
        settings: sizes, and how fast.
        told: hears how many rows and bytes are copied, after each batch; may raise, which ends the copy.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    way: Way
    settings: MoverSettings
    told: Callable[[int, int], None] = lambda _rows, _bytes: None
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def run(self, written: End, read: End, tables: Sequence[Table]) -> tuple[int, int]:
        """Copy all tables; returns rows and bytes.

        The source is read in one transaction, so that its log grows as long as that takes; the target is written in
        many short ones, between which others write. One that is cut short is not complete, and begins anew.
        """
        rows = size = 0
        began = self.monotonic()
        with written.file.reading(written.connection):
            head = self.way.head(written.connection)
            for table in tables:
                for batch, batch_bytes in self._batches(written.connection, table):
                    took = self._write(read, table, batch)
                    rows, size = rows + len(batch), size + batch_bytes
                    self.told(rows, size)
                    self.pause(max(self._ahead_seconds(size, began), took * (1 / self.settings.write_share - 1)))
        with read.file.writing(read.connection):
            self.way.begin(read.connection, head)
        return rows, size

    def _batches(self, connection: sqlite3.Connection, table: Table) -> Iterator[tuple[list[Row], int]]:
        batch: list[Row] = []
        size = 0
        words = statement(
            "SELECT", columns_of(table) + ",", bytes_in(table),
            "FROM", table.name, "WHERE", whose(self.settings.tenant_column),
        )  # fmt: skip
        for row in connection.execute(words, (self.way.guard.tenant_id,)):
            batch.append(row[:-1])
            size += row[-1]
            if len(batch) >= self.settings.carry_rows or size >= self.settings.carry_bytes:
                yield batch, size
                batch, size = [], 0
        if batch:
            yield batch, size

    def _write(self, read: End, table: Table, rows: list[Row]) -> float:
        with read.file.writing(read.connection):
            began = self.monotonic()
            try:
                with self.way.guard.bringing(read.connection):
                    insert(read.connection, table, rows)
            except sqlite3.IntegrityError as error:
                raise NotMovableError((cannot_write(error, read.file.where, self.settings.tenant_column),)) from error
        return self.monotonic() - began

    def _ahead_seconds(self, copied_bytes: int, began: float) -> float:
        most = self.settings.copy_bytes_per_second
        return 0.0 if most is None else copied_bytes / most - (self.monotonic() - began)
