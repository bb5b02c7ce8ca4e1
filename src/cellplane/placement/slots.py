"""Slots: the fixed hash buckets between keys and shards."""

import xxhash

SLOT_COUNT = 65_536
"""Slots of every pool. Fixed by the table format: a key's slot never depends on the fleet."""


def key_hash(key: bytes) -> int:
    """xxh32 of a partition key with seed 0, 0 to 2**32 - 1 (https://xxhash.com, specification 0.1.1)."""
    return xxhash.xxh32_intdigest(key, 0)


def slot_of(key: bytes) -> int:
    """The key's slot, 0 to SLOT_COUNT - 1: the low 16 bits of its hash."""
    return key_hash(key) & (SLOT_COUNT - 1)
