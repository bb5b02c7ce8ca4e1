"""Tenants as columns: a million entries in arrays, not in objects."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import ValidationError
from cellplane.model import MAX_KEY_BYTES, TenantState
from cellplane.placement.hashing import hash_keys
from cellplane.routing import layout
from cellplane.routing.key_bytes import are_keys


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant that its slot alone does not place.

    Attributes:
        key: its partition key.
        shard: index in TableContents.shards, or None for the shard of its slot in its pool.
        pool: index in TableContents.pools.
        state: see TenantState.
        policy: index in TableContents.policies, 1 to 255; 0 for its pool's.
    """

    key: bytes
    shard: int | None
    pool: int = 0
    state: TenantState = TenantState.ACTIVE
    policy: int = layout.POOL_POLICY


@dataclass(frozen=True, slots=True, eq=False)
class TenantColumns:
    """Entries of TENANTS, in any order.

    Attributes:
        keys: all keys, one behind the other.
        lengths: bytes of each key, shape (n,).
        shard: index of each entry's shard, or layout.NO_SHARD, shape (n,).
        pool: index of its pool, shape (n,).
        state: code of its state, shape (n,).
        policy: index of its policy, 0 for its pool's, shape (n,).
    """

    keys: bytes
    lengths: NDArray[np.uint8]
    shard: NDArray[np.uint32]
    pool: NDArray[np.uint8]
    state: NDArray[np.uint8]
    policy: NDArray[np.uint8]

    @classmethod
    def of(cls, entries: Iterable[TenantEntry]) -> Self:
        """The columns of these entries.

        Raises:
            ValidationError: a number is out of what a column can hold.
        """
        rows = list(entries)
        for place, row in enumerate(rows):
            in_range = 0 <= row.pool <= 254 and 0 <= row.policy <= layout.MAX_TENANT_POLICY
            if len(row.key) > MAX_KEY_BYTES or not in_range or (row.shard is not None and row.shard < 0):
                raise ValidationError(
                    f"tenants[{place}]", f"expected a key, a pool, a shard and a policy in range, found {row}"
                )
        return cls(
            keys=b"".join(row.key for row in rows),
            lengths=np.array([len(row.key) for row in rows], np.uint8),
            shard=np.array([layout.NO_SHARD if row.shard is None else row.shard for row in rows], np.uint32),
            pool=np.array([row.pool for row in rows], np.uint8),
            state=np.array([layout.TENANT_STATE_CODES[row.state] for row in rows], np.uint8),
            policy=np.array([row.policy for row in rows], np.uint8),
        )

    def __len__(self) -> int:
        """Number of entries."""
        return len(self.lengths)

    def offsets(self) -> NDArray[np.uint32]:
        """Where each key begins in ``keys``, shape (n,)."""
        offsets = np.zeros(len(self), np.uint32)
        np.cumsum(self.lengths[:-1], dtype=np.uint32, out=offsets[1:])
        return offsets

    def hashes(self) -> NDArray[np.uint32]:
        """xxh32 of each key, shape (n,)."""
        return hash_keys(np.frombuffer(self.keys, np.uint8), self.offsets(), self.lengths)

    def sorted(self) -> tuple[Self, NDArray[np.uint32]]:
        """The same entries by (hash, key), and their hashes.

        Raises:
            ValidationError: a key stands twice.
        """
        hashes = self.hashes()
        order = np.argsort(hashes, kind="stable")
        offsets = self.offsets()
        self._sort_equal_hashes(order, hashes, offsets)
        starts, lengths = offsets[order].tolist(), self.lengths[order]
        keys = b"".join(
            [self.keys[start : start + length] for start, length in zip(starts, lengths.tolist(), strict=True)]
        )
        ordered = type(self)(keys, lengths, self.shard[order], self.pool[order], self.state[order], self.policy[order])
        return ordered, hashes[order]

    def _sort_equal_hashes(
        self, order: NDArray[np.intp], hashes: NDArray[np.uint32], offsets: NDArray[np.uint32]
    ) -> None:
        """Order the few entries whose hashes are equal by their keys."""
        sorted_hashes = hashes[order]
        equal = np.flatnonzero(sorted_hashes[1:] == sorted_hashes[:-1])
        for start in equal[np.concatenate(([True], np.diff(equal) > 1))] if len(equal) else ():
            end = int(start) + 1
            while end < len(order) and sorted_hashes[end] == sorted_hashes[start]:
                end += 1
            group = sorted((self._key(offsets, place), int(place)) for place in order[start:end])
            for (first, place), (second, _) in zip(group, group[1:], strict=False):
                if first == second:
                    raise ValidationError(f"tenants[{place}].key", f"{first.decode()!r} stands twice")
            order[start:end] = [place for _, place in group]

    def equal(self, values: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Which entries have this shard, pool, state and policy, shape (n,)."""
        shard, pool, state, policy = values
        found: NDArray[np.bool_] = (
            (self.shard == shard) & (self.pool == pool) & (self.state == state) & (self.policy == policy)
        )
        return found

    def filtered(self, without: tuple[int, int, int, int] | None) -> Self:
        """The entries but those with this shard, pool, state and policy."""
        if without is None:
            return self
        kept = ~self.equal(without)
        if kept.all():
            return self
        keys = np.frombuffer(self.keys, np.uint8)[np.repeat(kept, self.lengths)].tobytes()
        return type(self)(
            keys, self.lengths[kept], self.shard[kept], self.pool[kept], self.state[kept], self.policy[kept]
        )

    def with_state(self, state: int, where: NDArray[np.bool_]) -> Self:
        """The same entries, some with another state; one that is layout.GONE has no shard, and pool and policy 0."""
        gone = where & (state == layout.GONE)
        return type(self)(
            self.keys,
            self.lengths,
            np.where(gone, np.uint32(layout.NO_SHARD), self.shard),
            np.where(gone, np.uint8(0), self.pool),
            np.where(where, np.uint8(state), self.state),
            np.where(gone, np.uint8(layout.POOL_POLICY), self.policy),
        )

    def joined(self, other: Self) -> Self:
        """These entries, then those."""
        return type(self)(
            self.keys + other.keys,
            np.concatenate((self.lengths, other.lengths)),
            np.concatenate((self.shard, other.shard)),
            np.concatenate((self.pool, other.pool)),
            np.concatenate((self.state, other.state)),
            np.concatenate((self.policy, other.policy)),
        )

    def check_keys(self) -> None:
        """Raise ValidationError with the place of the first entry that has no key."""
        offsets = self.offsets()
        bad = np.flatnonzero(~are_keys(np.frombuffer(self.keys, np.uint8), offsets, self.lengths))
        if len(bad):
            place = int(bad[0])
            key = self._key(offsets, place)
            raise ValidationError(
                f"tenants[{place}].key", f"expected a key of 1 to {MAX_KEY_BYTES} bytes, found {key[:40]!r}"
            )

    def _key(self, offsets: NDArray[np.uint32], place: int) -> bytes:
        start = int(offsets[place])
        return self.keys[start : start + int(self.lengths[place])]
