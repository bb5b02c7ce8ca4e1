"""Writes a routing table or an overlay: equal contents give equal bytes, on every machine."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from cellplane.errors import ValidationError
from cellplane.model import Copies, Reads, UnknownTenant
from cellplane.model.topology import MAX_CELLS, MAX_POOLS
from cellplane.placement import SLOT_COUNT
from cellplane.routing import layout
from cellplane.routing.columns import TenantColumns
from cellplane.routing.contents import OverlayContents, TableContents
from cellplane.routing.edge import EdgePolicy, encode_edge
from cellplane.routing.layout import Section
from cellplane.routing.policies import MAX_MILLI, is_cache_in_range, pack, shared, shared_milli
from cellplane.routing.shards import ShardRows, first_bad_shard, pack_shards


def encode(contents: TableContents) -> bytes:
    """A base as bytes.

    Raises:
        ValidationError: with the path of the first field that no table can hold.
    """
    _check(contents)
    tenants, hashes = contents.tenants.sorted()
    strings = _Strings(tenants.keys)
    sections = {
        Section.FLEET: _fleet(contents, strings),
        Section.CELLS: _cells(contents, strings),
        Section.POOLS: _pools(contents, strings),
        Section.SLOTS: b"".join(
            np.asarray(pool.slots, "<u4").tobytes() for pool in contents.pools if pool.slots is not None
        ),
        Section.SHARDS: _shards(contents.shards),
        Section.TENANTS: _tenants(tenants, hashes),
        Section.TENANT_INDEX: _index(hashes),
        Section.KEY_SOURCES: b"".join(
            layout.KEY_SOURCE.pack(*strings.ref(source.name), layout.KEY_SOURCE_CODES[source.kind])
            for source in contents.fleet.key_sources
        ),
        Section.EDGE: encode_edge(EdgePolicy(contents.fleet.jwt, contents.fleet.health, contents.objectives)),
        Section.POLICIES: b"".join(pack(row, strings.ref(row.ignored)) for row in contents.policies),
    }
    base = _Base(0, bytes(32))
    return _assemble(layout.KIND_BASE, contents.epoch, base, {Section.STRINGS: strings.to_bytes(), **sections})


def encode_overlay(contents: OverlayContents) -> bytes:
    """An overlay as bytes.

    Raises:
        ValidationError: with the path of the first field that no overlay can hold.
    """
    if not contents.base_epoch < contents.epoch < 1 << 64:
        raise ValidationError("epoch", f"expected more than the base's, {contents.base_epoch}, found {contents.epoch}")
    _check_shards(contents.shards, MAX_CELLS)
    contents.tenants.check_keys()
    assigned = contents.tenants.shard[contents.tenants.shard != layout.NO_SHARD]
    if len(assigned) and int(assigned.max()) >= len(contents.shards):
        raise ValidationError("tenants", f"expected shards below {len(contents.shards)}, found {int(assigned.max())}")
    tenants, hashes = contents.tenants.sorted()
    sections = {
        Section.STRINGS: tenants.keys,
        Section.SHARDS: _shards(contents.shards),
        Section.TENANTS: _tenants(tenants, hashes),
        Section.TENANT_INDEX: _index(hashes),
    }
    base = _Base(contents.base_epoch, bytes.fromhex(contents.base_sha256))
    return _assemble(layout.KIND_OVERLAY, contents.epoch, base, sections)


class _Strings:
    """STRINGS: tenant keys, then each other text once."""

    def __init__(self, keys: bytes) -> None:
        self._parts = [keys]
        self._length = len(keys)
        self._known: dict[str, tuple[int, int]] = {}

    def ref(self, text: str) -> tuple[int, int]:
        if not text:
            return 0, 0
        if text not in self._known:
            data = text.encode()
            self._known[text] = (self._length, len(data))
            self._parts.append(data)
            self._length += len(data)
        return self._known[text]

    def to_bytes(self) -> bytes:
        return b"".join(self._parts)


def _fleet(contents: TableContents, strings: _Strings) -> bytes:
    fleet = contents.fleet
    default_pool = [pool.name for pool in contents.pools].index(fleet.default_pool)
    return layout.FLEET.pack(
        *strings.ref(fleet.name),
        default_pool,
        layout.UNKNOWN_TENANT_CODES[fleet.unknown_tenant],
        layout.MISSING_KEY_CODES[fleet.missing_key],
        fleet.retry_after_seconds,
        layout.NO_SHARD if contents.default_shard is None else contents.default_shard,
        0,
        layout.FAIL_OPEN_CODES[fleet.fail_open],
    )


def _cells(contents: TableContents, strings: _Strings) -> bytes:
    return b"".join(
        layout.CELL.pack(
            *strings.ref(cell.id),
            *strings.ref(cell.address),
            *strings.ref(cell.region),
            *strings.ref(cell.jurisdiction),
            cell.port,
            layout.CELL_STATUS_CODES[cell.status],
            layout.CELL_PROTOCOL_CODES[cell.protocol],
            round(cell.weight * 1000),
            shared_milli(cell.capacity.rps, contents.fleet.routers),
            shared(cell.capacity.concurrency, contents.fleet.routers),
            *strings.ref(cell.public_url),
            *strings.ref(cell.maintenance_page),
        )
        for cell in contents.cells
    )


def _pools(contents: TableContents, strings: _Strings) -> bytes:
    rows = []
    first_slot = 0
    for pool in contents.pools:
        place = layout.NO_SLOTS if pool.slots is None else first_slot
        canary = (layout.NO_CELL, 0, 0)
        if pool.canary is not None:
            canary = (pool.canary.cell, pool.canary.basis_points, layout.CANARY_BY_CODES[pool.canary.by])
        rows.append(
            layout.POOL.pack(*strings.ref(pool.name), place, layout.STRATEGY_CODES[pool.strategy], pool.policy, *canary)
        )
        first_slot += 0 if pool.slots is None else SLOT_COUNT
    return b"".join(rows)


def _shards(shards: Sequence[Sequence[int]] | ShardRows) -> bytes:
    return pack_shards(shards).astype("<u2", copy=False).tobytes()


def _tenants(tenants: TenantColumns, hashes: np.ndarray) -> bytes:
    rows = np.zeros(len(tenants), layout.TENANT_DTYPE)
    rows["hash"] = hashes
    rows["key_offset"] = tenants.offsets()
    rows["shard"] = tenants.shard
    rows["key_length"] = tenants.lengths
    rows["pool"] = tenants.pool
    rows["state"] = tenants.state
    rows["policy"] = tenants.policy
    return rows.tobytes()


def _index(hashes: np.ndarray) -> bytes:
    return bucket_starts(hashes, layout.index_bits(len(hashes))).astype("<u4").tobytes()


def bucket_starts(hashes: np.ndarray, bits: int) -> np.ndarray:
    """TENANT_INDEX of sorted hashes: where those with each upper ``bits`` begin, and the end; 2**bits + 1 entries."""
    buckets = hashes.astype(np.uint64) >> np.uint64(32 - bits)
    starts = np.zeros((1 << bits) + 1, np.int64)
    np.cumsum(np.bincount(buckets.astype(np.int64), minlength=1 << bits), out=starts[1:])
    return starts


class _Base:
    """What an overlay names as its base."""

    def __init__(self, epoch: int, sha256: bytes) -> None:
        self.epoch = epoch
        self.sha256 = sha256


def _assemble(kind: int, epoch: int, base: _Base, sections: Mapping[Section, bytes]) -> bytes:
    start = _aligned(layout.HEADER_SIZE + layout.SECTION.size * len(sections))
    directory = bytearray()
    body: list[bytes] = []
    offset = start
    for section in sorted(sections):
        data = sections[section]
        size = layout.ENTRY_SIZES[section]
        flags = 0 if section in layout.OPTIONAL_SECTIONS else layout.SECTION_CRITICAL
        directory += layout.SECTION.pack(section, flags, offset, len(data), size, len(data) // size)
        body += (data, bytes(_aligned(len(data)) - len(data)))
        offset += _aligned(len(data))
    padding = bytes(start - layout.HEADER_SIZE - len(directory))
    header = layout.HEADER.pack(
        layout.MAGIC,
        layout.MAJOR,
        layout.MINOR,
        kind,
        epoch,
        base.epoch,
        offset,
        len(sections),
        0,
        base.sha256,
        bytes(16),
    )
    checksum = hashlib.sha256(header)
    parts = [bytes(directory), padding, *body]
    for part in parts:
        checksum.update(part)
    return b"".join((header, checksum.digest(), *parts))


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
    _check_key_sources(contents)
    _check_shards(contents.shards, len(ids))
    _check_slots(contents)
    _check_default_shard(contents)
    _check_policies(contents)
    _check_tenants(contents)


def _check_shards(shards: Sequence[Sequence[int]] | ShardRows, cells: int) -> None:
    if not isinstance(shards, np.ndarray):
        for place, shard in enumerate(shards):
            if len(shard) > layout.SHARD_PLACES or any(not 0 <= cell < cells for cell in shard):
                raise ValidationError(f"shards[{place}]", f"expected 1 to 8 cells of 0 to {cells - 1}, found {shard}")
    bad = first_bad_shard(pack_shards(shards), cells)
    if bad is not None:
        raise ValidationError(
            f"shards[{bad}]", f"expected 1 to 8 distinct cells of 0 to {cells - 1}, found {list(shards[bad])}"
        )


def _check_slots(contents: TableContents) -> None:
    shards = len(contents.shards)
    fleet = contents.fleet
    by_name = {pool.name: pool for pool in contents.pools}
    if fleet.default_pool not in by_name:
        raise ValidationError("fleet.default_pool", f"no pool is named {fleet.default_pool!r}")
    if by_name[fleet.default_pool].slots is None and fleet.places_by_slot:
        raise ValidationError(
            "fleet.default_pool",
            f"pool {fleet.default_pool!r} has no slots, but unknown tenants or missing keys are placed by one",
        )
    for place, pool in enumerate(contents.pools):
        if pool.slots is None:
            continue
        slots = np.asarray(pool.slots)
        if slots.shape != (SLOT_COUNT,):
            raise ValidationError(f"pools[{place}].slots", f"expected {SLOT_COUNT}, found {len(slots)}")
        if int(slots.min()) < 0 or int(slots.max()) >= shards:
            raise ValidationError(f"pools[{place}].slots", f"expected shards 0 to {shards - 1}")


def _check_key_sources(contents: TableContents) -> None:
    fleet = contents.fleet
    for place, source in enumerate(fleet.key_sources):
        source.validate(f"fleet.key_sources[{place}]")
    fleet.validate_jwt("fleet")


def _check_default_shard(contents: TableContents) -> None:
    fleet, shard = contents.fleet, contents.default_shard
    if (shard is not None) != fleet.has_default_cell or (shard is not None and not 0 <= shard < len(contents.shards)):
        raise ValidationError(
            "default_shard", f"expected one of the shards where the fleet names a default, found {shard}"
        )


def _check_policies(contents: TableContents) -> None:
    cells, policies = len(contents.cells), len(contents.policies)
    if not 1 <= policies <= layout.MAX_POLICIES:
        raise ValidationError("policies", f"expected 1 to {layout.MAX_POLICIES} policies, found {policies}")
    for place, row in enumerate(contents.policies):
        named = [cell for cell in (row.standby, row.shadow) if cell is not None]
        if any(not 0 <= cell < cells for cell in named):
            raise ValidationError(f"policies[{place}]", f"expected cells of 0 to {cells - 1}, found {named}")
        if (row.reads is Reads.STANDBY) != (row.standby is not None):
            raise ValidationError(f"policies[{place}]", "expected a standby where reads is standby, and nowhere else")
        if not is_cache_in_range(row):
            raise ValidationError(
                f"policies[{place}]", "expected cache_s in range where reads is cache, and nowhere else"
            )
        if not 0 <= row.rps_milli <= MAX_MILLI or not 1 <= row.burst_ms <= layout.MAX_BURST_MS:
            raise ValidationError(f"policies[{place}]", f"expected limits in range, found {row}")
        if not 0 <= row.compare_bp <= (0 if row.shadow is None else layout.MAX_BASIS_POINTS):
            raise ValidationError(f"policies[{place}]", f"expected compare_bp of 0 to 10,000 of a shadow, found {row}")
        if row.shadow is None and row.copies is not Copies.ALL:
            raise ValidationError(f"policies[{place}]", f"expected copies of all without a shadow, found {row}")
    for place, pool in enumerate(contents.pools):
        if not 0 <= pool.policy < policies:
            raise ValidationError(f"pools[{place}].policy", f"expected 0 to {policies - 1}, found {pool.policy}")
        canary = pool.canary
        if canary is not None and not (
            0 <= canary.cell < cells and 0 <= canary.basis_points <= layout.MAX_BASIS_POINTS
        ):
            raise ValidationError(
                f"pools[{place}].canary", f"expected one of {cells} cells, 0 to 10,000; found {canary}"
            )


def _check_tenants(contents: TableContents) -> None:
    tenants, pools, shards = contents.tenants, len(contents.pools), len(contents.shards)
    policies = len(contents.policies)
    tenants.check_keys()
    for name, bad, limit in (
        ("pool", tenants.pool >= pools, pools),
        ("shard", (tenants.shard >= shards) & (tenants.shard != layout.NO_SHARD), shards),
        ("state", tenants.state >= len(layout.TENANT_STATES), len(layout.TENANT_STATES)),
        ("policy", tenants.policy >= policies, policies),
    ):
        places = np.flatnonzero(bad)
        if len(places):
            raise ValidationError(f"tenants[{int(places[0])}].{name}", f"expected 0 to {limit - 1}")


assert set(layout.UNKNOWN_TENANT_CODES) == set(UnknownTenant), "every policy has a code"
