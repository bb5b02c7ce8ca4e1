"""Deletes a tenant's rows from the file that does not have the tenant, and notes, a bounded number at a time."""

import time
from collections.abc import Callable, Sequence

from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End
from cellplane.moves.sqlite.catalog import keys_of, whose
from cellplane.moves.sqlite.guard import Guard, is_made
from cellplane.moves.sqlite.words import statement
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

    Nothing cascades: only rows that name this tenant go. Each transaction looks itself that the guard is closed.
    """
    deleted = 0
    for table in reversed(tables):
        keys = keys_of(table)
        ours = whose(settings.tenant_column)
        words = statement(
            "DELETE FROM", table.name, "WHERE", ours, f"AND ({keys}) IN",
            f"(SELECT {keys} FROM", table.name, "WHERE", ours, "LIMIT ?)",
        )  # fmt: skip
        while True:
            with end.file.writing(end.connection), guard.bringing(end.connection):
                count = end.connection.execute(words, (guard.tenant_id, guard.tenant_id, settings.clean_rows)).rowcount
            deleted += count
            told(deleted)
            if count < settings.clean_rows:
                break
            pause(settings.clean_pause_seconds)
    return deleted


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
