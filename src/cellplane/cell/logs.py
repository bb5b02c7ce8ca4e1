"""The cell and the tenant on every line of a log: for ``logging``, and for structlog, which needs no import here."""

import logging
from collections.abc import MutableMapping
from typing import Any

from cellplane.cell.context import current_or_none

CELL_FIELD = "cell"
TENANT_FIELD = "tenant"
EPOCH_FIELD = "epoch"


class ContextFilter(logging.Filter):
    """Gives every record the attributes ``cell``, ``tenant`` and ``epoch``, for a formatter to show.

    Filters of a logger see what that logger is told, filters of a handler also what other loggers pass on: give it to
    the handler. What a record says of its own stays. Outside of a request the tenant and the epoch are None.

    Args:
        cell_id: this cell's id, which holds outside of requests, too.
    """

    def __init__(self, cell_id: str) -> None:
        super().__init__()
        self._cell_id = cell_id

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        context = current_or_none()
        fields = vars(record)
        fields.setdefault(CELL_FIELD, self._cell_id)
        fields.setdefault(TENANT_FIELD, context.tenant_id if context else None)
        fields.setdefault(EPOCH_FIELD, context.epoch if context else None)
        return True


class ContextProcessor:
    """The same as a processor of structlog: ``structlog.configure(processors=[ContextProcessor("cell-3"), …])``.

    Args:
        cell_id: this cell's id.
    """

    def __init__(self, cell_id: str) -> None:
        self._cell_id = cell_id

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Add the fields that the event does not have."""
        event.setdefault(CELL_FIELD, self._cell_id)
        if (context := current_or_none()) is not None:
            event.setdefault(TENANT_FIELD, context.tenant_id)
            event.setdefault(EPOCH_FIELD, context.epoch)
        return event
