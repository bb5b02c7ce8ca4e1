"""The statements of one operation, whichever driver runs them.

An operation is written once, as a generator that yields statements and is sent their rows; here it is run on
psycopg's and SQLAlchemy's connections and sessions, also those for asyncio.
"""

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg.rows import tuple_row
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

R = TypeVar("R")

SyncConnection: TypeAlias = psycopg.Connection[Any] | Connection | Session
"""What an operation can run on."""

AsyncioConnection: TypeAlias = psycopg.AsyncConnection[Any] | AsyncConnection | AsyncSession
"""The same for asyncio."""


class Step(NamedTuple):
    """One statement, with psycopg's named placeholders."""

    statement: str
    parameters: dict[str, Any]


Rows: TypeAlias = list[tuple[Any, ...]]
Steps: TypeAlias = Generator[Step, Rows, R]
"""An operation that ends with a result. What its statement raises is raised where it is yielded."""


def run(connection: SyncConnection, steps: Steps[R]) -> R:
    """Run an operation."""
    step = next(steps)
    while True:
        try:
            try:
                rows = _rows(connection, step)
            except (psycopg.Error, DBAPIError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(rows)
        except StopIteration as end:
            result: R = end.value
            return result


async def run_async(connection: AsyncioConnection, steps: Steps[R]) -> R:
    """Run an operation in asyncio."""
    step = next(steps)
    while True:
        try:
            try:
                rows = await _async_rows(connection, step)
            except (psycopg.Error, DBAPIError) as error:
                step = steps.throw(error)
            else:
                step = steps.send(rows)
        except StopIteration as end:
            result: R = end.value
            return result


def sqlstate(error: psycopg.Error | DBAPIError) -> str | None:
    """PostgreSQL's code of an error."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None)


def is_autocommit(connection: SyncConnection | AsyncioConnection) -> bool:
    """Whether statements are transactions of their own: none is under way, and none begins with the next."""
    if isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        return connection.autocommit and connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if isinstance(connection, (Session, AsyncSession)):
        return False
    inner = connection.sync_connection if isinstance(connection, AsyncConnection) else connection
    return inner is not None and bool(getattr(inner.connection.dbapi_connection, "autocommit", False))


def _rows(connection: SyncConnection, step: Step) -> Rows:
    if isinstance(connection, psycopg.Connection):
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(step.statement.encode(), step.parameters)
            return cursor.fetchall() if cursor.description else []
    driver = connection.connection() if isinstance(connection, Session) else connection
    result = driver.exec_driver_sql(step.statement, step.parameters)
    return [tuple(row) for row in result] if result.returns_rows else []


async def _async_rows(connection: AsyncioConnection, step: Step) -> Rows:
    if isinstance(connection, psycopg.AsyncConnection):
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(step.statement.encode(), step.parameters)
            return await cursor.fetchall() if cursor.description else []
    driver = await connection.connection() if isinstance(connection, AsyncSession) else connection
    result = await driver.exec_driver_sql(step.statement, step.parameters)
    return [tuple(row) for row in result] if result.returns_rows else []
