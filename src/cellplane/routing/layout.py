"""Sizes, offsets and codes of the routing table's bytes (``docs/table-format.md``), shared by writer and reader."""

import struct
from enum import IntEnum

import numpy as np

from cellplane.model import (
    Balance,
    CanaryBy,
    CellProtocol,
    CellStatus,
    Copies,
    FailOpen,
    KeySourceKind,
    MissingKey,
    Mode,
    Priority,
    Reads,
    StrategyName,
    TenantState,
    UnknownTenant,
    Writes,
)
from cellplane.model.policy import MAX_BURST_SECONDS
from cellplane.model.pool import MAX_SHARD_SIZE
from cellplane.model.traffic import MAX_TENANT_POLICIES

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

# name, default_pool, unknown_tenant, missing_key, retry_after_s, default_shard, policy, fail_open
FLEET = struct.Struct("<II8xHBBIIHB33x")
# id, address, region, jurisdiction, port, status, protocol, weight_milli, rps_milli, concurrency, public_url,
# maintenance_page
CELL = struct.Struct("<IIIIIIIIHBBIIIIIII")
# name, first_slot, strategy, policy, canary_cell, canary_bp, canary_by
POOL = struct.Struct("<IIIBxHHHB11x")
SHARD = struct.Struct("<8H")
# name, kind
KEY_SOURCE = struct.Struct("<IIB7x")
# writes, reads, balance, mode, priority, copies, standby, shadow, compare_bp, rps_milli, burst_ms, ignored, cache_s
POLICY = struct.Struct("<BBBBBBHHHIIIII")
# hash, key_offset, shard, key_length, pool, state, policy
TENANT = struct.Struct("<IIIBBBB")
TENANT_DTYPE = np.dtype(
    [
        ("hash", "<u4"),
        ("key_offset", "<u4"),
        ("shard", "<u4"),
        ("key_length", "u1"),
        ("pool", "u1"),
        ("state", "u1"),
        ("policy", "u1"),
    ]
)
U32 = struct.Struct("<I")

SHARD_PLACES = MAX_SHARD_SIZE
NO_CELL = 0xFFFF
NO_SHARD = 0xFFFFFFFF
NO_SLOTS = 0xFFFFFFFF
GONE = 255
POOL_POLICY = 0
"""An entry's policy that says: its pool's."""
MAX_TENANT_POLICY = MAX_TENANT_POLICIES
MAX_POLICIES = 65_535
MAX_BURST_MS = MAX_BURST_SECONDS * 1000
MAX_BASIS_POINTS = 10_000
CANARY_SEED = 0x63616E61
"""Of the hash that says whose requests fall to a canary: another than that of slots."""
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
    POLICIES = 11


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
    Section.POLICIES: POLICY.size,
}
FIXED_STRIDE = frozenset({Section.STRINGS, Section.SLOTS, Section.TENANT_INDEX, Section.EDGE})

CELL_STATUS_CODES = {status: code for code, status in enumerate(CellStatus)}
CELL_PROTOCOL_CODES = {CellProtocol.HTTP1: 0, CellProtocol.HTTP2: 1}
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
FAIL_OPEN_CODES = {FailOpen.READS: 0, FailOpen.ALL: 1}
WRITES_CODES = {Writes.SHARD: 0, Writes.FAIL: 1}
READS_CODES = {Reads.SHARD: 0, Reads.STANDBY: 1, Reads.CACHE: 2, Reads.FAIL: 3}
BALANCE_CODES = {Balance.PREFERRED: 0, Balance.ROUND_ROBIN: 1, Balance.LEAST_LOADED: 2}
MODE_CODES = {Mode.PROXY: 0, Mode.REDIRECT: 1}
PRIORITY_CODES = {Priority.NORMAL: 0, Priority.HIGH: 1}
COPIES_CODES = {Copies.ALL: 0, Copies.READS: 1}
CANARY_BY_CODES = {CanaryBy.TENANT: 0, CanaryBy.REQUEST: 1}

CELL_STATUSES = {code: status for status, code in CELL_STATUS_CODES.items()}
CELL_PROTOCOLS = {code: protocol for protocol, code in CELL_PROTOCOL_CODES.items()}
TENANT_STATES = {code: state for state, code in TENANT_STATE_CODES.items()}
UNKNOWN_TENANTS = {code: policy for policy, code in UNKNOWN_TENANT_CODES.items()}
KEY_SOURCE_KINDS = {code: kind for kind, code in KEY_SOURCE_CODES.items()}
MISSING_KEYS = {code: policy for policy, code in MISSING_KEY_CODES.items()}
FAIL_OPENS = {code: policy for policy, code in FAIL_OPEN_CODES.items()}
WRITES = {code: writes for writes, code in WRITES_CODES.items()}
READS = {code: reads for reads, code in READS_CODES.items()}
BALANCES = {code: balance for balance, code in BALANCE_CODES.items()}
MODES = {code: mode for mode, code in MODE_CODES.items()}
PRIORITIES = {code: priority for priority, code in PRIORITY_CODES.items()}
COPIES = {code: copies for copies, code in COPIES_CODES.items()}
CANARIES_BY = {code: by for by, code in CANARY_BY_CODES.items()}

assert CHECKSUM_OFFSET == 96
assert (FLEET.size, CELL.size, POOL.size, POLICY.size) == (64, 64, 32, 32)
assert (TENANT.size, TENANT_DTYPE.itemsize) == (16, 16)
assert list(STRATEGY_CODES.values()) == [1, 2, 3, 4, 5]


def index_bits(tenants: int) -> int:
    """Bits of TENANT_INDEX for so many tenants: the least b with 2**b ≥ tenants / 2."""
    bits = 0
    while 2 << bits < tenants and bits < MAX_INDEX_BITS:
        bits += 1
    return bits
