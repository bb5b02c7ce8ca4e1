"""Deletes a tenant's rows from the database that does not have the tenant, a bounded number at a time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.postgres.guard import named
from cellplane.moves.postgres.ranges import Ranges
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Table


def delete_tenant(
    connection: psycopg.Connection[Any],
    tables: Sequence[Table],
    tenant_id: str,
    settings: MoverSettings,
    *,
    pause: Callable[[float], None] = time.sleep,
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Delete what is there, children before parents; returns how many rows that were. May be repeated.

    The caller has closed the guard, and set the session to ``SAME_WORDS`` and ``BY_INDEX``. No trigger runs, and
    nothing cascades: only rows that name this tenant go. No stream may carry the deletions on.
    """
    deleted = 0
    for table in reversed(tables):
        rows = Ranges(table, settings.tenant_column, tenant_id)
        # In one pass: behind a closed guard nothing comes to them.
        for after, until in rows.of(connection, settings.clean_rows):
            with connection.transaction():
                connection.execute("SET LOCAL session_replication_role = replica")
                deleted += connection.execute(
                    sql.SQL("DELETE FROM {} WHERE {}").format(named(table), rows.where(after, until))
                ).rowcount
            told(deleted)
            if until is not None:
                pause(settings.clean_pause_seconds)
    return deleted
