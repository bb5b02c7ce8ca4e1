"""The keeper of capacity: while this process leads, it locks and unlocks cells, keeps samples, and has cells made."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from typing import TypeVar

import structlog

from cellplane.capacity.growth import Ask
from cellplane.capacity.locks import Change
from cellplane.control.capacity.growing import Grower
from cellplane.control.capacity.looking import Look, Lookout
from cellplane.control.capacity.scraper import Scraper
from cellplane.control.metrics import Metrics
from cellplane.control.publication import ACTOR
from cellplane.control.settings import ControlSettings
from cellplane.directory import Author, Directory, Leadership
from cellplane.directory.capacity import CellAsk, span_of
from cellplane.errors import FencedError
from cellplane.model import Cell, CellStatus

log = structlog.get_logger()

Done = TypeVar("Done")


class CapacityKeeper:
    """Looks now and then, and acts on it. Runs in one event loop; all that it decides is kept in the directory.

    Args:
        scraper: of cells that do not report; None asks none.
        grower: None where people make cells.
        changed: called after each change of the directory.
    """

    def __init__(
        self,
        directory: Directory,
        leadership: Leadership,
        lookout: Lookout,
        *,
        settings: ControlSettings,
        metrics: Metrics,
        changed: Callable[[], None],
        scraper: Scraper | None = None,
        grower: Grower | None = None,
    ) -> None:
        self._directory = directory
        self._leadership = leadership
        self._lookout = lookout
        self._settings = settings
        self._metrics = metrics
        self._changed = changed
        self._scraper = scraper
        self._grower = grower
        self._kept: dict[str, str] = {}
        self._not_asked: dict[str, str] = {}

    async def run(self) -> None:
        """Look and act, until cancelled. A failure is said, and the next round tries again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._forever(self._watch))
                if self._grower is not None:
                    tasks.create_task(self._forever(self._grow))
        finally:
            if self._scraper is not None:
                await self._scraper.close()

    async def _forever(self, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(self._settings.capacity_seconds)
            if not self._leadership.leads:
                self._metrics.capacity.clear()
                continue
            try:
                await act()
            except FencedError as error:
                log.warning("fenced", error=str(error))
            except Exception as error:  # noqa: BLE001  # without this task no cell is ever locked again
                self._metrics.capacity.failures.inc()
                log.error("capacity_failed", error=str(error) or repr(error))

    async def _watch(self) -> None:
        if self._scraper is not None:
            await self._scraper.scrape(await to_the_end(self._cells))
        look = await to_the_end(self._keep)
        self._metrics.capacity.show(look.survey)
        self._tell(look)

    def _cells(self) -> tuple[Cell, ...]:
        with self._directory.snapshot() as snapshot:
            return tuple(snapshot.outline.cells.values())

    def _keep(self) -> Look:
        """One round over locks and samples. Blocking."""
        look = self._lookout.look()
        if self._settings.locks_cells:
            self._lock(look)
        self._sample(look)
        return look

    def _lock(self, look: Look) -> None:
        step = look.survey.step
        changed = {change.cell for change in step.changes}
        known = look.known.locks
        # Those that are about to change are written with their change.
        kept = {cell: lock for cell, lock in step.locks.items() if cell not in changed}
        kept |= {cell: known[cell] for cell in changed & known.keys()}
        if kept != known:
            self._directory.capacity.keep_locks(kept, known, self._leadership)
        for change in step.changes:
            self._change(look, change)

    def _change(self, look: Look, change: Change) -> None:
        """Lock or unlock one cell, with the lock that says so, where that is still right by what is so now."""
        with self._directory.changing(Author(ACTOR, change.reason), leadership=self._leadership) as transaction:
            outline = transaction.outline
            now = replace(look.seen, cells=outline.cells, pools=outline.pools, locks=transaction.locks.read())
            step = self._lookout.survey(now).step
            if all((each.cell, each.status) != (change.cell, change.status) for each in step.changes):
                return
            transaction.set_status(change.cell, change.status)
            transaction.locks.keep({change.cell: step.locks[change.cell]})
        is_locked = change.status is CellStatus.LOCKED
        self._metrics.capacity.changes.labels(to=change.status.value).inc()
        log.warning("cell_locked" if is_locked else "cell_unlocked", cell=change.cell, why=change.reason)
        self._changed()

    def _sample(self, look: Look) -> None:
        settings, survey = self._settings.capacity, look.survey
        cells = {cell: each.share for cell, each in survey.utilisations.items()}
        pools = {name: 1.0 - left for name, each in survey.pools.items() if (left := each.left) is not None}
        if not cells and not pools:
            return
        at = span_of(look.known.now, settings.sample_seconds)
        if at <= look.known.last_sample_at:
            return
        self._directory.capacity.add_samples(
            cells, pools, self._leadership, span_seconds=settings.sample_seconds, keep_days=settings.samples_days
        )

    def _tell(self, look: Look) -> None:
        """Tell once of each cell that stays open although it is full, and of each pool that gets no cell."""
        kept = {each.cell: each.reason for each in look.survey.step.kept} if self._settings.locks_cells else {}
        for cell in kept.keys() - self._kept.keys():
            log.warning("cell_kept_open", cell=cell, why=kept[cell])
        self._kept = kept
        not_asked = _not_asked(look, has_grower=self._grower is not None)
        for pool in not_asked.keys() - self._not_asked.keys():
            log.warning("pool_runs_short", pool=pool, why=not_asked[pool])
        self._not_asked = not_asked

    async def _grow(self) -> None:
        look = await to_the_end(self._lookout.look)
        cut_short = next((ask for ask in look.known.asks.values() if ask.done_at is None), None)
        if cut_short is not None:
            await self._carry_out(lambda grower: grower.go_on(cut_short))
            return
        wanted = next((each for each in look.survey.growth if isinstance(each, Ask)), None)
        if wanted is not None:
            last = look.known.asks.get(wanted.pool)
            await self._carry_out(lambda grower: grower.ask(wanted.pool, wanted.reason, last, look.known.now))

    async def _carry_out(self, do: Callable[[Grower], CellAsk]) -> None:
        """One ask, to its end; the next is for the next round, which knows this one's cell."""
        assert self._grower is not None
        ended = await in_daemon_thread(do, self._grower)
        self._metrics.capacity.asks.labels(outcome="failed" if ended.failure else "made").inc()


async def to_the_end(do: Callable[[], Done]) -> Done:
    """Do this in a thread, and wait for it also when cancelled: it uses the directory, which is closed next."""
    doing = asyncio.ensure_future(asyncio.to_thread(do))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        with suppress(Exception):
            await doing
        raise


async def in_daemon_thread(do: Callable[[Grower], CellAsk], grower: Grower) -> CellAsk:
    """Do this in a thread that nobody waits for at the end of the process: a cell may take minutes, and who asks for it
    may die at any time.
    """
    done: Future[CellAsk] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(do(grower))
        except Exception as error:  # noqa: BLE001  # whoever waits gets it
            done.set_exception(error)

    threading.Thread(target=copy_context().run, args=(run,), name="grower", daemon=True).start()
    return await asyncio.wrap_future(done)


def _not_asked(look: Look, *, has_grower: bool) -> dict[str, str]:
    """By pool, why it needs a cell, and what keeps it from getting one."""
    found = {}
    for each in look.survey.growth:
        if isinstance(each, Ask):
            if not has_grower:
                found[each.pool] = f"{each.reason}; no provisioner makes cells here: make one"
        elif not each.is_coming:
            found[each.pool] = f"{each.why_needed}; {each.reason}"
    return found
