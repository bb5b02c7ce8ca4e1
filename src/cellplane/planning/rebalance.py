"""Rebalancing and evacuation: which tenants move where, the least data first. Plans alone: nothing is moved here.

From cells above ``over_at``, tenants move to the emptiest open cells of their pool, until none is beyond ``lock_at``. A
cell that gives takes nobody, and one that takes is never filled beyond ``lock_at``. So every move makes the sum of what
is beyond that mark smaller, in whatever order cells take turns.
"""

import heapq
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from cellplane.errors import ValidationError
from cellplane.model.residency import Act
from cellplane.planning.batches import batch_numbers
from cellplane.planning.loaded import DIMENSIONS, GIB, LoadedFleet
from cellplane.planning.move_plan import Move, MovePlan, MoveSettings, Stays
from cellplane.planning.placement import NO_CELL, Indexes, Loads
from cellplane.planning.targets import Targets, excess

PINNED = "pinned by a person"
STILL = "it is being moved, or in quarantine, now"
NO_RELIEF = "its load is no relief"
MOVES = "it moves from another cell of its shard in this plan"

Step = tuple[int, int, int, str]
"""Indexes of tenant, source and target, and why."""


def rebalance(fleet: LoadedFleet, settings: MoveSettings, unhealthy: Collection[str] = ()) -> MovePlan:
    """Plan moves away from cells above the mark.

    Of a cell's tenants those go first that cost the fewest bytes for what they take off the full dimensions. A tenant
    goes to the cell of its pool that is least full with it, under the law that its data are under now, active, healthy,
    and with a shard that its pool allows; at most once in a plan. Pinned ones stay.

    Args:
        fleet: the fleet.
        settings: by what.
        unhealthy: ids of cells that take nobody since they are not well.

    Raises:
        ValidationError: a setting breaks a rule, or ``lock_at`` is not below ``over_at``.
    """
    settings.validate()
    if not settings.lock_at < settings.over_at:
        raise ValidationError(
            "lock_at", f"expected less than over_at, {settings.over_at:g}; found {settings.lock_at:g}"
        )
    used = fleet.used()
    over = np.flatnonzero((used / fleet.capacities).max(axis=1) > settings.over_at)
    work = _Work(
        fleet,
        settings,
        Act.REBALANCE,
        used=used,
        sources=over.tolist(),
        unhealthy=unhealthy,
        takes_unmeasured=False,
    )
    return work.plan(_relieve(work, over))


def evacuate(
    fleet: LoadedFleet,
    cell: str,
    settings: MoveSettings,
    unhealthy: Collection[str] = (),
    *,
    override_pins: bool = False,
) -> MovePlan:
    """Plan moves of all tenants away from one cell; ``stays`` says who cannot go, and why.

    Places are looked for in order of load, the largest first, since small ones fit anywhere; tenants move in order of
    data, the least first, so that most are away soon.

    Args:
        fleet: the fleet.
        cell: id of the cell.
        settings: by what; ``over_at`` does not count.
        unhealthy: ids of cells that take nobody since they are not well.
        override_pins: whether pinned tenants go too.

    Raises:
        ValidationError: there is no such cell, or a setting breaks a rule.
    """
    settings.validate()
    ids = [each.id for each in fleet.topology.cells]
    if cell not in ids:
        raise ValidationError("cell", f"no cell is named {cell!r}; there are {', '.join(ids[:20])}")
    source = ids.index(cell)
    work = _Work(
        fleet,
        settings,
        Act.EVACUATION,
        used=fleet.used(),
        sources=[source],
        unhealthy=unhealthy,
        takes_unmeasured=True,
    )
    return work.plan(_leave(work, source, override_pins=override_pins))


