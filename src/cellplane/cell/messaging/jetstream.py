"""A cell's queues in NATS JetStream (extra ``nats``)::

    subjects = CellSubjects("cell-3")
    queue = CellNats(settings.nats_url, subjects, ["orders"])
    queue.open()                                             # needs no server yet
    await queue.publish(subjects.own("orders"), b"…")        # in a context, whose tenant it is for
    await queue.consumer("orders", handle).run(stop)         # until the event is set

Messages are handled at least once: one that was handled as its worker died comes again. What waits is kept on disk; a
full stream refuses what is new. Dead letters are in a stream of their own, on ``dead.orders.cell-3``.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

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
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

from cellplane.cell.door import nobody_moved
from cellplane.cell.errors import BrokerUnavailableError, InvalidMessageError
from cellplane.cell.messaging.handling import Arrived, Desk, Failed, Stopped, run_lanes, wait
from cellplane.cell.messaging.message import DEAD_PREFIX, Handler, Rejection, dead_headers, outgoing, retry_seconds
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

_log = logging.getLogger("cellplane.cell.messaging")

DEFAULT_PORT = 4222
CUT_BYTES = 64 * 1024
"""What is kept of a dead letter that is too large with what it says of itself, bytes."""

_CUT_FROM = f"{DEAD_PREFIX}cut-from-bytes"
_FAILURES = (nats.errors.Error, OSError, TimeoutError, asyncio.IncompleteReadError)
_DAY_SECONDS = 24 * 60 * 60
_SETTINGS = MessagingSettings()


@dataclass(frozen=True)
class _Session:
    """One connection's life; another connection is another session."""

    client: Client
    stream: JetStreamContext


