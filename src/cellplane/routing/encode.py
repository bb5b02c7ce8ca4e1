"""Writes a routing table: equal contents give equal bytes, on every machine."""

import hashlib
from collections.abc import Sequence

from cellplane.errors import ValidationError
from cellplane.model import MAX_KEY_BYTES, is_key
from cellplane.model.topology import MAX_CELLS, MAX_POOLS
from cellplane.placement import SLOT_COUNT, key_hash
from cellplane.routing import layout
from cellplane.routing.contents import TableContents, TenantEntry
from cellplane.routing.layout import Section


def encode(contents: TableContents) -> bytes:
    """The table as bytes.

    Raises:
        ValidationError: with the path of the first field that no table can hold.
    """
    _check(contents)
    strings = _Strings()
    tenants, index = _tenants(contents.tenants, strings)
    sections = {
        Section.FLEET: _fleet(contents, strings),
        Section.CELLS: b"".join(
            layout.CELL.pack(
                *strings.ref(cell.id),
                *strings.ref(cell.address),
                *strings.ref(cell.region),
                *strings.ref(cell.jurisdiction),
                cell.port,
                layout.CELL_STATUS_CODES[cell.status],
                0,
                round(cell.weight * 1000),
            )
            for cell in contents.cells
        ),
        Section.POOLS: b"".join(
            layout.POOL.pack(*strings.ref(pool.name), place * SLOT_COUNT, layout.STRATEGY_CODES[pool.strategy])
            for place, pool in enumerate(contents.pools)
        ),
        Section.SLOTS: b"".join(_u32s(pool.slots) for pool in contents.pools),
        Section.SHARDS: b"".join(
            layout.SHARD.pack(*shard, *[layout.NO_CELL] * (layout.SHARD_PLACES - len(shard)))
            for shard in contents.shards
        ),
        Section.TENANTS: tenants,
        Section.TENANT_INDEX: index,
    }
    return _assemble(contents.epoch, {Section.STRINGS: strings.to_bytes(), **sections})


