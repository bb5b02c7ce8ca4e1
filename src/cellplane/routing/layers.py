"""A base and an overlay, each checked as a whole when it is opened."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellplane.errors import TableError, ValidationError
from cellplane.model import (
    CellProtocol,
    CellStatus,
    FailOpen,
    KeySource,
    KeySourceKind,
    MissingKey,
    TenantState,
    UnknownTenant,
    is_name,
)
from cellplane.model.address import is_address
from cellplane.model.fleet import MAX_RETRY_AFTER_SECONDS
from cellplane.model.key_source import MAX_KEY_SOURCES
from cellplane.model.topology import MAX_POOLS
from cellplane.model.url import MAX_URL_CHARS
from cellplane.placement import SLOT_COUNT
from cellplane.routing import layout
from cellplane.routing.edge import EdgePolicy, decode_edge
from cellplane.routing.entries import Entries, read_shards
from cellplane.routing.frame import SectionEntry, checksummed, read_directory, read_header
from cellplane.routing.layout import Section
from cellplane.routing.policies import CanaryRow, PolicyRow, unpack
from cellplane.routing.shards import ShardRows, cells_of

MAX_PAGE_BYTES = 8_000
"""Longest maintenance page: the model's characters, each of four bytes."""


class CellRow(NamedTuple):
    """A cell as the table holds it; attributes as of ``cellplane.model.Cell``, and one router's part of its limits.

    Attributes:
        rps_milli: requests that this router sends it, in 1,000 seconds; 0 for no limit.
        concurrency: requests that this router has under way there at once; 0 for no limit.
    """

    id: str
    address: str
    port: int
    region: str
    jurisdiction: str
    status: CellStatus
    weight: float
    rps_milli: int = 0
    concurrency: int = 0
    public_url: str = ""
    maintenance_page: str = ""
    protocol: CellProtocol = CellProtocol.HTTP1


class TenantRow(NamedTuple):
    """A tenant's entry.

    Attributes:
        key: its partition key.
        shard: indexes of the cells that it is assigned to; none where its slot places it.
        pool: index of its pool.
        state: see TenantState.
        policy: its own; None where it has its pool's.
    """

    key: bytes
    shard: tuple[int, ...]
    pool: int
    state: TenantState
    policy: PolicyRow | None = None


class Layer:
    """What base and overlay have both: the file's bytes, entries, and the shards that they name."""

    data: memoryview
    epoch: int
    sha256: str
    entries: Entries
    shards: ShardRows
    policies: tuple[PolicyRow, ...]

    def __init__(self) -> None:
        self._shard_cells: dict[int, tuple[int, ...]] = {}

    def shard(self, index: int) -> tuple[int, ...]:
        """Indexes of the cells of a shard, the preferred first."""
        found = self._shard_cells.get(index)
        if found is None:
            found = self._shard_cells[index] = cells_of(self.shards[index].tolist())
        return found

    def row(self, key: bytes, found: tuple[int, int, int, int]) -> TenantRow:
        """What shard, pool, state and policy of an entry say."""
        shard, pool, state, policy = found
        return TenantRow(
            key,
            () if shard == layout.NO_SHARD else self.shard(shard),
            pool,
            layout.TENANT_STATES[state],
            self.policies[policy] if policy else None,
        )


