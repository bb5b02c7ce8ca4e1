"""Modulo: a slot's hash, modulo the cells. Even and plain; a change of the cells moves most slots."""

from collections.abc import Sequence

import numpy as np

from cellplane.placement.member import Member, check_shard_size, sorted_members
from cellplane.placement.slots import SLOT_COUNT, Hashes, Shards

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


def fnv1a32(data: bytes) -> int:
    """FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/)."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return value


def place(members: Sequence[Member], *, shard_size: int = 1) -> Shards:
    """The shard of each slot: the member that its hash names, then those that follow by id.

    A member counts as often as its weight rounds to, at least once. N members make N different shards, whatever the
    shard size: this is failover, not shuffle sharding.

    Returns:
        Shape (SLOT_COUNT, shard_size): indexes of the members sorted by id, the preferred first.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    ordered = sorted_members(members)
    check_shard_size("shard_size", shard_size, len(ordered))
    places = np.repeat(np.arange(len(ordered), dtype=np.uint32), [max(1, round(member.weight)) for member in ordered])
    first = places[_slot_fnv1a32() % np.uint64(len(places))]
    following = np.arange(shard_size, dtype=np.uint32)
    shards: Shards = (first[:, None] + following) % np.uint32(len(ordered))
    return shards


def _slot_fnv1a32() -> Hashes:
    """FNV-1a of each slot's two bytes, little-endian; shape (SLOT_COUNT,)."""
    slots = np.arange(SLOT_COUNT, dtype=np.uint64)
    value = np.full(SLOT_COUNT, _FNV_OFFSET, np.uint64)
    for byte in (slots & np.uint64(0xFF), slots >> np.uint64(8)):
        value = ((value ^ byte) * np.uint64(_FNV_PRIME)) & np.uint64(0xFFFFFFFF)
    return value
