"""One JSON line a log record, with the cell and the tenant, and never a recipient or a text."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from cellplane.cell import current_or_none

_EXTRA_FIELDS = ("tenant", "notification", "attempt", "reason", "dependency", "count")


class JsonFormatter(logging.Formatter):
    """Formats records as JSON lines.

    Of an exception it shows type and places but not its message: database and validation errors quote the row or
    the request, and these hold recipients and texts.

    Args:
        cell_id: of this process's cell.
        process: the role of this process, ``api`` or ``worker``.
    """

    def __init__(self, cell_id: str, process: str) -> None:
        super().__init__()
        self._cell_id = cell_id
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without its end."""
        context = current_or_none()
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "cell": self._cell_id,
            "process": self._process,
            "tenant": context.tenant_id if context else None,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _EXTRA_FIELDS if hasattr(record, name)})
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__qualname__
            line["stack"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(record.exc_info[2])
            ]
        return json.dumps(line, default=str)


def configure(cell_id: str, process: str) -> None:
    """Send the logs of this process to stderr; see ``JsonFormatter`` for the arguments."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(cell_id, process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # These tell every connection that is taken and every task that is cancelled.
    for chatty in ("psycopg.pool", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
