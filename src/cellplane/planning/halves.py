"""Which tenants of a cell go where it is split in two, or is merged into another (pure)."""

import numpy as np

from cellplane.errors import ValidationError
from cellplane.planning.checks import check_between
from cellplane.planning.loaded import LoadedFleet
from cellplane.planning.placement import NO_CELL, Indexes


def leaving(fleet: LoadedFleet, cell: str, share: float = 1.0) -> tuple[str, ...]:
    """Tenants that together are a share of a cell, the heaviest first.

    Only tenants that the cell serves alone, and that are not being moved or in quarantine. By weight counts what they
    declare, as the largest share of what all of them do; each goes to whichever side lacks more of what it is to have.

    Args:
        fleet: the fleet.
        cell: id of the cell.
        share: of its weight; 1 is all.

    Raises:
        ValidationError: there is no such cell, or the share is none.
    """
    check_between("share", share, 0.01, 1.0)
    ids = [each.id for each in fleet.topology.cells]
    if cell not in ids:
        raise ValidationError("cell", f"no cell is named {cell!r}; there are {', '.join(ids[:20])}")
    found = _alone_in(fleet, ids.index(cell))
    loads = fleet.loads[found]
    totals = loads.sum(axis=0)
    weights = (loads / np.where(totals > 0, totals, 1.0)).max(axis=1, initial=0.0)
    gone, stayed = 0.0, 0.0
    chosen = []
    for row in np.argsort(-weights, kind="stable"):
        if gone * (1 - share) <= stayed * share:
            gone += weights[row]
            chosen.append(fleet.tenants[found[row]].id)
        else:
            stayed += weights[row]
    return tuple(chosen)


def _alone_in(fleet: LoadedFleet, cell: int) -> Indexes:
    is_alone = (fleet.shards[:, 0] == cell) & (fleet.shards[:, 1:] == NO_CELL).all(axis=1)
    found: Indexes = np.flatnonzero(is_alone & ~fleet.is_still)
    return found
