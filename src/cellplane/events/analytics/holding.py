"""A consumer's hold on its store: for good, or, where others read the file meanwhile, no longer than there is work."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from cellplane.events.analytics.errors import StoreError, StoreLockedError
from cellplane.events.analytics.settings import AnalyticsSettings
from cellplane.events.analytics.stores import open_for_writing
from cellplane.events.analytics.tables import Store
from cellplane.events.failures import told

T = TypeVar("T")


class Holding:
    """Opens the store when it is used, and gives it back when others may have it.

    Args:
        settings: of the consumer.
        clock: seconds that only grow.
    """

    def __init__(self, settings: AnalyticsSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._store: Store | None = None
        self._has_it = False
        self._since = 0.0

    async def open(self) -> Store:
        """Have the store, and make its tables. Where it is shared, its readers are waited for, so long.

        Raises:
            StoreLockedError: another process has it, and it is not shared.
            StoreError: it cannot be opened, or readers keep it.
        """
        deadline = self._clock() + self._settings.share_wait_seconds
        while self._store is None or not self._has_it:
            try:
                if self._store is None:
                    self._store = await asyncio.to_thread(open_for_writing, self._settings)
                else:
                    await asyncio.to_thread(self._store.take)
            except StoreLockedError as error:
                if not self._settings.shares_store:
                    raise
                if self._clock() >= deadline:
                    waited = f"{self._settings.share_wait_seconds:g} s"
                    raise StoreError(f"others have had the store of the counts for {waited}: {error}") from error
                await asyncio.sleep(self._settings.share_retry_seconds)
            else:
                self._has_it, self._since = True, self._clock()
        return self._store

    async def use(self, do: Callable[[Store], T]) -> T:
        """Do something with the store, in a thread.

        Raises:
            StoreLockedError: as ``open``.
            StoreError: as ``open``, or it cannot be used.
        """
        return await self._in_thread(await self.open(), do)

    async def rest(self, *, busy: bool) -> None:
        """Let others read what is written, where they may: at once with nothing to do, else once in a while.

        Args:
            busy: whether there is more to do already.
        """
        if not self._settings.shares_store or self._store is None or not (self._has_it and self._store.is_exclusive):
            return
        if busy and self._clock() < self._since + self._settings.share_hold_seconds:
            return
        self._has_it = False
        await self._in_thread(self._store, lambda store: store.give_back())
        if busy:
            await asyncio.sleep(self._settings.share_pause_seconds)

    async def close(self) -> None:
        """Close the store."""
        store, self._store, self._has_it = self._store, None, False
        if store is not None:
            await asyncio.to_thread(store.close)

    async def _in_thread(self, store: Store, do: Callable[[Store], T]) -> T:
        try:
            return await asyncio.to_thread(do, store)
        except store.failures as error:
            raise StoreError(f"the store of the counts: {told(error)}") from error
