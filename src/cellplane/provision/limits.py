"""Whether one cell more stays within the limits: pure, so that every implementation asks the same."""

from collections.abc import Iterable
from dataclasses import fields

from cellplane.errors import LimitReachedError
from cellplane.model import Capacity
from cellplane.provision.settings import ProvisionLimits
from cellplane.provision.values import CellRequest


def require_room(limits: ProvisionLimits, known: Iterable[CellRequest], wanted: CellRequest) -> None:
    """Check a cell that is not there yet.

    Args:
        known: all cells that are there; one of the wanted id does not count.

    Raises:
        LimitReachedError: which limit, how much of it is used, and what to do.
    """
    others = [request for request in known if request.id != wanted.id]
    if len(others) >= limits.max_cells:
        raise LimitReachedError(
            f"{wanted.id} would be cell number {len(others) + 1}, and there may be {limits.max_cells}: "
            "destroy one that is retired, or raise the limit"
        )
    for field in fields(Capacity):
        limit: float | None = getattr(limits.max_total, field.name)
        if limit is None:
            continue
        asked: float | None = getattr(wanted.capacity, field.name)
        if asked is None:
            raise LimitReachedError(
                f"{wanted.id} declares no capacity of {field.name}, of which all cells together may have {limit:g}: "
                f"declare what it holds, as with --capacity {field.name}=NUMBER"
            )
        used = sum(getattr(request.capacity, field.name) or 0 for request in others)
        if used + asked > limit:
            raise LimitReachedError(
                f"{wanted.id} with {field.name} {asked:g} would be too much: the cells that are there have {used:g} of "
                f"{limit:g}. Ask for at most {max(limit - used, 0):g}, destroy one that is retired, or raise the limit"
            )
