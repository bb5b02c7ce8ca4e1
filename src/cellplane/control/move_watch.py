"""Watches moves: how many there are, whose mover is silent, and whose writes wait; for metrics."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from cellplane.control.move_schemas import MoveReport, MoveView
from cellplane.control.report_book import ReportBook
from cellplane.control.settings import ControlSettings
from cellplane.directory import Directory
from cellplane.directory.history import ChangeFilter
from cellplane.directory.moving import MAX_LIVING, MoveFilter, MoveRecord
from cellplane.directory.snapshot import Snapshot
from cellplane.errors import CellplaneError
from cellplane.model import TenantState
from cellplane.moves.move import Phase, Wish

log = structlog.get_logger()

PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
"""Bounds of the histogram of how long writes waited."""


class MoveMetrics:
    """What is counted of moves."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.living = Gauge(
            "cellplane_moves", "Moves that have not ended, by what they have reached", ["phase"], registry=registry
        )
        self.ended = Counter("cellplane_moves_ended_total", "Moves that ended, by how", ["phase"], registry=registry)
        self.pauses = Histogram(
            "cellplane_move_pause_seconds",
            "How long the writes of a tenant waited for its flip",
            buckets=PAUSES_SECONDS,
            registry=registry,
        )
        self.silence = Gauge(
            "cellplane_move_silent_seconds",
            "Longest silence of a mover whose move has not ended and is not to pause; they speak each second",
            registry=registry,
        )
        self.held = Gauge(
            "cellplane_move_writes_held_seconds",
            "Longest time for which the writes of a tenant that moves have been waiting; 0 where none wait",
            registry=registry,
        )
        for phase in Phase:
            if not phase.is_end:
                self.living.labels(phase=phase.value)

    def reached(self, move: MoveView) -> None:
        """Count a phase that is news."""
        if not move.living:
            self.ended.labels(phase=move.phase).inc()
        if move.phase == Phase.FLIPPED.value and move.pause_seconds is not None:
            self.pauses.observe(move.pause_seconds)

    def seen(self, moves: Sequence[MoveRecord], silence: float, held: float) -> None:
        """Show what is so now."""
        counts = Tally(each.said.phase for each in moves)
        for phase in Phase:
            if not phase.is_end:
                self.living.labels(phase=phase.value).set(counts[phase])
        self.silence.set(silence)
        self.held.set(held)


class MoveWatch:
    """Looks at moves now and then.

    Args:
        directory: that has them.
        reports: what their movers said last.
        metrics: what is shown.
        settings: how often.
        clock: seconds that only grow; a mover has the time since this process began to be heard from.
    """

    def __init__(
        self,
        directory: Directory,
        reports: ReportBook[MoveReport],
        metrics: MoveMetrics,
        settings: ControlSettings,
        clock: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._reports = reports
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._began = clock()

    async def run(self) -> None:
        """Look, until cancelled. A failure is said, and it is looked again."""
        while True:
            try:
                await asyncio.to_thread(self.look)
            except CellplaneError as error:
                log.warning("moves_not_seen", error=str(error))
            await asyncio.sleep(self._settings.move_look_seconds)

    def look(self) -> None:
        """Look once. Blocking.

        Raises:
            DirectoryError: the directory cannot be read.
        """
        with self._directory.snapshot() as snapshot:
            moves = snapshot.moves(MoveFilter(living=True), limit=MAX_LIVING)
            waiting = [*_waiting_since(snapshot, moves)] if moves else []
        if not moves:
            self._metrics.seen((), 0.0, 0.0)
            return
        now = self._directory.now()
        ages = {known.id: (known.report, age) for known, age in self._reports.all()}
        silence = max((self._silence(each, ages, now) for each in moves), default=0.0)
        held = max(((now - since).total_seconds() for since in waiting), default=0.0)
        self._metrics.seen(moves, max(0.0, silence), max(0.0, held))

    def _silence(self, move: MoveRecord, ages: Mapping[str, tuple[MoveReport, float]], now: datetime) -> float:
        report, age = ages.get(move.said.id, (None, self._clock() - self._began))
        wish = move.wish.value
        if report is not None and report.heard_epoch >= move.wish_epoch:
            wish = report.wish
        if wish == Wish.PAUSE.value:
            return 0.0
        return min(age, (now - datetime.fromisoformat(move.reached)).total_seconds())


def _waiting_since(snapshot: Snapshot, moves: Sequence[MoveRecord]) -> Iterator[datetime]:
    """Since when tenants that move have their writes held."""
    for tenant in snapshot.named_tenants(sorted({each.said.tenant for each in moves})).values():
        if tenant.tenant.state is TenantState.MOVING:
            last = snapshot.history(ChangeFilter(kind="tenant", id=tenant.tenant.id), limit=1, after=None)
            yield from (datetime.fromisoformat(each.at) for each in last)
