"""What must be so of TENANTS and TENANT_INDEX, checked as arrays and in runs that stay in the processor's cache."""

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import TableError
from cellplane.model import MAX_KEY_BYTES
from cellplane.model.key import KEY_BYTES, KEY_FIRST_BYTES
from cellplane.placement.hashing import hash_keys
from cellplane.routing import layout
from cellplane.routing.key_bytes import are_keys

RUN = 1 << 15
"""Entries that are checked in one go."""


class EntryChecks:
    """The checks of one file's entries.

    Args:
        columns: TENANTS.
        strings: STRINGS.
        index: TENANT_INDEX.
        limits: how many pools, shards and policies there are, and codes of states that may stand here.
    """

    def __init__(
        self,
        columns: NDArray[np.void],
        strings: memoryview,
        index: NDArray[np.uint32],
        limits: tuple[int, int, int, frozenset[int]],
    ) -> None:
        self._columns = columns
        self._strings = strings
        self._bytes = np.frombuffer(strings, np.uint8)
        self._index = index
        self._pools, self._shards, self._policies, states = limits
        self._states = np.zeros(256, bool)
        self._states[list(states)] = True

    def run(self) -> None:
        """Raise TableError with the first entry that is not as it must be."""
        self._check_index()
        shift = 32 - (len(self._index) - 1).bit_length() + 1
        for start in range(0, len(self._columns), RUN):
            run = self._columns[start : start + RUN]
            self._check_codes(start, run)
            hashes = self._check_keys(start, run)
            self._check_order(start, run, hashes)
            self._check_places(start, hashes, shift)
        # Entries of one run are in order; so are the last of one and the first of the next.
        for start in range(RUN, len(self._columns), RUN):
            pair = self._columns[start - 1 : start + 1]
            self._check_order(start - 1, pair, pair["hash"])

    def _check_index(self) -> None:
        index, buckets = self._index, len(self._index) - 1
        if buckets < 1 or buckets & (buckets - 1) or buckets > 1 << layout.MAX_INDEX_BITS:
            raise TableError(f"TENANT_INDEX has {len(index)} entries, expected 2^b + 1 with b of 0 to 24")
        if index[0] != 0 or index[buckets] != len(self._columns):
            raise TableError(
                f"TENANT_INDEX runs from {index[0]} to {index[buckets]}, expected 0 to {len(self._columns)}"
            )
        descents = np.flatnonzero(index[1:] < index[:-1])
        if len(descents):
            raise TableError(f"TENANT_INDEX descends at {int(descents[0])}")

    def _check_codes(self, start: int, run: NDArray[np.void]) -> None:
        shard, state, pool, policy = run["shard"], run["state"], run["pool"], run["policy"]
        if (
            shard.max() < self._shards
            and pool.max() < self._pools
            and state.max() < len(layout.TENANT_STATES)
            and policy.max() < self._policies
        ):
            return
        gone = state == layout.GONE
        self._refuse(start, (pool >= self._pools) | (gone & (pool != 0)), "pool")
        self._refuse(start, ((shard >= self._shards) | gone) & (shard != layout.NO_SHARD), "shard")
        self._refuse(start, ~self._states[state], "state")
        self._refuse(start, (policy >= self._policies) | (gone & (policy != layout.POOL_POLICY)), "policy")

    def _check_keys(self, start: int, run: NDArray[np.void]) -> NDArray[np.uint32]:
        """The hashes of a run, which are those of its keys."""
        offsets, lengths = run["key_offset"].astype(np.int64), run["key_length"].astype(np.int64)
        ends = offsets + lengths
        if ends.max() > len(self._bytes):
            self._refuse(start, ends > len(self._bytes), "key")
        # The writer puts keys one behind the other; then two looks at their bytes are enough.
        sound = (
            bool((offsets[1:] == ends[:-1]).all())
            and lengths.min() > 0
            and lengths.max() <= MAX_KEY_BYTES
            and not bytes(self._strings[int(offsets[0]) : int(ends[-1])]).translate(None, KEY_BYTES)
            and not self._bytes[offsets].tobytes().translate(None, KEY_FIRST_BYTES)
        )
        if not sound:
            self._refuse(start, ~are_keys(self._bytes, offsets, lengths), "key")
        hashes = hash_keys(self._bytes, offsets, run["key_length"].copy())
        self._refuse(start, hashes != run["hash"], "hash")
        return hashes

    def _check_order(self, start: int, run: NDArray[np.void], hashes: NDArray[np.uint32]) -> None:
        self._refuse(start + 1, hashes[1:] < hashes[:-1], "order")
        alike = hashes[1:] == hashes[:-1]
        for place in np.flatnonzero(alike).tolist() if alike.any() else ():
            if self._key(run[place]) >= self._key(run[place + 1]):
                raise TableError(f"tenant {start + place + 1}: out of order, or stands twice")

    def _check_places(self, start: int, hashes: NDArray[np.uint32], shift: int) -> None:
        """Each entry lies in its own bucket. Since buckets lie side by side, then no bucket holds another's."""
        bucket = hashes.astype(np.int64) >> shift
        places = np.arange(start, start + len(hashes), dtype=np.uint32)
        self._refuse(start, (self._index[bucket] > places) | (self._index[bucket + 1] <= places), "bucket")

    def _refuse(self, start: int, bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            place = start + int(bad.argmax())
            raise TableError(f"tenant {place}: its {what} is not valid: {self._columns[place]}")

    def _key(self, row: np.void) -> bytes:
        start = int(row["key_offset"])
        return bytes(self._strings[start : start + int(row["key_length"])])
