"""Whether this cell can serve, found out by using what it needs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from notifications.errors import UnavailableError


class HealthCheck:
    """Asks every dependency, at once and within a time.

    A dependency that hangs is asked by one probe at a time, however often and by however many routers the check is
    called.

    Args:
        probes: name → question, which raises ``UnavailableError`` for no.
        timeout_seconds: after this time, no answer is a no.
    """

    def __init__(self, probes: Mapping[str, Callable[[], Awaitable[None]]], timeout_seconds: float) -> None:
        self._probes = dict(probes)
        self._timeout_seconds = timeout_seconds
        self._running: dict[str, asyncio.Task[bool]] = {}

    async def failed(self) -> list[str]:
        """Give the names of the dependencies that cannot be used, sorted."""
        for name, probe in self._probes.items():
            if name not in self._running or self._running[name].done():
                self._running[name] = asyncio.create_task(_works(probe))
        asked = dict(self._running)
        done, _ = await asyncio.wait(asked.values(), timeout=self._timeout_seconds)
        return sorted(name for name, task in asked.items() if task not in done or not task.result())


async def _works(probe: Callable[[], Awaitable[None]]) -> bool:
    try:
        await probe()
    except UnavailableError:
        return False
    return True
