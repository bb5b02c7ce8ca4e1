"""Shuffle sharding over zones: no zone has more of a shard's cells than its even part, rounded up."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model.key import check_name
from cellplane.placement import race
from cellplane.placement.member import Member, check_seed, check_shard_size, sorted_members
from cellplane.placement.shuffle import DEFAULT_SHARD_SIZE
from cellplane.placement.slots import Shards, slot_hashes
from cellplane.placement.spread import zone_limit

MAX_ZONES = 32
"""Most zones of a pool: each costs a race of its own. A region of a cloud has three to six."""


def place(
    members: Sequence[Member], zones: Sequence[str], *, shard_size: int = DEFAULT_SHARD_SIZE, seed: int = 0
) -> Shards:
    """The shard of each slot: the first in a race, passing over those whose zone is full.

    One cell more or less, in any of the declared zones, changes at most one member of any shard. Proof: sets with at
    most c cells of each zone are the independent sets of a partition matroid, so passing over those that do not fit
    gives the same as: (1) take the first c of each zone, (2) of these, the first K. A joining cell changes (1) in its
    own zone only, where it pushes out at most one; so the candidates of (2) get one more and lose at most one, whom
    the newcomer precedes. Then the first K of them change in one place at most. Leaving is joining, backwards.

    The zones are declared, not gathered from the members, so that the last cell of a zone can leave without the limit
    of the others changing. A zone with few cells makes them busier: weigh zones alike, or the smallest fills first.

    Args:
        members: the pool's; each in one of the zones.
        zones: 1 to MAX_ZONES names, none twice.
        shard_size: K, 1 to MAX_SHARD_SIZE; at most ``zone_limit`` of them are in one zone.
        seed: 0 to 2**64 - 1; another seed gives other, independent shards.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule, also where the zones have too few cells.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    check_seed("seed", seed)
    _check_zones(members, zones)
    limit = zone_limit(shard_size, len(zones))
    groups = [
        np.array([index for index, member in enumerate(ordered) if member.zone == zone], np.intp) for zone in zones
    ]
    room = sum(min(limit, len(group)) for group in groups)
    if room < shard_size:
        found = ", ".join(f"{len(group)} in {zone}" for zone, group in zip(zones, groups, strict=True))
        raise ValidationError(
            "shard_size",
            f"a shard of {shard_size} has at most {limit} cells a zone, and the cells ({found}) give {room}: "
            "lower the shard size, or add cells where there are fewest",
        )
    runners = race.entrants(ordered, seed)
    slots = slot_hashes(seed)
    best: race.Standing | None = None
    for group in groups:
        if len(group):
            mine = race.first(slots, runners.only(group), min(limit, len(group)))
            mine = race.Standing(group.astype(np.uint32)[mine.indexes], mine.keys)
            best = mine if best is None else _merged(best, mine, shard_size)
    assert best is not None
    assert best.indexes.shape == (len(slots), shard_size)
    return best.indexes


def _merged(one: race.Standing, other: race.Standing, count: int) -> race.Standing:
    """The first ``count`` of both, by key, then by member."""
    keys = np.concatenate((one.keys, other.keys), axis=1)
    indexes = np.concatenate((one.indexes, other.indexes), axis=1)
    order: NDArray[np.intp] = np.lexsort((indexes, keys), axis=1)[:, :count]
    return race.Standing(np.take_along_axis(indexes, order, axis=1), np.take_along_axis(keys, order, axis=1))


def _check_zones(members: Sequence[Member], zones: Sequence[str]) -> None:
    if not 1 <= len(zones) <= MAX_ZONES:
        raise ValidationError("zones", f"expected 1 to {MAX_ZONES} zones, found {len(zones)}")
    for index, zone in enumerate(zones):
        check_name(f"zones[{index}]", zone)
        if zone in zones[:index]:
            raise ValidationError(f"zones[{index}]", f"{zone!r} stands twice")
    for index, member in enumerate(members):
        if member.zone not in zones:
            raise ValidationError(
                f"members[{index}].zone", f"expected one of {', '.join(zones)}; found {member.zone!r}"
            )
