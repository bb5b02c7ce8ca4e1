"""The process that delivers: ``python -m notifications.worker``."""

import asyncio
import logging
import sys

from cellplane.cell import Moves
from cellplane.cell.door import nobody_moved
from cellplane.cell.errors import BrokerUnavailableError, DeliveryFailedError, NotNowError
from cellplane.cell.messaging import CellMessage, run_together
from cellplane.events.relay import Relay
from notifications import process
from notifications.errors import DatabaseUnavailableError, OutboxUnavailableError, ProviderError
from notifications.faults import AFTER_PROVIDER, fault_point
from notifications.model import Reference
from notifications.provider import FileProvider
from notifications.queue import KIND, Queue, reference_of
from notifications.settings import Settings
from notifications.store import Store

_log = logging.getLogger("notifications.worker")


class Worker:
    """Delivers what is queued, at least once; the provider, which knows ids, makes the effect once.

    The order is provider, row, message: a crash between any two of them repeats the step before, which has no
    second effect.

    Args:
        settings: the process's settings.
        store: the rows, open.
        queue: the queue, open.
        provider: what takes the notifications.
    """

    def __init__(self, settings: Settings, store: Store, queue: Queue, provider: FileProvider) -> None:
        self._settings = settings
        self._store = store
        self._queue = queue
        self._provider = provider

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop`` is set; then finish what is in hand, for at most ``stop_seconds``."""
        record = self._settings.moves
        moved = nobody_moved if record is None else Moves(record, self._settings.cell.cell_id).moved
        consumer = self._queue.consumer(KIND, self.deliver, moved=moved, on_moved=self.leave)
        works = [consumer.run(stop), self._sweeper(stop)]
        await run_together(works, stop, self._settings.stop_seconds)

    async def deliver(self, message: CellMessage) -> None:
        """Handle one message, until nothing remains to be done for its notification.

        Raises:
            NotNowError: the database is away, and it is not known how far this came.
            DeliveryFailedError: the provider did not take it.
        """
        try:
            await self._attempt(reference_of(message))
        except DatabaseUnavailableError as error:
            raise NotNowError(str(error)) from error

    async def leave(self, message: CellMessage) -> None:
        """Do nothing about a message whose tenant has moved: so has its row, and the new cell queues that."""
        _log.info("left to another cell", extra={"notification": reference_of(message).id})

    async def _attempt(self, reference: Reference) -> None:
        notification = await self._store.begin_attempt(reference)
        if notification is None:
            return
        max_attempts = self._settings.worker_max_attempts
        failure = "each ended its worker"
        if notification.attempts <= max_attempts:
            try:
                await asyncio.to_thread(self._provider.deliver, notification)
            except ProviderError as error:
                failure = str(error)
            else:
                fault_point(AFTER_PROVIDER, self._settings.fault)
                try:
                    await self._store.mark_delivered(reference)
                except OutboxUnavailableError:
                    # Nobody's failure: the next attempt, which finds the provider done, must not be the last.
                    await self._store.forget_attempt(reference)
                    raise
                _log.info("delivered", extra={"notification": reference.id})
                return
            if notification.attempts < max_attempts:
                raise DeliveryFailedError(failure)
        reason = f"gave up after {max_attempts} attempts: {failure}"
        await self._store.mark_failed(reference, reason)
        _log.error("failed for good", extra={"notification": reference.id, "reason": reason})

    async def _sweeper(self, stop: asyncio.Event) -> None:
        """Queue what is only in the database: the API stores first, and the queue may have been away."""
        while not stop.is_set():
            try:
                if await self._queue.waiting(KIND) <= self._settings.sweep_backlog_max:
                    lost = await self._store.sweep()
                    for reference in lost:
                        await self._queue.add_again(reference)
                    if lost:
                        _log.info("queued again", extra={"count": len(lost)})
            except DatabaseUnavailableError as error:
                _log.warning("cannot sweep", extra={"dependency": "database", "reason": str(error)})
            except BrokerUnavailableError as error:
                _log.warning("cannot sweep", extra={"dependency": "queue", "reason": str(error)})
            await process.sleep(self._settings.sweep_every_seconds, stop)


async def carry_events(settings: Settings, stop: asyncio.Event) -> None:
    """Take what the cell tells to the stream outside, until ``stop`` is set. Whatever goes wrong, deliveries go on."""
    while settings.relay is not None and not stop.is_set():
        try:
            await Relay(settings.relay).run(stop)
        except Exception:  # noqa: BLE001 - the relay retries whatever it can foresee
            _log.critical("the relay ended by an error that is a bug", exc_info=True)
            await process.sleep(settings.relay_restart_seconds, stop)


async def serve(settings: Settings, store: Store, queue: Queue, stop: asyncio.Event) -> None:
    """Run a worker until ``stop`` is set."""
    carrying = asyncio.create_task(carry_events(settings, stop))
    try:
        await Worker(settings, store, queue, FileProvider(settings)).run(stop)
    finally:
        carrying.cancel()
        # A statement that is cancelled waits for the server, which may hang: the end of the process does not.
        await asyncio.wait([carrying], timeout=settings.close_seconds)


if __name__ == "__main__":
    sys.exit(process.main("worker", serve))
