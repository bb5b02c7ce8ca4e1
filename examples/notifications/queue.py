"""What waits for delivery, in this cell's NATS JetStream: references to rows, never their content."""

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import cast, get_args
from uuid import UUID

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    Header,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BadRequestError

from notifications.errors import QueueUnavailableError
from notifications.model import Channel, Reference
from notifications.settings import Settings

STREAM = "NOTIFICATIONS"
CONSUMER = "delivery"

_NATS_FAILURES = (nats.errors.Error, OSError, TimeoutError, asyncio.IncompleteReadError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Session:
    """One connection's life; another connection is another session."""

    client: Client
    stream: JetStreamContext


class Queue:
    """This cell's queue. A task keeps it connected, without end; while it is not, every call fails at once.

    The client's own reconnecting stays off: it buffers what is published while there is no server, and would store
    it long after its publisher gave up.

    Args:
        settings: the process's settings.
        name: of this process, for people who look at the server's connections.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._session: _Session | None = None
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to connect. It needs no server yet."""
        assert self._keeper is None, "a queue is opened once"
        self._keeper = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        """Give up the connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper}, timeout=2 * self._settings.close_seconds)

    async def publish(self, reference: Reference) -> None:
        """Queue a notification; returns when JetStream has stored it. Its id makes a repetition harmless.

        Raises:
            QueueUnavailableError: it is not known to be stored.
        """
        stream = self._connected().stream
        body = {"tenant": reference.tenant_id, "id": str(reference.id), "channel": reference.channel}
        try:
            await stream.publish(
                f"notifications.{reference.channel}",
                json.dumps(body).encode(),
                timeout=self._settings.queue_request_seconds,
                headers={Header.MSG_ID: str(reference.id)},
            )
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error

    async def ping(self) -> None:
        """Find out whether JetStream answers and has the stream.

        Raises:
            QueueUnavailableError: it does not.
        """
        stream = self._connected().stream
        try:
            async with asyncio.timeout(self._settings.queue_request_seconds):
                await stream.stream_info(STREAM)
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error

    async def waiting(self) -> int:
        """Give the number of messages that no worker has fetched.

        Raises:
            QueueUnavailableError: JetStream does not answer.
        """
        stream = self._connected().stream
        try:
            async with asyncio.timeout(self._settings.queue_request_seconds):
                info = await stream.consumer_info(STREAM, CONSUMER)
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error
        return info.num_pending or 0

    async def subscribe(self) -> "Subscription":
        """Join the workers.

        Raises:
            QueueUnavailableError: JetStream does not answer.
        """
        session = self._connected()
        config = ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._settings.queue_ack_seconds,
            # The row counts the attempts: an outage of the database must not use them up.
            max_deliver=-1,
        )
        try:
            async with asyncio.timeout(self._settings.queue_request_seconds):
                await session.stream.add_consumer(STREAM, config)
                pull = await session.stream.pull_subscribe_bind(consumer=CONSUMER, stream=STREAM)
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error
        return Subscription(self._settings, session.client, pull)

    def _connected(self) -> _Session:
        if self._session is None or not self._session.client.is_connected:
            raise QueueUnavailableError("not connected to NATS")
        return self._session

    async def _keep_connected(self) -> None:
        delay_seconds = self._settings.queue_retry_min_seconds
        while True:
            client = Client()
            try:
                async with asyncio.timeout(self._settings.queue_connect_seconds):
                    self._session = await self._connect(client)
                _log.info("connected", extra={"dependency": "queue"})
                delay_seconds = self._settings.queue_retry_min_seconds
                # Looked at, because nats-py calls no callback where closing a broken connection fails.
                while client.is_connected:  # noqa: ASYNC110
                    await asyncio.sleep(self._settings.queue_watch_seconds)
                _log.warning("lost the connection", extra={"dependency": "queue"})
            except _NATS_FAILURES as error:
                _log.warning("cannot connect", extra={"dependency": "queue", "reason": _reason(error)})
            finally:
                self._session = None
                await self._discard(client)
            await asyncio.sleep(delay_seconds)
            delay_seconds = min(2 * delay_seconds, self._settings.queue_retry_max_seconds)

    async def _connect(self, client: Client) -> _Session:
        await client.connect(
            self._settings.cell.nats_url,
            name=self._name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=self._settings.queue_ping_seconds,
            error_cb=_ignore,
        )
        stream = client.jetstream(timeout=self._settings.queue_request_seconds)
        config = StreamConfig(
            name=STREAM,
            subjects=["notifications.>"],
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            max_msgs=self._settings.queue_max_messages,
            # A full queue refuses what is new, which the sweep repeats, instead of dropping what is old.
            discard=DiscardPolicy.NEW,
            duplicate_window=self._settings.queue_duplicate_window_seconds,
        )
        try:
            await stream.add_stream(config)
        except BadRequestError:  # it exists with other settings, those of an earlier release
            await stream.update_stream(config)
        return _Session(client, stream)

    async def _discard(self, client: Client) -> None:
        """Close what may already be broken: that this fails changes nothing, so it is only noted."""
        try:
            async with asyncio.timeout(self._settings.close_seconds):
                await client.close()
        except (*_NATS_FAILURES, AttributeError, RuntimeError, AssertionError) as error:
            _log.debug("closing failed", extra={"dependency": "queue", "reason": _reason(error)})


class Subscription:
    """One place among the workers. It ends with its connection: then subscribe anew.

    Args:
        settings: the process's settings.
        client: the connection that it lives on.
        pull: the consumer's messages.
    """

    def __init__(self, settings: Settings, client: Client, pull: JetStreamContext.PullSubscription) -> None:
        self._settings = settings
        self._client = client
        self._pull = pull

    async def next(self) -> "Delivery | None":
        """Give the next message; None when none came within ``worker_fetch_seconds``.

        Raises:
            QueueUnavailableError: the connection is gone, or JetStream refuses.
        """
        if not self._client.is_connected:
            raise QueueUnavailableError("lost the connection to NATS")
        try:
            # One at a time: a larger fetch of nats-py waits until it is full or its time is over.
            [message] = await self._pull.fetch(1, timeout=self._settings.worker_fetch_seconds)
        except nats.errors.TimeoutError:
            return None
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error
        return Delivery(message)


class Delivery:
    """One message in a worker's hands. Without any answer it comes again after ``queue_ack_seconds``.

    The answers raise ``QueueUnavailableError`` when they cannot be sent.

    Args:
        message: as NATS gave it.
    """

    def __init__(self, message: Msg) -> None:
        self._message = message

    def reference(self) -> Reference | None:
        """Say which notification it is; None when it is no message of this app."""
        try:
            body = json.loads(self._message.data)
            tenant_id, channel = body["tenant"], body["channel"]
            if not isinstance(tenant_id, str) or channel not in get_args(Channel):
                return None
            return Reference(tenant_id, UUID(body["id"]), cast(Channel, channel))
        except (ValueError, LookupError, TypeError, AttributeError):
            return None

    async def done(self) -> None:
        """Never deliver it again."""
        try:
            await self._message.ack()
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error

    async def retry(self, delay_seconds: float) -> None:
        """Deliver it again after a time."""
        try:
            await self._message.nak(delay=delay_seconds)
        except _NATS_FAILURES as error:
            raise QueueUnavailableError(_reason(error)) from error


async def _ignore(_error: Exception) -> None:
    """Every failure also ends the connection or the call, which is where it is told."""


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
