"""The feed of changes: who watches is told of each entry of the log, in order, none left out and none twice."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from cellplane.control.settings import ControlSettings
from cellplane.directory import Change, Directory
from cellplane.directory.history import ChangeFilter
from cellplane.errors import CellplaneError


class TooManyWatchersError(CellplaneError):
    """As many watch as may."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} watch already, which is the limit: read /v1/events instead")


class ChangeFeed:
    """Tells watchers of changes, by whichever control plane they were made. Runs in one event loop."""

    def __init__(self, directory: Directory, settings: ControlSettings) -> None:
        self._directory = directory
        self._settings = settings
        self._watchers: set[asyncio.Event] = set()

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def notify(self) -> None:
        """Say that the directory changed."""
        for watcher in self._watchers:
            watcher.set()

    def require_room(self) -> None:
        """Raise TooManyWatchersError where as many watch as may."""
        if len(self._watchers) >= self._settings.max_watchers:
            raise TooManyWatchersError(len(self._watchers))

    async def watch(self, after: int, wanted: ChangeFilter) -> AsyncGenerator[Change | None, None]:
        """Changes behind an epoch, for as long as somebody listens; None now and then where there are none.

        Raises:
            TooManyWatchersError: as many watch as may.
        """
        self.require_room()
        settings, clock = self._settings, asyncio.get_running_loop().time
        # Of what other processes change, nobody tells.
        pause = settings.watch_follow_seconds if self._directory.is_shared else settings.watch_heartbeat_seconds
        woken = asyncio.Event()
        self._watchers.add(woken)
        try:
            said_at = clock()
            while True:
                woken.clear()
                changes, after = await asyncio.to_thread(self._read, after, wanted)
                for change in changes:
                    yield change
                if changes:
                    said_at = clock()
                    continue
                if clock() - said_at >= settings.watch_heartbeat_seconds:
                    yield None
                    said_at = clock()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(pause, settings.watch_heartbeat_seconds - (clock() - said_at))):
                        await woken.wait()
        finally:
            self._watchers.discard(woken)

    def _read(self, after: int, wanted: ChangeFilter) -> tuple[tuple[Change, ...], int]:
        """A page of changes, and the epoch up to which there are no others."""
        size = self._settings.watch_page_size
        with self._directory.snapshot() as snapshot:
            found = snapshot.history(wanted, limit=size, after=after)
            # Where all that is wanted was read, what is not wanted is behind, too.
            last = found[-1].epoch if len(found) == size else max(after, snapshot.epoch())
        return found, last
