"""Sizes, offsets and codes of the routing table's bytes (``docs/table-format.md``), shared by writer and reader."""

import struct
from enum import IntEnum

import numpy as np

from cellplane.model import (
    CellStatus,
    KeySourceKind,
    MissingKey,
    StrategyName,
    TenantState,
    UnknownTenant,
)
from cellplane.model.pool import MAX_SHARD_SIZE

MAGIC = b"\x89CPT\r\n\x1a\n"
MAJOR = 1
MINOR = 0
KIND_BASE = 1
KIND_OVERLAY = 2

# magic, major, minor, kind, epoch, base_epoch, file_length, section_count, zero, base_sha256, zeros
HEADER = struct.Struct("<8sHHIQQQII32s16s")
CHECKSUM_OFFSET = HEADER.size
HEADER_SIZE = 128
SECTION = struct.Struct("<IIQQII")
SECTION_CRITICAL = 1
SECTION_ALIGNMENT = 64
MAX_SECTIONS = 64

# name, default_pool, unknown_tenant, missing_key, retry_after_s, default_shard
FLEET = struct.Struct("<II8xHBBII36x")
# id, address, region, jurisdiction, port, status, zero, weight_milli
CELL = struct.Struct("<IIIIIIIIHBBI24x")
# name, first_slot, strategy
POOL = struct.Struct("<IIIB19x")
SHARD = struct.Struct("<8H")
# name, kind
KEY_SOURCE = struct.Struct("<IIB7x")
# hash, key_offset, shard, key_length, pool, state, zero
TENANT = struct.Struct("<IIIBBBB")
TENANT_DTYPE = np.dtype(
    [
        ("hash", "<u4"),
        ("key_offset", "<u4"),
        ("shard", "<u4"),
        ("key_length", "u1"),
        ("pool", "u1"),
        ("state", "u1"),
        ("zero", "u1"),
    ]
)
U32 = struct.Struct("<I")

SHARD_PLACES = MAX_SHARD_SIZE
NO_CELL = 0xFFFF
NO_SHARD = 0xFFFFFFFF
NO_SLOTS = 0xFFFFFFFF
GONE = 255
MAX_INDEX_BITS = 24


class Section(IntEnum):
    """Section types of version 1.0, in the order of the directory."""

    STRINGS = 1
    FLEET = 2
    CELLS = 3
    POOLS = 4
    SLOTS = 5
    SHARDS = 6
    TENANTS = 7
    TENANT_INDEX = 8
    KEY_SOURCES = 9
    EDGE = 10


BASE_SECTIONS = frozenset(Section)
OPTIONAL_SECTIONS = frozenset({Section.EDGE})
"""Not for the decision: a file may lack them, and a reader skip them."""

OVERLAY_SECTIONS = frozenset({Section.STRINGS, Section.SHARDS, Section.TENANTS, Section.TENANT_INDEX})

ENTRY_SIZES = {
    Section.STRINGS: 1,
    Section.FLEET: FLEET.size,
    Section.CELLS: CELL.size,
    Section.POOLS: POOL.size,
    Section.SLOTS: U32.size,
    Section.SHARDS: SHARD.size,
    Section.TENANTS: TENANT.size,
    Section.TENANT_INDEX: U32.size,
    Section.KEY_SOURCES: KEY_SOURCE.size,
    Section.EDGE: 1,
}
FIXED_STRIDE = frozenset({Section.STRINGS, Section.SLOTS, Section.TENANT_INDEX, Section.EDGE})

CELL_STATUS_CODES = {status: code for code, status in enumerate(CellStatus)}
TENANT_STATE_CODES = {state: code for code, state in enumerate(TenantState)}
UNKNOWN_TENANT_CODES = {UnknownTenant.HASH: 0, UnknownTenant.REJECT: 1, UnknownTenant.DEFAULT_CELL: 2}
MISSING_KEY_CODES = {MissingKey.REJECT: 0, MissingKey.DEFAULT_CELL: 1, MissingKey.SOURCE_HASH: 2}
STRATEGY_CODES = {strategy: code for code, strategy in enumerate(StrategyName, 1)}
KEY_SOURCE_CODES = {
    KeySourceKind.HEADER: 1,
    KeySourceKind.SUBDOMAIN: 2,
    KeySourceKind.PATH: 3,
    KeySourceKind.JWT_CLAIM: 4,
    KeySourceKind.COOKIE: 5,
}

CELL_STATUSES = {code: status for status, code in CELL_STATUS_CODES.items()}
TENANT_STATES = {code: state for state, code in TENANT_STATE_CODES.items()}
UNKNOWN_TENANTS = {code: policy for policy, code in UNKNOWN_TENANT_CODES.items()}
KEY_SOURCE_KINDS = {code: kind for kind, code in KEY_SOURCE_CODES.items()}
MISSING_KEYS = {code: policy for policy, code in MISSING_KEY_CODES.items()}

assert CHECKSUM_OFFSET == 96
assert (FLEET.size, CELL.size, POOL.size, TENANT.size, TENANT_DTYPE.itemsize) == (64, 64, 32, 16, 16)
assert list(STRATEGY_CODES.values()) == [1, 2, 3, 4, 5]


def index_bits(tenants: int) -> int:
    """Bits of TENANT_INDEX for so many tenants: the least b with 2**b ≥ tenants / 2."""
    bits = 0
    while 2 << bits < tenants and bits < MAX_INDEX_BITS:
        bits += 1
    return bits
