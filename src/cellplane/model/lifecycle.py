"""The life of a cell: from which status to which, and what must be so first.

::

    provisioning → active ⇄ locked
                     ⇅        ⇅
                     draining ⇄ maintenance → retired

Any status leads to retired, and from there, as long as the cell is not destroyed, back to active. An active or locked
cell may go to maintenance at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cellplane.model.cell import CellStatus
from cellplane.model.pool import Pool

_P, _A, _L = CellStatus.PROVISIONING, CellStatus.ACTIVE, CellStatus.LOCKED
_D, _M, _R = CellStatus.DRAINING, CellStatus.MAINTENANCE, CellStatus.RETIRED

NEXT: Mapping[CellStatus, frozenset[CellStatus]] = {
    _P: frozenset({_A, _R}),
    _A: frozenset({_L, _D, _M, _R}),
    _L: frozenset({_A, _D, _M, _R}),
    _D: frozenset({_A, _L, _M, _R}),
    _M: frozenset({_A, _L, _D, _R}),
    _R: frozenset({_A}),
}
"""The statuses that may follow each."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What keeps a cell from another status.

    Attributes:
        text: what, and what to do about it.
        yields: whether it gives way to force.
    """

    text: str
    yields: bool


def obstacles(
    cell_id: str,
    before: CellStatus,
    after: CellStatus,
    *,
    assigned: int,
    pools: Mapping[str, Pool],
    stays: frozenset[str],
) -> tuple[Obstacle, ...]:
    """What keeps a cell from going from one status to another.

    Args:
        cell_id: the cell.
        before: its status.
        after: the status that it is to have.
        assigned: how many tenants are assigned to it, alone or among others.
        pools: all pools, by name, as they will be.
        stays: ids of the cells that will be active or locked, without this one.
    """
    if before is after:
        return ()
    if after not in NEXT[before]:
        return (Obstacle(_way(before, after), yields=False),)
    found = []
    if after is CellStatus.RETIRED:
        if assigned:
            found.append(Obstacle(f"{_tenants(assigned)} assigned to it: move them to other cells first", yields=False))
        found += [
            Obstacle(f"it is in pool {name!r}, which may place tenants on it: take it out first", yields=False)
            for name, pool in pools.items()
            if cell_id in pool.cells
        ]
    elif after in {CellStatus.DRAINING, CellStatus.MAINTENANCE}:
        what = "take no tenants" if after is CellStatus.DRAINING else "not be served at all"
        found += [
            Obstacle(
                f"no other cell of pool {name!r} is active or locked, so its tenants could {what}: add one first, or "
                "say --force",
                yields=True,
            )
            for name, pool in pools.items()
            if cell_id in pool.cells and stays.isdisjoint(pool.cells)
        ]
    return tuple(found)


def _way(before: CellStatus, after: CellStatus) -> str:
    following = ", ".join(sorted(status.value for status in NEXT[before]))
    return f"from {before.value} a cell goes to {following}, not to {after.value}"


def _tenants(count: int) -> str:
    return "1 tenant is" if count == 1 else f"{count} tenants are"