class _Strings:
    """STRINGS while it grows; equal texts are kept once, tenant keys are not looked for."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0
        self._known: dict[str, tuple[int, int]] = {}

    def append(self, data: bytes) -> int:
        offset = self._length
        self._parts.append(data)
        self._length += len(data)
        return offset

    def ref(self, text: str) -> tuple[int, int]:
        if text not in self._known:
            data = text.encode()
            self._known[text] = (self.append(data), len(data))
        return self._known[text]

    def to_bytes(self) -> bytes:
        return b"".join(self._parts)


def _fleet(contents: TableContents, strings: _Strings) -> bytes:
    fleet = contents.fleet
    default_pool = [pool.name for pool in contents.pools].index(fleet.default_pool)
    return layout.FLEET.pack(
        *strings.ref(fleet.name),
        *strings.ref(fleet.key_header),
        default_pool,
        layout.UNKNOWN_TENANT_CODES[fleet.unknown_tenant],
        0,
        fleet.retry_after_seconds,
    )


def _tenants(entries: Sequence[TenantEntry], strings: _Strings) -> tuple[bytes, bytes]:
    hashed = sorted(((key_hash(entry.key), entry.key, entry) for entry in entries), key=lambda row: row[:2])
    packed = bytearray()
    for value, key, entry in hashed:
        packed += layout.TENANT.pack(
            value,
            strings.append(key),
            layout.NO_SHARD if entry.shard is None else entry.shard,
            len(key),
            entry.pool,
            layout.TENANT_STATE_CODES[entry.state],
            0,
        )
    bits = layout.index_bits(len(hashed))
    starts = [0] * ((1 << bits) + 1)
    for value, _, _ in hashed:
        starts[(value >> (32 - bits)) + 1] += 1
    total = 0
    for bucket, count in enumerate(starts):
        total += count
        starts[bucket] = total
    return bytes(packed), _u32s(starts)


def _u32s(values: Sequence[int]) -> bytes:
    return b"".join(map(layout.U32.pack, values))


def _assemble(epoch: int, sections: dict[Section, bytes]) -> bytes:
    offset = _aligned(layout.HEADER_SIZE + layout.SECTION.size * len(sections))
    directory = bytearray()
    body = bytearray()
    start = offset
    for section in sorted(sections):
        data = sections[section]
        size = layout.ENTRY_SIZES[section]
        directory += layout.SECTION.pack(section, layout.SECTION_CRITICAL, offset, len(data), size, len(data) // size)
        body += data + bytes(_aligned(len(data)) - len(data))
        offset = start + len(body)
    padding = bytes(start - layout.HEADER_SIZE - len(directory))
    header = layout.HEADER.pack(
        layout.MAGIC,
        layout.MAJOR,
        layout.MINOR,
        layout.KIND_BASE,
        epoch,
        0,
        offset,
        len(sections),
        0,
        bytes(32),
        bytes(16),
    )
    checksum = hashlib.sha256(header)
    for part in (directory, padding, body):
        checksum.update(part)
    return b"".join((header, checksum.digest(), directory, padding, body))


def _aligned(size: int) -> int:
    return -(-size // layout.SECTION_ALIGNMENT) * layout.SECTION_ALIGNMENT


def _check(contents: TableContents) -> None:
    if not 1 <= contents.epoch < 1 << 64:
        raise ValidationError("epoch", f"expected 1 to 2**64 - 1, found {contents.epoch}")
    ids = [cell.id for cell in contents.cells]
    if not 1 <= len(ids) <= MAX_CELLS:
        raise ValidationError("cells", f"expected 1 to {MAX_CELLS} cells, found {len(ids)}")
    if any(first >= second for first, second in zip(ids, ids[1:], strict=False)):
        raise ValidationError("cells", "expected to be sorted by id, no id twice")
    if not 1 <= len(contents.pools) <= MAX_POOLS:
        raise ValidationError("pools", f"expected 1 to {MAX_POOLS} pools, found {len(contents.pools)}")
    if contents.fleet.default_pool not in {pool.name for pool in contents.pools}:
        raise ValidationError("fleet.default_pool", f"no pool is named {contents.fleet.default_pool!r}")
    for place, shard in enumerate(contents.shards):
        if not 1 <= len(shard) <= layout.SHARD_PLACES or len(set(shard)) != len(shard):
            raise ValidationError(f"shards[{place}]", f"expected 1 to 8 distinct cells, found {shard}")
        if not all(0 <= cell < len(ids) for cell in shard):
            raise ValidationError(f"shards[{place}]", f"expected cells 0 to {len(ids) - 1}, found {shard}")
    shards = len(contents.shards)
    for place, pool in enumerate(contents.pools):
        if len(pool.slots) != SLOT_COUNT:
            raise ValidationError(f"pools[{place}].slots", f"expected {SLOT_COUNT}, found {len(pool.slots)}")
        if not (min(pool.slots) >= 0 and max(pool.slots) < shards):
            raise ValidationError(f"pools[{place}].slots", f"expected shards 0 to {shards - 1}")
    _check_tenants(contents)


def _check_tenants(contents: TableContents) -> None:
    pools, shards = len(contents.pools), len(contents.shards)
    if len({entry.key for entry in contents.tenants}) != len(contents.tenants):
        raise ValidationError("tenants", "a key stands twice")
    for place, entry in enumerate(contents.tenants):
        if not is_key(entry.key):
            raise ValidationError(f"tenants[{place}].key", f"expected a key of 1 to {MAX_KEY_BYTES} bytes")
        if not 0 <= entry.pool < pools:
            raise ValidationError(f"tenants[{place}].pool", f"expected 0 to {pools - 1}, found {entry.pool}")
        if entry.shard is not None and not 0 <= entry.shard < shards:
            raise ValidationError(f"tenants[{place}].shard", f"expected 0 to {shards - 1}, found {entry.shard}")
