"""The guard of shuffle sharding: a tenant of more than 1/K of a cell would take its shard down, and others with it."""

from collections.abc import Mapping

from cellplane.errors import ValidationError
from cellplane.model import Capacity, Load
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.placement.refusal import CellReason, NoCell


def check_share(load: Load, capacities: Mapping[str, Capacity], *, shard_size: int) -> NoCell | None:
    """Refuse a tenant that needs more than 1/K of the capacity of any of these cells.

    Requests and storage count; the number of tenants does not, since one tenant is one, however large. What a cell does
    not declare limits nothing.

    Args:
        load: what the tenant declares to need.
        capacities: of the cells that it may get, by id.
        shard_size: K, 1 to MAX_SHARD_SIZE.

    Returns:
        None where the tenant may be placed.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    if not 1 <= shard_size <= MAX_SHARD_SIZE:
        raise ValidationError("shard_size", f"expected 1 to {MAX_SHARD_SIZE}, found {shard_size}")
    load.validate("load")
    reasons = []
    for cell, capacity in sorted(capacities.items()):
        capacity.validate(f"capacities[{cell}]")
        over = [
            f"{needed:g} {unit} is more than 1/{shard_size} of {limit:g}"
            for unit, needed, limit in (
                ("rps", load.rps, capacity.rps),
                ("GiB", load.storage_gib, capacity.storage_gib),
            )
            # Multiplied, since a third of a limit is no binary fraction.
            if limit is not None and needed * shard_size > limit
        ]
        if over:
            reasons.append(CellReason(cell, ", ".join(over)))
    if not reasons:
        return None
    return NoCell(
        f"the tenant declares more than 1/{shard_size} of the capacity of {len(reasons)} of {len(capacities)} cells: "
        "give it a pool of larger or dedicated cells, or a smaller shard",
        tuple(reasons),
    )
