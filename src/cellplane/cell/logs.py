"""The cell and the tenant on every line of a log: for ``logging``, and for structlog, which needs no import here."""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from cellplane.cell.context import current_or_none

CELL_FIELD = "cell"
TENANT_FIELD = "tenant"
EPOCH_FIELD = "epoch"

CHATTY = ("asyncio", "psycopg.pool")
"""Loggers that tell of every cancelled task and every connection that is taken: only their warnings are kept."""

# The last is uvicorn's: the message again, in colours.
_NO_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


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


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger and message, and the fields that ``extra=`` and filters gave.

    Of an exception it shows the type and the places but not the message: errors of databases and of validation quote
    the row or the request, whose content is the tenant's.

    Args:
        fields: of every line, such as ``process="worker"``.
    """

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._fields,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _NO_FIELDS:
                line.setdefault(name, value)
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__qualname__
            line["stack"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, default=str)


def log_json(cell_id: str | None, *, chatty: Iterable[str] = CHATTY, **fields: object) -> None:
    """Send the logs of this process, from INFO on, to stderr as JSON lines that say the cell and the tenant.

    Args:
        cell_id: this cell's id; None in a process that belongs to no cell.
        chatty: loggers of which only warnings are kept.
        fields: of every line, such as ``process="worker"``.
    """
    handler = logging.StreamHandler(sys.stderr)
    if cell_id is not None:
        handler.addFilter(ContextFilter(cell_id))
    handler.setFormatter(JsonFormatter(**fields))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in chatty:
        logging.getLogger(name).setLevel(logging.WARNING)


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
