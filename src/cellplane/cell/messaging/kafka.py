"""A cell's queues in Kafka (extra ``kafka``), by the same names as in NATS::

    subjects = CellSubjects("cell-3")
    queue = CellKafka("broker:9092", subjects, ["orders"])
    queue.open()                                             # needs no broker yet
    await queue.publish(subjects.own("orders"), b"…")        # in a context, whose tenant it is for
    await queue.consumer("orders", handle).run(stop)         # until the event is set

The tenant is the key, so the messages of one tenant are handled in their order, at least once. Kafka counts no
deliveries: a message is tried again where it is, before those behind it, and one that kills its worker comes again
until somebody takes it out.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ConsumerStoppedError, KafkaError, MessageSizeTooLargeError, for_code

from cellplane.cell.door import nobody_moved
from cellplane.cell.errors import BrokerUnavailableError, InvalidMessageError
from cellplane.cell.messaging.handling import Arrived, Desk, Failed, Stopped, tell_dead, wait
from cellplane.cell.messaging.message import DEAD_PREFIX, MESSAGE_ID, Handler, dead_headers, outgoing, retry_seconds
from cellplane.cell.messaging.settings import MessagingSettings
from cellplane.cell.messaging.subjects import CellSubjects

_log = logging.getLogger("cellplane.cell.messaging")

CUT_BYTES = 64 * 1024
"""What is kept of a dead letter that is too large with what it says of itself, bytes."""

_FAILURES = (KafkaError, ConsumerStoppedError, OSError, TimeoutError)
_SETTINGS = MessagingSettings()
_TOPIC_EXISTS = 36  # TOPIC_ALREADY_EXISTS of Kafka's protocol


class CellKafka:
    """One cell's producer. A task starts it, over every failure to; once started it finds its brokers again by itself.

    Args:
        bootstrap: host and port of the cell's brokers, with commas between.
        subjects: of this cell.
        bases: the kinds of work that it queues, such as ``orders``; topics that are missing are made.
        name: of this process, for people who look at the broker's clients.
        settings: times and limits.
        client: further arguments of aiokafka's clients, such as those of TLS and SASL.

    Raises:
        InvalidSettingError: a kind of work cannot be part of a topic.
    """

    def __init__(
        self,
        bootstrap: str,
        subjects: CellSubjects,
        bases: Iterable[str],
        *,
        name: str = "",
        settings: MessagingSettings = _SETTINGS,
        client: Mapping[str, Any] | None = None,
    ) -> None:
        self.brokers = tuple(each.strip() for each in bootstrap.split(","))
        self.subjects = subjects
        self.settings = settings
        self._bases = list(bases)
        self._topics = [topic for base in self._bases for topic in (subjects.own(base), subjects.dead(base))]
        self.client = {"bootstrap_servers": list(self.brokers), "client_id": name or subjects.cell_id, **(client or {})}
        self._producer: AIOKafkaProducer | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to connect. It needs no broker yet."""
        assert self._keeper is None, "a queue is opened once"
        self._keeper = asyncio.create_task(self._start())

    async def close(self) -> None:
        """Give up the connection, after what is on its way."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper}, timeout=self.settings.close_seconds)
        producer, self._producer = self._producer, None
        if producer is not None:
            await _discard(producer.stop, self.settings.close_seconds)

    async def publish(
        self,
        topic: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        message_id: str | None = None,
    ) -> None:
        """Queue work for the tenant of the context; returns when all replicas that are in sync have it.

        Args:
            topic: of this cell, by ``CellSubjects.own``.
            data: the work.
            headers: of the app.
            message_id: given to the handler, which has to know what it has done already.

        Raises:
            NoCellContextError: nobody knows for whom it is.
            ForeignSubjectError: the topic is another cell's.
            InvalidMessageError: it is too large, or a header cannot be one.
            BrokerUnavailableError: it is not known to be stored.
        """
        context, all_headers = outgoing(self.subjects, topic, data, headers, self.settings)
        if message_id is not None:
            all_headers[MESSAGE_ID] = message_id
        await self.store(topic, data, all_headers, context.tenant_id.encode())

    def consumer(
        self,
        base: str,
        handle: Handler,
        *,
        durable: str = "workers",
        moved: Callable[[str], int | None] = nobody_moved,
        on_moved: Handler | None = None,
    ) -> "KafkaConsumer":
        """Who handles one kind of work. All processes of a cell share its partitions.

        Args:
            base: the kind of work, such as ``orders``.
            handle: does a message's work.
            durable: the consumer group's name, before that of the topic.
            moved: the epoch by which a tenant is another cell's; ``Moves.moved`` is one.
            on_moved: takes the messages of tenants that were given away; without it they are dead letters.
        """
        assert base in self._bases, f"{base} is none of the kinds of work that this queue was made for"
        return KafkaConsumer(self, base, durable, Desk(self.subjects, handle, moved, on_moved, self.settings))

    async def store(self, topic: str, data: bytes, headers: Mapping[str, str], key: bytes | None) -> None:
        """Publish, and wait until it is stored; for this package.

        Raises:
            BrokerUnavailableError: it is not known to be.
            InvalidMessageError: it is more than the broker takes.
        """
        lines = [(name, value.encode()) for name, value in headers.items()]
        try:
            async with asyncio.timeout(self.settings.publish_seconds):
                async with asyncio.timeout(self.settings.connection_wait_seconds):
                    while self._producer is None:
                        self._ready.clear()
                        await self._ready.wait()
                await self._producer.send_and_wait(topic, data, key=key, headers=lines)
        except MessageSizeTooLargeError as error:
            raise InvalidMessageError(
                f"{topic}: {len(data)} bytes with headers are more than the broker takes"
            ) from error
        except _FAILURES as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> BrokerUnavailableError:
        reason = "no connection or no answer in time" if isinstance(error, TimeoutError) else _reason(error)
        return BrokerUnavailableError(",".join(self.brokers), reason)

    async def _start(self) -> None:
        pause_seconds = self.settings.reconnect_min_seconds
        while True:
            producer = AIOKafkaProducer(
                **self.client,
                acks="all",
                enable_idempotence=True,
                # What is not sent in this time is not sent at all: its publisher was told that it failed.
                request_timeout_ms=int(self.settings.publish_seconds * 1000),
                max_request_size=2 * self.settings.max_message_bytes,
            )
            try:
                async with asyncio.timeout(self.settings.connect_seconds):
                    await producer.start()
                    await self._have_topics()
            except _FAILURES as error:
                _log.warning("cannot connect: %s", _reason(error), extra={"broker": ",".join(self.brokers)})
                await _discard(producer.stop, self.settings.close_seconds)
            except BaseException:
                await _discard(producer.stop, self.settings.close_seconds)
                raise
            else:
                self._producer = producer
                self._ready.set()
                _log.info("connected", extra={"broker": ",".join(self.brokers)})
                return
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, self.settings.reconnect_max_seconds)

    async def _have_topics(self) -> None:
        """Make the topics that are missing; a broker that lets others do so only is not asked again."""
        admin = AIOKafkaAdminClient(**self.client)
        try:
            await admin.start()
            wanted = [NewTopic(topic, self.settings.partitions, self.settings.replicas) for topic in self._topics]
            answer = await admin.create_topics(wanted)
            for topic, code, *_ in answer.topic_errors:
                if code not in (0, _TOPIC_EXISTS):
                    _log.warning("topic %s was not made: %s", topic, for_code(code).__name__)
        finally:
            await _discard(admin.close, self.settings.close_seconds)


class KafkaConsumer:
    """Handles one kind of work, over every loss of the brokers. ``CellKafka.consumer`` makes it."""

    def __init__(self, queue: CellKafka, base: str, durable: str, desk: Desk) -> None:
        self._queue = queue
        self._settings = queue.settings
        self._topic = queue.subjects.own(base)
        self._dead_topic = queue.subjects.dead(base)
        self._group = f"{durable}.{self._topic}"
        self._desk = desk

    async def run(self, stop: asyncio.Event) -> None:
        """Handle messages until ``stop`` is set; then what is in hand, for at most ``stop_seconds``."""
        pause_seconds = self._settings.reconnect_min_seconds
        while not stop.is_set():
            client = AIOKafkaConsumer(
                **self._queue.client,
                group_id=self._group,
                enable_auto_commit=False,
                # A topic that is not there yet is looked for so often.
                metadata_max_age_ms=int(self._settings.reconnect_max_seconds * 1000),
                auto_offset_reset="earliest",
            )
            work = _Partitions(self, client, stop)
            try:
                async with asyncio.timeout(self._settings.connect_seconds):
                    await client.start()
                client.subscribe([self._topic], listener=work)
                pause_seconds = self._settings.reconnect_min_seconds
                await work.run()
            except (BrokerUnavailableError, *_FAILURES) as error:
                # What was not committed comes again.
                _log.warning("the consumer begins anew: %s", _reason(error), extra={"subject": self._topic})
            finally:
                await work.end(self._settings.stop_seconds if stop.is_set() else 0)
                await _discard(client.stop, self._settings.close_seconds)
            await wait(pause_seconds, stop)
            pause_seconds = min(2 * pause_seconds, self._settings.reconnect_max_seconds)

    async def settle(self, record: ConsumerRecord, stop: asyncio.Event) -> bool:
        """Do what is to be done about one message; False where a stop came in between. For this package.

        Raises:
            BrokerUnavailableError: a dead letter is not known to be stored.
        """
        headers = [(name, value.decode("utf-8", "replace")) for name, value in record.headers]
        data, message_id = record.value or b"", dict(headers).get(MESSAGE_ID)
        delivery = 1
        while True:
            arrived = Arrived(record.topic, data, headers, delivery, message_id)
            outcome = await self._desk.take(arrived, stop)
            if isinstance(outcome, Stopped):
                return False
            if isinstance(outcome, Failed):
                await wait(retry_seconds(self._settings, delivery), stop)
                if stop.is_set():
                    return False
                delivery += 1
                continue
            if outcome is not None:
                dead = dead_headers(outcome, record.topic, headers, delivery)
                dead[MESSAGE_ID] = f"{record.topic}-{record.partition}-{record.offset}"
                tell_dead(outcome, arrived)
                await self._bury(record, dead)
            return True

    async def _bury(self, record: ConsumerRecord, dead: dict[str, str]) -> None:
        data = record.value or b""
        try:
            await self._queue.store(self._dead_topic, data, dead, record.key)
        except InvalidMessageError:
            dead[f"{DEAD_PREFIX}cut-from-bytes"] = str(len(data))
            await self._queue.store(self._dead_topic, data[:CUT_BYTES], dead, record.key)


class _Partitions(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """What one connection has in hand: each partition's messages one by one, the partitions at once.

    A partition that has something in hand is paused, and the broker is asked on meanwhile: a consumer that does not ask
    is taken for dead.
    """

    def __init__(self, consumer: KafkaConsumer, client: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        self._consumer = consumer
        self._client = client
        self._stop = stop
        self._settings = consumer._settings  # noqa: SLF001
        self._records: dict[TopicPartition, deque[ConsumerRecord]] = {}
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until a stop, or an error."""
        stopping = asyncio.create_task(self._stop.wait())
        fetching: asyncio.Task[Any] | None = None
        try:
            while not self._stop.is_set():
                if fetching is None:
                    milliseconds = int(self._settings.fetch_seconds * 1000)
                    fetching = asyncio.create_task(self._client.getmany(timeout_ms=milliseconds, max_records=100))
                await asyncio.wait({fetching, stopping, *self._tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
                if fetching.done():
                    for partition, records in fetching.result().items():
                        self._begin(partition, records)
                    fetching = None
                for partition, task in [*self._tasks.items()]:
                    if task.done():
                        task.result()
                        del self._tasks[partition]
                        if partition in self._client.assignment():
                            self._client.resume(partition)
        finally:
            stopping.cancel()
            if fetching is not None:
                fetching.cancel()
                await asyncio.wait({fetching})

    async def end(self, seconds: float) -> None:
        """Wait so long for what is in hand, and then cut it off."""
        tasks = set(self._tasks.values())
        self._records.clear()
        if tasks and seconds:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let go of partitions that another process will have."""
        gone = [task for partition, task in self._tasks.items() if partition in set(revoked)]
        for partition in revoked:
            self._records.pop(partition, None)
            self._tasks.pop(partition, None)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin where the group is."""

    def _begin(self, partition: TopicPartition, records: Iterable[ConsumerRecord]) -> None:
        if partition not in self._client.assignment():
            return
        self._client.pause(partition)
        self._records.setdefault(partition, deque()).extend(records)
        if partition not in self._tasks:
            self._tasks[partition] = asyncio.create_task(self._handle(partition))

    async def _handle(self, partition: TopicPartition) -> None:
        waiting = self._records[partition]
        while waiting:
            record = waiting.popleft()
            if self._stop.is_set() or not await self._consumer.settle(record, self._stop):
                return
            await self._client.commit({partition: record.offset + 1})


async def _discard(end: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    """End what may already be broken: that this fails changes nothing, so it is only noted."""
    try:
        async with asyncio.timeout(seconds):
            await end()
    except _FAILURES as error:
        _log.debug("closing failed: %s", _reason(error))


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())
