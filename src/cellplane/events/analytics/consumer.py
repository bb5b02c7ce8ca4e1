"""Takes events from the stream, counts them, and tells JetStream after that: a batch is a transaction."""

import asyncio
import dataclasses
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from cellplane.events.analytics.errors import StoreError, StoreLockedError
from cellplane.events.analytics.facts import DeadLetter, Message, latest_time, read_message
from cellplane.events.analytics.holding import Holding
from cellplane.events.analytics.pull import Pull
from cellplane.events.analytics.settings import AnalyticsSettings
from cellplane.events.analytics.tables import WRITTEN, Store, Written
from cellplane.events.failures import CLOSING_FAILURES, NATS_FAILURES, ignored, told
from cellplane.events.stream import ensure_stream
from cellplane.events.subjects import EVERY_EVENT
from cellplane.faults import fault_point

FETCHED = "analytics-fetched"
"""Fault point: a batch has come, and nothing is written."""

COMMITTED = "analytics-committed"
"""Fault point: a batch is counted, and JetStream does not know."""

ACKED = "analytics-acked"
"""Fault point: JetStream was told."""

FAULT_POINTS = (FETCHED, WRITTEN, COMMITTED, ACKED)

_log = logging.getLogger("cellplane.analytics")


@dataclass(frozen=True, slots=True)
class AnalyticsStatus:
    """What a consumer did since its start."""

    counted: int = 0
    """Events that it counted."""

    duplicates: int = 0
    """That were counted before, and are not again."""

    dead: int = 0
    """Messages that cannot be counted."""

    pending: int | None = None
    """Messages of the stream that it has not fetched, as of the last look; None before that."""

    failures: int = 0
    """How often it had to begin anew."""

    reason: str = ""
    """Why it counts none now."""


class AnalyticsConsumer:
    """Counts all cells' events.

    Args:
        settings: from where, to where, and its limits.
        now: the time, with its offset from UTC.
        rng: of the random part of delays.
    """

    def __init__(
        self,
        settings: AnalyticsSettings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._rng = rng or random.Random()  # noqa: S311  # spreads delays
        self._status = AnalyticsStatus()
        self._pruned = datetime.min.replace(tzinfo=UTC)
        self._end: int | None = None

    def status(self) -> AnalyticsStatus:
        """What it did."""
        return self._status

    async def run(self, stop: asyncio.Event, *, until_end: bool = False) -> None:
        """Count until ``stop`` is set.

        Args:
            stop: ends it after the batch that is under way.
            until_end: end too once all is counted that the stream had at the start.

        Raises:
            StoreLockedError: another process has the store.
        """
        delay = self._settings.retry_min_seconds
        while not stop.is_set():
            before = self._status
            try:
                await self._work(stop, until_end=until_end)
            except StoreLockedError:
                raise
            except (StoreError, *NATS_FAILURES) as error:
                reason = str(error) if isinstance(error, StoreError) else f"the stream's NATS: {told(error)}"
                if reason != self._status.reason:
                    _log.warning("no events are counted", extra={"reason": reason})
                self._note(reason=reason, failures=before.failures + 1)
                if self._status.counted > before.counted:
                    delay = self._settings.retry_min_seconds
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay * self._rng.uniform(0.5, 1.0)):
                        await stop.wait()
                delay = min(2 * delay, self._settings.retry_max_seconds)
            else:
                return

    async def _work(self, stop: asyncio.Event, *, until_end: bool) -> None:
        holding = Holding(self._settings)
        client = Client()
        try:
            await holding.open()  # what is wrong with it is told before events are asked for
            jetstream = await self._connect(client)
            if until_end and self._end is None:
                self._end = (await jetstream.stream_info(self._settings.stream.name)).state.last_seq
            settings = self._settings
            pull = Pull(client, settings.stream.name, settings.consumer, settings.batch_max_bytes)
            await pull.open()
            self._note(reason="")
            busy = False
            while not stop.is_set():
                if until_end and await self._is_at_end(jetstream):
                    return
                await holding.rest(busy=busy)
                messages = await pull.fetch(settings.batch_messages, settings.fetch_seconds)
                if messages:
                    fault_point(FETCHED)
                    await self._count(holding, messages)
                    fault_point(COMMITTED)
                    for message in messages:
                        await message.ack()
                    fault_point(ACKED)
                await self._prune(holding)
                busy = len(messages) >= settings.batch_messages
        finally:
            with suppress(*CLOSING_FAILURES):
                async with asyncio.timeout(self._settings.close_seconds):
                    await client.close()  # which sends what is not sent yet
            await holding.close()

    async def _connect(self, client: Client) -> JetStreamContext:
        settings = self._settings
        async with asyncio.timeout(settings.connect_seconds):
            await client.connect(
                settings.events_url,
                name=f"cellplane-analytics/{settings.consumer}",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                ping_interval=settings.ping_seconds,
                error_cb=ignored,
            )
            jetstream = client.jetstream(timeout=settings.connect_seconds)
            await ensure_stream(jetstream, settings.stream)
            await jetstream.add_consumer(
                settings.stream.name,
                ConsumerConfig(
                    durable_name=settings.consumer,
                    filter_subject=EVERY_EVENT,
                    deliver_policy=DeliverPolicy.ALL,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=settings.ack_seconds,
                    max_ack_pending=4 * settings.batch_messages,
                    # What cannot be counted is a dead letter; an outage of the store must use up no tries.
                    max_deliver=-1,
                ),
            )
        return jetstream

    async def _count(self, holding: Holding, messages: Sequence[Msg]) -> None:
        now = self._now()
        latest = latest_time(now, self._settings.max_future_seconds)
        read = [
            read_message(Message(m.metadata.sequence.stream, m.subject, m.data), self._settings.sums, latest)
            for m in messages
        ]
        dead = [each for each in read if isinstance(each, DeadLetter)]
        facts = [each for each in read if not isinstance(each, DeadLetter)]

        def write(store: Store) -> Written:
            return store.write(
                facts,
                dead,
                _plain(now),
                dead_letters_max=self._settings.dead_letters_max,
                dead_letter_chars=self._settings.dead_letter_chars,
            )

        written = await holding.use(write)
        self._note(
            counted=self._status.counted + written.new,
            duplicates=self._status.duplicates + written.duplicates,
            dead=self._status.dead + written.dead,
            pending=messages[-1].metadata.num_pending,
        )
        for each in dead:
            _log.warning("a message cannot be counted", extra={"seq": each.message.seq, "reason": each.reason})

    async def _prune(self, holding: Holding) -> None:
        now = self._now()
        if (now - self._pruned).total_seconds() < self._settings.prune_seconds:
            return
        self._pruned = now
        settings = self._settings
        await holding.use(lambda store: store.prune(_plain(now), settings.horizon_seconds, settings.prune_rows))

    async def _is_at_end(self, jetstream: JetStreamContext) -> bool:
        info = await jetstream.consumer_info(self._settings.stream.name, self._settings.consumer)
        floor = (info.ack_floor.stream_seq if info.ack_floor else 0) or 0
        assert self._end is not None, "found out at the start"
        self._note(pending=info.num_pending)
        return floor >= self._end or (info.num_pending == 0 and info.num_ack_pending == 0)

    def _note(self, **values: object) -> None:
        self._status = dataclasses.replace(self._status, **values)  # type: ignore[arg-type]  # fields, by name


def _plain(time: datetime) -> datetime:
    """UTC, without saying so, as stores keep it."""
    return time.astimezone(UTC).replace(tzinfo=None)
