"""Spread: how many cells of a shard may be alike in a dimension. One rule for slots and for assigned tenants."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cellplane.model import Cell, Dimension


@dataclass(frozen=True, slots=True)
class Alike:
    """Cells that may fail together.

    Attributes:
        cells: their ids.
        most: how many of them one shard may have, ≥ 1.
    """

    cells: Collection[str]
    most: int


def zone_limit(shard_size: int, zone_count: int) -> int:
    """Most cells of a shard in one zone: ceil(shard_size / zone_count)."""
    return -(-shard_size // zone_count)


def alike(cells: Sequence[Cell], dimensions: Sequence[Dimension], shard_size: int) -> tuple[Alike, ...]:
    """The groups of a pool's cells that limit its shards.

    In one dimension, no coordinate has more than its even part of a shard, rounded up. In several, the cells of a shard
    differ in each.

    Args:
        cells: all cells of the pool: what is closed now counts as a coordinate all the same.
        dimensions: of the pool, none twice.
        shard_size: K.
    """
    groups: list[Alike] = []
    for dimension in dimensions:
        by_coordinate: dict[str, list[str]] = {}
        for cell in cells:
            by_coordinate.setdefault(cell.coordinate(dimension), []).append(cell.id)
        most = zone_limit(shard_size, len(by_coordinate)) if len(dimensions) == 1 else 1
        groups += [Alike(ids, most) for _, ids in sorted(by_coordinate.items())]
    return tuple(groups)
