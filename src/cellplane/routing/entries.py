"""TENANTS, TENANT_INDEX and SHARDS of a table or overlay: checked as arrays, looked up one by one."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cellplane.errors import TableError
from cellplane.routing import layout
from cellplane.routing.entry_checks import EntryChecks
from cellplane.routing.frame import SectionEntry
from cellplane.routing.layout import Section
from cellplane.routing.shards import ShardRows, first_bad_shard


def read_shards(data: memoryview, section: SectionEntry, cells: int) -> ShardRows:
    """SHARDS, in place.

    Raises:
        TableError: a shard has a gap, a cell twice, or one that is not there.
    """
    rows = _rows(data, section, np.dtype(("<u2", (layout.SHARD_PLACES,))))
    bad = first_bad_shard(rows, cells)
    if bad is not None:
        raise TableError(f"shard {bad}: {rows[bad].tolist()}: expected 1 to 8 distinct cells below {cells}, then FFFF")
    return rows


class Entries:
    """The tenants' entries of one file.

    Args:
        pools: how many there are.
        shards: how many there are.
        policies: how many there are.
        states: codes of states that may stand here.

    Raises:
        TableError: an entry, or the index, is not as it must be.
    """

    def __init__(
        self,
        data: memoryview,
        sections: Mapping[Section, SectionEntry],
        *,
        pools: int,
        shards: int,
        policies: int,
        states: frozenset[int],
    ) -> None:
        strings = sections[Section.STRINGS]
        self._strings = data[strings.offset : strings.offset + strings.length]
        self.columns: NDArray[np.void] = _rows(data, sections[Section.TENANTS], layout.TENANT_DTYPE)
        index = sections[Section.TENANT_INDEX]
        self.index: NDArray[np.uint32] = np.frombuffer(data, "<u4", index.entry_count, index.offset)
        EntryChecks(self.columns, self._strings, self.index, (pools, shards, policies, states)).run()
        self.shift = 32 - (len(self.index) - 1).bit_length() + 1
        tenants = sections[Section.TENANTS]
        self._bytes = data[tenants.offset : tenants.offset + tenants.length]
        self._stride = tenants.entry_size
        self._buckets = data[index.offset : index.offset + index.length].cast("I")

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self.columns)

    def find(self, key: bytes, value: int) -> tuple[int, int, int, int] | None:
        """Shard, pool, state and policy of the entry of a key with this hash, or None."""
        bucket = value >> self.shift
        for place in range(self._buckets[bucket], self._buckets[bucket + 1]):
            found, offset, shard, length, pool, state, policy = layout.TENANT.unpack_from(
                self._bytes, place * self._stride
            )
            if found == value and self._strings[offset : offset + length] == key:
                return shard, pool, state, policy
        return None

    def find_many(
        self,
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        hashes: NDArray[np.uint32],
    ) -> NDArray[np.int64]:
        """Place of the entry of each key, or -1; a key is ``data[offset : offset + length]``."""
        found = np.full(len(hashes), -1, np.int64)
        if not len(self):
            return found
        bucket = (hashes.astype(np.uint64) >> np.uint64(self.shift)).astype(np.int64)
        place, end = self.index[bucket].astype(np.int64), self.index[bucket + 1].astype(np.int64)
        open_ = np.flatnonzero(place < end)
        while len(open_):
            entry = self.columns[place[open_]]
            alike = (entry["hash"] == hashes[open_]) & (entry["key_length"] == lengths[open_])
            asked = open_[alike]
            same = self._same_bytes(data, offsets[asked], lengths[asked], entry["key_offset"][alike])
            found[asked[same]] = place[asked[same]]
            place[open_] += 1
            # Entries are sorted by hash: none behind a larger one can match.
            open_ = open_[(found[open_] < 0) & (entry["hash"] <= hashes[open_]) & (place[open_] < end[open_])]
        return found

    def _same_bytes(
        self,
        data: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        lengths: NDArray[np.int64],
        key_offsets: NDArray[np.uint32],
    ) -> NDArray[np.bool_]:
        same = np.zeros(len(offsets), bool)
        strings = np.frombuffer(self._strings, np.uint8)
        for length in np.flatnonzero(np.bincount(lengths)).tolist():
            rows = np.flatnonzero(lengths == length)
            ours = sliding_window_view(strings, length)[key_offsets[rows]]
            theirs = sliding_window_view(data, length)[offsets[rows]]
            same[rows] = (ours == theirs).all(axis=1)
        return same

    def keys(self) -> list[bytes]:
        """All keys, in the order of the file."""
        starts = self.columns["key_offset"].tolist()
        lengths = self.columns["key_length"].tolist()
        strings = bytes(self._strings)
        return [strings[start : start + length] for start, length in zip(starts, lengths, strict=True)]

    def rows(self) -> Iterator[tuple[bytes, tuple[int, int, int, int]]]:
        """Key, and shard, pool, state and policy of all entries, in the order of the file."""
        for place in range(len(self)):
            _, offset, shard, length, pool, state, policy = layout.TENANT.unpack_from(self._bytes, place * self._stride)
            yield bytes(self._strings[offset : offset + length]), (shard, pool, state, policy)


def _rows(data: memoryview, section: SectionEntry, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The entries of a section as an array in place; larger entries of a later minor version are strode over."""
    shape = (section.entry_count, *dtype.shape)
    strides = (section.entry_size, *([dtype.base.itemsize] if dtype.shape else []))
    if not section.entry_count:
        return np.empty(shape, dtype.base)
    return np.ndarray(shape, dtype.base, data, section.offset, strides)
