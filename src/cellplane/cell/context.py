"""Who is asking: the cell, epoch and tenant of the request that is being served."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec, Self, TypeVar

from cellplane.cell.errors import InvalidContextError, NoCellContextError
from cellplane.cell.settings import HeaderLimits, is_visible

CELL_ID = "x-cell-id"
EPOCH = "x-cell-epoch"
TENANT_ID = "x-tenant-id"

_LIMITS = HeaderLimits()

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CellContext:
    """What the router decided about the current request."""

    cell_id: str
    """The cell that serves: always this one, else the request would have been refused."""

    epoch: int
    """The epoch of the routing table that chose this cell."""

    tenant_id: str
    """The tenant: every read and write of the request is for it alone."""

    def to_headers(self) -> dict[str, str]:
        """As headers of a message or fields of a job, for whoever does the rest of this request's work."""
        return {CELL_ID: self.cell_id, EPOCH: str(self.epoch), TENANT_ID: self.tenant_id}

    @classmethod
    def of_headers(cls, headers: Mapping[str, str]) -> Self:
        """What ``to_headers`` wrote; names in lower case.

        Raises:
            InvalidContextError: one is missing, or cannot be what it should.
        """
        cell_id, epoch, tenant_id = (headers.get(name, "") for name in (CELL_ID, EPOCH, TENANT_ID))
        if not is_visible(cell_id, _LIMITS.cell_max_bytes):
            raise InvalidContextError(CELL_ID, cell_id, f"1–{_LIMITS.cell_max_bytes} visible ASCII characters")
        if not (epoch.isascii() and epoch.isdigit() and len(epoch) <= _LIMITS.epoch_max_digits):
            raise InvalidContextError(EPOCH, epoch, f"1–{_LIMITS.epoch_max_digits} decimal digits")
        if not is_visible(tenant_id, _LIMITS.tenant_max_bytes):
            raise InvalidContextError(TENANT_ID, tenant_id, f"1–{_LIMITS.tenant_max_bytes} visible ASCII characters")
        return cls(cell_id, int(epoch), tenant_id)


_context: ContextVar[CellContext | None] = ContextVar("cellplane_cell_context", default=None)


def current() -> CellContext:
    """Give the context of the request that is being served.

    Raises:
        NoCellContextError: this code does not run inside a request.
    """
    context = _context.get()
    if context is None:
        raise NoCellContextError
    return context


def current_or_none() -> CellContext | None:
    """Give the context of the request that is being served, or None outside of one, such as for logs."""
    return _context.get()


def enter(context: CellContext | None) -> Token[CellContext | None]:
    """Make a context the current one, or none, for the SDK; the token takes it back with ``leave``."""
    return _context.set(context)


def leave(token: Token[CellContext | None]) -> None:
    """Take back what ``enter`` set."""
    _context.reset(token)


@contextmanager
def entered(context: CellContext) -> Iterator[CellContext]:
    """Work for a tenant outside of a request, such as a message or a job of the background, while the block runs."""
    token = enter(context)
    try:
        yield context
    finally:
        leave(token)


def carried(do: Callable[P, T]) -> Callable[P, T]:
    """The same function in the context of now, wherever it is called: threads that are not made by asyncio know none.

    >>> threading.Thread(target=carried(send_mail), args=(order,)).start()

    Raises:
        NoCellContextError: there is no context to carry.
    """
    context = current()

    @wraps(do)
    def run(*args: P.args, **named: P.kwargs) -> T:
        with entered(context):
            return do(*args, **named)

    return run
