"""The tenant book: reads and writes tenants in batches, and counts for each cell who is on it and what they declare.

One tenant more or fewer costs the same whatever the number of tenants.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from cellplane.directory import rows, schema
from cellplane.directory.adding import Adding
from cellplane.directory.outline import Outline
from cellplane.directory.records import TenantRecord
from cellplane.directory.snapshot import MICRO, by_key, read_tenants
from cellplane.model import Load, Pool, Tenant
from cellplane.placement import CellState
from cellplane.placement.fitting import needed

BATCH_ROWS = 1_000
"""Tenants that are held back before they are written together."""

Sums = tuple[int, int, int, int]
"""(tenants assigned, tenants declared, millionths of requests per second, millionths of GiB)."""

NOTHING: Sums = (0, 0, 0, 0)


class TenantBook:
    """Tenants of one transaction. What is written is in the database after ``flush``.

    Args:
        connection: inside a transaction that may write.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._read: dict[str, TenantRecord | None] = {}
        self._stored: dict[str, TenantRecord | None] = {}
        self._written: dict[str, TenantRecord | None] = {}
        self._rows: dict[str, Mapping[str, Any] | None] = {}
        self._added: dict[str, Sums] = {}
        self._sums: dict[str, Sums] | None = None
        self._shards: dict[Pool, dict[str, tuple[str, ...]]] = {}

    def fetch(self, tenant_ids: Sequence[str]) -> None:
        """Read these tenants at once: ``read`` finds them then without a query of its own."""
        self._read.update(dict.fromkeys(tenant_ids))
        self._read.update(read_tenants(self._connection, tenant_ids))

    def read(self, tenant_id: str) -> TenantRecord | None:
        """A tenant as it is in this transaction; None where it is not."""
        for known in (self._written, self._read):
            if tenant_id in known:
                return known[tenant_id]
        row = by_key(self._connection, schema.tenants, tenant_id)
        self._read[tenant_id] = None if row is None else rows.tenant_of(row)
        return self._read[tenant_id]

    def write(
        self, tenant_id: str, before: TenantRecord | None, after: TenantRecord | None, row: Mapping[str, Any] | None
    ) -> None:
        """Put a tenant, with its row, or, with None, remove it; ``before`` is what ``read`` says of it."""
        self._stored.setdefault(tenant_id, before)
        self._written[tenant_id] = after
        self._rows[tenant_id] = row
        self._count(before, -1)
        self._count(after, 1)
        for pool, shards in self._shards.items():
            shards.pop(tenant_id, None)
            if after is not None and not set(pool.cells).isdisjoint(after.tenant.shard):
                shards[tenant_id] = after.tenant.shard
        if len(self._written) >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held back."""
        stored = [before.tenant for before in self._stored.values() if before is not None]
        written = [after.tenant for after in self._written.values() if after is not None]
        added = [
            {"on": cell, "assigned_": sums[0], "tenants_": sums[1], "rps_": sums[2], "storage_": sums[3]}
            for cell, sums in self._added.items()
            if sums != NOTHING
        ]
        for statement, values in (
            (_REMOVE_TENANT, [{"key": tenant.id} for tenant in stored]),
            (_REMOVE_ASSIGNMENT, [{"on": cell, "who": tenant.id} for tenant in stored for cell in tenant.shard]),
            (_ADD_LOAD, added),
        ):
            if values:
                self._connection.execute(statement, values)
        _ADD_TENANTS(self._connection, [row for row in self._rows.values() if row is not None])
        _ADD_ASSIGNMENTS(
            self._connection, [{"cell": cell, "tenant": tenant.id} for tenant in written for cell in tenant.shard]
        )
        self._read.update(self._written)
        for held in (self._stored, self._written, self._rows, self._added):
            held.clear()

    def states_without(
        self, tenant: TenantRecord | None, outline: Outline, unhealthy: Collection[str]
    ) -> Mapping[str, CellState]:
        """What each cell holds but for one tenant, and whether it is healthy."""
        if self._sums is None:
            table = schema.loads
            query = select(
                table.c.cell, table.c.assigned, table.c.tenants, table.c.rps_micro, table.c.storage_gib_micro
            )
            self._sums = {row[0]: (row[1], row[2], row[3], row[4]) for row in self._connection.execute(query)}
            for cell, sums in self._added.items():
                self._sums[cell] = _plus(self._sums.get(cell, NOTHING), sums)
        return _States(self._sums, tenant, outline, unhealthy)

    def shards_without(self, tenant_id: str, outline: Outline) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """By pool, the shards but for one tenant's that have cells of the pool; none of a pool where they may share
        as many as they like. A pool's are read when they are asked for.
        """
        return _Shards(self, tenant_id, outline)

    def shards_with_cells_of(self, pool: Pool) -> Mapping[str, tuple[str, ...]]:
        """The shard of each tenant, of whatever pool, that has a cell of this pool, as it is in this transaction."""
        if pool not in self._shards:
            self.flush()
            tenants, assignments = schema.tenants, schema.assignments
            on_pool = select(assignments.c.tenant).where(assignments.c.cell.in_(pool.cells))
            query = select(tenants.c.id, tenants.c.shard).where(tenants.c.id.in_(on_pool))
            self._shards[pool] = {tenant_id: tuple(shard) for tenant_id, shard in self._connection.execute(query)}
        return self._shards[pool]

    def forget(self) -> None:
        """Read everything anew: the database was changed in another way."""
        assert not self._written, "what is held back would be lost"
        self._read.clear()
        self._shards.clear()

    def _count(self, record: TenantRecord | None, sign: int) -> None:
        if record is None:
            return
        shard = record.tenant.shard
        sums = _sums_of(record.tenant, sign) if shard else NOTHING
        for cell in shard:
            self._added[cell] = _plus(self._added.get(cell, NOTHING), sums)
            if self._sums is not None:
                self._sums[cell] = _plus(self._sums.get(cell, NOTHING), sums)


class _States(Mapping[str, CellState]):
    """Made when asked for: of thousands of cells, a pool has a few."""

    def __init__(
        self, sums: Mapping[str, Sums], without: TenantRecord | None, outline: Outline, unhealthy: Collection[str]
    ) -> None:
        self._sums = sums
        self._without = None if without is None else without.tenant
        self._outline = outline
        self._unhealthy = unhealthy

    def __getitem__(self, cell: str) -> CellState:
        if cell not in self._outline.cells:
            raise KeyError(cell)
        sums = self._sums.get(cell, NOTHING)
        if self._without is not None and cell in self._without.shard:
            sums = _plus(sums, _sums_of(self._without, -1))
        return CellState(Load(sums[1], sums[2] / MICRO, sums[3] / MICRO), is_healthy=cell not in self._unhealthy)

    def __iter__(self) -> Iterator[str]:
        return iter(self._outline.cells)

    def __len__(self) -> int:
        return len(self._outline.cells)


class _Shards(Mapping[str, Mapping[str, tuple[str, ...]]]):
    def __init__(self, book: TenantBook, without: str, outline: Outline) -> None:
        self._book = book
        self._without = without
        self._outline = outline

    def __getitem__(self, pool: str) -> Mapping[str, tuple[str, ...]]:
        if self._outline.pools[pool].overlap is None:
            return {}
        shards = self._book.shards_with_cells_of(self._outline.pools[pool])
        if self._without not in shards:
            return shards
        return {tenant_id: shard for tenant_id, shard in shards.items() if tenant_id != self._without}

    def __iter__(self) -> Iterator[str]:
        return iter(self._outline.pools)

    def __len__(self) -> int:
        return len(self._outline.pools)


def _sums_of(tenant: Tenant, sign: int) -> Sums:
    load = needed(tenant)
    return sign, sign * load.tenants, sign * round(load.rps * MICRO), sign * round(load.storage_gib * MICRO)


def _plus(one_: Sums, other: Sums) -> Sums:
    return one_[0] + other[0], one_[1] + other[1], one_[2] + other[2], one_[3] + other[3]


_ADD_TENANTS, _ADD_ASSIGNMENTS = Adding(schema.tenants), Adding(schema.assignments)
_REMOVE_TENANT = delete(schema.tenants).where(schema.tenants.c.id == bindparam("key"))
_REMOVE_ASSIGNMENT = delete(schema.assignments).where(
    schema.assignments.c.cell == bindparam("on"), schema.assignments.c.tenant == bindparam("who")
)
_ADD_LOAD = (
    update(schema.loads)
    .where(schema.loads.c.cell == bindparam("on"))
    .values(
        assigned=schema.loads.c.assigned + bindparam("assigned_"),
        tenants=schema.loads.c.tenants + bindparam("tenants_"),
        rps_micro=schema.loads.c.rps_micro + bindparam("rps_"),
        storage_gib_micro=schema.loads.c.storage_gib_micro + bindparam("storage_"),
    )
)
