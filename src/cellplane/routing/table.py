"""Reads a routing table in place: all checks when it is opened, then look-ups that copy nothing."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from cellplane.errors import TableError
from cellplane.model import CellStatus, TenantState, UnknownTenant, is_key, is_name
from cellplane.placement import SLOT_COUNT, key_hash
from cellplane.routing import layout
from cellplane.routing.layout import Section


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell as the table holds it; fields as in ``cellplane.model.Cell``."""

    id: str
    address: str
    port: int
    region: str
    jurisdiction: str
    status: CellStatus
    weight: float


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant's entry; ``shard`` and ``pool`` are indexes, ``shard`` None where the slot places it."""

    key: bytes
    shard: int | None
    pool: int
    state: TenantState


class RoutingTable:
    """A checked routing table over bytes, a memory map or any other buffer.

    Args:
        data: the whole file.

    Raises:
        TableError: the file is truncated, foreign, of another version, corrupt or inconsistent.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        header = _read_header(self._data)
        self.epoch: int = header.epoch
        self.sha256: str = header.sha256
        self._sections = _read_directory(self._data, header.section_count)
        self._strings = self._blob(Section.STRINGS)
        self._slots = self._blob(Section.SLOTS).cast("I")
        self._index = self._blob(Section.TENANT_INDEX).cast("I")
        self.cells: tuple[CellRow, ...] = tuple(self._read_cells())
        self.shards: tuple[tuple[int, ...], ...] = tuple(self._read_shards())
        self.pools: tuple[str, ...] = tuple(self._read_pools())
        self._read_fleet()
        self._check_slots()
        self._tenants = self._blob(Section.TENANTS)
        self._tenant_stride = self._sections[Section.TENANTS].entry_size
        self._check_tenants()
        self._index_shift = 32 - (len(self._index) - 1).bit_length() + 1

    def __len__(self) -> int:
        """Tenants that have an entry of their own."""
        return self._sections[Section.TENANTS].entry_count

    def shard_of_slot(self, pool: int, slot: int) -> int:
        """Index of the shard of a pool's slot."""
        return self._slots[self._first_slots[pool] + slot]

    def find(self, key: bytes) -> TenantRow | None:
        """The entry of this key, or None."""
        value = key_hash(key)
        bucket = value >> self._index_shift
        for place in range(self._index[bucket], self._index[bucket + 1]):
            found, offset, shard, length, pool, state, _ = self._tenant(place)
            if found == value and self._strings[offset : offset + length] == key:
                return TenantRow(key, None if shard == layout.NO_SHARD else shard, pool, layout.TENANT_STATES[state])
        return None

    def tenants(self) -> Iterator[TenantRow]:
        """All entries, in the order of the table."""
        for place in range(len(self)):
            _, offset, shard, length, pool, state, _ = self._tenant(place)
            yield TenantRow(
                bytes(self._strings[offset : offset + length]),
                None if shard == layout.NO_SHARD else shard,
                pool,
                layout.TENANT_STATES[state],
            )

    def _tenant(self, place: int) -> tuple[int, int, int, int, int, int, int]:
        row: tuple[int, int, int, int, int, int, int] = layout.TENANT.unpack_from(
            self._tenants, place * self._tenant_stride
        )
        return row

    def _blob(self, section: Section) -> memoryview:
        entry = self._sections[section]
        return self._data[entry.offset : entry.offset + entry.length]

    def _rows(self, section: Section) -> Iterator[memoryview]:
        entry = self._sections[section]
        for place in range(entry.entry_count):
            start = entry.offset + place * entry.entry_size
            yield self._data[start : start + entry.entry_size]

    def _text(self, what: str, offset: int, length: int) -> str:
        if offset + length > len(self._strings):
            raise TableError(f"{what}: text at {offset}+{length} is outside of STRINGS ({len(self._strings)} bytes)")
        try:
            return str(self._strings[offset : offset + length], "utf-8")
        except UnicodeDecodeError as error:
            raise TableError(f"{what}: not UTF-8: {error}") from error

    def _read_cells(self) -> Iterator[CellRow]:
        before = ""
        for place, row in enumerate(self._rows(Section.CELLS)):
            what = f"cell {place}"
            refs = layout.CELL.unpack_from(row)
            cell_id = self._text(what, refs[0], refs[1])
            if cell_id <= before or not is_name(cell_id):
                raise TableError(f"{what}: id {cell_id!r} is no name, stands twice or is out of order")
            before = cell_id
            port, status, _, weight_milli = refs[8:]
            if port == 0:
                raise TableError(f"{what}: port is 0, expected 1 to 65535")
            if status not in layout.CELL_STATUSES:
                raise TableError(f"{what}: status {status} is unknown")
            yield CellRow(
                id=cell_id,
                address=self._text(what, refs[2], refs[3]),
                port=port,
                region=self._text(what, refs[4], refs[5]),
                jurisdiction=self._text(what, refs[6], refs[7]),
                status=layout.CELL_STATUSES[status],
                weight=weight_milli / 1000,
            )

    def _read_shards(self) -> Iterator[tuple[int, ...]]:
        for place, row in enumerate(self._rows(Section.SHARDS)):
            places = layout.SHARD.unpack_from(row)
            used = tuple(cell for cell in places if cell != layout.NO_CELL)
            if not used or places[: len(used)] != used or len(set(used)) != len(used):
                raise TableError(f"shard {place}: {places}: expected 1 to 8 distinct cells, then FFFF")
            if max(used) >= len(self.cells):
                raise TableError(f"shard {place}: cell {max(used)} of {len(self.cells)}")
            yield used

    def _read_pools(self) -> Iterator[str]:
        self._first_slots: list[int] = []
        for place, row in enumerate(self._rows(Section.POOLS)):
            offset, length, first_slot, _ = layout.POOL.unpack_from(row)
            if first_slot + SLOT_COUNT > len(self._slots):
                raise TableError(f"pool {place}: slots {first_slot}+{SLOT_COUNT} of {len(self._slots)}")
            self._first_slots.append(first_slot)
            yield self._text(f"pool {place}", offset, length)

    def _read_fleet(self) -> None:
        rows = list(self._rows(Section.FLEET))
        if len(rows) != 1:
            raise TableError(f"FLEET has {len(rows)} entries, expected 1")
        fields = layout.FLEET.unpack_from(rows[0])
        self.fleet: str = self._text("fleet name", *fields[0:2])
        self.key_header: str = self._text("fleet key header", *fields[2:4])
        self.default_pool, unknown_tenant, _, self.retry_after_seconds = fields[4:]
        if self.default_pool >= len(self.pools):
            raise TableError(f"fleet: default pool {self.default_pool} of {len(self.pools)}")
        if unknown_tenant not in layout.UNKNOWN_TENANTS:
            raise TableError(f"fleet: unknown_tenant is {unknown_tenant}, expected 0 or 1")
        self.unknown_tenant: UnknownTenant = layout.UNKNOWN_TENANTS[unknown_tenant]
        if not self.cells or not 1 <= len(self.pools) <= 255:
            raise TableError(f"expected cells and 1 to 255 pools, found {len(self.cells)} and {len(self.pools)}")

    def _check_slots(self) -> None:
        if len(self._slots) and max(self._slots) >= len(self.shards):
            raise TableError(f"SLOTS: shard {max(self._slots)} of {len(self.shards)}")

    def _check_tenants(self) -> None:
        count = len(self)
        index = self._index
        buckets = len(index) - 1
        if buckets < 1 or buckets & (buckets - 1) or buckets > 1 << layout.MAX_INDEX_BITS:
            raise TableError(f"TENANT_INDEX has {len(index)} entries, expected 2^b + 1 with b of 0 to 24")
        if index[0] != 0 or index[buckets] != count:
            raise TableError(f"TENANT_INDEX runs from {index[0]} to {index[buckets]}, expected 0 to {count}")
        shift = 32 - buckets.bit_length() + 1
        pools, shards = len(self.pools), len(self.shards)
        before = (-1, b"")
        counts = [0] * buckets
        for place in range(count):
            value, offset, shard, length, pool, state, _ = self._tenant(place)
            key = bytes(self._strings[offset : offset + length])
            if len(key) != length or not is_key(key) or key_hash(key) != value:
                raise TableError(f"tenant {place}: its key or hash is not valid")
            if (value, key) <= before:
                raise TableError(f"tenant {place}: out of order, or stands twice")
            before = (value, key)
            if pool >= pools or (shard >= shards and shard != layout.NO_SHARD) or state not in layout.TENANT_STATES:
                raise TableError(f"tenant {place}: pool {pool}, shard {shard} or state {state} is out of range")
            counts[value >> shift] += 1
        total = 0
        for bucket in range(buckets):
            if index[bucket] != total:
                raise TableError(f"TENANT_INDEX: bucket {bucket} starts at {index[bucket]}, expected {total}")
            total += counts[bucket]


