"""What a cell says of its own load in its answers, for the health score that routers give it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

LOAD_HEADER = b"endpoint-load-metrics"
"""Of Open Request Cost Aggregation (ORCA), in its form of a text. Routers take it off; clients do not see it."""

LOAD_INTERVAL_SECONDS = 0.5
"""Least time between two answers of a process that carry it: routers look once a second."""


@dataclass(frozen=True, slots=True)
class CellLoad:
    """How a cell is doing, of what no router can see from outside."""

    queue_lag_seconds: float | None = None
    """Age of the oldest job that waits in its queue, 0 where none does; None where nobody knows."""

    pool_use: float | None = None
    """Connections in use, and requests that wait for one, ÷ the size of the pool; None where nobody knows."""

    def to_header(self) -> bytes:
        """The header's value; empty where nothing is known. What is no amount from 0 on counts as unknown."""
        known = (
            f"named_metrics.{name}={amount:.6g}"
            for name, amount in (("queue_lag_seconds", self.queue_lag_seconds), ("connection_pool_use", self.pool_use))
            if amount is not None and isfinite(amount) and amount >= 0
        )
        metrics = ",".join(known)
        return f"TEXT {metrics}".encode("ascii") if metrics else b""


class LoadReporter:
    """Says now and then what the load is.

    Args:
        load: asks; called on the way of an answer, in the event loop of an ASGI app, so it must not wait for anything.
        clock: monotonic seconds.
    """

    def __init__(self, load: Callable[[], CellLoad], clock: Callable[[], float]) -> None:
        self._load = load
        self._clock = clock
        self._said_at: float | None = None

    def header(self) -> tuple[bytes, bytes] | None:
        """The header for this answer; None for most of them."""
        now = self._clock()
        if self._said_at is not None and now - self._said_at < LOAD_INTERVAL_SECONDS:
            return None
        self._said_at = now
        value = self._load().to_header()
        return (LOAD_HEADER, value) if value else None
