"""The way to the stream: many events as one, in their order, and what becomes of each.

**Order.** JetStream stores a batch whole or not at all (NATS 2.12.1, and a stream that allows it), so
no event can be stored without those before it. Where it refuses one, such as because it has some of its events since
before a crash, the events are published one by one, and of each tenant the next only once the one before is stored: a
plain window of publishes would store the next ones where one in the middle fails.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError

from cellplane.events.event import CONTENT_TYPE, WaitingEvent
from cellplane.events.failures import CLOSING_FAILURES, NATS_FAILURES, ignored, told
from cellplane.events.settings import EVENTS_URL_VARIABLE, RelaySettings
from cellplane.faults import fault_point

PUBLISHED = "events-published"
"""Fault point: events are on their way, and none is known to be stored."""

_MESSAGE_TOO_LARGE = 10054
_log = logging.getLogger("cellplane.events")


class StreamError(Exception):
    """The stream did not take events, and may later."""


class _RefusedError(Exception):
    """JetStream answered with an error.

    Args:
        number: its own of the error.
        said: its words.
    """

    def __init__(self, number: int, said: str) -> None:
        super().__init__(f"JetStream refuses: {said} ({number})")
        self.number = number


@dataclass
class Outcome:
    """What became of some events; those that are in neither list are to be published again."""

    stored: list[int] = field(default_factory=list)
    """Places of those that the stream has."""

    refused: list[tuple[int, str]] = field(default_factory=list)
    """Places of those that it will never take, and why."""

    failure: str = ""
    """Why some are in neither; empty where all are."""

    as_one: bool = False
    """Whether they were stored as a batch."""


@dataclass(frozen=True)
class Staged:
    """Events that are at the server, but for the last, and that are nowhere until that is sent."""

    events: Sequence[WaitingEvent]
    """Of the batch, in their order."""

    batch: str
    """Its id; empty where they are to be published one by one."""


class Publisher:
    """A connection to the stream's NATS. It is given up at its first failure.

    Args:
        client: connected, and not to reconnect by itself: it would store late what is published anew meanwhile.
        settings: of the relay.
    """

    def __init__(self, client: Client, settings: RelaySettings) -> None:
        self._client = client
        self._settings = settings
        self._inbox = client.new_inbox()
        self._numbers = count()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._takes_batches = False

    @classmethod
    async def connect(cls, settings: RelaySettings) -> Self:
        """Connect, and find the stream.

        Raises:
            StreamError: the server cannot be reached, or has no such stream.
        """
        client = Client()
        publisher = cls(client, settings)
        try:
            async with asyncio.timeout(settings.connect_seconds):
                await client.connect(
                    settings.events_url,
                    name=f"cellplane-relay/{settings.cell_id}",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=settings.ping_seconds,
                    error_cb=ignored,
                )
                await client.subscribe(f"{publisher._inbox}.*", cb=publisher._answered)
                info = await client.jetstream(timeout=settings.connect_seconds).stream_info(settings.stream)
        except NotFoundError as error:
            await publisher.close()
            raise StreamError(
                f"expected the stream {settings.stream!r} at the NATS of {EVENTS_URL_VARIABLE}, found none. "
                "Whoever runs the consumers creates it (`cellplane analytics consume` does)"
            ) from error
        except NATS_FAILURES as error:
            await publisher.close()
            raise StreamError(f"cannot connect to the stream's NATS: {told(error)}") from error
        publisher._takes_batches = bool(info.config.allow_atomic)
        if not publisher._takes_batches:
            _log.warning("the stream takes no batches: tenants' events go one by one", extra={"reason": "allow_atomic"})
        return publisher

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection, however broken it is."""
        with suppress(*CLOSING_FAILURES):
            async with asyncio.timeout(self._settings.close_seconds):
                await self._client.close()

    async def publish(self, events: Sequence[WaitingEvent]) -> Outcome:
        """Publish events, in this order.

        Returns:
            What became of each; with a failure the connection is to be given up.
        """
        return await self.store(await self.stage(events))

    async def stage(self, events: Sequence[WaitingEvent]) -> Staged:
        """Send events ahead, while others are stored: they are not, until ``store`` is called.

        Raises:
            StreamError: the connection is lost.
        """
        assert len(events) <= self._settings.batch_events, "the relay reads no more"
        if not self._takes_batches or len(events) < 2:
            return Staged(events, "")
        batch = uuid4().hex
        try:
            for number, event in enumerate(events[:-1], 1):
                await self._send(event, {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)})
        except nats.errors.MaxPayloadError:
            return Staged(events, "")
        except NATS_FAILURES as error:
            raise StreamError(told(error)) from error
        return Staged(events, batch)

    async def store(self, staged: Staged) -> Outcome:
        """Have staged events stored; only one call at a time, in their order."""
        if staged.batch:
            try:
                await self._commit(staged)
                return Outcome([event.seq for event in staged.events], as_one=True)
            except (_RefusedError, nats.errors.MaxPayloadError) as error:
                _log.info("a batch was refused, its events go one by one", extra={"reason": told(error)})
            except NATS_FAILURES as error:
                return Outcome(failure=told(error))
        return await self._publish_one_by_one(staged.events)

    async def _commit(self, staged: Staged) -> None:
        number = len(staged.events)
        commit = {"Nats-Batch-Id": staged.batch, "Nats-Batch-Sequence": str(number), "Nats-Batch-Commit": "1"}
        answer = await self._stored(staged.events[-1], commit)
        if answer.get("count") != number:
            # A server that knows no batches has stored them as they came, or not: their ids will tell.
            self._takes_batches = False
            raise _RefusedError(0, "the server knows no batches")

    async def _publish_one_by_one(self, events: Sequence[WaitingEvent]) -> Outcome:
        by_tenant: dict[str, list[WaitingEvent]] = {}
        for event in events:
            by_tenant.setdefault(event.tenant_id, []).append(event)
        outcome = Outcome()
        window = asyncio.Semaphore(self._settings.window_events)

        async def publish_in_turn(mine: Sequence[WaitingEvent]) -> None:
            for event in mine:
                try:
                    async with window:
                        if outcome.failure:
                            return
                        await self._stored(event, {})
                    outcome.stored.append(event.seq)
                except (_RefusedError, nats.errors.MaxPayloadError) as error:
                    if isinstance(error, _RefusedError) and error.number != _MESSAGE_TOO_LARGE:
                        outcome.failure = str(error)
                        return
                    outcome.refused.append((event.seq, told(error)))
                except NATS_FAILURES as error:
                    outcome.failure = told(error)
                    return

        await asyncio.gather(*map(publish_in_turn, by_tenant.values()))
        return outcome

    async def _send(self, event: WaitingEvent, headers: dict[str, str], reply: str = "") -> None:
        await self._client.publish(
            event.subject(self._settings.cell_id),
            event.body(self._settings.cell_id),
            reply=reply,
            headers={"Nats-Msg-Id": event.id, "Content-Type": CONTENT_TYPE, **headers},
        )

    async def _stored(self, event: WaitingEvent, headers: dict[str, str]) -> dict[str, Any]:
        """Publish an event, and wait until it is stored, with all of its batch."""
        token = str(next(self._numbers))
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[token] = answer
        try:
            await self._send(event, headers, f"{self._inbox}.{token}")
            fault_point(PUBLISHED)
            async with asyncio.timeout(self._settings.ack_seconds):
                found = await answer
        finally:
            del self._answers[token]
        if error := found.get("error"):
            raise _RefusedError(int(error.get("err_code", 0)), str(error.get("description", "")))
        return found

    async def _answered(self, message: Msg) -> None:
        answer = self._answers.get(message.subject.rpartition(".")[2])
        if answer is None or answer.done():
            return
        status = (message.headers or {}).get("Status")
        if status:
            described = "no stream takes the subject" if status == "503" else f"status {status}"
            answer.set_result({"error": {"err_code": 0, "description": described}})
            return
        try:
            found = json.loads(message.data)
        except ValueError:
            return  # as if there had been no answer
        if isinstance(found, dict):
            answer.set_result(found)
