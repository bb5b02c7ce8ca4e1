"""The rows, in this cell's PostgreSQL: every statement names its tenant, but for those about the whole cell.

Row-level security holds each transaction to the tenant of the context, whatever it names.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString, TypeVar
from uuid import UUID, uuid4, uuid5

import psycopg
from psycopg.rows import class_row, kwargs_row, scalar_row

from cellplane.cell import CellContext, CellUse
from cellplane.cell.data import (
    AsyncCellConnection,
    RowGuard,
    cell_async_pool,
    fingerprint_of,
    forget_expired_async,
    idempotent_async,
    whole_cell,
)
from cellplane.events import Event, Outbox, OutboxDiskFullError, OutboxFullError, OutboxState
from notifications.errors import DatabaseUnavailableError, OutboxUnavailableError
from notifications.faults import AFTER_INSERT, fault_point
from notifications.model import Channel, Cursor, Notification, Reference
from notifications.schema import WHOLE_CELL_ROLE, bound_statements, prepare_database
from notifications.settings import Settings

T = TypeVar("T")
Connection = AsyncCellConnection

_log = logging.getLogger(__name__)

_ADD = """
INSERT INTO notifications (tenant_id, id, channel, recipient, body, epoch)
VALUES (%(tenant_id)s, %(id)s, %(channel)s, %(recipient)s, %(body)s, %(epoch)s)
RETURNING tenant_id, id, channel, recipient, body, status, attempts, reason, created_at, delivered_at
"""

_GET = """
SELECT tenant_id, id, channel, recipient, body, status, attempts, reason, created_at, delivered_at
FROM notifications
WHERE tenant_id = %(tenant_id)s AND id = %(id)s
"""

_FIRST_PAGE = """
SELECT tenant_id, id, channel, recipient, body, status, attempts, reason, created_at, delivered_at
FROM notifications
WHERE tenant_id = %(tenant_id)s
ORDER BY created_at DESC, id
LIMIT %(limit)s
"""

_NEXT_PAGE = """
SELECT tenant_id, id, channel, recipient, body, status, attempts, reason, created_at, delivered_at
FROM notifications
WHERE tenant_id = %(tenant_id)s AND created_at <= %(created_at)s
    AND (created_at < %(created_at)s OR id > %(id)s)
