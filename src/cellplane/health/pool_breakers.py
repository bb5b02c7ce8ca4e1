"""Pool breakers: the breakers of one pool's cells, of which only so many are open at once.

The invariant: no step and no end of a hold makes more breakers not closed than ``max_open_share`` allows. Only an
operator's order may, and a pool that loses cells may be left with more; then none opens until there is room again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import floor

from cellplane.errors import ValidationError
from cellplane.health.breaker import Breaker, Hold, Observation, Phase, Trip, half_opened, opened, tick
from cellplane.model.health import BreakerSettings


class BreakerChange(Enum):
    """What happened to a breaker; the value is for people and metrics."""

    OPENED = "opened"
    HALF_OPENED = "half-opened"
    CLOSED = "closed"
    KEPT_CLOSED = "kept closed"
    HELD = "held"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class BreakerEvent:
    """A breaker changed, or was kept from it.

    Attributes:
        cell: id.
        change: what happened. KEPT_CLOSED: it would have opened, but for the bound on its pool; said once.
        at: monotonic seconds.
        breaker: as it is now.
        trip: why it opened or would have; None for other changes.
        score: of the cell when it opened or would have; None for other changes.
    """

    cell: str
    change: BreakerChange
    at: float
    breaker: Breaker
    trip: Trip | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class PoolBreakers:
    """The breakers of one pool.

    Attributes:
        cells: each cell's, by id.
        at: monotonic seconds of the last step; None before the first.
    """

    cells: Mapping[str, Breaker] = field(default_factory=dict)
    at: float | None = None

    @property
    def not_closed(self) -> tuple[str, ...]:
        """Ids of the cells that do not get all their requests, sorted."""
        return tuple(sorted(cell for cell, breaker in self.cells.items() if not breaker.is_closed))


def most_open(cells: int, settings: BreakerSettings) -> int:
    """How many breakers of so many cells may be not closed at once: the share of them, rounded down."""
    # A share such as 1/3 × 3 must not lose a cell to its last binary digit.
    return floor(settings.max_open_share * cells + 1e-9)


def step(
    state: PoolBreakers, seen: Mapping[str, Observation], now: float, settings: BreakerSettings
) -> tuple[PoolBreakers, tuple[BreakerEvent, ...]]:
    """One tick of a pool: each breaker changes at most once.

    Breakers that would open do so while the bound has room, those with the lowest score first; the others stay
    closed and ask again at the next tick. A half-open one that opens again keeps its place, and those that an
    operator forced open take places too.

    Args:
        state: as the last step returned it.
        seen: one observation of every cell of the pool, by id. A cell that is missing has left the pool and is
            forgotten; a new one begins closed.
        now: monotonic seconds, not before the last step's.
        settings: valid.

    Returns:
        The next state, and events in the order of the cells' ids.

    Raises:
        ValidationError: time went back.
    """
    if state.at is not None and not now >= state.at:
        raise ValidationError("now", f"expected {state.at} or later, found {now}")
    cells: dict[str, Breaker] = {}
    events: dict[str, BreakerEvent] = {}
    wanting: dict[str, Trip] = {}
    for cell in sorted(seen):
        before = state.cells.get(cell, Breaker(since=now))
        if before.hold is not Hold.NONE:
            cells[cell] = before
            continue
        after, trip = tick(before, seen[cell], now, settings)
        cells[cell] = after
        if trip is not None:
            wanting[cell] = trip
        elif after.phase is not before.phase:
            events[cell] = _event(cell, after, now, seen[cell])
    room = most_open(len(cells), settings) - sum(not breaker.is_closed for breaker in cells.values())
    for place, cell in enumerate(sorted(wanting, key=lambda cell: (seen[cell].score, cell))):
        breaker, trip, score = cells[cell], wanting[cell], seen[cell].score
        if place < room:
            cells[cell] = opened(breaker, seen[cell].jitter, now, settings)
            events[cell] = BreakerEvent(cell, BreakerChange.OPENED, now, cells[cell], trip, score)
        elif not breaker.is_kept:
            cells[cell] = replace(breaker, is_kept=True)
            events[cell] = BreakerEvent(cell, BreakerChange.KEPT_CLOSED, now, cells[cell], trip, score)
    return PoolBreakers(cells, now), tuple(events[cell] for cell in sorted(events))


def hold(state: PoolBreakers, cell: str, order: Hold, now: float) -> tuple[PoolBreakers, tuple[BreakerEvent, ...]]:
    """Force a breaker open or closed, or give it back to itself.

    An order is never refused for the bound: whoever gives it knows more. Given back, a breaker that was forced open is
    half-open, so that probes decide; one that was forced closed is closed, with nothing counted against it.

    Args:
        state: as the last step returned it.
        cell: id of a cell in it.
        order: what is to be; ``Hold.NONE`` gives the breaker back.
        now: monotonic seconds.

    Returns:
        The next state, and one event, or none where nothing changed.

    Raises:
        ValidationError: the pool has no such cell.
    """
    if cell not in state.cells:
        raise ValidationError(
            "cell", f"expected a cell of the pool, found {cell!r}: it takes part from its first step on"
        )
    before = state.cells[cell]
    if before.hold is order:
        return state, ()
    if order is Hold.NONE:
        after = half_opened(before, now) if before.hold is Hold.OPEN else Breaker(since=now, openings=before.openings)
        change = BreakerChange.RELEASED
    else:
        after = Breaker(before.phase, order, now, openings=before.openings)
        change = BreakerChange.HELD
    return replace(state, cells={**state.cells, cell: after}), (BreakerEvent(cell, change, now, after),)


def _event(cell: str, after: Breaker, now: float, seen: Observation) -> BreakerEvent:
    """The event of a phase that changed by itself."""
    if after.phase is Phase.OPEN:
        return BreakerEvent(cell, BreakerChange.OPENED, now, after, Trip.PROBES, seen.score)
    change = BreakerChange.HALF_OPENED if after.phase is Phase.HALF_OPEN else BreakerChange.CLOSED
    return BreakerEvent(cell, change, now, after)