@dataclass(frozen=True, slots=True)
class _Header:
    epoch: int
    section_count: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _SectionEntry:
    offset: int
    length: int
    entry_size: int
    entry_count: int


def _read_header(data: memoryview) -> _Header:
    if len(data) < layout.HEADER_SIZE:
        raise TableError(f"truncated: {len(data)} bytes, a header has {layout.HEADER_SIZE}")
    fields = layout.HEADER.unpack_from(data)
    magic, major, _, kind, epoch, base_epoch, file_length, section_count, _, base_sha256, _ = fields
    if magic != layout.MAGIC:
        raise TableError("not a routing table: the magic bytes are missing")
    if major != layout.MAJOR:
        raise TableError(f"format version {major}, this release reads {layout.MAJOR}: update it")
    if kind != layout.KIND_BASE:
        raise TableError(f"kind {kind}, this release reads only bases (1)")
    if file_length != len(data):
        raise TableError(f"truncated or extended: {len(data)} bytes, the header says {file_length}")
    stored = bytes(data[layout.CHECKSUM_OFFSET : layout.HEADER_SIZE])
    checksum = hashlib.sha256(data[: layout.CHECKSUM_OFFSET])
    checksum.update(data[layout.HEADER_SIZE :])
    if checksum.digest() != stored:
        raise TableError(f"corrupt: SHA-256 is {checksum.hexdigest()}, the header says {stored.hex()}")
    if epoch < 1 or base_epoch != 0 or base_sha256 != bytes(32) or section_count > layout.MAX_SECTIONS:
        raise TableError("header: epoch, base or section_count is out of range")
    return _Header(epoch, section_count, stored.hex())


