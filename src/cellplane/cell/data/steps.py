"""The statements of one operation, whichever driver runs them.

An operation is written once, as a generator that yields statements and is sent their rows; here it is run on
psycopg's and SQLAlchemy's connections and sessions, also those for asyncio.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import psycopg
from psycopg.rows import tuple_row

if TYPE_CHECKING:  # who uses psycopg alone has no SQLAlchemy in memory
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

R = TypeVar("R")

SyncConnection: TypeAlias = "psycopg.Connection[Any] | Connection | Session"
"""What an operation can run on."""

AsyncioConnection: TypeAlias = "psycopg.AsyncConnection[Any] | AsyncConnection | AsyncSession"
"""The same for asyncio."""

AnyConnection: TypeAlias = "SyncConnection | AsyncioConnection"
"""Either."""


class Step(NamedTuple):
    """One statement, with psycopg's named placeholders."""

    statement: str
    parameters: dict[str, Any]


Rows: TypeAlias = list[tuple[Any, ...]]
Steps: TypeAlias = Generator[Step, Rows, R]
"""An operation that ends with a result. What PostgreSQL refuses of a statement is raised where it is yielded."""


def run(connection: SyncConnection, steps: Steps[R]) -> R:
    """Run an operation."""
    step = next(steps)
    while True:
        try:
            try:
                rows = _rows(connection, step)
            except Exception as error:
                if sqlstate(error) is None:
                    raise
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
            except Exception as error:
                if sqlstate(error) is None:
                    raise
                step = steps.throw(error)
            else:
                step = steps.send(rows)
        except StopIteration as end:
            result: R = end.value
            return result


def sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code of an error, of psycopg or as SQLAlchemy wraps it; None for any other."""
    cause = getattr(error, "orig", error)
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def is_autocommit(connection: AnyConnection) -> bool:
    """Whether statements are transactions of their own: none is under way, and none begins with the next."""
    if isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        return connection.autocommit and connection.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE
    inner: Any = getattr(connection, "sync_connection", connection)
    is_session = not hasattr(inner, "exec_driver_sql")
    return not is_session and bool(getattr(inner.connection.dbapi_connection, "autocommit", False))


def _rows(connection: SyncConnection, step: Step) -> Rows:
    if isinstance(connection, psycopg.Connection):
        with connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(step.statement.encode(), step.parameters)
            return cursor.fetchall() if cursor.description else []
    driver: Any = connection if hasattr(connection, "exec_driver_sql") else connection.connection()
    result = driver.exec_driver_sql(step.statement, step.parameters)
    return [tuple(row) for row in result] if result.returns_rows else []


async def _async_rows(connection: AsyncioConnection, step: Step) -> Rows:
    if isinstance(connection, psycopg.AsyncConnection):
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(step.statement.encode(), step.parameters)
            return await cursor.fetchall() if cursor.description else []
    driver: Any = connection if hasattr(connection, "exec_driver_sql") else await connection.connection()
    result = await driver.exec_driver_sql(step.statement, step.parameters)
    return [tuple(row) for row in result] if result.returns_rows else []
