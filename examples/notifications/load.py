"""How this cell is doing, looked at once in a while, so that an answer can say it without a wait."""

import asyncio
from collections.abc import Awaitable, Callable

from cellplane.cell import CellLoad
from notifications.errors import UnavailableError


class LoadWatch:
    """Knows the load of a moment ago.

    Args:
        queue_lag: seconds that the oldest queued notification has waited; raises ``UnavailableError``.
        pool_use: database connections in use and waited for ÷ all.
        every_seconds: between two looks at the queue.
    """

    def __init__(
        self, queue_lag: Callable[[], Awaitable[float]], pool_use: Callable[[], float], every_seconds: float
    ) -> None:
        self._ask_queue_lag = queue_lag
        self._pool_use = pool_use
        self._every_seconds = every_seconds
        self._queue_lag: float | None = None

    def now(self) -> CellLoad:
        """The load, as far as it is known."""
        return CellLoad(self._queue_lag, self._pool_use())

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self._queue_lag = await self._ask_queue_lag()
            except UnavailableError:
                self._queue_lag = None
            await asyncio.sleep(self._every_seconds)
