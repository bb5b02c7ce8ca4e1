"""One cell more, like those that a pool has: what a control plane asks for when its headroom is low."""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import TypeVar

from cellplane.errors import CellTakenError, ProvisionError
from cellplane.model import Cell, CellStatus
from cellplane.provision.provisioner import Provisioner
from cellplane.provision.values import CellInstance, CellRequest

MAX_TRIES = 10
"""How many ids are tried for one ask: others may take one at the same time."""

_Value = TypeVar("_Value", bound=Hashable)

_NUMBERED = re.compile(r"cell-([1-9]\d{0,8})")


def one_more(
    provisioner: Provisioner, siblings: Sequence[Cell], taken: Collection[str], *, pool: str, ask_id: str
) -> CellInstance:
    """Provision one more cell for a pool, like its siblings. It is not registered: the control plane does that next.

    Who asks again with the same id, as after a crash, gets the same cell, for as long as that is there.

    Args:
        siblings: the pool's cells.
        taken: ids of all cells that the control plane knows; none of them is chosen.
        pool: the pool's name.
        ask_id: names this ask.

    Returns:
        The cell, whose API answers.

    Raises:
        LimitReachedError: there may be no more cells, or no more capacity.
        ProvisionError: there is nobody to be like, or the cell does not come up.
    """
    assert ask_id, "an ask has an id, by which a second one finds the cell of the first"
    for _ in range(MAX_TRIES):
        known = provisioner.describe_all()
        mine = next((each.request for each in known if each.request.ask_id == ask_id), None)
        wanted = mine or like(siblings, next_id({*taken, *(each.id for each in known)}), pool=pool, ask_id=ask_id)
        try:
            return provisioner.create(wanted)
        except CellTakenError:
            # Another ask took the id, or this one, asked twice at once, has its cell by now.
            continue
    raise ProvisionError(f"no free id for another cell of {pool} in {MAX_TRIES} tries: ask again")


def next_id(taken: Collection[str]) -> str:
    """The first id ``cell-N`` behind all that are taken; one that was given up before is not given out again while a
    later one is there.
    """
    numbers = [int(found[1]) for cell_id in taken if (found := _NUMBERED.fullmatch(cell_id)) is not None]
    return f"cell-{max(numbers, default=0) + 1}"


def like(siblings: Sequence[Cell], cell_id: str, *, pool: str, ask_id: str = "") -> CellRequest:
    """The request for a cell like these: what most of them are; of their zones, the one with the fewest of them.

    Args:
        siblings: the pool's cells; those that are retired count only where all are.

    Raises:
        ProvisionError: there are none.
    """
    others = [cell for cell in siblings if cell.id != cell_id]
    chosen = [cell for cell in others if cell.status is not CellStatus.RETIRED] or others
    if not chosen:
        raise ProvisionError(f"pool {pool} has no cells that another could be like: name its region and jurisdiction")
    place = _commonest([(cell.region, cell.jurisdiction) for cell in chosen])
    beside = [cell for cell in chosen if (cell.region, cell.jurisdiction) == place]
    zones = Counter(cell.zone for cell in beside)
    return CellRequest(
        cell_id,
        region=place[0],
        jurisdiction=place[1],
        zone=min(zones, key=lambda zone: (zones[zone], zone)),
        capacity=_commonest([cell.capacity for cell in beside]),
        release=_commonest([cell.release for cell in beside]),
        pool=pool,
        ask_id=ask_id,
    )


def _commonest(values: Sequence[_Value]) -> _Value:
    """The value that is there most often; of several, the first."""
    return Counter(values).most_common(1)[0][0]