def _read_directory(data: memoryview, section_count: int) -> dict[Section, _SectionEntry]:
    end = layout.HEADER_SIZE + section_count * layout.SECTION.size
    if end > len(data):
        raise TableError(f"the directory of {section_count} sections is longer than the file")
    sections: dict[Section, _SectionEntry] = {}
    before, free_from = 0, end
    for place in range(section_count):
        fields = layout.SECTION.unpack_from(data, layout.HEADER_SIZE + place * layout.SECTION.size)
        kind, flags, offset, length, entry_size, entry_count = fields
        if kind <= before:
            raise TableError(f"section {place}: type {kind} is out of order")
        before = kind
        inside = free_from <= offset <= offset + length <= len(data) and offset % layout.SECTION_ALIGNMENT == 0
        if not inside or entry_size * entry_count != length:
            raise TableError(f"section {kind}: {entry_count} × {entry_size} at {offset}+{length} is inconsistent")
        free_from = offset + length
        try:
            section = Section(kind)
        except ValueError:
            if flags & layout.SECTION_CRITICAL:
                raise TableError(f"section {kind} is critical and unknown to this release: update it") from None
            continue
        expected = layout.ENTRY_SIZES[section]
        if entry_size < expected or (entry_size != expected and section in layout.FIXED_STRIDE):
            raise TableError(f"{section.name}: entries of {entry_size} bytes, expected {expected}")
        sections[section] = _SectionEntry(offset, length, entry_size, entry_count)
    missing = [section.name for section in Section if section not in sections]
    if missing:
        raise TableError(f"sections are missing: {', '.join(missing)}")
    return sections
