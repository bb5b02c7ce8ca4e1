"""Publishes: whatever the directory holds becomes the one current table, and waiters learn of it at once."""

import asyncio
from dataclasses import dataclass
from time import perf_counter

import structlog

from cellplane.control.distribution import Distribution
from cellplane.control.metrics import Metrics
from cellplane.control.publication import (
    CompiledBase,
    Publication,
    compile_base,
    compile_publication,
    last_publication,
)
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory, Leadership
from cellplane.errors import CellplaneError, FencedError, TableError
from cellplane.publishing.guard_rails import Violation, violations

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Held:
    """A table that is not published: its epoch, and which guard rails it would break."""

    epoch: int
    violations: tuple[Violation, ...]


class HeldError(CellplaneError):
    """A table would do more than may be done unasked."""

    def __init__(self, held: Held) -> None:
        super().__init__("; ".join(each.text for each in held.violations))
        self.held = held


class NotPublishedError(CellplaneError):
    """There is no table yet."""

    def __init__(self) -> None:
        super().__init__("no table is published yet: the directory needs a fleet, a cell and the fleet's default pool")


class Publisher:
    """Keeps the current publication equal to the directory, or, where another process leads, to what that publishes.
    Runs in one event loop.

    Args:
        leadership: this process' part in who leads; ``run`` renews it.
        distribution: what becomes of a table beside the API.
    """

    def __init__(
        self,
        directory: Directory,
        leadership: Leadership,
        settings: ControlSettings,
        metrics: Metrics,
        distribution: Distribution,
    ) -> None:
        self._directory = directory
        self._leadership = leadership
        self._distribution = distribution
        self._settings = settings
        self._metrics = metrics
        self._current: Publication | None = None
        self._held: Held | None = None
        self._distributed = ""
        self._folded: CompiledBase | None = None
        self._folding: asyncio.Task[None] | None = None
        # Asked, not told: a leader that waits for its database leads no more when its lease is over.
        metrics.leads.set_function(lambda: leadership.leads)
        self._last_run = (0.0, 0.0)
        self._wanted = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._published = asyncio.Condition()

    @property
    def current(self) -> Publication | None:
        """The current publication, None as long as the directory describes no fleet that can be routed to."""
        return self._current

    @property
    def held(self) -> Held | None:
        """What is not published, since it would do more than may be done unasked; None where all is."""
        return self._held

    def notify(self) -> None:
        """Say that the directory changed."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self._wanted.set()

    def notify_later(self) -> None:
        """Say that the directory changed, and is about to change more: of a burst that ends here, too, all is told."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(self._settings.quiet_seconds, self.notify)

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
        """Publish whenever something changed, or follow who does, until cancelled. After a failure the current table
        stays, and it is tried again.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._publish_or_follow())
            if self._directory.is_shared:
                tasks.create_task(self._campaign())
                tasks.create_task(self._look())

    async def _publish_or_follow(self) -> None:
        self._wanted.set()
        try:
            while True:
                await self._wanted.wait()
                await asyncio.sleep(self._gather_seconds())
                self._wanted.clear()
                try:
                    # First: what was published is given out also where the disk is too full to lead.
                    await self._follow()
                    if not self._directory.is_shared and not self._leadership.leads:
                        await asyncio.to_thread(self._leadership.campaign)
                    if self._leadership.leads:
                        self._distribute()
                        await self._publish()
                        self._distribute()
                except HeldError as error:
                    self._hold(error)
                except FencedError as error:
                    log.warning("fenced", error=str(error))
                    await asyncio.sleep(self._settings.retry_seconds)
                except Exception as error:  # noqa: BLE001  # without this task nothing is ever published again
                    self._failed("publish_failed", error)
                    await asyncio.sleep(self._settings.retry_seconds)
                    self._wanted.set()
        finally:
            if self._folding is not None:
                self._folding.cancel()

    def _gather_seconds(self) -> float:
        """How long to gather changes now: a moment, and longer where publications follow one another, as they use the
        processor and the disk that changes need, too.
        """
        settings, (ended, took) = self._settings, self._last_run
        pause = min(settings.max_debounce_seconds, settings.debounce_share * took)
        return max(settings.debounce_seconds, ended + pause - perf_counter())

    async def _campaign(self) -> None:
        """Lead where nobody else does; say so again in time."""
        led = False
        while True:
            try:
                leads = await asyncio.to_thread(self._leadership.campaign)
            except CellplaneError as error:
                leads = self._leadership.leads
                log.error("election_failed", error=str(error), leads=leads)
            if leads != led:
                led = leads
                log.info("leads" if leads else "follows", token=self._leadership.token)
                self._wanted.set()
            await asyncio.sleep(self._settings.campaign_seconds)

    async def _look(self) -> None:
        """Notice what other processes change and publish."""
        while True:
            await asyncio.sleep(self._settings.follow_seconds)
            try:
                changed, published = await asyncio.to_thread(self._directory.heads)
            except CellplaneError as error:
                log.warning("directory_unreachable", error=str(error))
                await asyncio.sleep(self._settings.retry_seconds)
                continue
            current = 0 if self._current is None else self._current.epoch
            seen = current if self._held is None else self._held.epoch
            if published > current or (self._leadership.leads and changed > seen):
                self._wanted.set()

    async def _follow(self) -> None:
        """Take what is published by whomever, where it is later than what is known here."""
        if self._current is not None and not self._directory.is_shared:
            return
        try:
            publication = await asyncio.to_thread(last_publication, self._directory, self._current)
        except TableError as error:
            # Of another release, say: compiled anew by whoever leads.
            log.warning("publication_unreadable", error=str(error))
            return
        if publication is not None:
            await self._announce(publication)

    async def _announce(self, publication: Publication) -> None:
        self._held = None
        self._metrics.held.set(0)
        self._metrics.published(publication)
        async with self._published:
            self._current = publication
            self._published.notify_all()

    def _distribute(self) -> None:
        """Bring the current table to the targets, once, also where it was published by one that died before it did."""
        if self._current is not None and self._current.table.tag != self._distributed:
            self._distribution.publish(self._current.table)
            self._distributed = self._current.table.tag

    def _hold(self, error: HeldError) -> None:
        """Leave the current table until something changes, or somebody allows it."""
        if self._held != error.held:
            log.warning("publication_held", epoch=error.held.epoch, why=[each.text for each in error.held.violations])
        self._held = error.held
        self._metrics.held.set(1)

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
            publication = await asyncio.to_thread(
                compile_publication, self._directory, self._leadership, current, base, self._approve
            )
        except BaseException:
            self._put_back(folded)
            raise
        if publication is None:
            return
        await self._announce(publication)
        ended = perf_counter()
        self._last_run = (ended, ended - started)
        self._metrics.publish_seconds.observe(ended - started)
        log.info(
            "published",
            epoch=publication.epoch,
            base=publication.base.table.epoch,
            sha256=publication.table.tag,
            bytes=len(publication.overlay or publication.base.data),
        )
        if self._is_to_fold(publication) and self._folding is None and self._folded is None:
            self._folding = asyncio.create_task(self._fold())

    def _approve(self, publication: Publication) -> None:
        """Raise where a publication is not sound, or does more than may be done unasked. Blocking."""
        self._distribution.require_sound(publication.table)
        current, rails = self._current, self._settings.guard_rails
        if current is None or rails is None:
            return
        found = violations(current.table, publication.table, rails)
        if found:
            with self._directory.snapshot() as snapshot:
                is_allowed = snapshot.is_allowed(current.epoch)
            if not is_allowed:
                raise HeldError(Held(publication.epoch, tuple(found)))

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
