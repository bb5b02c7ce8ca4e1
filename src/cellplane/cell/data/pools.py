"""psycopg's pools of a cell: they give a connection inside of a context alone."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from cellplane.cell.data.connections import AsyncCellConnection, CellConnection, of_cell
from cellplane.cell.data.pinning import RowGuard
from cellplane.cell.data.scope import scope_in
from cellplane.cell.wiring import CellManifest, check_wiring

_CALLBACKS = ("configure", "check", "reset")
"""What a pool does about its connections, in a thread or a task of its own: for no tenant."""


class CellPool(ConnectionPool[CellConnection]):
    """A pool of the cell's connections; ``cell_pool`` makes one."""

    cell_id = ""

    def getconn(self, timeout: float | None = None) -> CellConnection:
        """As of ``ConnectionPool``.

        Raises:
            NoCellContextError: there is no context.
        """
        scope_in(self.cell_id)
        return super().getconn(timeout)


class AsyncCellPool(AsyncConnectionPool[AsyncCellConnection]):
    """As ``CellPool``, for asyncio; ``cell_async_pool`` makes one."""

    cell_id = ""

    async def getconn(self, timeout: float | None = None) -> AsyncCellConnection:  # noqa: ASYNC109 - psycopg_pool's
        """As of ``AsyncConnectionPool``.

        Raises:
            NoCellContextError: there is no context.
        """
        scope_in(self.cell_id)
        return await super().getconn(timeout)


def cell_connect(
    conninfo: str, manifest: CellManifest, *, row_guard: RowGuard | None = None, **options: Any
) -> CellConnection:
    """A connection to this cell's database, for work inside of a context or of ``whole_cell`` alone.

    Args:
        conninfo: where the database is.
        manifest: says what is this cell's.
        row_guard: tell each transaction whose rows it may see, for row-level security (``rls_sql``). Then each
            statement needs a transaction: with ``autocommit``, one of ``connection.transaction()``.
        options: as of ``psycopg.connect``.

    Raises:
        WiringError: it is not this cell's, or nobody can tell.
    """
    _require_ours(conninfo, manifest, options)
    return of_cell(CellConnection, manifest.cell_id, row_guard=row_guard).connect(conninfo, **options)


async def cell_async_connect(
    conninfo: str, manifest: CellManifest, *, row_guard: RowGuard | None = None, **options: Any
) -> AsyncCellConnection:
    """As ``cell_connect``, for asyncio."""
    _require_ours(conninfo, manifest, options)
    return await of_cell(AsyncCellConnection, manifest.cell_id, row_guard=row_guard).connect(conninfo, **options)


def cell_pool(
    conninfo: str,
    manifest: CellManifest,
    *,
    row_guard: RowGuard | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> CellPool:
    """A pool of connections to this cell's database; see ``cell_connect``.

    Args:
        conninfo: where the database is.
        manifest: says what is this cell's.
        row_guard: as of ``cell_connect``.
        kwargs: of each connection, as of ``psycopg.connect``.
        options: as of ``psycopg_pool.ConnectionPool``. What is to be done with a connection by ``configure``,
            ``check`` and ``reset`` needs no context.

    Raises:
        WiringError: it is not this cell's, or nobody can tell.
    """
    _require_ours(conninfo, manifest, kwargs or {})
    for name in _CALLBACKS:
        if options.get(name) is not None:
            options[name] = _opened(options[name])
    connection_class = of_cell(CellConnection, manifest.cell_id, row_guard=row_guard)
    pool_class = type("CellPool", (CellPool,), {"cell_id": manifest.cell_id})
    made: CellPool = pool_class(conninfo, connection_class=connection_class, kwargs=dict(kwargs or {}), **options)
    return made


def cell_async_pool(
    conninfo: str,
    manifest: CellManifest,
    *,
    row_guard: RowGuard | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncCellPool:
    """As ``cell_pool``, for asyncio; ``options`` as of ``psycopg_pool.AsyncConnectionPool``."""
    _require_ours(conninfo, manifest, kwargs or {})
    for name in _CALLBACKS:
        if options.get(name) is not None:
            options[name] = _async_opened(options[name])
    connection_class = of_cell(AsyncCellConnection, manifest.cell_id, row_guard=row_guard)
    pool_class = type("AsyncCellPool", (AsyncCellPool,), {"cell_id": manifest.cell_id})
    made: AsyncCellPool = pool_class(conninfo, connection_class=connection_class, kwargs=dict(kwargs or {}), **options)
    return made


def _require_ours(conninfo: str, manifest: CellManifest, options: Mapping[str, Any]) -> None:
    """Check where both together lead: what is named in either counts."""
    check_wiring(manifest, {"database": psycopg.conninfo.make_conninfo(conninfo, **_parameters(options))})


def _parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of libpq, without those of psycopg itself."""
    own = {"autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory"}
    return {name: value for name, value in options.items() if name not in own}


def _opened(callback: Callable[[CellConnection], None]) -> Callable[[CellConnection], None]:
    def run(connection: CellConnection) -> None:
        with connection.opened():
            callback(connection)

    return run


def _async_opened(
    callback: Callable[[AsyncCellConnection], Awaitable[None]],
) -> Callable[[AsyncCellConnection], Awaitable[None]]:
    async def run(connection: AsyncCellConnection) -> None:
        with connection.opened():
            await callback(connection)

    return run
