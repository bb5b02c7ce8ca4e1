"""Deletes a tenant's rows from the file that does not have the tenant, and notes, a bounded number at a time."""

import time
from collections.abc import Callable, Sequence

from cellplane.moves.differences import Key
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End
from cellplane.moves.sqlite.catalog import keys_of, whose
from cellplane.moves.sqlite.guard import Guard, is_made
from cellplane.moves.sqlite.words import listed, of_key, places, statement
from cellplane.moves.tables import Table


def delete_tenant(
    end: End,
    tables: Sequence[Table],
    guard: Guard,
    settings: MoverSettings,
    *,
    pause: Callable[[float], None] = time.sleep,
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete what is there, children before parents; returns how many rows that were. May be repeated.

    Nothing cascades: only rows that name this tenant go. The guard is closed, as each transaction sees to itself.
    """
    deleted = 0
    for table in reversed(tables):
        key: Key | None = None
        while True:
            # Looked for without a lock, and in one pass: behind a closed guard nothing comes to them.
            keys = _keys_behind(end, table, key, guard.tenant_id, settings)
            if not keys:
                break
            words = statement("DELETE FROM", table.name, "WHERE", of_key(table), "AND", whose(settings.tenant_column))
            with end.file.writing(end.connection), guard.bringing(end.connection):
                end.connection.executemany(words, [(*each, guard.tenant_id) for each in keys])
            key = keys[-1]
            deleted += len(keys)
            told(deleted)
            pause(settings.clean_pause_seconds)
    return deleted


def _keys_behind(end: End, table: Table, key: Key | None, tenant_id: str, settings: MoverSettings) -> list[Key]:
    order = table.order_within(settings.tenant_column)
    behind = [] if key is None or not order else ["AND", f"({listed(order)}) > ({places(len(order))})"]
    values = [] if key is None else [value for name, value in zip(table.key, key, strict=True) if name in order]
    words = statement(
        "SELECT", keys_of(table), "FROM", table.name, "WHERE", whose(settings.tenant_column), *behind,
        "ORDER BY", listed(order or table.key), "LIMIT ?",
    )  # fmt: skip
    return end.connection.execute(words, (tenant_id, *values, settings.clean_rows)).fetchall()


def forget_notes(end: End, move_id: str, settings: MoverSettings) -> None:
    """Delete what a move's guard noted."""
    count = settings.clean_rows
    while count == settings.clean_rows and is_made(end.connection):
        with end.file.writing(end.connection):
            count = end.connection.execute(
                "DELETE FROM cellplane_moves_touched WHERE number IN "
                "(SELECT number FROM cellplane_moves_touched WHERE move_id = ? LIMIT ?)",
                (move_id, settings.clean_rows),
            ).rowcount
