"""Slots: the fixed hash buckets between keys and shards."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

SLOT_COUNT = 65_536
"""Slots of every pool. Fixed by the table format: a key's slot never depends on the fleet."""

Hashes: TypeAlias = NDArray[np.uint64]
"""64-bit hashes of slots, tenants, cells or of pairs of them."""

Shards: TypeAlias = NDArray[np.uint32]
"""Indexes of members sorted by id, shape (places, K), the preferred first."""


def key_hash(key: bytes) -> int:
    """xxh32 of a partition key with seed 0, 0 to 2**32 - 1 (https://xxhash.com, specification 0.1.1)."""
    return xxhash.xxh32_intdigest(key, 0)


def slot_of(key: bytes) -> int:
    """The key's slot, 0 to SLOT_COUNT - 1: the low 16 bits of its hash."""
    return key_hash(key) & (SLOT_COUNT - 1)


@lru_cache(maxsize=8)
def slot_hashes(seed: int = 0) -> Hashes:
    """Where each slot stands when it is placed: xxh64 of its two bytes, little-endian; shape (SLOT_COUNT,)."""
    hashes = np.fromiter(
        (xxhash.xxh64_intdigest(slot.to_bytes(2, "little"), seed) for slot in range(SLOT_COUNT)), np.uint64, SLOT_COUNT
    )
    hashes.flags.writeable = False
    return hashes