class CellNats:
    """One cell's connection to its JetStream. A task keeps it, without end; streams that are missing are made.

    The client's own reconnecting stays off: it keeps what is published while there is no server, and would store it
    long after its publisher was told that it failed.

    Args:
        url: of the cell's NATS; more than one of a cluster with commas between.
        subjects: of this cell.
        bases: the kinds of work that it queues, such as ``orders``.
        name: of this process, for people who look at the server's connections.
        settings: times and limits.

    Raises:
        InvalidSettingError: a kind of work cannot be part of a subject.
    """

    def __init__(
        self,
        url: str,
        subjects: CellSubjects,
        bases: Iterable[str],
        *,
        name: str = "",
        settings: MessagingSettings = _SETTINGS,
    ) -> None:
        self._urls = [each.strip() for each in url.split(",")]
        self.subjects = subjects
        self.settings = settings
        self._name = name or subjects.cell_id
        self._bases = list(bases)
        self._own = [subjects.own(base) for base in self._bases]
        self._session: _Session | None = None
        self._ready = asyncio.Event()
        self._is_stale = False
        self._keeper: asyncio.Task[None] | None = None

    @property
    def brokers(self) -> tuple[str, ...]:
        """Host and port of each server, without credentials, for whoever checks that they are this cell's."""
        found = (urlsplit(each if "//" in each else f"nats://{each}") for each in self._urls)
        return tuple(f"{each.hostname}:{each.port or DEFAULT_PORT}" for each in found)

    @property
    def is_connected(self) -> bool:
        """Whether the broker answered last."""
        return self._session is not None and self._session.client.is_connected

    @property
    def stream(self) -> str:
        """Name of the stream of what waits."""
        return f"CELL-{self.subjects.cell_id}"

    @property
    def dead_stream(self) -> str:
        """Name of the stream of dead letters."""
        return f"DEAD-{self.subjects.cell_id}"

    def open(self) -> None:
        """Begin to connect. It needs no server yet."""
        assert self._keeper is None, "a queue is opened once"
        self._keeper = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        """Give up the connection."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper}, timeout=2 * self.settings.close_seconds)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Queue work for the tenant of the context; returns when JetStream has stored it.

        Args:
            subject: of this cell, by ``CellSubjects.own``.
            data: the work.
            headers: of the app.
            message_id: makes a repetition harmless, for ``duplicate_seconds``.

        Raises:
            NoCellContextError: nobody knows for whom it is.
            ForeignSubjectError: the subject is another cell's.
            InvalidMessageError: it is too large, or a header cannot be one.
            BrokerUnavailableError: it is not known to be stored.
        """
        _, all_headers = outgoing(self.subjects, subject, data, headers, self.settings)
        if message_id is not None:
            all_headers[Header.MSG_ID.value] = message_id
        await self.store(self.stream, subject, data, all_headers)

    def consumer(
        self,
        base: str,
        handle: Handler,
        *,
        durable: str = "workers",
        moved: Callable[[str], int | None] = nobody_moved,
        on_moved: Handler | None = None,
    ) -> "NatsConsumer":
        """Who handles one kind of work. All processes of a cell share it: each message goes to one.

        Args:
            base: the kind of work, such as ``orders``.
            handle: does a message's work.
            durable: the consumer's name at the server, before the kind of work; there can be one for each kind.
            moved: the epoch by which a tenant is another cell's; ``Fences.moved`` is one.
            on_moved: takes the messages of tenants that were given away; without it they are dead letters.
        """
        assert base in self._bases, f"{base} is none of the kinds of work that this queue was made for"
        return NatsConsumer(self, base, durable, Desk(self.subjects, handle, moved, on_moved, self.settings))

    async def store(
        self, stream: str, subject: str, data: bytes, headers: dict[str, str], *, is_cut: bool = False
    ) -> None:
        """Publish, and wait until it is stored; for this package.

        Args:
            stream: that has to store it.
            subject: of this cell.
            data: the message.
            headers: all of them.
            is_cut: whether to store the beginning alone where the whole is more than the server takes.

        Raises:
            BrokerUnavailableError: it is not known to be stored.
            InvalidMessageError: it is more than the server takes.
        """
        try:
            async with asyncio.timeout(self.settings.publish_seconds):
                session = await self.connected()
                # The server counts headers as well, and hangs up where the client does not.
                room = session.client.max_payload - _header_bytes(headers)
                if len(data) > room:
                    if not is_cut:
                        raise InvalidMessageError(
                            f"{subject}: expected at most {session.client.max_payload} bytes with headers, which is "
                            f"what the server takes; found {len(data)} and headers"
                        )
                    headers = {**headers, _CUT_FROM: str(len(data))}
                    data = data[: max(0, min(CUT_BYTES, room - 2 * len(_CUT_FROM)))]
                await session.stream.publish(
                    subject, data, timeout=self.settings.publish_seconds, stream=stream, headers=headers
                )
        except NoStreamResponseError as error:
            self.renew()
            raise self.unavailable(error) from error
        except _FAILURES as error:
            raise self.unavailable(error) from error

    async def connected(self) -> _Session:
        """The connection, as soon as there is one; for this package. Its callers bound the wait."""
        while self._session is None or not self._session.client.is_connected:
            self._ready.clear()
            await self._ready.wait()
        return self._session

    def renew(self) -> None:
        """Connect anew, where somebody has removed a stream or a subject: they are made again then."""
        self._is_stale = True

    def unavailable(self, error: BaseException) -> BrokerUnavailableError:
        """The error that says so."""
        reason = "no connection or no answer in time" if isinstance(error, TimeoutError) else _reason(error)
        return BrokerUnavailableError(",".join(self.brokers), reason)

    async def _keep_connected(self) -> None:
        pause_seconds = self.settings.reconnect_min_seconds
        broker = ",".join(self.brokers)
        while True:
            client = Client()
            try:
                async with asyncio.timeout(self.settings.connect_seconds):
                    self._session = await self._connect(client)
                self._ready.set()
                _log.info("connected", extra={"broker": broker})
                pause_seconds = self.settings.reconnect_min_seconds
                # Looked at, because nats-py calls no callback where closing a broken connection fails.
                while client.is_connected and not self._is_stale:  # noqa: ASYNC110
                    await asyncio.sleep(self.settings.watch_seconds)
                _log.warning("lost the connection", extra={"broker": broker})
            except _FAILURES as error:
                _log.warning("cannot connect: %s", _reason(error), extra={"broker": broker})
            finally:
                self._session = None
                self._is_stale = False
                await self._discard(client)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self.settings.reconnect_max_seconds)

    async def _connect(self, client: Client) -> _Session:
        await client.connect(
            self._urls,
            name=self._name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=self.settings.ping_seconds,
            error_cb=_ignore,
        )
        stream = client.jetstream(timeout=self.settings.connect_seconds)
        await self._have_stream(stream, self._waiting(), self._own)
        await self._have_stream(stream, self._dead(), [self.subjects.dead(base) for base in self._bases])
        return _Session(client, stream)

    def _waiting(self) -> StreamConfig:
        return StreamConfig(
            name=self.stream,
            retention=RetentionPolicy.WORK_QUEUE,
            storage=StorageType.FILE,
            max_msgs=self.settings.max_queue_messages,
            # A full queue refuses what is new, which its publisher hears, instead of dropping what is old.
            discard=DiscardPolicy.NEW,
            duplicate_window=self.settings.duplicate_seconds,
            num_replicas=self.settings.replicas,
        )

    def _dead(self) -> StreamConfig:
        return StreamConfig(
            name=self.dead_stream,
            storage=StorageType.FILE,
            max_msgs=self.settings.max_dead_messages,
            max_age=self.settings.max_dead_days * _DAY_SECONDS,
            discard=DiscardPolicy.OLD,
            duplicate_window=self.settings.duplicate_seconds,
            num_replicas=self.settings.replicas,
        )

    async def _have_stream(self, stream: JetStreamContext, config: StreamConfig, subjects: list[str]) -> None:
        """Make a stream, or make it as it should be; subjects of another release stay."""
        assert config.name is not None
        try:
            known = (await stream.stream_info(config.name)).config.subjects or []
        except NotFoundError:
            known = []
        config.subjects = sorted({*known, *subjects})
        try:
            await stream.add_stream(config)
        except BadRequestError:  # it exists with other settings, those of an earlier release
            await stream.update_stream(config)

    async def _discard(self, client: Client) -> None:
        """Close what may already be broken: that this fails changes nothing, so it is only noted."""
        try:
            async with asyncio.timeout(self.settings.close_seconds):
                await client.close()
        except (*_FAILURES, AttributeError, RuntimeError, AssertionError) as error:
            _log.debug("closing failed: %s", _reason(error))


