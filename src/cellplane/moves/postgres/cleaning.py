"""Deletes a tenant's rows from the database that does not have the tenant, a bounded number at a time."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.postgres.guard import named
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

    No trigger runs, and nothing cascades: only rows that name this tenant go. No stream may carry the deletions on.
    """
    deleted = 0
    for table in reversed(tables):
        # By their places, and these found once: whatever the planner thinks of the table, no row is looked at twice.
        # Of a partitioned one several partitions may have a row at a place: then more go at once, as all are to.
        statement = sql.SQL(
            "DELETE FROM {table} WHERE {whose} "
            "AND ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {whose} LIMIT {rows}))"
        ).format(
            table=named(table),
            whose=sql.SQL("{} = {}").format(sql.Identifier(settings.tenant_column), sql.Literal(tenant_id)),
            rows=sql.Literal(settings.clean_rows),
        )
        while True:
            with connection.transaction():
                connection.execute("SET LOCAL session_replication_role = replica")
                count = connection.execute(statement).rowcount
            deleted += count
            told(deleted)
            if count < settings.clean_rows:
                break
            pause(settings.clean_pause_seconds)
    return deleted
