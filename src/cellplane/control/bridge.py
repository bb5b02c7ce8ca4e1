"""The bridge: carries what becomes of moves from the change log to a stream outside, so that other systems react.

The stream itself remembers how far the bridge is: each message has the epoch of its entry, and whoever begins, after a
crash or as the next leader, goes on behind the last. An entry that is published twice for all that has the same id,
which JetStream knows for ``duplicate_window_seconds``.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from cellplane.control.feed import ChangeFeed
from cellplane.control.history_schemas import event_of
from cellplane.control.metrics import Metrics
from cellplane.control.settings import BridgeSettings
from cellplane.directory import Change, Directory, Leadership
from cellplane.directory.history import ChangeFilter
from cellplane.directory.moving import KIND as MOVE
from cellplane.errors import CellplaneError
from cellplane.events.event import CONTENT_TYPE
from cellplane.events.failures import CLOSING_FAILURES, NATS_FAILURES, ignored, told
from cellplane.events.subjects import token_of
from cellplane.faults import fault_point

log = structlog.get_logger()

EPOCH_HEADER = "Cellplane-Epoch"
"""Header of a message with the number of its entry of the log."""

PUBLISHED = "bridge.published"
"""Fault point: the stream has an entry, and nobody here knows."""


class Bridge:
    """Carries entries of the log as long as this process leads.

    Args:
        settings: where to.
        directory: that has the log.
        feed: tells of new entries.
        leadership: of this process.
        metrics: what is shown.
    """

    def __init__(
        self,
        settings: BridgeSettings,
        directory: Directory,
        feed: ChangeFeed,
        leadership: Leadership,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._feed = feed
        self._leadership = leadership
        self._metrics = metrics

    async def run(self) -> None:
        """Carry, until cancelled. After a failure it begins anew, without end."""
        while True:
            try:
                if self._leadership.leads:
                    await self._carry()
            except (*NATS_FAILURES, CellplaneError) as error:
                self._metrics.bridge_failures.inc()
                log.warning("bridge_failed", error=told(error))
            finally:
                self._metrics.bridges.set(0)
            await asyncio.sleep(self._settings.retry_seconds)

    async def _carry(self) -> None:
        fleet = await asyncio.to_thread(self._directory.fleet)
        async with self._connected() as jetstream:
            last = await self._last_epoch(jetstream, fleet.name)
            self._metrics.bridges.set(1)
            async with aclosing(self._feed.watch(last, ChangeFilter(kind=MOVE))) as changes:
                async for change in changes:
                    if not self._leadership.leads:
                        return
                    if change is not None:
                        await self._publish(jetstream, fleet.name, change)

    async def _publish(self, jetstream: JetStreamContext, fleet: str, change: Change) -> None:
        headers = {
            "Nats-Msg-Id": f"{fleet}/{change.epoch}",
            "Content-Type": CONTENT_TYPE,
            EPOCH_HEADER: str(change.epoch),
        }
        subject = f"{prefix_of(fleet)}.{token_of(change.id)}.{event_of(change)}"
        await jetstream.publish(subject, event_body(fleet, change), timeout=self._settings.ack_seconds, headers=headers)
        fault_point(PUBLISHED)
        self._metrics.bridged.inc()

    async def _last_epoch(self, jetstream: JetStreamContext, fleet: str) -> int:
        """The epoch of the last entry that the stream has; where it has none, of the last that it would not keep."""
        try:
            message = await jetstream.get_last_msg(self._settings.stream, f"{prefix_of(fleet)}.>")
        except NotFoundError:
            return await asyncio.to_thread(self._first_kept)
        return int((message.headers or {}).get(EPOCH_HEADER, "0"))

    def _first_kept(self) -> int:
        oldest = self._directory.now() - timedelta(seconds=self._settings.max_age_seconds)
        after = 0
        with self._directory.snapshot() as snapshot:
            while page := snapshot.history(ChangeFilter(kind=MOVE), limit=PAGE_CHANGES, after=after):
                for change in page:
                    if datetime.fromisoformat(change.at).astimezone(UTC) >= oldest:
                        return after
                    after = change.epoch
        return after

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[JetStreamContext]:
        """A connection, and the stream, which is made where it is not there."""
        settings, client = self._settings, Client()
        try:
            async with asyncio.timeout(settings.connect_seconds):
                await client.connect(
                    settings.url,
                    name="cellplane-control",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=settings.ping_seconds,
                    error_cb=ignored,
                )
                jetstream = client.jetstream(timeout=settings.connect_seconds)
                await self._ensure_stream(jetstream)
            yield jetstream
        finally:
            with suppress(*CLOSING_FAILURES):
                async with asyncio.timeout(settings.close_seconds):
                    await client.close()

    async def _ensure_stream(self, jetstream: JetStreamContext) -> None:
        settings = self._settings
        try:
            await jetstream.stream_info(settings.stream)
        except NotFoundError:
            config = StreamConfig(
                name=settings.stream,
                subjects=[EVERY_EVENT],
                retention=RetentionPolicy.LIMITS,
                storage=StorageType.FILE,
                # What is old goes: the log has it, and nobody's moves wait for those who read.
                discard=DiscardPolicy.OLD,
                max_bytes=settings.max_bytes,
                max_age=settings.max_age_seconds,
                duplicate_window=settings.duplicate_window_seconds,
                num_replicas=settings.replicas,
            )
            with suppress(BadRequestError):  # another made it meanwhile, with other settings
                await jetstream.add_stream(config)


PREFIX = "control"
EVERY_EVENT = f"{PREFIX}.>"

PAGE_CHANGES = 500
"""Entries that are read at once, of a log of before."""


def prefix_of(fleet: str) -> str:
    """What the subjects of a fleet's events begin with."""
    return f"{PREFIX}.{token_of(fleet)}"


def event_body(fleet: str, change: Change) -> bytes:
    """An entry of the log as a CloudEvent in JSON (CloudEvents 1.0, structured mode)."""
    event = {
        "specversion": "1.0",
        "id": f"{fleet}/{change.epoch}",
        "source": f"/fleets/{token_of(fleet)}",
        "type": event_of(change),
        "time": change.at,
        "datacontenttype": "application/json",
        "tenantid": change.id,
        "cellepoch": change.epoch,
        "data": change.after,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