ORDER BY created_at DESC, id
LIMIT %(limit)s
"""

# Counted before the attempt, so that one that kills the worker counts too.
_BEGIN_ATTEMPT = """
UPDATE notifications SET attempts = attempts + 1, queued_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'queued'
RETURNING tenant_id, id, channel, recipient, body, status, attempts, reason, created_at, delivered_at
"""

_FORGET_ATTEMPT = """
UPDATE notifications SET attempts = attempts - 1
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'queued'
"""

_MARK_DELIVERED = """
UPDATE notifications SET status = 'delivered', delivered_at = now()
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'queued'
RETURNING epoch, delivered_at AS at
"""

_MARK_FAILED = """
UPDATE notifications SET status = 'failed', reason = %(reason)s
WHERE tenant_id = %(tenant_id)s AND id = %(id)s AND status = 'queued'
RETURNING epoch, now() AS at
"""

_SWEEP = """
WITH lost AS (
    SELECT tenant_id, id FROM notifications
    WHERE status = 'queued' AND queued_at < now() - make_interval(secs => %(after_seconds)s)
        AND (%(tenant_id)s::text IS NULL OR tenant_id = %(tenant_id)s)
    ORDER BY queued_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE notifications AS n SET queued_at = now() FROM lost
WHERE n.tenant_id = lost.tenant_id AND n.id = lost.id
RETURNING n.tenant_id, n.id, n.epoch
"""

_SWEPT_TENANTS = """
SELECT DISTINCT tenant_id FROM notifications
WHERE status = 'queued' AND queued_at < now() - make_interval(secs => %(after_seconds)s)
LIMIT %(limit)s
"""

_MOVING = "57CP1"
"""SQLSTATE by which the database refuses what is written of a tenant that `cellplane move` takes away, or brings."""

# The one that nobody touched for the longest time: an index finds it, however many wait.
_QUEUE_LAG = """
SELECT greatest(0, extract(epoch FROM now() - created_at))::float8
FROM notifications WHERE status = 'queued' ORDER BY queued_at LIMIT 1
"""

_USE = """
SELECT pg_database_size(current_database())::float8, numbackends::float8, current_setting('max_connections')::float8
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class _Change:
    """What an event says of a change that was made."""

    epoch: Decimal
    """Of the routing table that chose this cell when the notification was accepted."""

    at: datetime


class Store:
    """The notifications of a cell. Every method is bounded in time, also when PostgreSQL hangs.

    A notification that is accepted, delivered or failed tells so in an event, in the transaction that makes it so,
    where somebody takes the events (``Settings.relay``).

    Every method but ``open`` raises ``DatabaseUnavailableError`` when PostgreSQL cannot be used now; the next call
    finds out anew, so recovery needs nobody.

    Args:
        settings: the process's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbox = None if settings.relay is None else Outbox()
        self._abandoned: set[asyncio.Task[object]] = set()
        self._pool = cell_async_pool(
            settings.cell.database_url,
            settings.what_is_ours(),
            row_guard=RowGuard(WHOLE_CELL_ROLE),
            open=False,
            min_size=1,
            max_size=settings.database_pool_max,
            max_waiting=settings.database_waiting_max,
            timeout=settings.database_acquire_seconds,
            reconnect_timeout=settings.database_reconnect_seconds,
            configure=self._configure,
            check=self._check,
            # What is done about the connections themselves needs no transaction, and has to leave none.
            kwargs={"autocommit": True, "connect_timeout": settings.database_connect_seconds},
        )

    async def open(self) -> None:
        """Wait for the database, create what is missing in it, and take connections.

        Raises:
            DatabaseUnavailableError: it was not there within ``database_start_seconds``.
            ForeignDatabaseError: it is another cell's.
            RowGuardError: row-level security does not bind the app's role.
        """
        deadline = time.monotonic() + self._settings.database_start_seconds
        while True:
            try:
                await prepare_database(self._settings)
                break
            except psycopg.OperationalError as error:
                if time.monotonic() >= deadline:
                    raise DatabaseUnavailableError(
                        f"expected PostgreSQL to answer within {self._settings.database_start_seconds:g} s, "
                        f"found: {_reason(error)}. Check CELLPLANE_DATABASE_URL and that the server runs"
                    ) from error
                _log.warning("waiting for the database", extra={"dependency": "database", "reason": _reason(error)})
            await asyncio.sleep(self._settings.database_start_retry_seconds)
        await self._pool.open()

    async def close(self) -> None:
        """Give up the connections."""
        await self._pool.close(timeout=self._settings.close_seconds)

    async def ping(self) -> None:
        """Find out whether the database answers."""
        with whole_cell("health check"):
            await self._run(lambda connection: connection.execute("SELECT 1"))

    async def add(
        self, context: CellContext, channel: Channel, recipient: str, body: str, key: str | None = None
    ) -> Notification:
        """Store a new notification of the request's tenant, durably, and give it back; once for the same key.

        Raises:
            KeyReuseError: the key came before with another notification.
            InProgressError: the first request with the key is still under way.
        """
        row = {"tenant_id": context.tenant_id, "id": uuid4(), "channel": channel, "recipient": recipient, "body": body}

        async def work(connection: Connection) -> Notification:
            async with connection.cursor(row_factory=class_row(Notification)) as cursor:
                found = await (await cursor.execute(_ADD, {**row, "epoch": context.epoch})).fetchone()
                assert found is not None, "INSERT … RETURNING gives a row"
                about = {"bytes": len(body.encode())}
                reference = Reference(context.tenant_id, found.id, context.epoch)
                await self._tell(connection, _event("accepted", reference, context.epoch, found.created_at, about))
            return found

        if key is None:
            return await self._run(work)

        async def once(connection: Connection) -> Notification:
            request = fingerprint_of(channel, recipient, body)
            async with idempotent_async(connection, key, request, self._settings.keys) as first:
                if not first.is_repeat:
                    found = await work(connection)
                    first.keep([str(found.id), found.created_at.isoformat()])
                    return found
                id_, at = first.answer  # the rest is what was asked for, and asked for again
                accepted = datetime.fromisoformat(at)
                return Notification(
                    context.tenant_id, UUID(id_), channel, recipient, body, "queued", 0, None, accepted, None
                )

        stored = await self._run(once)
        fault_point(AFTER_INSERT, self._settings.fault)
        return stored

    async def get(self, tenant_id: str, notification_id: UUID) -> Notification | None:
        """Give a tenant's notification; None when this tenant has none of this id."""
        return await self._one(_GET, tenant_id=tenant_id, id=notification_id)

    async def page(self, tenant_id: str, limit: int, after: Cursor | None) -> list[Notification]:
        """Give up to ``limit`` of a tenant's notifications, the newest first, from a place on."""
        if after is None:
            return await self._all(_FIRST_PAGE, tenant_id=tenant_id, limit=limit)
        return await self._all(_NEXT_PAGE, tenant_id=tenant_id, limit=limit, created_at=after.created_at, id=after.id)

    async def begin_attempt(self, reference: Reference) -> Notification | None:
        """Count an attempt and give what to deliver; None when nothing waits for delivery any more."""
        return await self._one(_BEGIN_ATTEMPT, tenant_id=reference.tenant_id, id=reference.id)

    async def forget_attempt(self, reference: Reference) -> None:
        """Count the last attempt as none."""
        parameters = {"tenant_id": reference.tenant_id, "id": reference.id}
        await self._run(lambda connection: connection.execute(_FORGET_ATTEMPT, parameters))

    async def mark_delivered(self, reference: Reference) -> None:
        """Note that the provider has it. Without effect on one that is not queued."""
        await self._mark("delivered", _MARK_DELIVERED, reference)

    async def mark_failed(self, reference: Reference, reason: str) -> None:
        """Note that it will not be tried again, and why. Without effect on one that is not queued."""
        await self._mark("failed", _MARK_FAILED, reference, reason=reason)

    async def sweep(self) -> list[Reference]:
        """Give queued rows, of all tenants, that no worker touched for ``sweep_after_seconds``.

        Each is given once in that time, also to several workers. Idempotency keys that are kept no longer go as well.
        """

        async def work(connection: Connection) -> list[Reference]:
            try:
                async with connection.transaction():
                    await forget_expired_async(connection, self._settings.keys)
                    return await self._swept(connection, None)
            except psycopg.OperationalError as error:
                if error.sqlstate != _MOVING:
                    raise
            # One tenant of this cell is on the move. The others' rows do not wait for it, their old keys do.
            found = []
            bounds = {"after_seconds": self._settings.sweep_after_seconds, "limit": self._settings.sweep_max_rows}
            tenants = await (await connection.execute(_SWEPT_TENANTS, bounds)).fetchall()
            for (tenant_id,) in tenants:
                try:
                    async with connection.transaction():
                        found += await self._swept(connection, str(tenant_id))
                except psycopg.OperationalError as error:
                    if error.sqlstate != _MOVING:
                        raise
            return found

        with whole_cell("sweep"):
            return await self._run(work)

    async def _swept(self, connection: Connection, tenant_id: str | None) -> list[Reference]:
        """Take queued rows that no worker touched: of a tenant, or of all."""
        parameters = {
            "after_seconds": self._settings.sweep_after_seconds,
            "limit": self._settings.sweep_max_rows,
            "tenant_id": tenant_id,
        }
        async with connection.cursor(row_factory=kwargs_row(_reference)) as cursor:
            await cursor.execute(_SWEEP, parameters)
            return await cursor.fetchall()

    async def queue_lag(self) -> float:
        """Seconds that the notification which waits longest has waited; 0 where none does."""

        async def work(connection: Connection) -> float:
            async with connection.cursor(row_factory=scalar_row) as cursor:
                await cursor.execute(_QUEUE_LAG)
                return await cursor.fetchone() or 0.0

        with whole_cell("queue lag"):
            return await self._run(work)

    async def use(self) -> CellUse:
        """How full this cell's database is."""

        async def work(connection: Connection) -> CellUse:
            cursor = await connection.execute(_USE)
            row = await cursor.fetchone()
            storage, used, limit = (float(str(amount)) for amount in row or (0.0, 0.0, 0.0))
            return CellUse(storage_bytes=storage, connections=used, connections_limit=limit)

        with whole_cell("capacity report"):
            return await self._run(work)

    async def outbox_state(self) -> OutboxState | None:
        """How full the outbox is, and what its relay did; None where nobody takes events."""
        if self._outbox is None:
            return None
        with whole_cell("outbox state"):
            return await self._run(self._outbox.state_async)

    def pool_use(self) -> float:
        """Connections in use, and callers that wait for one, ÷ all that there may be."""
        stats = self._pool.get_stats()
        used = stats.get("pool_size", 0) - stats.get("pool_available", 0) + stats.get("requests_waiting", 0)
        return used / self._settings.database_pool_max

    async def _one(self, statement: LiteralString, **parameters: object) -> Notification | None:
        found = await self._all(statement, **parameters)
        assert len(found) <= 1, "the key is unique"
        return found[0] if found else None

    async def _all(self, statement: LiteralString, **parameters: object) -> list[Notification]:
        async def work(connection: Connection) -> list[Notification]:
            async with connection.cursor(row_factory=class_row(Notification)) as cursor:
                await cursor.execute(statement, parameters)
                return await cursor.fetchall()

        return await self._run(work)

    async def _mark(self, what: str, statement: LiteralString, reference: Reference, **values: object) -> None:
        """Change a row that waits, and tell it; without effect, and without an event, on one that does not."""
        parameters = {"tenant_id": reference.tenant_id, "id": reference.id, **values}

        async def work(connection: Connection) -> None:
            async with connection.cursor(row_factory=class_row(_Change)) as cursor:
                change = await (await cursor.execute(statement, parameters)).fetchone()
                if change is not None:
                    await self._tell(connection, _event(what, reference, int(change.epoch), change.at, {}))

        await self._run(work)

    async def _tell(self, connection: Connection, event: Event) -> None:
        """Add an event to the transaction that makes the change it tells of, where somebody takes events."""
        if self._outbox is not None:
            await self._outbox.add_async(connection, event)

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something in a transaction of the context's tenant, within ``database_operation_seconds``.

        A cancelled query waits for the server, which may hang. So a late one is left to end by itself, and its
        caller does not wait for that.
        """

        async def operation() -> T:
            async with self._pool.connection() as connection, connection.transaction():
                return await work(connection)

        task = asyncio.ensure_future(operation())
        try:
            await asyncio.wait({task}, timeout=self._settings.database_operation_seconds)
            if task.done():
                return task.result()
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseUnavailableError(_reason(error)) from error
        except OutboxDiskFullError as error:
            raise DatabaseUnavailableError(str(error)) from error
        except OutboxFullError as error:
            raise OutboxUnavailableError(str(error)) from error
        finally:
            if not task.done():
                self._abandon(task)
        raise DatabaseUnavailableError(f"no answer in {self._settings.database_operation_seconds:g} s")

    def _abandon(self, task: asyncio.Task[T]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[T]) -> None:
        self._abandoned.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.warning(
                "an abandoned database operation failed",
                extra={"dependency": "database", "reason": type(error).__name__},
            )

    async def _configure(self, connection: Connection) -> None:
        await bound_statements(connection, self._settings)

    async def _check(self, connection: Connection) -> None:
        """Keep a caller from a connection that died, and replace its siblings, which died with it."""
        try:
            await connection.execute("")
        except psycopg.OperationalError:
            await self._pool.drain()
            raise


def _reference(tenant_id: str, id: UUID, epoch: Decimal) -> Reference:  # noqa: A002 - the column's name
    return Reference(tenant_id, id, int(epoch))


def _event(what: str, reference: Reference, epoch: int, at: datetime, data: Mapping[str, object]) -> Event:
    """The event of a change: for the same change the same one, so that it counts once however often it is told."""
    type_ = f"notification.{what}"
    id_ = uuid5(reference.id, type_)
    return Event(type_, data, id=id_, occurred_at=at, tenant_id=reference.tenant_id, epoch=epoch)


def _reason(error: psycopg.Error) -> str:
    """Say what happened without quoting a row: an error that the server gave a code for may do that."""
    if error.sqlstate is None:
        return " ".join(str(error).split())
    return f"{type(error).__name__} {error.sqlstate}"
