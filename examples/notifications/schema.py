"""What is made at a start, as the database's owner: the tables, and the roles of the app, which own nothing.

As ``APP_ROLE`` the app sees the rows of one tenant at a time, also where a statement forgets to name it; what it does
for all of them, such as the sweep, it does as ``WHOLE_CELL_ROLE``, which nobody can log in as.
"""

from typing import LiteralString

import psycopg

from cellplane.cell.data import IDEMPOTENCY_SQL, IDEMPOTENCY_TABLE, check_row_guard_async, claim_database_async
from cellplane.cell.row_security import rls_sql
from cellplane.events import OutboxSettings, create_outbox_async
from notifications.settings import Settings

APP_ROLE: LiteralString = "notifications"
WHOLE_CELL_ROLE: LiteralString = "notifications_whole_cell"

_GUARDED = ("notifications", IDEMPOTENCY_TABLE)

# Any constant will do, as long as all processes of a cell use the same and nobody else does.
_LOCK = 0x6E6F7469_66790001

# The key begins with the tenant, so that logical replication can filter on it when a tenant moves.
_TABLE = """
CREATE TABLE IF NOT EXISTS notifications (
    tenant_id    text COLLATE "C" NOT NULL,
    id           uuid NOT NULL,
    channel      text NOT NULL CHECK (channel IN ('push', 'sms', 'email')),
    recipient    text NOT NULL,
    body         text NOT NULL,
    epoch        numeric(20, 0) NOT NULL DEFAULT 0,
    status       text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'delivered', 'failed')),
    attempts     integer NOT NULL DEFAULT 0,
    reason       text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    queued_at    timestamptz NOT NULL DEFAULT now(),
    delivered_at timestamptz,
    PRIMARY KEY (tenant_id, id)
);
-- A table of an earlier release has none.
ALTER TABLE notifications ADD COLUMN IF NOT EXISTS epoch numeric(20, 0) NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS notifications_newest ON notifications (tenant_id, created_at DESC, id);
CREATE INDEX IF NOT EXISTS notifications_queued ON notifications (queued_at) WHERE status = 'queued';
"""

_ROLES: LiteralString = f"""
DO $$ BEGIN
    IF to_regrole('{APP_ROLE}') IS NULL THEN
        CREATE ROLE {APP_ROLE} LOGIN;
    END IF;
    IF to_regrole('{WHOLE_CELL_ROLE}') IS NULL THEN
        CREATE ROLE {WHOLE_CELL_ROLE};
    END IF;
END $$;
GRANT {WHOLE_CELL_ROLE} TO {APP_ROLE} WITH INHERIT FALSE, SET TRUE;
GRANT SELECT ON cellplane_cell_identity TO {APP_ROLE};
GRANT SELECT, INSERT, UPDATE ON notifications TO {APP_ROLE};
GRANT SELECT, UPDATE ON notifications TO {WHOLE_CELL_ROLE};
GRANT SELECT, INSERT, UPDATE ON cellplane_idempotency TO {APP_ROLE};
GRANT SELECT, UPDATE, DELETE ON cellplane_idempotency TO {WHOLE_CELL_ROLE};
"""

# Events are not kept apart by tenant: one relay takes out those of all.
_OUTBOX_RIGHTS: LiteralString = f"""
GRANT SELECT, INSERT, UPDATE, DELETE ON cellplane_outbox, cellplane_outbox_state, cellplane_outbox_dropped,
    cellplane_outbox_refused, cellplane_outbox_relay TO {APP_ROLE};
GRANT USAGE, SELECT ON SEQUENCE cellplane_outbox_seq TO {APP_ROLE};
GRANT SELECT ON cellplane_outbox, cellplane_outbox_state, cellplane_outbox_dropped, cellplane_outbox_refused,
    cellplane_outbox_relay, cellplane_outbox_seq TO {WHOLE_CELL_ROLE};
"""


async def prepare_database(settings: Settings) -> None:
    """Make what is missing, as the owner; then check that the app's own role is held to one tenant's rows.

    Raises:
        psycopg.OperationalError: the database cannot be used now.
        ForeignDatabaseError: it is another cell's.
        RowGuardError: no policy binds the role as which the app connects.
    """
    cell_id = settings.cell.cell_id
    async with await _connect(settings, settings.owner_url) as connection:
        # An address that is right may be a proxy's: the database itself says whose it is.
        await claim_database_async(connection, cell_id)
        # CREATE … IF NOT EXISTS fails when two processes do it at once.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        # In the order of the requests that other processes serve meanwhile: else each may wait for the other.
        await connection.execute(IDEMPOTENCY_SQL)
        await connection.execute(_TABLE)
        await connection.execute(_ROLES)
        await connection.execute(rls_sql(_GUARDED, whole_cell_role=WHOLE_CELL_ROLE).up.encode())
        if settings.relay is not None:
            await create_outbox_async(connection, OutboxSettings(max_events=settings.outbox_max_events))
            await connection.execute(_OUTBOX_RIGHTS)
    async with await _connect(settings, settings.cell.database_url) as connection:
        await claim_database_async(connection, cell_id)
        await check_row_guard_async(connection, _GUARDED)


async def bound_statements(connection: psycopg.AsyncConnection, settings: Settings) -> None:
    """Let the server end what takes too long."""
    timeout_ms = round(settings.database_statement_seconds * 1000)
    await connection.execute("SELECT set_config('statement_timeout', %s, false)", [str(timeout_ms)])


async def _connect(settings: Settings, url: str) -> psycopg.AsyncConnection:
    connection = await psycopg.AsyncConnection.connect(url, connect_timeout=settings.database_connect_seconds)
    await bound_statements(connection, settings)
    return connection
