"""Who is asking: the cell, epoch and tenant of the request that is being served."""

from contextvars import ContextVar, Token
from dataclasses import dataclass

from cellplane.cell.errors import NoCellContextError


@dataclass(frozen=True, slots=True)
class CellContext:
    """What the router decided about the current request."""

    cell_id: str
    """The cell that serves: always this one, else the request would have been refused."""

    epoch: int
    """The epoch of the routing table that chose this cell."""

    tenant_id: str
    """The tenant: every read and write of the request is for it alone."""


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


def enter(context: CellContext) -> Token[CellContext | None]:
    """Make a context the current one, for the SDK; the token takes it back with ``leave``."""
    return _context.set(context)


def leave(token: Token[CellContext | None]) -> None:
    """Take back what ``enter`` set."""
    _context.reset(token)
