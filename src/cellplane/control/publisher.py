"""Publishes: whatever the directory holds becomes the one current table, and waiters learn of it at once."""

import asyncio
from dataclasses import dataclass
from time import perf_counter

import structlog

from cellplane.control.metrics import Metrics
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory
from cellplane.errors import CellplaneError
from cellplane.routing import RoutingTable, compile_table, encode

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Publication:
    """A published table.

    Attributes:
        table: checked and readable.
        data: its bytes.
    """

    table: RoutingTable
    data: bytes

    @property
    def epoch(self) -> int:
        """The table's epoch."""
        return self.table.epoch

    @property
    def etag(self) -> str:
        """The table's checksum as an HTTP entity tag."""
        return f'"{self.table.sha256}"'

    def matches(self, if_none_match: str | None) -> bool:
        """Whether a request's ``If-None-Match`` names this table (RFC 9110, 13.1.2: weak comparison)."""
        tags = [] if if_none_match is None else [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        return "*" in tags or self.etag in tags


class NotPublishedError(CellplaneError):
    """There is no table yet."""

    def __init__(self) -> None:
        super().__init__("no table is published yet: the directory needs a fleet, a cell and the fleet's default pool")


class Publisher:
    """Keeps the current publication equal to the directory. Runs in one event loop."""

    def __init__(self, directory: Directory, settings: ControlSettings, metrics: Metrics) -> None:
        self._directory = directory
        self._settings = settings
        self._metrics = metrics
        self._current: Publication | None = None
        self._wanted = asyncio.Event()
        self._published = asyncio.Condition()

    @property
    def current(self) -> Publication | None:
        """The current publication, None as long as the directory describes no fleet that can be routed to."""
        return self._current

    def notify(self) -> None:
        """Say that the directory changed."""
        self._wanted.set()

    def require_current(self) -> Publication:
        """The current publication.

        Raises:
            NotPublishedError: there is none.
        """
        if self._current is None:
            raise NotPublishedError
        return self._current

    async def wait_for_other(self, if_none_match: str | None, timeout_seconds: float) -> None:
        """Return as soon as there is a publication that ``if_none_match`` does not name, or after the time-out."""
        try:
            async with asyncio.timeout(timeout_seconds), self._published:
                await self._published.wait_for(
                    lambda: self._current is not None and not self._current.matches(if_none_match)
                )
        except TimeoutError:
            pass

    async def run(self) -> None:
        """Publish whenever something changed, until cancelled. A failure leaves the current table and is retried."""
        self._wanted.set()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._settings.debounce_seconds)
            self._wanted.clear()
            try:
                await self._publish()
            except Exception as error:  # noqa: BLE001  # whatever it was: without this task nothing is published again
                self._metrics.publish_failures.inc()
                log.error("publish_failed", error=str(error) or repr(error), published=self._epoch())
                await asyncio.sleep(self._settings.retry_seconds)
                self._wanted.set()

    def _epoch(self) -> int | None:
        return None if self._current is None else self._current.epoch

    async def _publish(self) -> None:
        started = perf_counter()
        publication = await asyncio.to_thread(compile_publication, self._directory)
        if publication is None or (self._current is not None and publication.epoch == self._current.epoch):
            return
        assert self._current is None or publication.epoch > self._current.epoch, "epochs only grow"
        async with self._published:
            self._current = publication
            self._published.notify_all()
        seconds = perf_counter() - started
        self._metrics.published(publication.epoch, len(publication.data), seconds)
        log.info("published", epoch=publication.epoch, sha256=publication.table.sha256, bytes=len(publication.data))


def compile_publication(directory: Directory) -> Publication | None:
    """The publication of the directory as it is now, or None where there is nothing to route to yet.

    Raises:
        CellplaneError: the directory cannot be read, or no table can hold what it describes.
    """
    while True:
        found = directory.topology()
        if found is None or not found[0].cells or not found[0].pools:
            return None
        topology, epoch = found
        data = encode(compile_table(topology, epoch))
        table = RoutingTable(data)
        if directory.record_publication(epoch, table.sha256):
            return Publication(table, data)
        directory.republish(actor="control-plane")
