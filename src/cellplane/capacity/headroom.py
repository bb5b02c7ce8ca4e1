"""Headroom: what is left in cells and pools until they are locked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellplane.capacity.metrics import CellMetrics, Resource, utilisation
from cellplane.model import Cell, CellStatus, Pool


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of one resource, in its unit, until the mark.

    Attributes:
        left: ≥ 0.
        whole: what there is until the mark in all cells that count, > 0.
    """

    left: float
    whole: float

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.left / self.whole


@dataclass(frozen=True, slots=True)
class CellHeadroom:
    """What is left in a cell.

    Attributes:
        cell: id.
        share: how full it is; None where nobody knows.
        resource: what it has least of; None where nobody knows.
        rooms: of each resource with a limit.
    """

    cell: str
    share: float | None
    resource: Resource | None
    rooms: Mapping[Resource, Room]

    @property
    def left(self) -> float | None:
        """The share of its room that is left, 0 to 1, by the resource that it has least of; None where nobody knows."""
        return min((room.share for room in self.rooms.values()), default=None)


@dataclass(frozen=True, slots=True)
class PoolHeadroom:
    """What is left in a pool for new tenants.

    Attributes:
        pool: its name.
        cells: how many serve.
        open_cells: how many of them take new tenants.
        unknown_cells: how many of them nobody knows anything of; they count for nothing below.
        rooms: of each resource with a limit: left is that of the open cells, whole that of all that serve.
    """

    pool: str
    cells: int
    open_cells: int
    unknown_cells: int
    rooms: Mapping[Resource, Room]

    @property
    def binds(self) -> Resource | None:
        """The resource of which the least is left; None where nobody knows."""
        return min(self.rooms, key=lambda each: (self.rooms[each].share, each.value), default=None)

    @property
    def left(self) -> float | None:
        """The share of its room that is left, 0 to 1, by that resource; None where nobody knows."""
        return None if self.binds is None else self.rooms[self.binds].share


def of_cell(metrics: CellMetrics, lock_at: float) -> CellHeadroom:
    """What is left in a cell until it is locked.

    Args:
        metrics: with the limits that count (``metrics.within``).
        lock_at: the mark, 0 to 1.
    """
    rooms = {
        resource: Room(max(0.0, lock_at * use.limit - use.used), lock_at * use.limit)
        for resource, use in metrics.uses.items()
        if use.limit is not None
    }
    worst = utilisation(metrics)
    if worst is None:
        return CellHeadroom(metrics.cell, None, None, rooms)
    return CellHeadroom(metrics.cell, worst.share, worst.resource, rooms)


def of_pool(pool: Pool, cells: Mapping[str, Cell], known: Mapping[str, CellHeadroom]) -> PoolHeadroom:
    """What is left in a pool.

    Args:
        pool: a valid pool.
        cells: the fleet's, by id; has every cell of the pool.
        known: of cells by id; one that is missing is unknown.
    """
    serving = [cells[each] for each in pool.cells if cells[each].status in {CellStatus.ACTIVE, CellStatus.LOCKED}]
    open_ids = {cell.id for cell in serving if cell.status is CellStatus.ACTIVE}
    found = [known[cell.id] for cell in serving if cell.id in known and known[cell.id].rooms]
    rooms = {
        resource: _sum([(each.rooms[resource], each.cell in open_ids) for each in found if resource in each.rooms])
        for resource in Resource
        if any(resource in each.rooms for each in found)
    }
    return PoolHeadroom(pool.name, len(serving), len(open_ids), len(serving) - len(found), rooms)


def _sum(rooms: Sequence[tuple[Room, bool]]) -> Room:
    return Room(sum(room.left for room, is_open in rooms if is_open), sum(room.whole for room, _ in rooms))
