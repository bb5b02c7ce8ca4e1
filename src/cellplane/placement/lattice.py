"""Lattice shuffle sharding: the cells of a shard differ from each other in every dimension, such as zone and release.

A failure that takes one coordinate (a zone, a release) then takes at most one cell of any shard. The form is that of
Route 53 Infima's lattices; the selection is by races, so that it is stable.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import xxhash
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model.key import check_name
from cellplane.placement import race
from cellplane.placement.member import MILLI, Member, check_seed, check_shard_size, sorted_members
from cellplane.placement.shuffle import DEFAULT_SHARD_SIZE
from cellplane.placement.slots import Shards, slot_hashes

MAX_DIMENSIONS = 8
"""Most dimensions: n dimensions of k coordinates need k**n cells, so more than three are rare."""


def place(
    members: Sequence[Member],
    coordinates: Mapping[str, Sequence[str]],
    *,
    shard_size: int = DEFAULT_SHARD_SIZE,
    seed: int = 0,
) -> Shards:
    """The shard of each slot: K points of the lattice that differ in every dimension, and one cell at each.

    In each dimension the K coordinates that come first in a race are taken; the i-th of every dimension together are
    the i-th point, and of the cells there the first in a weighted race is taken. A point is a place of a shard with the
    same probability as any other, whatever the number and weights of its cells: weights count within a point only.

    One cell more or less at a point that keeps a cell changes only shards with that point, in that member, and nothing
    moves between other cells. A new coordinate, or one less, is another lattice: it pairs coordinates anew, and may
    change every member of a shard.

    Args:
        members: the pool's.
        coordinates: of each member, by id: one name a dimension, 1 to MAX_DIMENSIONS. A dimension has at least K
            coordinates, and every combination of coordinates at least one cell.
        shard_size: K, 1 to MAX_SHARD_SIZE.
        seed: 0 to 2**64 - 1; another seed gives other, independent shards.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule; names the point that has no cell.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    check_seed("seed", seed)
    axes = _axes(ordered, coordinates, shard_size)
    groups = _groups(ordered, coordinates, axes)
    points = _points(axes, shard_size, seed).ravel()
    runners = race.entrants(ordered, seed)
    slots = slot_hashes(seed)
    chosen = np.empty(len(points), np.uint32)
    by_point = np.argsort(points, kind="stable")
    ends = np.searchsorted(points[by_point], np.arange(1, len(groups)))
    for group, entries in zip(groups, np.split(by_point, ends), strict=True):
        if len(entries):
            winners = race.first(slots[entries // shard_size], runners.only(group), 1).indexes[:, 0]
            chosen[entries] = group[winners]
    return chosen.reshape(len(slots), shard_size)


def _axes(
    members: Sequence[Member], coordinates: Mapping[str, Sequence[str]], shard_size: int
) -> tuple[tuple[str, ...], ...]:
    """The coordinates of each dimension, sorted."""
    dimensions = 0
    for member in members:
        field = f"coordinates[{member.id}]"
        if member.id not in coordinates:
            raise ValidationError(field, "missing: every member needs one coordinate a dimension")
        mine = coordinates[member.id]
        dimensions = dimensions or len(mine)
        if not 1 <= len(mine) <= MAX_DIMENSIONS:
            raise ValidationError(field, f"expected 1 to {MAX_DIMENSIONS} dimensions, found {len(mine)}")
        if len(mine) != dimensions:
            raise ValidationError(field, f"expected {dimensions} dimensions as {members[0].id!r}, found {len(mine)}")
        for dimension, name in enumerate(mine):
            check_name(f"{field}[{dimension}]", name)
    axes = tuple(tuple(sorted({coordinates[member.id][axis] for member in members})) for axis in range(dimensions))
    for dimension, axis in enumerate(axes):
        if len(axis) < shard_size:
            raise ValidationError(
                "shard_size",
                f"dimension {dimension} has the coordinates {', '.join(axis)} only, too few for {shard_size} cells "
                "that differ in it: lower the shard size, or leave the dimension out",
            )
    return axes


def _groups(
    members: Sequence[Member], coordinates: Mapping[str, Sequence[str]], axes: Sequence[Sequence[str]]
) -> list[NDArray[np.intp]]:
    """Indexes of the members at each point, the last dimension running fastest."""
    point_count = math.prod(len(axis) for axis in axes)
    by_point: dict[tuple[str, ...], list[int]] = {}
    for index, member in enumerate(members):
        by_point.setdefault(tuple(coordinates[member.id]), []).append(index)
    if len(by_point) < point_count:
        empty = next(point for point in product(*axes) if point not in by_point)
        raise ValidationError(
            "coordinates",
            f"no cell is at ({', '.join(empty)}), and {len(by_point)} of {point_count} points have one: every "
            "combination of coordinates needs a cell; add cells, use fewer dimensions, or spread over zones instead",
        )
    return [np.array(by_point[point], np.intp) for point in product(*axes)]


def _points(axes: Sequence[Sequence[str]], shard_size: int, seed: int) -> NDArray[np.intp]:
    """The points of each slot's shard, numbered as in ``_groups``; shape (SLOT_COUNT, shard_size)."""
    slots = slot_hashes(seed)
    points = np.zeros((len(slots), shard_size), np.intp)
    for dimension, axis in enumerate(axes):
        # A slash stands in no name of a cell: no coordinate runs as a cell does.
        names = [xxhash.xxh64_intdigest(f"{dimension}/{name}".encode(), seed) for name in axis]
        runners = race.Entrants(np.array(names, np.uint64), np.full(len(axis), MILLI, np.uint64))
        points = points * len(axis) + race.first(slots, runners, shard_size).indexes
    return points
