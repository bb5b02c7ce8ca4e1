"""Publishes: whatever the directory holds becomes the one current table, and waiters learn of it at once."""

import asyncio
from time import perf_counter

import structlog

from cellplane.control.distribution import Distribution
from cellplane.control.metrics import Metrics
from cellplane.control.publication import CompiledBase, Publication, compile_base, compile_publication
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory
from cellplane.errors import CellplaneError

log = structlog.get_logger()


class NotPublishedError(CellplaneError):
    """There is no table yet."""

    def __init__(self) -> None:
        super().__init__("no table is published yet: the directory needs a fleet, a cell and the fleet's default pool")


class Publisher:
    """Keeps the current publication equal to the directory. Runs in one event loop."""

    def __init__(
        self, directory: Directory, settings: ControlSettings, metrics: Metrics, distribution: Distribution
    ) -> None:
        self._directory = directory
        self._distribution = distribution
        self._settings = settings
        self._metrics = metrics
        self._current: Publication | None = None
        self._folded: CompiledBase | None = None
        self._folding: asyncio.Task[None] | None = None
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
        try:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(self._settings.debounce_seconds)
                self._wanted.clear()
                try:
                    await self._publish()
                except Exception as error:  # noqa: BLE001  # without this task nothing is ever published again
                    self._failed("publish_failed", error)
                    await asyncio.sleep(self._settings.retry_seconds)
                    self._wanted.set()
        finally:
            if self._folding is not None:
                self._folding.cancel()

    def _failed(self, what: str, error: Exception) -> None:
        self._metrics.publish_failures.inc()
        log.error(
            what, error=str(error) or repr(error), published=None if self._current is None else self._current.epoch
        )

    async def _publish(self) -> None:
        started = perf_counter()
        current = self._current
        # Taken now: a fold that ends while this is compiled is for the next.
        folded, self._folded = self._folded, None
        base = folded if folded is not None or current is None else current.base
        try:
            publication = await asyncio.to_thread(self._compile, current, base)
        except BaseException:
            self._put_back(folded)
            raise
        if publication is None:
            return
        async with self._published:
            self._current = publication
            self._published.notify_all()
        self._distribution.publish(publication.table)
        self._metrics.published(publication, perf_counter() - started)
        log.info(
            "published",
            epoch=publication.epoch,
            base=publication.base.table.epoch,
            sha256=publication.table.tag,
            bytes=len(publication.overlay or publication.base.data),
        )
        if self._is_to_fold(publication) and self._folding is None and self._folded is None:
            self._folding = asyncio.create_task(self._fold())

    def _compile(self, current: Publication | None, base: CompiledBase | None) -> Publication | None:
        publication = compile_publication(self._directory, current, base)
        if publication is not None:
            self._distribution.require_sound(publication.table)
        return publication

    def _put_back(self, folded: CompiledBase | None) -> None:
        if self._folded is None:
            self._folded = folded

    def _is_to_fold(self, publication: Publication) -> bool:
        changes = publication.epoch - publication.base.table.epoch
        return publication.overlay_tenants > self._settings.fold_tenants or changes > self._settings.fold_changes

    async def _fold(self) -> None:
        """Make the base that later overlays stand on, while changes go on being published on the one before."""
        try:
            folded = await asyncio.to_thread(compile_base, self._directory)
            current = self.require_current()
            if folded is not None and folded.table.epoch > current.base.table.epoch:
                self._folded = folded
                self._wanted.set()
        except Exception as error:  # noqa: BLE001  # the overlay before goes on, and grows
            self._failed("fold_failed", error)
        finally:
            self._folding = None