class Base(Layer):
    """A checked base.

    Args:
        data: the whole file.

    Raises:
        TableError: the file is truncated, foreign, of another version, corrupt or inconsistent.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        header = read_header(data, layout.KIND_BASE)
        self.epoch, self.sha256 = header.epoch, header.sha256
        with checksummed(data, header):
            self.data = data
            self._sections = read_directory(data, header.section_count, layout.BASE_SECTIONS)
            self._strings = self._blob(Section.STRINGS)
            self._texts: dict[tuple[int, int], str] = {}
            self.slot_shards = self._blob(Section.SLOTS).cast("I")
            self.cells: tuple[CellRow, ...] = tuple(self._read_cells())
            self.shards = read_shards(data, self._sections[Section.SHARDS], len(self.cells))
            self.policies = tuple(self._read_policies())
            self._read_pools()
            self._read_key_sources()
            self._read_edge()
            self._read_fleet()
            self._check_slots()
            self.entries = Entries(
                data,
                self._sections,
                pools=len(self.pools),
                shards=len(self.shards),
                policies=len(self.policies),
                states=frozenset(layout.TENANT_STATES),
            )

    def _blob(self, section: Section) -> memoryview:
        entry = self._sections[section]
        return self.data[entry.offset : entry.offset + entry.length]

    def _rows(self, section: Section) -> Iterator[memoryview]:
        entry: SectionEntry = self._sections[section]
        for place in range(entry.entry_count):
            start = entry.offset + place * entry.entry_size
            yield self.data[start : start + entry.entry_size]

    def _text(self, what: str, offset: int, length: int) -> str:
        known = self._texts.get((offset, length))
        if known is None:
            known = self._texts[offset, length] = self._read_text(what, offset, length)
        return known

    def _read_text(self, what: str, offset: int, length: int) -> str:
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
            port, status, protocol, weight_milli, rps_milli, concurrency = refs[8:14]
            if port == 0:
                raise TableError(f"{what}: port is 0, expected 1 to 65535")
            address = self._text(what, refs[2], refs[3])
            if not is_address(address):
                raise TableError(f"{what}: address {address[:80]!r} is no IP address or host name")
            if status not in layout.CELL_STATUSES:
                raise TableError(f"{what}: status {status} is unknown")
            if protocol not in layout.CELL_PROTOCOLS:
                raise TableError(f"{what}: protocol {protocol} is unknown")
            yield CellRow(
                id=cell_id,
                address=address,
                port=port,
                region=self._text(what, refs[4], refs[5]),
                jurisdiction=self._text(what, refs[6], refs[7]),
                status=layout.CELL_STATUSES[status],
                weight=weight_milli / 1000,
                rps_milli=rps_milli,
                concurrency=concurrency,
                public_url=self._public_url(what, *refs[14:16]),
                maintenance_page=self._page(what, *refs[16:18]),
                protocol=layout.CELL_PROTOCOLS[protocol],
            )

    def _public_url(self, what: str, offset: int, length: int) -> str:
        url = self._text(what, offset, length)
        # What clients are sent to is written into a header: no byte there may end it.
        if url and not (
            length <= MAX_URL_CHARS
            and url.isascii()
            and url.isprintable()
            and " " not in url
            and url.startswith(("https://", "http://"))
            and not url.endswith("/")
            and url.split("://", 1)[1][:1] != "/"
        ):
            raise TableError(f"{what}: public_url {url[:80]!r} is no URL to send clients to")
        return url

    def _page(self, what: str, offset: int, length: int) -> str:
        page = self._text(what, offset, length)
        if length > MAX_PAGE_BYTES or any((char < " " and char != "\n") or char == "\x7f" for char in page):
            raise TableError(f"{what}: a maintenance page of {length} bytes is too long, or has control characters")
        return page

    def _read_policies(self) -> Iterator[PolicyRow]:
        count = self._sections[Section.POLICIES].entry_count
        if not 1 <= count <= layout.MAX_POLICIES:
            raise TableError(f"expected 1 to {layout.MAX_POLICIES} policies, found {count}")
        for place, row in enumerate(self._rows(Section.POLICIES)):
            yield unpack(f"policy {place}", row, len(self.cells), self._text)

    def _read_pools(self) -> None:
        names: list[str] = []
        self.first_slots: list[int | None] = []
        self.slots: list[NDArray[np.uint32] | None] = []
        slots = np.frombuffer(self.slot_shards, "<u4")
        self.pool_policies: list[PolicyRow] = []
        self.canaries: list[CanaryRow | None] = []
        for place, row in enumerate(self._rows(Section.POOLS)):
            offset, length, first_slot, _, policy, *canary = layout.POOL.unpack_from(row)
            names.append(self._text(f"pool {place}", offset, length))
            if policy >= len(self.policies):
                raise TableError(f"pool {place}: policy {policy} of {len(self.policies)}")
            self.pool_policies.append(self.policies[policy])
            self.canaries.append(self._canary(place, *canary))
            if first_slot == layout.NO_SLOTS:
                self.first_slots.append(None)
                self.slots.append(None)
                continue
            if first_slot + SLOT_COUNT > len(slots):
                raise TableError(f"pool {place}: slots {first_slot}+{SLOT_COUNT} of {len(slots)}")
            self.first_slots.append(first_slot)
            self.slots.append(slots[first_slot : first_slot + SLOT_COUNT])
        self.pools: tuple[str, ...] = tuple(names)
        if not self.cells or not 1 <= len(self.pools) <= MAX_POOLS:
            raise TableError(f"expected cells and 1 to 255 pools, found {len(self.cells)} and {len(self.pools)}")

    def _canary(self, pool: int, cell: int, basis_points: int, by: int) -> CanaryRow | None:
        if cell == layout.NO_CELL and (basis_points, by) == (0, 0):
            return None
        if cell >= len(self.cells) or basis_points > layout.MAX_BASIS_POINTS or by not in layout.CANARIES_BY:
            raise TableError(
                f"pool {pool}: canary is cell {cell} of {len(self.cells)}, {basis_points} of 10,000, by {by}"
            )
        return CanaryRow(cell, basis_points, layout.CANARIES_BY[by])

    def _read_key_sources(self) -> None:
        sources: list[KeySource] = []
        for place, row in enumerate(self._rows(Section.KEY_SOURCES)):
            offset, length, kind = layout.KEY_SOURCE.unpack_from(row)
            if kind not in layout.KEY_SOURCE_KINDS:
                raise TableError(f"key source {place}: kind {kind} is unknown to this release: update it")
            name, of = self._text(f"key source {place}", offset, length), layout.KEY_SOURCE_KINDS[kind]
            # The writer has asked whether the header may be trusted.
            source = KeySource(of, name, trusted=of is KeySourceKind.HEADER)
            try:
                source.validate(f"key source {place}")
            except ValidationError as error:
                raise TableError(str(error)) from error
            sources.append(source)
        if not 1 <= len(sources) <= MAX_KEY_SOURCES:
            raise TableError(f"expected 1 to {MAX_KEY_SOURCES} key sources, found {len(sources)}")
        self.key_sources: tuple[KeySource, ...] = tuple(sources)

    def _read_edge(self) -> None:
        has_edge = Section.EDGE in self._sections
        self.edge: EdgePolicy = decode_edge(bytes(self._blob(Section.EDGE))) if has_edge else EdgePolicy()
        needs_token = any(source.kind is KeySourceKind.JWT_CLAIM for source in self.key_sources)
        if needs_token and not self.edge.jwt:
            raise TableError("a key source is a claim, but EDGE names no issuer of tokens")
        for cell in self.edge.objectives:
            if not 0 <= cell < len(self.cells):
                raise TableError(f"EDGE: an objective is of cell {cell} of {len(self.cells)}")

    def _read_fleet(self) -> None:
        rows = list(self._rows(Section.FLEET))
        if len(rows) != 1:
            raise TableError(f"FLEET has {len(rows)} entries, expected 1")
        fields = layout.FLEET.unpack_from(rows[0])
        self.fleet: str = self._text("fleet name", *fields[0:2])
        self.default_pool: int
        self.default_pool, unknown_tenant, missing_key, self.retry_after_seconds, default_shard = fields[2:7]
        if self.retry_after_seconds > MAX_RETRY_AFTER_SECONDS:
            found = self.retry_after_seconds
            raise TableError(f"fleet: retry_after_s is {found}, expected at most {MAX_RETRY_AFTER_SECONDS}")
        if self.default_pool >= len(self.pools):
            raise TableError(f"fleet: default pool {self.default_pool} of {len(self.pools)}")
        if unknown_tenant not in layout.UNKNOWN_TENANTS:
            raise TableError(f"fleet: unknown_tenant is {unknown_tenant}, expected 0 to 2")
        if missing_key not in layout.MISSING_KEYS:
            raise TableError(f"fleet: missing_key is {missing_key}, expected 0 to 2")
        self.unknown_tenant: UnknownTenant = layout.UNKNOWN_TENANTS[unknown_tenant]
        self.missing_key: MissingKey = layout.MISSING_KEYS[missing_key]
        has_default = UnknownTenant.DEFAULT_CELL is self.unknown_tenant or MissingKey.DEFAULT_CELL is self.missing_key
        if has_default != (default_shard != layout.NO_SHARD) or (has_default and default_shard >= len(self.shards)):
            raise TableError(f"fleet: default_shard is {default_shard}, of {len(self.shards)} shards")
        self.default_shard: int | None = default_shard if has_default else None
        policy, fail_open = fields[7:]
        if policy >= len(self.policies) or fail_open not in layout.FAIL_OPENS:
            raise TableError(f"fleet: policy is {policy} of {len(self.policies)}, fail_open {fail_open}")
        self.default_policy: PolicyRow = self.policies[policy]
        self.fail_open: FailOpen = layout.FAIL_OPENS[fail_open]

    def _check_slots(self) -> None:
        shards = np.frombuffer(self.slot_shards, "<u4")
        if len(shards) and int(shards.max()) >= len(self.shards):
            raise TableError(f"SLOTS: shard {int(shards.max())} of {len(self.shards)}")
        by_slot = UnknownTenant.HASH is self.unknown_tenant or MissingKey.SOURCE_HASH is self.missing_key
        if by_slot and self.first_slots[self.default_pool] is None:
            raise TableError("fleet: the default pool has no slots, but unknown tenants or missing keys need them")


class Overlay(Layer):
    """A checked overlay of a base; arguments and errors as of a base."""

    def __init__(self, data: memoryview, base: Base) -> None:
        super().__init__()
        header = read_header(data, layout.KIND_OVERLAY)
        if (header.base_epoch, header.base_sha256) != (base.epoch, base.sha256):
            raise TableError(
                f"overlay of base {header.base_epoch} ({header.base_sha256[:12]}…), "
                f"found base {base.epoch} ({base.sha256[:12]}…)"
            )
        self.data, self.epoch, self.sha256 = data, header.epoch, header.sha256
        self.policies = base.policies
        with checksummed(data, header):
            sections = read_directory(data, header.section_count, layout.OVERLAY_SECTIONS)
            self.shards = read_shards(data, sections[Section.SHARDS], len(base.cells))
            states = frozenset({*layout.TENANT_STATES, layout.GONE})
            self.entries = Entries(
                data,
                sections,
                pools=len(base.pools),
                shards=len(self.shards),
                policies=len(base.policies),
                states=states,
            )