class NatsConsumer:
    """Handles one kind of work, over every loss of the connection. ``CellNats.consumer`` makes it."""

    def __init__(self, queue: CellNats, base: str, durable: str, desk: Desk) -> None:
        self._queue = queue
        self._settings = queue.settings
        self._subject = queue.subjects.own(base)
        self._dead_subject = queue.subjects.dead(base)
        self._durable = f"{durable}-{base.replace('.', '-')}"
        self._desk = desk

    async def run(self, stop: asyncio.Event) -> None:
        """Handle messages until ``stop`` is set; then what is in hand, for at most ``stop_seconds``."""
        lanes = [lambda: self._lane(stop)] * self._settings.lanes
        await run_lanes(lanes, stop, self._settings.stop_seconds)

    async def _lane(self, stop: asyncio.Event) -> None:
        """One message at a time."""
        pull: JetStreamContext.PullSubscription | None = None
        session: _Session | None = None
        while not stop.is_set():
            try:
                if session is None or pull is None or not session.client.is_connected:
                    session, pull = await self._subscribe()
                # One at a time: a larger fetch of nats-py waits until it is full or its time is over.
                [message] = await pull.fetch(1, timeout=self._settings.fetch_seconds)
            except nats.errors.TimeoutError:
                continue
            except _FAILURES as error:
                session = pull = None
                if isinstance(error, NotFoundError):
                    self._queue.renew()
                _log.debug("no message: %s", _reason(error))
                await wait(self._settings.reconnect_min_seconds, stop)
                continue
            try:
                await self._settle(message, stop)
            except (BrokerUnavailableError, *_FAILURES) as error:
                # It was not answered for, so it comes again.
                _log.warning(
                    "a message could not be answered for: %s", _reason(error), extra={"subject": self._subject}
                )
                await wait(self._settings.reconnect_min_seconds, stop)

    async def _subscribe(self) -> tuple[_Session, JetStreamContext.PullSubscription]:
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
        message_id = (message.headers or {}).get(Header.MSG_ID.value)
        working = asyncio.create_task(self._say_at_work(message))
        try:
            arrived = Arrived(message.subject, message.data, headers, delivery, message_id)
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
                await self._bury(message, outcome, headers, delivery)
            await message.ack_sync(timeout=self._settings.publish_seconds)

    async def _say_at_work(self, message: Msg) -> None:
        """Keep the message: its handler may take longer than the server waits for a dead worker."""
        while True:
            await asyncio.sleep(self._settings.ack_seconds / 3)
            try:
                await message.in_progress()
            except _FAILURES as error:
                _log.debug("not said that a message is at work: %s", _reason(error))

    async def _bury(self, message: Msg, rejection: Rejection, headers: list[tuple[str, str]], delivery: int) -> None:
        """Store a dead letter; a repetition of that is stored once."""
        dead = dead_headers(rejection, message.subject, headers, delivery)
        dead[Header.MSG_ID.value] = f"{message.metadata.stream}-{message.metadata.sequence.stream}"
        _log.error(
            "a dead letter: %s: %s",
            rejection.reason.value,
            rejection.detail,
            extra={"subject": message.subject, "delivery": delivery},
        )
        await self._queue.store(self._queue.dead_stream, self._dead_subject, message.data, dead, is_cut=True)


def _header_bytes(headers: Mapping[str, str]) -> int:
    """Length of headers as NATS sends them: a line of the version, a line each, an empty one."""
    return 14 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


async def _ignore(_error: Exception) -> None:
    """Every failure also ends the connection or the call, which is where it is told."""


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