class _Work:
    """A plan in the making."""

    def __init__(
        self,
        fleet: LoadedFleet,
        settings: MoveSettings,
        act: Act,
        *,
        used: Loads,
        sources: Sequence[int],
        unhealthy: Collection[str],
        takes_unmeasured: bool,
    ) -> None:
        self.fleet, self.settings = fleet, settings
        self.before = used
        ill = [index for index, cell in enumerate(fleet.topology.cells) if cell.id in unhealthy]
        closed = {*sources, *ill}
        self.targets = Targets(fleet, act, closed, settings.lock_at, takes_unmeasured, used.copy(), fleet.shards.copy())
        self.is_cut = False
        self._looks = 0
        self._stays: dict[tuple[int, str], list[int]] = {}

    def may_look(self, moves: int) -> bool:
        """Whether the bounds allow one more tenant."""
        self._looks += 1
        if moves < self.settings.max_moves and self._looks <= self.settings.max_looks:
            return True
        self.is_cut = True
        return False

    def on(self, cell: int) -> Indexes:
        """The tenants of a cell."""
        return np.flatnonzero((self.fleet.shards == cell).any(axis=1))

    def stay(self, cell: int, tenants: Indexes | Sequence[int], reason: str) -> None:
        """Note tenants that stay."""
        if len(tenants):
            self._stays.setdefault((cell, reason), []).extend(int(tenant) for tenant in tenants)

    def forget_stays(self, cell: int) -> None:
        """Nobody needs to go from this cell any more."""
        for key in [key for key in self._stays if key[0] == cell]:
            del self._stays[key]

    def plan(self, steps: Sequence[Step]) -> MovePlan:
        """The plan of these steps, in batches."""
        fleet, settings = self.fleet, self.settings
        pairs = [(source, target) for _, source, target, _ in steps]
        batches = batch_numbers(pairs, per_cell=settings.per_cell, at_once=settings.at_once)
        order = sorted(range(len(steps)), key=lambda place: (batches[place], place))
        hours = np.zeros(max(batches, default=-1) + 1)
        for place in order:
            hours[batches[place]] += fleet.data_bytes[steps[place][0]] / GIB / settings.gib_per_hour
        moves = self._told([steps[place] for place in order], [batches[place] + 1 for place in order])
        after = self.targets.used
        ids = [cell.id for cell in fleet.topology.cells]
        stays = [
            Stays(ids[cell], reason, len(tenants), fleet.tenants[tenants[0]].id)
            for (cell, reason), tenants in self._stays.items()
        ]
        return MovePlan(
            tuple(moves),
            dict(zip(ids, map(_utilisation, self.before, fleet.capacities), strict=True)),
            dict(zip(ids, map(_utilisation, after, fleet.capacities), strict=True)),
            float(excess(self.before, fleet.capacities, settings.lock_at).sum()),
            float(excess(after, fleet.capacities, settings.lock_at).sum()),
            tuple(sorted(stays, key=lambda each: (-each.tenants, each.cell, each.reason))),
            tuple(hours.tolist()),
            self.is_cut,
        )

    def _told(self, steps: Sequence[Step], batches: Sequence[int]) -> Iterator[Move]:
        """The moves, with how full both cells are before and after each."""
        fleet, used, shards = self.fleet, self.before.copy(), self.fleet.shards.copy()
        ids = [cell.id for cell in fleet.topology.cells]
        for (tenant, source, target, reason), batch in zip(steps, batches, strict=True):
            was = [_utilisation(used[cell], fleet.capacities[cell]) for cell in (source, target)]
            used[source] -= fleet.loads[tenant]
            used[target] += fleet.loads[tenant]
            row = shards[tenant]
            row[row == source] = target
            becomes = [_utilisation(used[cell], fleet.capacities[cell]) for cell in (source, target)]
            shard = tuple(ids[cell] for cell in row[row != NO_CELL].tolist())
            size = int(fleet.data_bytes[tenant])
            names = (fleet.tenants[tenant].id, ids[source], ids[target])
            yield Move(batch, *names, shard, size, reason, was[0], becomes[0], was[1], becomes[1])


