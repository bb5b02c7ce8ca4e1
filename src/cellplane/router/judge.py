"""The judge: what the agent makes of the board, once a second. Which cells are ill, what requests they get, and
whether a single tenant is what makes one ill.

It reads counts and writes breakers; all that it decides is decided by ``cellplane.health``, which does no I/O.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import structlog

from cellplane.health import peers, pool_breakers
from cellplane.health.breaker import Observation, Phase
from cellplane.health.concentration import Concentration
from cellplane.health.peers import GrayEvent, PeerState
from cellplane.health.pool_breakers import BreakerEvent, PoolBreakers
from cellplane.health.score import UNKNOWN, Declared, HealthScore, score, signals
from cellplane.health.window import Counters, Window, WindowSettings
from cellplane.model.health import USUAL_HEALTH, HealthThresholds
from cellplane.router.board import BUCKETS, FIRST_BUCKET, LATENCY_BOUNDS_SECONDS, Board, BreakerState, Count, Load
from cellplane.router.suspects import Suspects, SuspectsSettings
from cellplane.routing import RoutingTable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """How a router judges cells, beside the thresholds that its table says."""

    window: WindowSettings = field(default_factory=lambda: WindowSettings(bounds_seconds=LATENCY_BOUNDS_SECONDS))
    """What is kept of each cell's counts."""

    score_seconds: float = 10.0
    """Span of the rates that a score is made of, seconds."""

    load_seconds: float = 15.0
    """How long what a cell said of its load counts, seconds."""

    suspects: SuspectsSettings = field(default_factory=SuspectsSettings)
    """When a tenant is suspected of making its cell ill."""


JudgeEvent = BreakerEvent | GrayEvent | Concentration
"""What changed at a look: a breaker, a cell's place among its peers, or who is suspected."""


@dataclass(frozen=True, slots=True)
class CellHealth:
    """What the router thinks of a cell.

    Attributes:
        score: 0 to 100.
        confidence: share of the measures that are known, 0 to 1.
        worst: the measure that costs most; empty where none does.
        is_gray: whether it is worse than its peers, while its own health checks may be good.
        breaker: ``closed``, ``open`` or ``half-open``.
    """

    score: float
    confidence: float
    worst: str
    is_gray: bool
    breaker: str


@dataclass(frozen=True, slots=True)
class _Said:
    """A cell's load, and when the judge noticed it: a time long ago where it was there before the judge."""

    load: Load
    at: float


@dataclass(slots=True)
class _Pool:
    """Cells that are compared with each other, and of which only so many are taken out at once."""

    cells: tuple[str, ...]
    peers: PeerState = field(default_factory=PeerState)
    breakers: PoolBreakers = field(default_factory=PoolBreakers)


_NOTHING_SAID = Load(0, None, None)


