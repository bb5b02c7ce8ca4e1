"""psycopg's connections of a cell: each transaction is for one tenant, the context's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

from cellplane.cell.data.pinning import NO_TRANSACTION, Pin, RowGuard
from cellplane.cell.data.scope import require_same, scope_in
from cellplane.cell.errors import RowGuardError

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
C = TypeVar("C", bound=type)


class _Guard:
    """What connections of both kinds know of their scope. Their class says whose they are (``of_cell``)."""

    cell_id: str
    row_guard: RowGuard | None

    _began: str | None = None
    _is_open = False

    def _pin_now(self: Any) -> Pin | None:
        """Let a statement run for whom its transaction began; gives what the database is to be told first, if
        anything.
        """
        if self._is_open:
            return None
        now = scope_in(self.cell_id)
        is_idle = self._is_idle()
        if is_idle and self.autocommit:  # a transaction of its own
            if self.row_guard is not None:
                raise RowGuardError([NO_TRANSACTION])
            self._began = None
            return None
        if self._began is not None and not is_idle:
            require_same(self._began, now)
            return None
        return _Guard._begin(self, now)

    def _begin(self, now: str) -> Pin | None:
        self._began = now
        return None if self.row_guard is None else self.row_guard.pin(now)

    def _is_idle(self: Any) -> bool:
        """Whether no transaction is under way. In a pipeline, what the server says comes later than what is asked."""
        if self.pgconn.pipeline_status and self._began is not None:
            return False
        return bool(self.pgconn.transaction_status == pq.TransactionStatus.IDLE)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Let statements run outside of a context while the block runs: those of a pool about its connections."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False


def of_cell(connection_class: C, cell_id: str, *, row_guard: RowGuard | None) -> C:
    """A class of connections of one cell."""
    return type(connection_class.__name__, (connection_class,), {"cell_id": cell_id, "row_guard": row_guard})  # type: ignore[return-value]


class _Guarded:
    """Before a class of cursors: asks the connection's guard before each statement."""

    connection: Any

    def execute(self, *args: Any, **options: Any) -> Any:
        self.connection.tell()
        return super().execute(*args, **options)  # type: ignore[misc]

    def executemany(self, *args: Any, **options: Any) -> Any:
        self.connection.tell()
        return super().executemany(*args, **options)  # type: ignore[misc]

    def stream(self, *args: Any, **options: Any) -> Any:
        self.connection.tell()
        return super().stream(*args, **options)  # type: ignore[misc]

    @contextmanager
    def copy(self, *args: Any, **options: Any) -> Iterator[Any]:
        self.connection.tell()
        with super().copy(*args, **options) as copy:  # type: ignore[misc]
            yield copy


class _AsyncGuarded:
    connection: Any

    async def execute(self, *args: Any, **options: Any) -> Any:
        await self.connection.tell()
        return await super().execute(*args, **options)  # type: ignore[misc]

    async def executemany(self, *args: Any, **options: Any) -> Any:
        await self.connection.tell()
        return await super().executemany(*args, **options)  # type: ignore[misc]

    async def stream(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        await self.connection.tell()
        async for row in super().stream(*args, **options):  # type: ignore[misc]
            yield row

    @asynccontextmanager
    async def copy(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        await self.connection.tell()
        async with super().copy(*args, **options) as copy:  # type: ignore[misc]
            yield copy


_cursor_classes: dict[type, type] = {}


def _guarded(cursor_class: type, guarded: type) -> type:
    """A class of cursors that asks first; there are few, so each is made once."""
    if issubclass(cursor_class, guarded):
        return cursor_class
    if cursor_class not in _cursor_classes:
        _cursor_classes[cursor_class] = type(cursor_class.__name__, (guarded, cursor_class), {})
    return _cursor_classes[cursor_class]


class CellConnection(_Guard, psycopg.Connection[Any]):
    """A connection to the cell's database, whose every statement asks for whom it is."""

    def tell(self) -> None:
        """Before a statement: check for whom it is, and tell the database where it has to know."""
        pin = self._pin_now()
        if pin is not None:
            self._pin(pin)

    if not TYPE_CHECKING:  # its types are those of psycopg

        def cursor(self, *args: Any, **options: Any) -> Any:
            """As of psycopg."""
            for name in ("cursor_factory", "server_cursor_factory"):
                setattr(self, name, _guarded(getattr(self, name), _Guarded))
            return super().cursor(*args, **options)

    @contextmanager
    def transaction(self, *args: Any, **options: Any) -> Iterator[psycopg.Transaction]:
        """As of psycopg."""
        if self._is_open or not self._is_idle():
            with super().transaction(*args, **options) as transaction:
                yield transaction
            return
        now = scope_in(self.cell_id)
        try:
            with super().transaction(*args, **options) as transaction:
                pin = self._begin(now)
                if pin is not None:
                    self._pin(pin)
                yield transaction
        finally:
            self._began = None

    def commit(self) -> None:
        """As of psycopg."""
        super().commit()
        self._began = None

    def rollback(self) -> None:
        """As of psycopg."""
        super().rollback()
        self._began = None

    def _pin(self, pin: Pin) -> None:
        with psycopg.Cursor(self, row_factory=tuple_row) as cursor:
            cursor.execute(pin.statement.encode(), pin.parameters)


class AsyncCellConnection(_Guard, psycopg.AsyncConnection[Any]):
    """As ``CellConnection``, for asyncio."""

    async def tell(self) -> None:
        """Before a statement: check for whom it is, and tell the database where it has to know."""
        pin = self._pin_now()
        if pin is not None:
            await self._pin(pin)

    if not TYPE_CHECKING:  # its types are those of psycopg

        def cursor(self, *args: Any, **options: Any) -> Any:
            """As of psycopg."""
            for name in ("cursor_factory", "server_cursor_factory"):
                setattr(self, name, _guarded(getattr(self, name), _AsyncGuarded))
            return super().cursor(*args, **options)

    @asynccontextmanager
    async def transaction(self, *args: Any, **options: Any) -> AsyncIterator[psycopg.AsyncTransaction]:
        """As of psycopg."""
        if self._is_open or not self._is_idle():
            async with super().transaction(*args, **options) as transaction:
                yield transaction
            return
        now = scope_in(self.cell_id)
        try:
            async with super().transaction(*args, **options) as transaction:
                pin = self._begin(now)
                if pin is not None:
                    await self._pin(pin)
                yield transaction
        finally:
            self._began = None

    async def commit(self) -> None:
        """As of psycopg."""
        await super().commit()
        self._began = None

    async def rollback(self) -> None:
        """As of psycopg."""
        await super().rollback()
        self._began = None

    async def _pin(self, pin: Pin) -> None:
        async with psycopg.AsyncCursor(self, row_factory=tuple_row) as cursor:
            await cursor.execute(pin.statement.encode(), pin.parameters)
