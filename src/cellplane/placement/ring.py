"""Consistent hashing: adding or removing one of N cells moves about 1/N of the slots.

Source: Karger et al., Consistent Hashing and Random Trees, STOC 1997; virtual nodes, and the preference list of the
next distinct cells on the ring, as in Dynamo, SOSP 2007.
"""

from collections.abc import Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model.pool import MAX_RING_POINTS, MAX_VIRTUAL_NODES, ring_points
from cellplane.placement.member import Member, check_shard_size, sorted_members
from cellplane.placement.slots import Shards, slot_hashes


def place(members: Sequence[Member], *, virtual_nodes: int, shard_size: int = 1) -> Shards:
    """The shard of each slot: the owner of the first point at or after the slot's own, then the next other owners.

    Args:
        members: a member has ``ring_points(virtual_nodes, weight)`` points.
        virtual_nodes: points of a member of weight 1, 1 to MAX_VIRTUAL_NODES.
        shard_size: cells of a shard.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    if not 1 <= virtual_nodes <= MAX_VIRTUAL_NODES:
        raise ValidationError("virtual_nodes", f"expected 1 to {MAX_VIRTUAL_NODES}, found {virtual_nodes}")
    counts = [ring_points(virtual_nodes, member.weight) for member in ordered]
    if sum(counts) > MAX_RING_POINTS:
        raise ValidationError(
            "virtual_nodes",
            f"the ring would have {sum(counts)} points, more than {MAX_RING_POINTS}: "
            "lower the virtual nodes, or the weights of the cells",
        )
    points = np.fromiter(
        (
            xxhash.xxh64_intdigest(f"{member.id}#{node}".encode(), 0)
            for member, count in zip(ordered, counts, strict=True)
            for node in range(count)
        ),
        np.uint64,
        sum(counts),
    )
    owners = np.repeat(np.arange(len(ordered), dtype=np.uint32), counts)
    # By point, then by id: stable, and owners ascend.
    order = np.argsort(points, kind="stable")
    starts = np.searchsorted(points[order], slot_hashes(), side="left") % len(order)
    if shard_size == 1:
        return owners[order][starts][:, None]
    met, where = np.unique(starts, return_inverse=True)
    return _next_owners(owners[order], met, shard_size)[where]


def _next_owners(owners: NDArray[np.uint32], starts: NDArray[np.intp], count: int) -> Shards:
    """The first ``count`` distinct owners at or after each start, around the ring.

    One walk backwards over all points keeps the owners met last, the latest first, so that no arrangement of points
    costs more than another.

    Args:
        owners: of each point, in the order of the ring.
        starts: indexes of points, ascending.
        count: at most the number of distinct owners.
    """
    values, first_met = np.unique(owners, return_index=True)
    # Behind the last point the ring goes on at the first.
    recent: list[int] = values[np.argsort(first_met)][:count].tolist()
    found = np.empty((len(starts), count), np.uint32)
    wanted = len(starts) - 1
    by_point: list[int] = owners.tolist()
    start_list: list[int] = starts.tolist()
    for point in range(len(by_point) - 1, -1, -1):
        owner = by_point[point]
        if recent[0] != owner:
            if owner in recent:
                recent.remove(owner)
            else:
                recent.pop()
            recent.insert(0, owner)
        if wanted >= 0 and start_list[wanted] == point:
            found[wanted] = recent
            wanted -= 1
    assert wanted == -1
    return found
