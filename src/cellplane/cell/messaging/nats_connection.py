"""A cell's connection to its JetStream: kept without end, with the streams that it needs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NoStreamResponseError, NotFoundError

from cellplane.cell.errors import BrokerUnavailableError, InvalidMessageError
from cellplane.cell.messaging.message import DEAD_PREFIX
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

T = TypeVar("T")

_log = logging.getLogger("cellplane.cell.messaging")

DEFAULT_PORT = 4222
CUT_BYTES = 64 * 1024
"""What is kept of a dead letter that is too large with what it says of itself, bytes."""

FAILURES = (nats.errors.Error, OSError, TimeoutError, asyncio.IncompleteReadError)
"""What nats-py raises where the server is away, or refuses."""

_CUT_FROM = f"{DEAD_PREFIX}cut-from-bytes"
_NAME_IN_USE = 10058
"""``err_code`` of JetStream: there is such a stream."""

_DAY_SECONDS = 24 * 60 * 60
_SETTINGS = MessagingSettings()


@dataclass(frozen=True)
class Session:
    """One connection's life; another connection is another session."""

    client: Client
    stream: JetStreamContext


class NatsConnection:
    """What ``CellNats`` and its consumers share. A task keeps it, without end; streams that are missing are made.

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
        self.bases = list(bases)
        self._own = [subjects.own(base) for base in self.bases]
        self._session: Session | None = None
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

        async def publish(session: Session) -> None:
            # The server counts headers as well, and hangs up where the client does not.
            room = session.client.max_payload - _header_bytes(headers)
            body, its_headers = data, headers
            if len(data) > room:
                if not is_cut:
                    raise InvalidMessageError(
                        f"{subject}: expected at most {session.client.max_payload} bytes with headers, which is "
                        f"what the server takes; found {len(data)} and headers"
                    )
                its_headers = {**headers, _CUT_FROM: str(len(data))}
                body = data[: max(0, min(CUT_BYTES, room - 2 * len(_CUT_FROM)))]
            await session.stream.publish(
                subject, body, timeout=self.settings.publish_seconds, stream=stream, headers=its_headers
            )

        await self.ask(publish)

    async def ask(self, question: Callable[[Session], Awaitable[T]]) -> T:
        """Put a question to the broker, within ``publish_seconds``; for this package.

        Raises:
            BrokerUnavailableError: it has no answer, or there is no connection.
        """
        try:
            with _cancellation_kept():
                async with asyncio.timeout(self.settings.publish_seconds):
                    async with asyncio.timeout(self.settings.connection_wait_seconds):
                        session = await self.connected()
                    return await question(session)
        except (NoStreamResponseError, NotFoundError) as error:
            self.renew()
            raise self.unavailable(error) from error
        except FAILURES as error:
            raise self.unavailable(error) from error

    async def connected(self) -> Session:
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
        reason = "no connection or no answer in time" if isinstance(error, TimeoutError) else reason_of(error)
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
            except FAILURES as error:
                _log.warning("cannot connect: %s", reason_of(error), extra={"broker": broker})
            finally:
                self._session = None
                self._is_stale = False
                await self._discard(client)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self.settings.reconnect_max_seconds)

    async def _connect(self, client: Client) -> Session:
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
        await self._have_stream(stream, self._dead(), [self.subjects.dead(base) for base in self.bases])
        return Session(client, stream)

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
        except BadRequestError as error:
            if error.err_code != _NAME_IN_USE:
                raise
            await stream.update_stream(config)  # it exists with other settings, those of an earlier release

    async def _discard(self, client: Client) -> None:
        """Close what may already be broken: that this fails changes nothing, so it is only noted."""
        try:
            async with asyncio.timeout(self.settings.close_seconds):
                await client.close()
        except (*FAILURES, AttributeError, RuntimeError, AssertionError) as error:
            _log.debug("closing failed: %s", reason_of(error))


@contextmanager
def _cancellation_kept() -> Iterator[None]:
    """A task that is cancelled in the block is cancelled behind it, also where the block has an answer all the same.

    ``asyncio.wait_for`` of Python 3.11, by which nats-py waits, forgets a cancellation that comes with the answer.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    try:
        yield
    finally:
        if task.cancelling() > before:
            raise asyncio.CancelledError


def _header_bytes(headers: Mapping[str, str]) -> int:
    """Length of headers as NATS sends them: a line of the version, a line each, an empty one."""
    return 14 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


async def _ignore(_error: Exception) -> None:
    """Every failure also ends the connection or the call, which is where it is told."""


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__} {error}".split())
