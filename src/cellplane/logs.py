"""One JSON line an event, on standard error: what every process of the planes logs."""

import io
import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog


class _StandardError(io.TextIOBase):
    """Standard error, which may be a file on a disk that is full: what cannot be logged is lost, and nothing else."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def configure_logs(process: str) -> None:
    """Log as JSON lines that name this process."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
