"""What becomes of one message, whichever broker it came from: handled, tried again later, or given up."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.cell.context import entered
from cellplane.cell.errors import DeliveryFailedError, NotNowError
from cellplane.cell.logs import TENANT_FIELD
from cellplane.cell.messaging.message import CellMessage, DeadReason, Handler, Rejection, judge
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

_log = logging.getLogger("cellplane.cell.messaging")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as a broker gave it; ``CellMessage`` tells what it has."""

    subject: str
    data: bytes
    headers: Sequence[tuple[str, str]]
    delivery: int
    message_id: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A delivery that failed, and why; without what an unforeseen error says, which may quote the message."""

    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """Nothing was decided: the consumer ends."""


Outcome = None | Failed | Stopped | Rejection
"""None: it is done."""


@dataclass(frozen=True)
class Desk:
    """One consumer's rules.

    Attributes:
        subjects: of this cell.
        handle: does a message's work, in its context; again for the same message, where a delivery is repeated.
        moved: the epoch by which a tenant is another cell's; ``Moves.moved`` is one.
        on_moved: takes the messages of tenants that were given away; without it they are dead letters.
        settings: times.
    """

    subjects: CellSubjects
    handle: Handler
    moved: Callable[[str], int | None]
    on_moved: Handler | None
    settings: MessagingSettings

    async def take(self, arrived: Arrived, stop: asyncio.Event) -> Outcome:
        """Do what is to be done about one message; it may be long, where a handler says that now is no time."""
        found = judge(self.subjects, arrived.subject, arrived.headers, self.moved)
        handle = self.handle
        if isinstance(found, Rejection):
            if found.context is None or self.on_moved is None:
                return found
            handle, context = self.on_moved, found.context
        else:
            context = found
        delivery = arrived.delivery
        if delivery > self.settings.max_deliveries:
            return Rejection(DeadReason.POISON, f"no worker has answered for any of {delivery - 1} deliveries", context)
        message = CellMessage(
            context, arrived.subject, arrived.data, dict(arrived.headers), delivery, arrived.message_id
        )
        with entered(context):
            failed = await self._until_now(handle, message, stop)
            if isinstance(failed, Rejection) and failed.reason is DeadReason.TENANT_MOVED and self.on_moved is not None:
                failed = await self._until_now(self.on_moved, message, stop)
        if isinstance(failed, Failed) and delivery >= self.settings.max_deliveries:
            return Rejection(DeadReason.POISON, f"delivery {delivery} of {delivery} failed: {failed.why}", context)
        return failed

    async def _until_now(self, handle: Handler, message: CellMessage, stop: asyncio.Event) -> Outcome:
        is_said = False
        while True:
            try:
                return await self._once(handle, message)
            except NotNowError as error:
                if not is_said:
                    _log.warning("a message waits: %s", error, extra=_about(message))
                    is_said = True
            await wait(self.settings.not_now_seconds, stop)
            if stop.is_set():
                return Stopped()
            # Who waits for a database that its tenant has left would wait for good, and keep others from the lane.
            again = judge(self.subjects, message.subject, message.headers.items(), self.moved)
            if isinstance(again, Rejection) and handle is self.handle:
                return again

    async def _once(self, handle: Handler, message: CellMessage) -> Failed | Rejection | None:
        limit = asyncio.timeout(self.settings.handler_seconds)
        try:
            async with limit:
                await handle(message)
        except NotNowError:
            raise
        except DeliveryFailedError as error:
            if error.for_good:
                detail = f"delivery {message.delivery} failed for good: {error}"
                return Rejection(DeadReason.POISON, detail, message.context)
            _log.warning("a delivery failed: %s", error, extra=_about(message))
            return Failed(str(error))
        except Exception as error:  # noqa: BLE001  # whatever a handler raises, the queue goes on
            why = (
                f"it took longer than {self.settings.handler_seconds:g} s" if limit.expired() else type(error).__name__
            )
            _log.warning("a delivery failed: %s", why, extra=_about(message), exc_info=True)
            return Failed(why)
        return None


def tell_dead(rejection: Rejection, arrived: Arrived) -> None:
    """Log that a message becomes a dead letter, and whose it is, where that is known."""
    whose = {} if rejection.context is None else {TENANT_FIELD: rejection.context.tenant_id}
    _log.error("a dead letter: %s: %s", rejection.reason.value, rejection.detail, extra={**_about(arrived), **whose})


def _about(message: CellMessage | Arrived) -> dict[str, object]:
    """Fields of a log that say which message it was."""
    return {"subject": message.subject, "delivery": message.delivery, "message_id": message.message_id}


async def wait(seconds: float, stop: asyncio.Event) -> None:
    """Wait, but not on after ``stop`` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def run_together(works: Iterable[Coroutine[Any, Any, None]], stop: asyncio.Event, stop_seconds: float) -> None:
    """Run what a worker does beside each other, such as its consumers, until ``stop`` is set.

    Args:
        works: each ends by itself once ``stop`` is set, or when it is cancelled.
        stop: ends them.
        stop_seconds: how long they have for what is in hand; then they are cancelled.

    Raises:
        Exception: what one of them ended by; it ends the others as well, since nobody foresaw it.
    """
    tasks = [asyncio.create_task(work) for work in works]
    stopping = asyncio.create_task(stop.wait())
    try:
        # One that ends early does so by an error that must be heard of.
        await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        if all(not task.done() or task.exception() is None for task in tasks):
            await asyncio.wait(tasks, timeout=stop_seconds)
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
