"""Who handles one kind of work that waits in JetStream, over dead workers, poison and lost connections."""

import asyncio
import logging

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, Header
from nats.js.errors import NotFoundError

from cellplane.cell.errors import BrokerUnavailableError
from cellplane.cell.messaging.handling import Arrived, Desk, Failed, Stopped, run_together, tell_dead, wait
from cellplane.cell.messaging.message import MESSAGE_ID, Rejection, dead_headers, retry_seconds
from cellplane.cell.messaging.nats_connection import FAILURES, NatsConnection, Session, reason_of

_log = logging.getLogger("cellplane.cell.messaging")


def durable_name(durable: str, base: str) -> str:
    """The name at the server of the consumer of one kind of work."""
    return f"{durable}-{base.replace('.', '-')}"


class NatsConsumer:
    """Handles one kind of work, over every loss of the connection. ``CellNats.consumer`` makes it."""

    def __init__(self, queue: NatsConnection, base: str, durable: str, desk: Desk) -> None:
        self._queue = queue
        self._settings = queue.settings
        self._subject = queue.subjects.own(base)
        self._dead_subject = queue.subjects.dead(base)
        self._durable = durable_name(durable, base)
        self._desk = desk

    async def run(self, stop: asyncio.Event) -> None:
        """Handle messages until ``stop`` is set; then what is in hand, for at most ``stop_seconds``."""
        lanes = [self._lane(stop) for _ in range(self._settings.lanes)]
        await run_together(lanes, stop, self._settings.stop_seconds)

    async def _lane(self, stop: asyncio.Event) -> None:
        """One message at a time."""
        pull: JetStreamContext.PullSubscription | None = None
        session: Session | None = None
        while not stop.is_set():
            try:
                if session is None or pull is None or not session.client.is_connected:
                    session, pull = await self._subscribe()
                # One at a time: a larger fetch of nats-py waits until it is full or its time is over.
                [message] = await pull.fetch(1, timeout=self._settings.fetch_seconds)
            except nats.errors.TimeoutError:
                continue
            except FAILURES as error:
                session = pull = None
                if isinstance(error, NotFoundError):
                    self._queue.renew()
                _log.debug("no message: %s", reason_of(error))
                await wait(self._settings.reconnect_min_seconds, stop)
                continue
            try:
                await self._settle(message, stop)
            except (BrokerUnavailableError, *FAILURES) as error:
                # It was not answered for, so it comes again.
                _log.warning(
                    "a message could not be answered for: %s", reason_of(error), extra={"subject": self._subject}
                )
                await wait(self._settings.reconnect_min_seconds, stop)

    async def _subscribe(self) -> tuple[Session, JetStreamContext.PullSubscription]:
        async with asyncio.timeout(self._settings.connect_seconds):
            session = await self._queue.connected()
            config = ConsumerConfig(
                durable_name=self._durable,
                filter_subject=self._subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self._settings.ack_seconds,
                # Counted here: the server would drop the last one without a word.
                max_deliver=-1,
            )
            await session.stream.add_consumer(self._queue.stream, config)
            pull = await session.stream.pull_subscribe_bind(consumer=self._durable, stream=self._queue.stream)
        return session, pull

    async def _settle(self, message: Msg, stop: asyncio.Event) -> None:
        delivery = message.metadata.num_delivered
        headers = [*(message.headers or {}).items()]
        # One that a move brought back within the time in which the server remembers its id came by another.
        message_id = (message.headers or {}).get(MESSAGE_ID) or (message.headers or {}).get(Header.MSG_ID.value)
        arrived = Arrived(message.subject, message.data, headers, delivery, message_id)
        working = asyncio.create_task(self._say_at_work(message))
        try:
            outcome = await self._desk.take(arrived, stop)
        finally:
            working.cancel()
        if isinstance(outcome, Stopped):
            # Later than the questions for messages that this process still has at the server.
            await message.nak(delay=self._settings.fetch_seconds)
        elif isinstance(outcome, Failed):
            await message.nak(delay=retry_seconds(self._settings, delivery))
        else:
            if outcome is not None:
                tell_dead(outcome, arrived)
                await self._bury(message, outcome, headers, delivery)
            await message.ack_sync(timeout=self._settings.publish_seconds)

    async def _say_at_work(self, message: Msg) -> None:
        """Keep the message: its handler may take longer than the server waits for a dead worker."""
        while True:
            await asyncio.sleep(self._settings.ack_seconds / 3)
            try:
                await message.in_progress()
            except FAILURES as error:
                _log.debug("not said that a message is at work: %s", reason_of(error))

    async def _bury(self, message: Msg, rejection: Rejection, headers: list[tuple[str, str]], delivery: int) -> None:
        """Store a dead letter; a repetition of that is stored once."""
        dead = dead_headers(rejection, message.subject, headers, delivery)
        dead[Header.MSG_ID.value] = f"{message.metadata.stream}-{message.metadata.sequence.stream}"
        await self._queue.store(self._queue.dead_stream, self._dead_subject, message.data, dead, is_cut=True)
