"""Consistent hashing: adding or removing one of N cells moves about 1/N of the slots.

Source: Karger et al., Consistent Hashing and Random Trees, STOC 1997; virtual nodes as in Dynamo, SOSP 2007.
"""

from bisect import bisect_left

import xxhash

from cellplane.model.pool import ring_points
from cellplane.placement.slots import SLOT_COUNT


def place(weights: tuple[tuple[str, float], ...], virtual_nodes: int) -> tuple[str, ...]:
    """The cell of each slot: that of the first point at or after the slot's own place on the ring.

    Args:
        weights: (cell id, weight) sorted by id; a cell has ``ring_points`` points.
        virtual_nodes: points of a cell of weight 1.
    """
    ring = sorted(
        (xxhash.xxh64_intdigest(f"{cell}#{node}".encode(), 0), cell)
        for cell, weight in weights
        for node in range(ring_points(virtual_nodes, weight))
    )
    points = [point for point, _ in ring]
    owners = [cell for _, cell in ring]
    owners.append(owners[0])
    return tuple(
        owners[bisect_left(points, xxhash.xxh64_intdigest(slot.to_bytes(2, "little"), 0))] for slot in range(SLOT_COUNT)
    )