def _relieve(work: _Work, over: Indexes) -> list[Step]:
    """Steps that bring cells down to the mark; the fullest has its turn first."""
    steps: list[Step] = []
    queues = {cell: iter(_in_turn(work, cell)) for cell in over.tolist()}
    moved: set[int] = set()
    turns = [(-_full(work, cell), cell) for cell in queues]
    heapq.heapify(turns)
    while turns:
        _, cell = heapq.heappop(turns)
        step = _next_step(work, cell, queues[cell], moved, len(steps))
        if step is None:
            continue
        steps.append(step)
        moved.add(step[0])
        if _full(work, cell) > work.settings.lock_at:
            heapq.heappush(turns, (-_full(work, cell), cell))
        else:
            work.forget_stays(cell)
    return steps


def _next_step(work: _Work, cell: int, queue: Iterator[int], moved: Collection[int], steps: int) -> Step | None:
    """The next of a full cell's tenants that goes, in its new place; None where none is left, or a bound is reached."""
    fleet, lock_at = work.fleet, work.settings.lock_at
    used, capacity = work.targets.used[cell], fleet.capacities[cell]
    before = excess(used, capacity, lock_at)
    for tenant in queue:
        if not work.may_look(steps):
            return None
        if tenant in moved:
            work.stay(cell, [tenant], MOVES)
            continue
        if not excess(used - fleet.loads[tenant], capacity, lock_at) < before:
            work.stay(cell, [tenant], NO_RELIEF)
            continue
        target = work.targets.best(tenant, cell)
        if isinstance(target, str):
            work.stay(cell, [tenant], target)
            continue
        full = (used / capacity).argmax()
        reason = f"{used[full] / capacity[full]:.0%} of its {DIMENSIONS[full]} are in use"
        work.targets.move(tenant, cell, target)
        return tenant, cell, target, reason
    return None


def _in_turn(work: _Work, cell: int) -> list[int]:
    """A full cell's tenants that may go, the fewest bytes for what they take off its full dimensions first."""
    fleet = work.fleet
    found = work.on(cell)
    work.stay(cell, found[fleet.is_pinned[found]], PINNED)
    found = found[~fleet.is_pinned[found]]
    work.stay(cell, found[fleet.is_still[found]], STILL)
    found = found[~fleet.is_still[found]]
    beyond = np.maximum(work.before[cell] / fleet.capacities[cell] - work.settings.lock_at, 0.0)
    relief = np.minimum(fleet.loads[found] / fleet.capacities[cell], beyond).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = np.where(relief > 0, fleet.data_bytes[found] / relief, np.inf)
    turns: list[int] = found[np.lexsort((found, -relief, price))].tolist()
    return turns


def _leave(work: _Work, cell: int, *, override_pins: bool) -> list[Step]:
    """Steps that empty a cell."""
    fleet, steps = work.fleet, list[Step]()
    found = work.on(cell)
    if not override_pins:
        work.stay(cell, found[fleet.is_pinned[found]], PINNED)
        found = found[~fleet.is_pinned[found]]
    work.stay(cell, found[fleet.is_still[found]], STILL)
    found = found[~fleet.is_still[found]]
    status = fleet.topology.cells[cell].status.value
    share = (fleet.loads[found] / fleet.capacities[cell]).max(axis=1)
    for tenant in found[np.lexsort((found, -fleet.loads[found, 1], -share))].tolist():
        if not work.may_look(len(steps)):
            break
        target = work.targets.best(tenant, cell)
        if isinstance(target, str):
            work.stay(cell, [tenant], target)
            continue
        reason = f"evacuates a cell that is {status}"
        pin = ", against its pin" if fleet.is_pinned[tenant] else ""
        steps.append((tenant, cell, target, reason + pin))
        work.targets.move(tenant, cell, target)
    return sorted(steps, key=lambda step: (fleet.data_bytes[step[0]], step[0]))


def _full(work: _Work, cell: int) -> float:
    return float((work.targets.used[cell] / work.fleet.capacities[cell]).max())


def _utilisation(used: Loads, capacity: Loads) -> float | None:
    """How full a cell is, by the dimension that it has least of; None where it declares none."""
    return None if np.isinf(capacity).all() else float(max((used / capacity).max(), 0.0))
