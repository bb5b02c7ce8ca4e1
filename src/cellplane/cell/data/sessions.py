"""SQLAlchemy's sessions of a cell: one is for one tenant, from its first transaction until it is closed."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from cellplane.cell.data.scope import require_same, scope_now


class CellSession(Session):
    """A session that keeps to the tenant for whom it began: what it has loaded is that tenant's.

    Its transactions are guarded by its engine; here is what a session gives without asking the database.

    Raises:
        DataScopeError: it is used for another tenant before it was closed.
        NoCellContextError: it is used outside of a context.
    """

    _cell_scope: str | None = None

    if not TYPE_CHECKING:  # its types are those of Session

        def get(self, *args: Any, **options: Any) -> Any:
            """As of ``Session``: it gives what was loaded before, without a statement."""
            self.require_scope()
            return super().get(*args, **options)

    def close(self) -> None:
        """As of ``Session``; then it may serve another tenant."""
        super().close()
        self._cell_scope = None

    def reset(self) -> None:
        """As of ``Session``; then it may serve another tenant."""
        super().reset()
        self._cell_scope = None

    def invalidate(self) -> None:
        """As of ``Session``; then it may serve another tenant."""
        super().invalidate()
        self._cell_scope = None

    def require_scope(self) -> None:
        """Check for whom it is used now, and keep to it."""
        now = scope_now()
        if self._cell_scope is None:
            self._cell_scope = now
        else:
            require_same(self._cell_scope, now)


class AsyncCellSession(AsyncSession):
    """As ``CellSession``, for asyncio."""

    sync_session_class = CellSession


@event.listens_for(CellSession, "after_begin")
def _began(session: CellSession, _transaction: SessionTransaction, _connection: Connection) -> None:
    session.require_scope()
