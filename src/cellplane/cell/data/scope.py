"""For whom data is used now: one tenant, or, where somebody said why, the whole cell."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock

from cellplane.cell.context import current_or_none, enter, leave
from cellplane.cell.errors import DataScopeError, NoCellContextError

WHOLE_CELL = ""
"""The scope of work for the whole cell. No tenant has this id: a context's has at least one character."""

MAX_REASONS = 256
"""Reasons that are remembered as told; beyond, more are told again and again rather than kept."""

_INSTEAD = 'do what is for no tenant inside of whole_cell("why")'

_log = logging.getLogger("cellplane.cell")
_reason: ContextVar[str | None] = ContextVar("cellplane_whole_cell", default=None)
_told: set[str] = set()
_telling = Lock()


@contextmanager
def whole_cell(reason: str) -> Iterator[None]:
    """Use the cell's data for no single tenant while the block runs, such as for a sweep or a migration.

    There is no context inside: ``current()`` raises, and work for a tenant begins with ``entered()``. It is logged:
    the first time that a process does it for a reason as info, then for debugging.

    Args:
        reason: for the log, in a few words; without a tenant's id, as it is remembered.

    Raises:
        DataScopeError: the reason is empty.
    """
    if not reason.strip():
        raise DataScopeError('whole_cell: expected a reason, found none. Say why, such as whole_cell("nightly sweep")')
    _tell(reason)
    token = enter(None)
    reset = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(reset)
        leave(token)


def scope_now() -> str:
    """The tenant for whom data may be used now; ``WHOLE_CELL`` inside of ``whole_cell``.

    Raises:
        NoCellContextError: there is neither.
    """
    context = current_or_none()
    if context is not None:
        return context.tenant_id
    if _reason.get() is None:
        raise NoCellContextError(_INSTEAD)
    return WHOLE_CELL


def scope_in(cell_id: str) -> str:
    """As ``scope_now``, for the data of one cell.

    Raises:
        NoCellContextError: there is neither a context nor a reason to be without.
        DataScopeError: the context is that of another cell.
    """
    context = current_or_none()
    if context is not None and context.cell_id != cell_id:
        raise DataScopeError(
            f"expected a context of {cell_id}, whose database this is; found one of {context.cell_id}. "
            "A cell works for no other: refuse what is not for it"
        )
    return scope_now()


def named(scope: str) -> str:
    """A scope, for people."""
    return "the whole cell" if scope == WHOLE_CELL else f"tenant {scope}"


def require_same(began: str, now: str) -> None:
    """Check that what began for one scope goes on for the same.

    Raises:
        DataScopeError: it does not.
    """
    if began != now:
        raise DataScopeError(
            f"expected to go on for {named(began)}, for whom this transaction or session began; found {named(now)}. "
            "Commit or roll back, and close the session, before work for another begins"
        )


def _tell(reason: str) -> None:
    with _telling:
        level = logging.DEBUG if reason in _told else logging.INFO
        if len(_told) < MAX_REASONS:
            _told.add(reason)
    _log.log(level, "work on the data of the whole cell: %s", reason)
