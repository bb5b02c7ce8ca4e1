"""Growth: when one more cell of a pool is asked for, and what keeps it from being asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellplane.capacity.settings import CapacitySettings
from cellplane.capacity.trend import DaysLeft, Outlook
from cellplane.model import Capacity, Cell, CellStatus


@dataclass(frozen=True, slots=True)
class Need:
    """What is known of a pool.

    Attributes:
        pool: its name.
        left: share of its room that is left, 0 to 1 (``headroom``); None where nobody knows.
        days: when that is used up.
        one_more: what a further cell would hold.
        cells: ids of the cells that it has.
        asked_at_seconds: when a cell was last asked for, on the clock of ``now_seconds``; None where none was.
    """

    pool: str
    left: float | None
    days: DaysLeft
    one_more: Capacity
    cells: tuple[str, ...]
    asked_at_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One more cell is wanted.

    Attributes:
        pool: name of the pool.
        reason: one sentence for people.
    """

    pool: str
    reason: str


@dataclass(frozen=True, slots=True)
class NotAsked:
    """A pool needs one more cell, and none is asked for.

    Attributes:
        pool: name of the pool.
        why_needed: one sentence for people.
        reason: what keeps it, and what to do.
    """

    pool: str
    why_needed: str
    reason: str


def grow(
    needs: Sequence[Need], cells: Mapping[str, Cell], now_seconds: float, settings: CapacitySettings
) -> tuple[Ask | NotAsked, ...]:
    """Say for each pool that runs short whether one more cell is asked for.

    A pool gets none while one of its cells is being provisioned, or within the cool-down after the last request, so
    that it does not ask twice; the fleet none beyond its limits, for which what is asked for here counts too.

    Args:
        needs: of pools, names unique; answered in order of what is left, the least first.
        cells: the fleet's, by id; retired ones do not count.
        now_seconds: monotonic.
        settings: valid.
    """
    there = [cell for cell in cells.values() if cell.status is not CellStatus.RETIRED]
    count, capacities = len(there), [cell.capacity for cell in there]
    found: list[Ask | NotAsked] = []
    for need in sorted(needs, key=lambda need: (1.0 if need.left is None else need.left, need.pool)):
        why = _why(need, settings)
        if why is None:
            continue
        refusal = _provisioning(need, cells, now_seconds, settings) or _over(need, count, capacities, settings)
        if refusal is not None:
            found.append(NotAsked(need.pool, why, refusal))
            continue
        count += 1
        capacities.append(need.one_more)
        found.append(Ask(need.pool, why))
    return tuple(found)


def _why(need: Need, settings: CapacitySettings) -> str | None:
    """Why a pool needs a cell; None where it does not, or nobody knows."""
    if need.left is not None and need.left < settings.ask_headroom:
        return f"{need.left:.0%} of its room is left, less than {settings.ask_headroom:.0%}"
    if need.days.outlook is Outlook.FULL:
        return "by its trend its room is used up"
    if need.days.days is not None and need.days.days < settings.ask_days:
        return f"by its trend its room lasts {need.days.days:.1f} days, less than {settings.ask_days:g}"
    return None


def _provisioning(need: Need, cells: Mapping[str, Cell], now_seconds: float, settings: CapacitySettings) -> str | None:
    coming = [each for each in need.cells if each in cells and cells[each].status is CellStatus.PROVISIONING]
    if coming:
        return f"cell {coming[0]!r} is being provisioned"
    since = None if need.asked_at_seconds is None else now_seconds - need.asked_at_seconds
    if since is not None and since < settings.cool_down_seconds:
        return f"one was asked for {since:.0f} s ago, and the next is not before {settings.cool_down_seconds:g} s"
    return None


def _over(need: Need, count: int, capacities: Sequence[Capacity], settings: CapacitySettings) -> str | None:
    if count >= settings.max_cells:
        return f"the fleet has {count} cells, as many as it may have: raise max_cells, or move tenants"
    for unit, name in (("tenants", "tenants"), ("rps", "rps"), ("GiB", "storage_gib")):
        limit = getattr(settings.max_total, name)
        total = sum(getattr(each, name) or 0 for each in (*capacities, need.one_more))
        if limit is not None and total > limit:
            return f"all cells together would hold {total:g} {unit}, more than {limit:g}: raise max_total"
    return None
