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
        statement = sql.SQL(
            "DELETE FROM {table} WHERE {column} = {tenant} AND ({key}) IN "
            "(SELECT {key} FROM {table} WHERE {column} = {tenant} LIMIT {rows})"
        ).format(
            table=named(table),
            column=sql.Identifier(settings.tenant_column),
            tenant=sql.Literal(tenant_id),
            key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
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
