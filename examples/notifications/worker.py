"""The process that delivers: ``python -m notifications.worker``."""

import asyncio
import logging
import sys

from cellplane.events.relay import Relay
from notifications import process
from notifications.errors import (
    DatabaseUnavailableError,
    OutboxUnavailableError,
    ProviderError,
    QueueUnavailableError,
)
from notifications.faults import AFTER_PROVIDER, fault_point
from notifications.model import Reference
from notifications.provider import FileProvider
from notifications.queue import Delivery, Queue, Subscription
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
        tasks = [asyncio.create_task(self._lane(stop)) for _ in range(self._settings.worker_lanes)]
        tasks.append(asyncio.create_task(self._sweeper(stop)))
        stopping = asyncio.create_task(stop.wait())
        try:
            # A task ends early only by an error that nobody foresaw. It must end the process, not hide in it.
            await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(tasks, timeout=self._settings.stop_seconds if stop.is_set() else 0)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def deliver(self, delivery: Delivery) -> None:
        """Handle one message.

        Raises:
            QueueUnavailableError: the message could not be answered, so it will come again.
        """
        reference = delivery.reference()
        if reference is None:
            _log.error("dropped a message that is not of this app")
            await delivery.done()
            return
        try:
            settled = await self._attempt(reference)
        except DatabaseUnavailableError as error:
            _log.warning("cannot deliver", extra={**_about(reference), "reason": str(error)})
            settled = False
        if settled:
            await delivery.done()
        else:
            await delivery.retry(self._settings.worker_retry_seconds)

    async def _attempt(self, reference: Reference) -> bool:
        """Try once; returns whether nothing remains to be done for this notification.

        Raises:
            DatabaseUnavailableError: it is not known how far this came.
        """
        notification = await self._store.begin_attempt(reference)
        if notification is None:
            return True
        max_attempts = self._settings.worker_max_attempts
        failure = "each ended its worker"
        if notification.attempts <= max_attempts:
            try:
                await asyncio.to_thread(self._provider.deliver, notification)
            except ProviderError as error:
                failure = str(error)
                _log.warning("the provider failed", extra={**_about(reference), "reason": failure})
            else:
                fault_point(AFTER_PROVIDER, self._settings.fault)
                try:
                    await self._store.mark_delivered(reference)
                except OutboxUnavailableError:
                    # Nobody's failure: the next attempt, which finds the provider done, must not be the last.
                    await self._store.forget_attempt(reference)
                    raise
                _log.info("delivered", extra=_about(reference))
                return True
            if notification.attempts < max_attempts:
                return False
        reason = f"gave up after {max_attempts} attempts: {failure}"
        await self._store.mark_failed(reference, reason)
        _log.error("failed for good", extra={**_about(reference), "reason": reason})
        return True

    async def _lane(self, stop: asyncio.Event) -> None:
        """Deliver one message at a time, over every loss of the connection."""
        subscription: Subscription | None = None
        while not stop.is_set():
            try:
                if subscription is None:
                    subscription = await self._queue.subscribe()
                delivery = await subscription.next()
                if delivery is not None:
                    await self.deliver(delivery)
            except QueueUnavailableError:  # told by the queue, once for all lanes
                subscription = None
                await process.sleep(self._settings.queue_retry_min_seconds, stop)

    async def _sweeper(self, stop: asyncio.Event) -> None:
        """Queue what is only in the database: the API stores first, and the queue may have been away."""
        while not stop.is_set():
            try:
                if await self._queue.waiting() <= self._settings.sweep_backlog_max:
                    lost = await self._store.sweep()
                    for reference in lost:
                        await self._queue.publish(reference)
                    if lost:
                        _log.info("queued again", extra={"count": len(lost)})
            except DatabaseUnavailableError as error:
                _log.warning("cannot sweep", extra={"dependency": "database", "reason": str(error)})
            except QueueUnavailableError as error:
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


def _about(reference: Reference) -> dict[str, object]:
    return {"tenant": reference.tenant_id, "notification": reference.id}


if __name__ == "__main__":
    sys.exit(process.main("worker", serve))
