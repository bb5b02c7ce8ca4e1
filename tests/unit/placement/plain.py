"""The strategies in plain Python, as slow and as literal as their definitions: what the arrays must equal."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import xxhash

from cellplane.model.pool import ring_points
from cellplane.placement import Member
from cellplane.placement.exponential import _table
from cellplane.placement.modulo import fnv1a32

MASK = 2**64 - 1


def modulo(members: Sequence[Member], slot: int, shard_size: int) -> list[str]:
    ids = sorted(member.id for member in members)
    weights = {member.id: member.weight for member in members}
    places = [cell for cell in ids for _ in range(max(1, round(weights[cell])))]
    first = ids.index(places[fnv1a32(slot.to_bytes(2, "little")) % len(places)])
    return [ids[(first + step) % len(ids)] for step in range(shard_size)]


def ring(members: Sequence[Member], virtual_nodes: int, shard_size: int) -> Callable[[int], list[str]]:
    points = sorted(
        (xxhash.xxh64_intdigest(f"{member.id}#{node}".encode(), 0), member.id)
        for member in members
        for node in range(ring_points(virtual_nodes, member.weight))
    )

    def shard(slot: int) -> list[str]:
        start = bisect_left(points, (xxhash.xxh64_intdigest(slot.to_bytes(2, "little"), 0), ""))
        around = [cell for _, cell in points[start:] + points[:start]]
        return list(dict.fromkeys(around))[:shard_size]

    return shard


def _mixed(value: int) -> int:
    value ^= value >> 30
    value = value * 0xBF58476D1CE4E5B9 & MASK
    value ^= value >> 27
    value = value * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def time(value: int) -> int:
    """The time of a hash, in units of 2**-40: interpolated with fractions."""
    table = _table()
    index = value >> 48
    if index == 65535:
        return int(table[-1]) + time(value << 16 & MASK)
    left, right = int(table[index]), int(table[index + 1])
    return int(left + (right - left) * Fraction(value >> 24 & 0xFFFFFF, 2**24))


def racing_order(members: Sequence[Member], place: bytes, seed: int) -> list[Member]:
    """All members as they come in, without any limit."""

    def key(member: Member) -> tuple[int, str]:
        name = xxhash.xxh64_intdigest(member.id.encode(), seed)
        pair = _mixed(xxhash.xxh64_intdigest(place, seed) ^ name)
        return (time(pair) << 18) // round(member.weight * 1000), member.id

    return sorted(members, key=key)


def passing_over_full_zones(order: Iterable[Member], limit: int, shard_size: int) -> list[str]:
    """Greedy, as one would say it: the next in order, unless its zone is full."""
    shard: list[Member] = []
    for member in order:
        if len(shard) < shard_size and sum(one.zone == member.zone for one in shard) < limit:
            shard.append(member)
    return [member.id for member in shard]