class Judge:
    """Judges the cells of one table after the other.

    Args:
        rng: keeps routers from probing a cell all at once.
    """

    def __init__(self, settings: JudgeSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._windows: dict[str, Window] = {}
        self._scores: dict[str, HealthScore] = {}
        self._pools: tuple[_Pool, ...] = ()
        self._health = USUAL_HEALTH
        self._thresholds: Mapping[str, HealthThresholds] = {}
        self._probes: dict[str, tuple[int, int]] = {}
        self._said: dict[str, _Said] = {}
        self._suspects = Suspects(settings.suspects)
        self._generation = 0
        self._board: Board | None = None

    def tick(self, board: Board, table: RoutingTable, now: float) -> list[JudgeEvent]:
        """Look at the board once, and write on it what requests each cell gets.

        Args:
            board: of the table's base.
            now: monotonic seconds, later than the last look.
        """
        assert board.base_sha256 == table.sha256, "a board is judged by the table whose cells it counts"
        if self._board is not board:
            self._board = board
            self._generation += 1
            self._suspects.forget_counts()
            self._windows = {cell: window for cell, window in self._windows.items() if cell in board.cells}
            self._said = {}
            self._arrange(table)
            self._health = table.edge.health
            self._thresholds = {
                table.cells[cell].id: replace(self._health.score, p99_objective_seconds=seconds)
                for cell, seconds in table.edge.objectives.items()
            }
        self._count(board, now)
        events: list[JudgeEvent] = [*self._suspects.tick(board, table, self._windows, now)]
        for pool in self._pools:
            events += self._judge(pool, table, now)
            self._write(pool, board, now)
        for event in events:
            log.warning("tenant_suspected" if isinstance(event, Concentration) else "cell_health", **_told(event))
        return events

    def health(self) -> Mapping[str, CellHealth]:
        """What is thought of each cell, by id."""
        found = {}
        for pool in self._pools:
            for cell in pool.cells:
                scored = self._scores.get(cell)
                breaker = pool.breakers.cells.get(cell)
                if scored is not None and breaker is not None:
                    found[cell] = CellHealth(
                        round(scored.value, 1),
                        scored.confidence,
                        scored.worst.measure.value if scored.worst else "",
                        cell in pool.peers.gray,
                        breaker.phase.value,
                    )
        return found

    def suspects(self) -> tuple[tuple[Concentration, int], ...]:
        """The tenants that make a cell ill for all others (``Suspects.ripe``)."""
        return self._suspects.ripe()

    def _arrange(self, table: RoutingTable) -> None:
        """Pools of a table. What is known of a cell goes with it: a new table says nothing about anybody's health."""
        known = {pool.cells: pool for pool in self._pools}
        histories = {cell: history for pool in self._pools for cell, history in pool.peers.cells.items()}
        breakers = {cell: breaker for pool in self._pools for cell, breaker in pool.breakers.cells.items()}
        self._pools = tuple(
            known.get(cells)
            or _Pool(
                cells,
                PeerState({cell: histories[cell] for cell in cells if cell in histories}),
                PoolBreakers({cell: breakers[cell] for cell in cells if cell in breakers}),
            )
            for cells in comparable_cells(table)
            if cells
        )

    def _count(self, board: Board, now: float) -> None:
        counts, loads = board.counts(), board.loads()
        for place, cell in enumerate(board.cells):
            row = counts[place].tolist()
            load = self._hear(cell, loads[place], now)
            counters = Counters(
                requests=row[Count.REQUESTS],
                errors=row[Count.ERRORS],
                latency_counts=tuple(row[FIRST_BUCKET : FIRST_BUCKET + BUCKETS]),
                latency_seconds=row[Count.BUSY_US] / 1e6,
                generation=self._generation,
                # Of a worker whose place is another's too, some ends are counted without their beginning.
                in_flight=float(0 if row[Count.IN_FLIGHT] >> 63 else row[Count.IN_FLIGHT]),
                connections=load.pool_use,
                queue_lag_seconds=load.queue_lag_seconds,
            )
            window = self._windows.get(cell, Window(self._settings.window))
            self._windows[cell] = window.observe(counters, now)

    def _hear(self, cell: str, load: Load, now: float) -> Load:
        """What a cell says of its load, as long as it is news."""
        said = self._said.get(cell, _Said(load, -inf))
        if load != said.load:
            said = _Said(load, now)
        self._said[cell] = said
        return load if now - said.at < self._settings.load_seconds else _NOTHING_SAID

    def _judge(self, pool: _Pool, table: RoutingTable, now: float) -> Iterable[BreakerEvent | GrayEvent]:
        events: list[BreakerEvent | GrayEvent] = []
        if peers.compare_due(pool.peers, now, self._health.peers):
            span = self._health.peers.window_seconds
            rates = {cell: self._windows[cell].rates(now, span) for cell in pool.cells}
            pool.peers, found = peers.step(pool.peers, rates, now, self._health.peers)
            events += found
        concurrency = {cell.id: cell.concurrency for cell in table.cells}
        seen = {cell: self._observe(cell, pool, concurrency.get(cell) or None, now) for cell in pool.cells}
        pool.breakers, changed = pool_breakers.step(pool.breakers, seen, now, self._health.breaker)
        return [*events, *changed]

    def _observe(self, cell: str, pool: _Pool, concurrency: int | None, now: float) -> Observation:
        rates = self._windows[cell].rates(now, self._settings.score_seconds)
        thresholds = self._thresholds.get(cell, self._health.score)
        # A cell says what part of its pool is in use, so that the pool counts as 1.
        declared = Declared(
            concurrency=concurrency,
            connections=None if rates.connections is None else 1.0,
            has_queue=rates.queue_lag_seconds is not None,
        )
        found = signals(rates, declared, thresholds)
        scored = score(found, thresholds)
        self._scores[cell] = scored
        good, failed = self._probes_since(cell, pool)
        is_spared = self._suspects.spares(cell, now)
        return Observation(
            score=100.0 if is_spared else scored.value,
            signals=UNKNOWN if is_spared else found,
            probes_good=good,
            probes_failed=failed,
            jitter=self._rng.random(),
        )

    def _probes_since(self, cell: str, pool: _Pool) -> tuple[int, int]:
        """Good and failed answers of a half-open cell since the last look: all that it gets are probes."""
        last = self._windows[cell].last
        assert last is not None, "a cell was counted before it is judged"
        before = self._probes.get(cell, (last.requests, last.errors))
        self._probes[cell] = (last.requests, last.errors)
        breaker = pool.breakers.cells.get(cell)
        if breaker is None or breaker.phase is not Phase.HALF_OPEN:
            return 0, 0
        failed = max(0, last.errors - before[1])
        return max(0, last.requests - before[0] - failed), failed

    def _write(self, pool: _Pool, board: Board, now: float) -> None:
        for cell, breaker in pool.breakers.cells.items():
            share = breaker.traffic_share(self._health.breaker, now)
            if 0 < share < 1:
                board.set_breaker(cell, BreakerState.HALF_OPEN, share)
            elif share == 0:
                board.set_breaker(cell, BreakerState.OPEN)
            else:
                # Refusing all for the sake of a few errors would be worse than they are.
                is_gray = cell in pool.peers.gray and not self._suspects.spares(cell, now)
                board.set_breaker(cell, BreakerState.AVOIDED if is_gray else BreakerState.CLOSED)


def comparable_cells(table: RoutingTable) -> list[tuple[str, ...]]:
    """Cells that do the same work: those of each pool that has slots, and all others together. A cell of two pools
    counts in the first.
    """
    left = {cell.id for cell in table.cells if cell.status.serves}
    groups = []
    for pool in range(len(table.pools)):
        slots = table.slots_of(pool)
        if slots is None:
            continue
        shards = {table.shard(int(shard)) for shard in set(slots.tolist())}
        cells = {table.cells[place].id for shard in shards for place in shard} & left
        left -= cells
        groups.append(tuple(sorted(cells)))
    return [*groups, tuple(sorted(left))]


def _told(event: JudgeEvent) -> dict[str, object]:
    if isinstance(event, Concentration):
        return {"cell": event.cell, "tenant": event.tenant, "harm": event.harm.value, "found": event.text}
    if isinstance(event, GrayEvent):
        measures = ", ".join(outlier.measure.value for outlier in event.outliers)
        return {"cell": event.cell, "change": "gray" if event.is_gray else "no longer gray", "by": measures}
    told: dict[str, object] = {"cell": event.cell, "change": f"breaker {event.change.value}"}
    if event.trip is not None:
        told["by"] = event.trip.value
    if event.score is not None:
        told["score"] = round(event.score, 1)
    return told
