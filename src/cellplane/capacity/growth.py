"""Growth: when one more cell of a pool is asked for, and what keeps it from being asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cellplane.capacity.settings import CapacitySettings
from cellplane.capacity.trend import DaysLeft, Outlook
from cellplane.model import Capacity, Cell, CellStatus


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pool asked for last.

    Attributes:
        at_seconds: when, on the clock of ``now_seconds``.
        is_done: whether it came to an end, good or bad.
        unfinished: id of a cell that is there by it, and not in the pool, since it failed; None for none.
    """

    at_seconds: float
    is_done: bool = True
    unfinished: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """What is known of a pool.

    Attributes:
        pool: its name.
        left: share of its room that is left, 0 to 1 (``headroom``); None where nobody knows.
        days: when that is used up.
        one_more: what a further cell would hold.
        cells: ids of the cells that it has.
        asked: None where no cell was asked for yet.
        has_slots: whether slots place tenants in it: a further cell would be given some that others have the data of.
    """

    pool: str
    left: float | None
    days: DaysLeft
    one_more: Capacity
    cells: tuple[str, ...]
    asked: Asked | None = None
    has_slots: bool = False


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
        is_coming: whether it is only that one is being made, or was made a moment ago.
    """

    pool: str
    why_needed: str
    reason: str
    is_coming: bool = False


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
    # One that is there by an ask which failed is what its pool asks for again.
    unfinished = {need.asked.unfinished for need in needs if need.asked is not None}
    there = [cell for cell in cells.values() if cell.status is not CellStatus.RETIRED and cell.id not in unfinished]
    count, capacities = len(there), [cell.capacity for cell in there]
    found: list[Ask | NotAsked] = []
    for need in sorted(needs, key=lambda need: (1.0 if need.left is None else need.left, need.pool)):
        why = _why(need, settings)
        if why is None:
            continue
        coming = None if need.has_slots else _provisioning(need, cells, now_seconds, settings)
        refusal = _BY_SLOT if need.has_slots else coming or _over(need, count, capacities, settings)
        if refusal is not None:
            found.append(NotAsked(need.pool, why, refusal, is_coming=coming is not None))
            continue
        count += 1
        capacities.append(need.one_more)
        found.append(Ask(need.pool, why))
    return tuple(found)


_BY_SLOT = (
    "slots place its tenants, and a cell that joins takes some of them from the cells that have their data: move them, "
    "or give the pool the strategy explicit"
)


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
    if need.asked is None:
        return None
    since = now_seconds - need.asked.at_seconds
    if not need.asked.is_done:
        return f"one was asked for {since:.0f} s ago, and is being made"
    if since < settings.cool_down_seconds:
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
