"""A cell's data: engines, sessions, pools and connections that keep to the cell, and to one tenant at a time.

With the extra ``data`` (SQLAlchemy, psycopg)::

    from cellplane.cell.data import RowGuard, cell_engine, cell_sessions

    engine = cell_engine(settings.database_url, manifest, row_guard=RowGuard())
    sessions = cell_sessions(engine)

What is SQLAlchemy's is imported when it is asked for: who uses psycopg alone has it not in memory.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellplane.cell.data.connections import AsyncCellConnection, CellConnection
from cellplane.cell.data.idempotency import (
    IDEMPOTENCY_SQL,
    IDEMPOTENCY_TABLE,
    Run,
    fingerprint_of,
    forget_expired,
    forget_expired_async,
    idempotent,
    idempotent_async,
)
from cellplane.cell.data.identity import claim_database, claim_database_async
from cellplane.cell.data.pinning import RowGuard
from cellplane.cell.data.pools import (
    AsyncCellPool,
    CellPool,
    cell_async_connect,
    cell_async_pool,
    cell_connect,
    cell_pool,
)
from cellplane.cell.data.row_guard import check_row_guard, check_row_guard_async
from cellplane.cell.data.scope import whole_cell
from cellplane.cell.data.settings import IdempotencySettings

if TYPE_CHECKING:
    from cellplane.cell.data.engines import cell_async_engine, cell_async_sessions, cell_engine, cell_sessions
    from cellplane.cell.data.sessions import AsyncCellSession, CellSession

__all__ = [
    "IDEMPOTENCY_SQL",
    "IDEMPOTENCY_TABLE",
    "AsyncCellConnection",
    "AsyncCellPool",
    "AsyncCellSession",
    "CellConnection",
    "CellPool",
    "CellSession",
    "IdempotencySettings",
    "RowGuard",
    "Run",
    "cell_async_connect",
    "cell_async_engine",
    "cell_async_pool",
    "cell_async_sessions",
    "cell_connect",
    "cell_engine",
    "cell_pool",
    "cell_sessions",
    "check_row_guard",
    "check_row_guard_async",
    "claim_database",
    "claim_database_async",
    "fingerprint_of",
    "forget_expired",
    "forget_expired_async",
    "idempotent",
    "idempotent_async",
    "whole_cell",
]

_OF_SQLALCHEMY = {
    "AsyncCellSession": "sessions",
    "CellSession": "sessions",
    "cell_async_engine": "engines",
    "cell_async_sessions": "engines",
    "cell_engine": "engines",
    "cell_sessions": "engines",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import what is asked for."""
        if name not in _OF_SQLALCHEMY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_OF_SQLALCHEMY[name]}"), name)
