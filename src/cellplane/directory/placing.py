"""Placing: which pool and which shard a tenant gets, when it changes and when the rules change over it."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from cellplane.directory import schema
from cellplane.directory.outline import Outline
from cellplane.directory.records import Placement, TenantRecord
from cellplane.directory.tenant_book import TenantBook
from cellplane.directory.tenant_policies import TenantPolicies
from cellplane.errors import ConflictError, ForeignLawConflictError, ForeignLawError, NoCellError, ValidationError
from cellplane.model import CellStatus, Pool, Tenant
from cellplane.model.residency import Act, foreign_laws, laws, violations
from cellplane.placement import NoCell, assign, check_share

CHUNK_ROWS = 10_000
"""Tenants whose pool is found anew at once."""

MAX_ASSIGNED_AT_ONCE = 10_000
"""Most tenants without a slot that one change of pools or rules may leave to be assigned: some seconds of work."""

MAX_SEARCHED_AT_ONCE = 1_000
"""Most of them in pools whose shards are searched: each costs a look at all that are there (1,500 take 9 s), while no
other change is written."""

MAX_NAMED_CELLS = 20
"""Most cells that a message lists."""

Recorder = Callable[[TenantRecord | None, TenantRecord], tuple[TenantRecord, int]]


class Placing:
    """Places tenants in one transaction.

    Args:
        connection: inside a transaction that may write.
        book: its tenants.
        record: writes a tenant (before, after) with its entry of the log; returns it with its version, and the epoch.
        unhealthy: ids of cells that get no new tenants since they are not well.
    """

    def __init__(self, connection: Connection, book: TenantBook, record: Recorder, unhealthy: Collection[str]) -> None:
        self._connection = connection
        self._book = book
        self._record = record
        self._unhealthy = unhealthy
        self._named: set[str] = set()
        self._policies = TenantPolicies(connection)

    def change(self, outline: Outline, tenant_id: str, fields: Mapping[str, Any], *, anew: bool) -> Placement:
        """Create or change a tenant (``Transaction.change_tenant``)."""
        before = self._book.read(tenant_id) if tenant_id.isascii() else None
        tenant = Tenant(tenant_id, **fields) if before is None else replace(before.tenant, **fields)
        tenant.validate("tenant")
        if tenant.pool is not None:
            _require_pool(outline, "tenant.pool", tenant.pool)
        pool_name, rule = outline.pool_of(tenant)
        after, reason = self._placed(outline, before, tenant, pool_name, fields, anew=anew)
        self._policies.check(outline, after)
        after, epoch = self._record(before, after)
        return Placement(after, None if rule is None else rule.name, reason, epoch)

    def settle(self, before: Outline, after: Outline) -> None:
        """Bring ``placed_pool`` up to date with the rules. A tenant that overflowed stays where it is, unless the rules
        want it elsewhere than before.
        """
        if after.fleet is None:
            return
        rules = (after.fleet.default_pool, after.fleet.rules)
        if before.fleet is not None and (before.fleet.default_pool, before.fleet.rules) == rules:
            return
        pools_of = _PoolsOf(before, after)
        for chunk in self._tenants_by_rule():
            moved = []
            for row in chunk:
                old, new = pools_of(row)
                if new != old or row.placed_pool is None:
                    moved.append({"key": row.id, "to": new})
            if moved:
                self._connection.execute(_MOVE_TO_POOL, moved)
        self._book.forget()

    def assign_the_unplaced(self, before: Outline, after: Outline) -> None:
        """Assign the tenants that are in a pool without slots and have no shard, where a change can have made some.

        Raises:
            NoCellError: no cell takes one of them.
            ConflictError: there are more than MAX_ASSIGNED_AT_ONCE, or more than MAX_SEARCHED_AT_ONCE in pools whose
                shards may share only so many cells.
        """
        if before is after or not after.is_whole:
            return
        has_other_rules = before.fleet is None or not before.is_whole or before.fleet != after.fleet
        explicit = [
            pool.name
            for pool in after.pools.values()
            if not pool.has_slots
            and (has_other_rules or pool.name not in before.pools or before.pools[pool.name].has_slots)
        ]
        if not explicit:
            return
        self._book.flush()
        searched = [name for name in explicit if after.pools[name].overlap is not None]
        if len(self._unplaced(searched, MAX_SEARCHED_AT_ONCE)) > MAX_SEARCHED_AT_ONCE:
            raise ConflictError(
                f"more than {MAX_SEARCHED_AT_ONCE} tenants without cells of their own would be left to a search for "
                f"shards that share few enough cells, in {_listed(searched)}: assign them to cells first"
            )
        found = self._unplaced(explicit, MAX_ASSIGNED_AT_ONCE)
        if len(found) > MAX_ASSIGNED_AT_ONCE:
            raise ConflictError(
                f"more than {MAX_ASSIGNED_AT_ONCE} tenants would lose their slots: assign them to cells first"
            )
        for tenant_id in sorted(found):
            self.change(after, tenant_id, {}, anew=True)

    def check_neighbours(self, outline: Outline) -> None:
        """Check the shards that were asked for against those of all others, as all are after the whole transaction:
        two tenants may swap their cells. What was written is flushed.

        Raises:
            ConflictError: one shares more with another than their pools allow.
        """
        pools = outline.pools.values()
        if not any(pool.dedicated or pool.overlap is not None for pool in pools):
            return
        dedicated = {cell_id for pool in pools if pool.dedicated for cell_id in pool.cells}
        for tenant_id in sorted(self._named):
            record = self._book.read(tenant_id)
            if record is not None and record.tenant.shard:
                self._check_neighbours(outline, record, dedicated)

    def check_law(self, before: Outline, after: Outline) -> None:
        """Raise ConflictError where a change of cells, pools or rules puts a tenant under a law that is not its own."""
        if before is after:
            return
        for cell_id in after.changed_jurisdictions(before):
            self._check_tenants_of_cell(after, cell_id)
        for pool in after.pools.values():
            if pool.has_slots and (before.fleet != after.fleet or not _is_alike(before, after, pool)):
                self._check_slots(after, pool)

    def check_policies(self, before: Outline, after: Outline) -> None:
        """Check the policies of tenants (``TenantPolicies.check_all``)."""
        self._policies.check_all(before, after)

    def _placed(
        self,
        outline: Outline,
        before: TenantRecord | None,
        tenant: Tenant,
        pool_name: str | None,
        fields: Mapping[str, Any],
        *,
        anew: bool,
    ) -> tuple[TenantRecord, str]:
        if fields.get("shard"):
            after = TenantRecord(tenant, pool_name)
            _check_cells(outline, after, is_named=True)
            self._named.add(tenant.id)
            return after, "pinned"
        is_left = anew or before is None or "shard" in fields
        pool = None if pool_name is None else outline.pools.get(pool_name)
        # Where K is the tenant's own, the slots of its pool are of no use.
        chooses = pool is not None and (pool.assigns or tenant.shard_size not in {None, pool.size})
        if not chooses or not outline.is_whole:
            after = TenantRecord(replace(tenant, shard=()) if is_left and tenant.shard else tenant, pool_name)
            _check_cells(outline, after)
            if pool is not None and not after.tenant.shard:
                _check_share(outline, pool, tenant)
            return after, "stays assigned" if after.tenant.shard else "by its slot"
        if before is None or is_left or not _may_stay(outline, before, tenant, pool_name):
            return self._assigned(outline, before, tenant)
        after = TenantRecord(tenant, before.placed_pool)
        if tenant.shard:
            return after, "stays assigned"
        _check_share(outline, outline.pools[before.placed_pool or ""], tenant)
        return after, "by its slot"

    def _assigned(self, outline: Outline, before: TenantRecord | None, tenant: Tenant) -> tuple[TenantRecord, str]:
        topology = outline.topology
        assert topology is not None, "a whole outline has a fleet"
        found = assign(
            tenant,
            topology,
            self._book.states_without(before, outline, self._unhealthy),
            self._book.shards_without(tenant.id, outline),
        )
        if isinstance(found, NoCell):
            raise _no_cell(tenant, found)
        after = TenantRecord(replace(tenant, shard=found.shard), found.pool)
        _check_cells(outline, after)
        return after, found.reason

    def _check_neighbours(self, outline: Outline, record: TenantRecord, dedicated: Collection[str]) -> None:
        """Raise ConflictError where a shard that was asked for shares more with others than its pools allow."""
        tenant = record.tenant
        pool = outline.pools.get(record.placed_pool or "")
        overlap = None if pool is None else pool.overlap
        for cells, allowed in ((set(dedicated), 0), (set(() if pool is None else pool.cells), overlap)):
            if allowed is None or cells.isdisjoint(tenant.shard):
                continue
            assignments = schema.assignments
            query = (
                select(assignments.c.tenant)
                .where(assignments.c.cell.in_(cells.intersection(tenant.shard)), assignments.c.tenant != tenant.id)
                .group_by(assignments.c.tenant)
                .having(func.count() > allowed)
                .limit(1)
            )
            other = self._connection.execute(query).scalar()
            if other is not None:
                raise ConflictError(
                    f"the shard {' + '.join(tenant.shard)} of tenant {tenant.id!r} would share more than {allowed} "
                    f"cells with that of {other!r}, which its pool does not allow: choose other cells"
                )

    def _unplaced(self, pools: Collection[str], limit: int) -> list[str]:
        """Ids of the tenants of these pools that have no shard, at most one more than ``limit``."""
        table = schema.tenants
        query = select(table.c.id).where(table.c.placed_pool.in_(pools), table.c.shard == [])
        return list(self._connection.execute(query.limit(limit + 1)).scalars())

    def _tenants_by_rule(self) -> Iterator[list[Any]]:
        table, after = schema.tenants, ""
        columns = (table.c.id, table.c.pool, table.c.placed_pool, table.c.tier, table.c.jurisdiction)
        while True:
            query = select(*columns, table.c.attributes).where(table.c.id > after).order_by(table.c.id)
            chunk = list(self._connection.execute(query.limit(CHUNK_ROWS)))
            if not chunk:
                return
            yield chunk
            after = chunk[-1].id

    def _check_tenants_of_cell(self, outline: Outline, cell_id: str) -> None:
        tenants, assignments = schema.tenants, schema.assignments
        query = (
            select(tenants.c.id, tenants.c.shard, tenants.c.jurisdiction)
            .join(assignments, assignments.c.tenant == tenants.c.id)
            .where(assignments.c.cell == cell_id)
        )
        for tenant_id, shard, jurisdiction in self._connection.execute(query):
            cells = [outline.cells[each] for each in shard]
            if violations(Act.ASSIGNMENT, tenant_id, jurisdiction, cells):
                raise ForeignLawConflictError(
                    f"tenant {tenant_id!r} is assigned to cell {cell_id!r}, and would be under "
                    f"{', '.join(laws(cells))}: assign it to another cell first"
                )

    def _check_slots(self, outline: Outline, pool: Pool) -> None:
        tenants = schema.tenants
        found = sorted(outline.jurisdictions(pool))
        query = select(tenants.c.id, tenants.c.jurisdiction).where(
            tenants.c.placed_pool == pool.name, tenants.c.jurisdiction > "", tenants.c.shard == []
        )
        if len(found) == 1:
            query = query.where(tenants.c.jurisdiction != found[0])
        row = self._connection.execute(query.limit(1)).first()
        if row is not None:
            raise ForeignLawConflictError(
                f"tenant {row.id!r} is under {row.jurisdiction}, and its slot of pool {pool.name!r} would be under "
                f"{', '.join(found)}: give it a pool, or a rule for one, whose cells are all under {row.jurisdiction}"
            )


class _PoolsOf:
    """The pools that a stored tenant was in and is in, by the rules alone; each class of tenants is asked for once."""

    def __init__(self, before: Outline, after: Outline) -> None:
        self._outlines = (before, after)
        fleets = [outline.fleet for outline in self._outlines if outline.fleet is not None]
        self._by_id = any(rule.id_pattern for fleet in fleets for rule in fleet.rules)
        self._known: dict[tuple[str, ...], tuple[str | None, str | None]] = {}

    def __call__(self, row: Any) -> tuple[str | None, str | None]:
        if row.pool is not None:
            return row.pool, row.pool
        if self._by_id:
            return self._pools(row)
        kind = (row.tier, row.jurisdiction, json.dumps(row.attributes) if row.attributes else "")
        if kind not in self._known:
            self._known[kind] = self._pools(row)
        return self._known[kind]

    def _pools(self, row: Any) -> tuple[str | None, str | None]:
        tenant = Tenant(
            row.id, tier=row.tier, jurisdiction=row.jurisdiction, attributes=tuple(sorted(row.attributes.items()))
        )
        before, after = (outline.pool_of(tenant)[0] for outline in self._outlines)
        return before, after


def _require_pool(outline: Outline, field: str, name: str) -> None:
    """Raise ValidationError unless there is a pool of this name."""
    if name not in outline.pools:
        raise ValidationError(field, f"no pool is named {name!r}; there are {_listed(outline.pools)}")


def _check_share(outline: Outline, pool: Pool, tenant: Tenant) -> None:
    """Raise NoCellError where a tenant needs more than 1/K of a cell that a slot may give it."""
    if pool.size > 1:
        capacities = {cell_id: outline.cells[cell_id].capacity for cell_id in pool.cells if cell_id in outline.cells}
        refusal = check_share(tenant.load, capacities, shard_size=pool.size)
        if refusal is not None:
            raise _no_cell(tenant, refusal)


def _no_cell(tenant: Tenant, refusal: NoCell) -> NoCellError:
    return NoCellError(
        f"tenant {tenant.id!r} is not placed: {refusal.reason}",
        tuple((each.cell, each.reason) for each in refusal.cells),
    )


def _check_cells(outline: Outline, record: TenantRecord, *, is_named: bool = False) -> None:
    """Check where a tenant is placed against the cells that there are and their law.

    Args:
        is_named: whether the shard was asked for, so that an error is one of it.
    """
    tenant = record.tenant
    for place, cell_id in enumerate(tenant.shard):
        field = f"tenant.shard[{place}]"
        if cell_id not in outline.cells:
            raise ValidationError(field, f"no cell is named {cell_id!r}; there are {_listed(outline.cells)}")
        cell = outline.cells[cell_id]
        if is_named and cell.status is CellStatus.RETIRED:
            raise ValidationError(field, f"cell {cell_id!r} is retired: it serves nobody any more. Name another")
        for foreign in violations(Act.ASSIGNMENT, tenant.id, tenant.jurisdiction, (cell,)):
            raise ForeignLawError(
                field if is_named else "tenant.jurisdiction",
                f"cell {cell_id!r} is under {foreign.cell_law}, the tenant under {foreign.law}",
            )
        for foreign in violations(Act.ASSIGNMENT, tenant.id, "", (outline.cells[tenant.shard[0]], cell)):
            raise ForeignLawError(
                field,
                f"cell {cell_id!r} is under {foreign.cell_law}, others of the shard are not: it may not cross "
                "jurisdictions",
            )
    pool = outline.pools.get(record.placed_pool or "")
    if tenant.jurisdiction and not tenant.shard and pool is not None and pool.has_slots:
        found = violations(Act.PLACEMENT, tenant.id, tenant.jurisdiction, outline.places(pool), is_shard=False)
        if found:
            raise ForeignLawError(
                "tenant.jurisdiction",
                f"the tenant is under {tenant.jurisdiction}, but its slot of pool {pool.name!r} may be under "
                f"{', '.join(foreign_laws(found))}: give it a pool, or a rule for one, whose cells are all under "
                f"{tenant.jurisdiction}",
            )


def _may_stay(outline: Outline, before: TenantRecord, tenant: Tenant, pool_name: str | None) -> bool:
    """Whether a tenant that changes may stay where it is, in a pool that could choose. Its data is there, so it leaves
    only what is no place for it any more: another load, or another way to name the same pool, does not move it.

    Args:
        before: as it is; its shard is what the tenant has still.
        tenant: as it is to be.
        pool_name: the pool that it is to be in.
    """
    asks_for_pool = tenant.pool not in {None, before.tenant.pool} or outline.pool_of(before.tenant)[0] != pool_name
    if asks_for_pool and before.placed_pool != pool_name:
        return False
    pool = outline.pools.get(before.placed_pool or "")
    if pool is None or not (tenant.shard or pool.has_slots):
        return False
    size = len(tenant.shard) or pool.size
    if tenant.shard_size != before.tenant.shard_size and (tenant.shard_size or pool.size) != size:
        return False
    # A cell that was removed is refused by name when the transaction finishes.
    cells = [outline.cells[cell_id] for cell_id in tenant.shard or pool.cells if cell_id in outline.cells]
    act = Act.ASSIGNMENT if tenant.shard else Act.PLACEMENT
    return not violations(act, tenant.id, tenant.jurisdiction, cells, is_shard=bool(tenant.shard))


def _is_alike(before: Outline, after: Outline, pool: Pool) -> bool:
    known = before.pools.get(pool.name)
    return known is not None and known.has_slots and before.jurisdictions(known) == after.jurisdictions(pool)


def _listed(names: Collection[str]) -> str:
    return ", ".join(list(names)[:MAX_NAMED_CELLS]) or "none yet"


_MOVE_TO_POOL = (
    update(schema.tenants).where(schema.tenants.c.id == bindparam("key")).values(placed_pool=bindparam("to"))
)
