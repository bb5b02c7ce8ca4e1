"""SQLAlchemy's engines and sessions of a cell: each transaction is for one tenant, the context's."""

from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from cellplane.cell.data.pinning import NO_TRANSACTION, Pin, RowGuard
from cellplane.cell.data.scope import require_same, scope_in
from cellplane.cell.data.sessions import AsyncCellSession, CellSession
from cellplane.cell.errors import DataScopeError, RowGuardError
from cellplane.cell.wiring import CellManifest, check_wiring

_SCOPE = "cellplane_scope"
"""Key of a connection's ``info``: for whom its transaction began."""

_UNTOLD = "cellplane_untold"
"""Key of a connection's ``info``: whether the database is still to be told so."""


def cell_engine(url: str | URL, manifest: CellManifest, *, row_guard: RowGuard | None = None, **options: Any) -> Engine:
    """An engine of this cell's database.

    A connection is given, a transaction begun and a statement run inside of a cell's context alone, or of
    ``whole_cell``; and a transaction goes on only for the tenant for whom it began.

    Args:
        url: where the database is; PostgreSQL without a driver is by psycopg.
        manifest: says what is this cell's.
        row_guard: tell each transaction whose rows it may see, for row-level security (``rls_sql``). Needs
            PostgreSQL through psycopg, and no AUTOCOMMIT.
        options: as of ``sqlalchemy.create_engine``.

    Raises:
        WiringError: it is not this cell's, or nobody can tell.
        RowGuardError: ``row_guard`` needs another driver.
    """
    engine = create_engine(_by_psycopg(url), **options)
    _guard(engine, engine, manifest, row_guard)
    return engine


def cell_async_engine(
    url: str | URL, manifest: CellManifest, *, row_guard: RowGuard | None = None, **options: Any
) -> AsyncEngine:
    """As ``cell_engine``, for asyncio; ``options`` as of ``sqlalchemy.ext.asyncio.create_async_engine``."""
    engine = create_async_engine(_by_psycopg(url), **options)
    _guard(engine, engine.sync_engine, manifest, row_guard)
    return engine


def cell_sessions(engine: Engine, **options: Any) -> sessionmaker[CellSession]:
    """A factory of sessions on a cell's engine; ``options`` as of ``sqlalchemy.orm.sessionmaker``.

    Raises:
        DataScopeError: the engine was not made by ``cell_engine``, or the options name another.
    """
    _require_ours(engine, options)
    return sessionmaker(engine, class_=CellSession, **options)


def cell_async_sessions(engine: AsyncEngine, **options: Any) -> async_sessionmaker[AsyncCellSession]:
    """As ``cell_sessions``, for asyncio; ``options`` as of ``sqlalchemy.ext.asyncio.async_sessionmaker``."""
    _require_ours(engine.sync_engine, options)
    return async_sessionmaker(engine, class_=AsyncCellSession, **options)


class _Guard:
    """What an engine of a cell is listened to for.

    Args:
        cell_id: whose database it is.
        row_guard: where transactions are told of their scope.
    """

    def __init__(self, cell_id: str, row_guard: RowGuard | None) -> None:
        self._cell_id = cell_id
        self._row_guard = row_guard

    def checkout(self, _driver: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        """Give no connection outside of a scope. The pool closes the one that it would have given."""
        scope_in(self._cell_id)

    def begin(self, connection: Connection) -> None:
        """Keep in mind for whom a transaction is."""
        connection.info[_SCOPE] = scope_in(self._cell_id)
        connection.info[_UNTOLD] = self._row_guard is not None

    def begin_twophase(self, connection: Connection, _xid: object) -> None:
        """As ``begin``."""
        self.begin(connection)

    def execute(self, connection: Connection, *_: object) -> None:
        """Let a statement run for whom its transaction began, and tell the database first, once."""
        info = connection.info
        began = info.get(_SCOPE)
        if began is None:  # SQLAlchemy asks a new server for its version, outside of any transaction
            return
        require_same(began, scope_in(self._cell_id))
        if info[_UNTOLD] and self._row_guard is not None:
            if getattr(connection.connection.dbapi_connection, "autocommit", False):
                raise RowGuardError([NO_TRANSACTION])
            info[_UNTOLD] = False
            _tell(connection, self._row_guard.pin(began))


def _by_psycopg(url: str | URL) -> URL:
    made = make_url(url)
    return made.set(drivername="postgresql+psycopg") if made.drivername == "postgresql" else made


def _tell(connection: Connection, pin: Pin) -> None:
    """By the driver's own cursor: half of the time that SQLAlchemy needs for a statement."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(*pin)
    except (psycopg.OperationalError, psycopg.InterfaceError):
        # The connection is lost: SQLAlchemy finds out by itself, and throws it away.
        connection.exec_driver_sql(*pin)
    except psycopg.Error as error:
        raise RowGuardError([f"the database cannot be told whose rows it may show: {error}"]) from error
    finally:
        cursor.close()


def _guard(made: object, engine: Engine, manifest: CellManifest, row_guard: RowGuard | None) -> None:
    check_wiring(manifest, {"engine": made})
    if row_guard is not None and (engine.dialect.name, engine.dialect.driver) != ("postgresql", "psycopg"):
        found = f"{engine.dialect.name}+{engine.dialect.driver}"
        raise RowGuardError([f"row_guard: expected PostgreSQL by psycopg (postgresql+psycopg://…), found {found}"])
    guard = _Guard(manifest.cell_id, row_guard)
    event.listen(engine.pool, "checkout", guard.checkout)
    event.listen(engine, "begin", guard.begin)
    event.listen(engine, "begin_twophase", guard.begin_twophase)
    event.listen(engine, "before_cursor_execute", guard.execute)


def _require_ours(engine: Engine, options: Mapping[str, Any]) -> None:
    guards = [listener.__self__ for listener in engine.pool.dispatch.checkout if hasattr(listener, "__self__")]
    if not any(isinstance(guard, _Guard) for guard in guards):
        raise DataScopeError("expected an engine of cell_engine or cell_async_engine, found another. Make it so")
    if not {"bind", "binds", "class_"}.isdisjoint(options):
        raise DataScopeError("expected no bind, binds or class_ beside the cell's engine: a session has this one alone")
