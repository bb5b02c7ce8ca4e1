"""A survey: everything that is known of how full a fleet is, put together from what its parts said."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from cellplane.capacity.growth import Ask, Asked, Need, NotAsked, grow
from cellplane.capacity.headroom import CellHeadroom, PoolHeadroom, of_cell, of_pool
from cellplane.capacity.locks import Lock, Step, Watched, step
from cellplane.capacity.metrics import CellMetrics, Utilisation, is_stale, utilisation, within
from cellplane.capacity.settings import CapacitySettings
from cellplane.capacity.trend import DaysLeft, Outlook
from cellplane.model import Capacity, Cell, CellStatus, Pool

NO_ROOM_LEFT = 1.0
"""The mark that the trend of a pool's used room is held against."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a survey begins with.

    Attributes:
        cells: the fleet's, by id.
        pools: the fleet's, by name.
        reported: what cells said, by id; whatever its age.
        now_seconds: on the clock of all the others.
        locks: as they are kept, by cell.
        pool_days: for how long a pool's room lasts, by name; one that is missing: nobody knows.
        asked: what pools asked for last, by name.
    """

    cells: Mapping[str, Cell]
    pools: Mapping[str, Pool]
    reported: Mapping[str, CellMetrics]
    now_seconds: float
    locks: Mapping[str, Lock] = field(default_factory=dict)
    pool_days: Mapping[str, DaysLeft] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Survey:
    """What it comes to.

    Attributes:
        utilisations: of the cells that anything is known of, by id.
        headrooms: of these cells.
        pools: what is left in each pool, by name.
        pool_days: for how long, by name.
        step: which cells are to be locked and unlocked.
        growth: which pools need one more cell, and get it or not.
    """

    utilisations: Mapping[str, Utilisation]
    headrooms: Mapping[str, CellHeadroom]
    pools: Mapping[str, PoolHeadroom]
    pool_days: Mapping[str, DaysLeft]
    step: Step
    growth: tuple[Ask | NotAsked, ...]


def survey(seen: Seen, settings: CapacitySettings) -> Survey:
    """Look at a fleet.

    Args:
        seen: of one moment.
        settings: valid.
    """
    metrics = _counting(seen, settings)
    utilisations = {cell: full for cell, each in metrics.items() if (full := utilisation(each)) is not None}
    headrooms = {cell: of_cell(each, settings.lock_at) for cell, each in metrics.items()}
    pools = {name: of_pool(pool, seen.cells, headrooms) for name, pool in seen.pools.items()}
    pool_days = {name: seen.pool_days.get(name, DaysLeft(Outlook.UNKNOWN)) for name in seen.pools}
    watched = [_watched(cell, seen.pools, utilisations.get(cell.id)) for cell in seen.cells.values()]
    needs = [
        Need(
            pool.name,
            pools[pool.name].left,
            pool_days[pool.name],
            _one_more(pool, seen.cells),
            pool.cells,
            seen.asked.get(pool.name),
            pool.has_slots,
        )
        for pool in seen.pools.values()
    ]
    return Survey(
        utilisations,
        headrooms,
        pools,
        pool_days,
        step(watched, seen.locks, seen.now_seconds, settings),
        grow(needs, seen.cells, seen.now_seconds, settings),
    )


def _counting(seen: Seen, settings: CapacitySettings) -> dict[str, CellMetrics]:
    """What cells said that are there, and is not too old, against what they are declared to hold."""
    return {
        cell_id: within(said, seen.cells[cell_id].capacity)
        for cell_id, said in sorted(seen.reported.items())
        if cell_id in seen.cells and not is_stale(said, seen.now_seconds, settings.stale_seconds)
    }


def _watched(cell: Cell, pools: Mapping[str, Pool], full: Utilisation | None) -> Watched:
    return Watched(cell.id, tuple(pool.name for pool in pools.values() if cell.id in pool.cells), cell.status, full)


def _one_more(pool: Pool, cells: Mapping[str, Cell]) -> Capacity:
    """What most of its cells hold."""
    held = [cells[each].capacity for each in pool.cells if cells[each].status is not CellStatus.RETIRED]
    return Counter(held).most_common(1)[0][0] if held else Capacity()
