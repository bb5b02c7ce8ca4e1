"""Locks: which cells take new tenants: open → locked at one mark → open again below another, after a time.

Two invariants: what a person ordered is never changed, and while a cell's utilisation stays between the marks nothing
changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cellplane.capacity.metrics import Utilisation
from cellplane.capacity.settings import CapacitySettings
from cellplane.model import CellStatus


class Hold(Enum):
    """What a person ordered; it stands until it is taken back."""

    NONE = "none"
    LOCKED = "locked by hand"
    OPEN = "open by hand"


@dataclass(frozen=True, slots=True)
class Lock:
    """Whether a cell is locked, and by whom.

    Attributes:
        is_locked: whether it takes no new tenants.
        hold: what a person ordered; one that is LOCKED is locked, and so on.
        low_since_seconds: since when it has been below the mark for unlocking; None where it is not, or not locked.
    """

    is_locked: bool = False
    hold: Hold = Hold.NONE
    low_since_seconds: float | None = None


OPEN = Lock()
"""A cell of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A cell as it is seen now.

    Attributes:
        cell: id.
        pools: names of the pools that it is in.
        status: see CellStatus.
        utilisation: None where nobody knows, or what is known is too old.
    """

    cell: str
    pools: tuple[str, ...]
    status: CellStatus
    utilisation: Utilisation | None


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a cell.

    Attributes:
        cell: id.
        status: LOCKED or ACTIVE.
        reason: one sentence for people.
    """

    cell: str
    status: CellStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A cell that is over the mark and stays open, since a pool has no other.

    Attributes:
        cell: id.
        pool: name of the pool; the first by name of several.
        reason: one sentence for people: with what to do.
    """

    cell: str
    pool: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at the cells comes to.

    Attributes:
        locks: of each cell that was looked at, by id.
        changes: cells that are to be locked, the fullest first, then those to be unlocked, by id.
        kept: cells that would be locked, but for the last-cell rule; by id.
    """

    locks: Mapping[str, Lock]
    changes: tuple[Change, ...]
    kept: tuple[Kept, ...]


def step(watched: Sequence[Watched], locks: Mapping[str, Lock], now_seconds: float, settings: CapacitySettings) -> Step:
    """Decide which cells are locked and unlocked.

    The last cell of a pool that takes new tenants is not locked, since these would have nowhere to go: it is named as
    kept instead, and goes on taking them as far as its capacity lets placement do so. Of several that reach the mark
    together, the least full stays open.

    Args:
        watched: the cells of the fleet, ids unique.
        locks: as the last step left them, its changes made, with what people ordered since (``held``). A status that is
            another than a lock says was changed by a person, and counts as an order; so does that of a cell which is
            missing and LOCKED: keep locks with the cells.
        now_seconds: monotonic.
        settings: valid.
    """
    after = {each.cell: _seen(each, locks.get(each.cell), now_seconds, settings) for each in watched}
    usable = {each.cell for each in watched if each.status in _LOCKABLE and not after[each.cell].is_locked}
    changes, kept = [], []
    full = [each for each in watched if each.cell in usable and _is_full(each, after[each.cell], settings)]
    for each in sorted(full, key=lambda each: (-_share(each), each.cell)):
        alone = _alone(each, watched, usable)
        if alone is not None:
            kept.append(Kept(each.cell, alone, _why_kept(each, alone, settings)))
            continue
        usable.remove(each.cell)
        after[each.cell] = Lock(is_locked=True)
        changes.append(
            Change(each.cell, CellStatus.LOCKED, f"{_said(each)}, from {settings.lock_at:.0%} on it is full")
        )
    for each in sorted(watched, key=lambda each: each.cell):
        before = after[each.cell]
        if before.low_since_seconds is None or now_seconds - before.low_since_seconds < settings.unlock_seconds:
            continue
        after[each.cell] = OPEN
        reason = f"{_said(each)}, below {settings.unlock_at:.0%} for {settings.unlock_seconds:g} s"
        changes.append(Change(each.cell, CellStatus.ACTIVE, reason))
    return Step(after, tuple(changes), tuple(sorted(kept, key=lambda each: each.cell)))


def held(lock: Lock, hold: Hold) -> Lock:
    """The lock after a person's order; ``Hold.NONE`` takes the last one back, and leaves the cell as it is."""
    is_locked = lock.is_locked if hold is Hold.NONE else hold is Hold.LOCKED
    return Lock(is_locked=is_locked, hold=hold)


_LOCKABLE = {CellStatus.ACTIVE, CellStatus.LOCKED}


def _seen(each: Watched, before: Lock | None, now_seconds: float, settings: CapacitySettings) -> Lock:
    """A cell's lock with what is seen of it now, before anything is decided."""
    is_locked = each.status is CellStatus.LOCKED
    if before is None:
        return Lock(is_locked=is_locked, hold=Hold.LOCKED if is_locked else Hold.NONE)
    if each.status not in _LOCKABLE:
        return OPEN
    if before.is_locked != is_locked:
        # Whoever changed the status in between was no step of ours.
        return Lock(is_locked=is_locked, hold=Hold.LOCKED if is_locked else Hold.OPEN)
    is_low = each.utilisation is not None and each.utilisation.share < settings.unlock_at
    if is_locked and before.hold is Hold.NONE and is_low:
        since = now_seconds if before.low_since_seconds is None else before.low_since_seconds
        return replace(before, low_since_seconds=since)
    return replace(before, low_since_seconds=None)


def _is_full(each: Watched, lock: Lock, settings: CapacitySettings) -> bool:
    return lock.hold is Hold.NONE and each.utilisation is not None and each.utilisation.share >= settings.lock_at


def _alone(each: Watched, watched: Sequence[Watched], usable: set[str]) -> str | None:
    """The first pool that has no other usable cell."""
    for pool in sorted(each.pools):
        if not any(other.cell != each.cell and other.cell in usable and pool in other.pools for other in watched):
            return pool
    return None


def _share(each: Watched) -> float:
    return 0.0 if each.utilisation is None else each.utilisation.share


def _said(each: Watched) -> str:
    resource = "" if each.utilisation is None else f" of its {each.utilisation.resource.value}"
    return f"uses {_share(each):.0%}{resource}"


def _why_kept(each: Watched, pool: str, settings: CapacitySettings) -> str:
    return (
        f"{_said(each)}, and is the last cell of pool {pool!r} that takes new tenants: it is not locked at "
        f"{settings.lock_at:.0%}; add a cell, or move tenants away"
    )
