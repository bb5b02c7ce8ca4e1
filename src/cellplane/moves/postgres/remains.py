"""Finds what moves left in a PostgreSQL database, and takes it away. Rows stay."""

from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.errors import MoveError
from cellplane.moves.postgres.guard import Guard
from cellplane.moves.postgres.stream import Stream
from cellplane.moves.remains import Remnant, Slot, move_of
from cellplane.moves.settings import MoverSettings

Connection = psycopg.Connection[Any]

_SLOTS = """
SELECT slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, active,
    coalesce(wal_status = 'lost', false), coalesce(database = current_database(), false)
FROM pg_replication_slots ORDER BY slot_name
"""

_NAMED = {
    "subscription": "SELECT subname::text FROM pg_subscription JOIN pg_database d ON d.oid = subdbid "
    "WHERE d.datname = current_database()",
    "publication": "SELECT pubname::text FROM pg_publication",
    # Of the whole server, as nothing says whose one is.
    "origin": "SELECT roname FROM pg_replication_origin",
}


def slots(connection: Connection) -> tuple[Slot, ...]:
    """All slots of the server."""
    return tuple(Slot(name, kept, active, lost) for name, kept, active, lost, _ in connection.execute(_SLOTS))


def remnants(connection: Connection, cell: str) -> list[Remnant]:
    """All that any move has here, under way or not."""
    found = []
    for name, kept, _, _, is_here in connection.execute(_SLOTS):
        move_id = move_of(name)
        if move_id is not None and is_here:
            found.append(Remnant(cell, "slot", name, move_id, kept))
    for kind, query in _NAMED.items():
        for (name,) in connection.execute(query.encode()):
            move_id = move_of(name)
            if move_id is not None:
                found.append(Remnant(cell, kind, name, move_id))
    if connection.execute("SELECT to_regclass('cellplane_moves.guards')").fetchone() != (None,):
        guards = connection.execute("SELECT tenant_id, move_id FROM cellplane_moves.guards ORDER BY tenant_id")
        found += [Remnant(cell, "guard", tenant, move_id) for tenant, move_id in guards]
    return found


def remove(connection: Connection, remnant: Remnant, settings: MoverSettings) -> None:
    """Take one away. What is gone already is as well.

    Raises:
        MoveError: it is used.
    """
    stream = Stream(remnant.name, "", settings)
    match remnant.kind:
        case "subscription":
            stream.unsubscribe(connection)
        case "slot" | "publication":
            stream.unpublish(connection)
        case "origin":
            try:
                connection.execute(
                    "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname = %s",
                    (remnant.name,),
                )
            except psycopg.errors.ObjectInUse as error:
                raise MoveError(f"{remnant} is used by a session: end it (pg_stat_activity), and ask again") from error
        case _:
            guard = Guard(remnant.name, remnant.move_id, settings)
            guard.remove(connection)


def connected(url: str, settings: MoverSettings) -> Connection:
    """A connection that waits for nothing for long."""
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=settings.connect_seconds, application_name="cellplane move reap"
    )
    connection.execute(sql.SQL("SET lock_timeout = {}").format(int(1000 * settings.lock_seconds)))
    return connection
