"""The past: the directory as it was at an epoch, put together from the log.

The fleet, cells and pools are what their last entries say. A tenant is what its last entry says, in the pool that the
rules have put it in since: a change of rules moves tenants without an entry for each, in the same way at any time.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from cellplane.directory import rows, schema
from cellplane.directory.outline import Outline
from cellplane.directory.records import Change, Entry, TenantRecord
from cellplane.directory.snapshot import NAMED_ROWS, STREAMED_ROWS, listed_entry
from cellplane.errors import NotFoundError
from cellplane.model import NO_POLICY, Fleet, Quarantine, Tenant, TenantState, Topology, UnknownTenant


class Past:
    """Reads of one transaction, of one epoch. Streams end with it.

    Args:
        connection: inside a transaction.
        epoch: the number of the last change that it contains.

    Raises:
        NotFoundError: the directory has not had so many changes yet.
    """

    def __init__(self, connection: Connection, epoch: int) -> None:
        last = connection.execute(select(func.coalesce(func.max(_LOG.c.epoch), 0))).scalar_one()
        if not 1 <= epoch <= last:
            raise NotFoundError(f"there is no epoch {epoch}: expected 1 to {last}, the last change")
        self._connection = connection
        self._epoch = epoch
        self._fleets = self._read_fleets()
        self.outline = Outline(
            fleet=self._fleets[-1][1] if self._fleets else None,
            cells={name: rows.cell_of(row) for name, row in self._rows_of("cell")},
            pools={name: rows.pool_of(row) for name, row in self._rows_of("pool")},
        )
        self._rules = _Rules(self._fleets)

    @property
    def topology(self) -> Topology | None:
        """The fleet, its cells and pools, without tenants; None where there was no fleet."""
        return self.outline.topology

    def epoch(self) -> int:
        """The epoch."""
        return self._epoch

    def tenants(self) -> Iterator[TenantRecord]:
        """Every tenant by id, streamed."""
        query = self._last("tenant")
        for _, epoch, row in self._connection.execute(query, execution_options={"yield_per": STREAMED_ROWS}):
            if row is not None:
                yield self._rules.placed(rows.tenant_of(row), epoch)

    def named_tenants(self, tenant_ids: Collection[str]) -> dict[str, TenantRecord]:
        """Those of these tenants that there were, by id."""
        named, found = sorted(tenant_ids), {}
        for start in range(0, len(named), NAMED_ROWS):
            query = self._last("tenant", named[start : start + NAMED_ROWS])
            for tenant_id, epoch, row in self._connection.execute(query):
                if row is not None:
                    found[tenant_id] = self._rules.placed(rows.tenant_of(row), epoch)
        return found

    def placements(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Id, pool and shard of every tenant that had a pool, by id, streamed."""
        for record in self.tenants():
            if record.placed_pool is not None:
                yield record.tenant.id, record.placed_pool, record.tenant.shard

    def entries(self) -> Iterator[Entry]:
        """What a table says of tenants, by id, as of ``Snapshot.entries``."""
        away = self.away()
        fleet, listed = self.outline.fleet, set()
        for record in self.tenants():
            tenant = record.tenant
            if tenant.id in away:
                listed.add(tenant.id)
            if record.placed_pool is None or not (tenant.id in away or self._is_said(record)):
                continue
            entry = Entry(tenant.id, record.placed_pool, tenant.shard, tenant.state, tenant.policy)
            yield listed_entry(away, entry)
        if fleet is not None:
            for tenant_id in sorted(away.keys() - listed):
                yield Entry(tenant_id, fleet.default_pool, (away[tenant_id],), TenantState.QUARANTINED)

    def tenants_logged(self, *, behind: int) -> tuple[Change, ...]:
        """The changes of tenants between an earlier epoch and this one, in order."""
        query = select(_LOG).where(_LOG.c.kind == "tenant", _LOG.c.epoch > behind, _LOG.c.epoch <= self._epoch)
        return tuple(Change(**row) for row in self._connection.execute(query.order_by(_LOG.c.epoch)).mappings())

    def away(self) -> dict[str, str]:
        """The tenants that were in quarantine, and the cell of each."""
        found = (rows.quarantine_of({"epoch": 0, **row}) for _, row in self._rows_of("quarantine"))
        lasting: list[Quarantine] = [each for each in found if each.lasts]
        return {each.tenant: each.cell for each in lasting}

    def _is_said(self, record: TenantRecord) -> bool:
        fleet, tenant = self.outline.fleet, record.tenant
        if fleet is None or fleet.unknown_tenant is not UnknownTenant.HASH:
            return True
        return bool(
            tenant.shard
            or tenant.state is not TenantState.ACTIVE
            or record.placed_pool != fleet.default_pool
            or tenant.policy != NO_POLICY
        )

    def _read_fleets(self) -> list[tuple[int, Fleet]]:
        query = select(_LOG.c.epoch, _LOG.c.after).where(_LOG.c.kind == "fleet", _LOG.c.epoch <= self._epoch)
        found = self._connection.execute(query.order_by(_LOG.c.epoch))
        return [(epoch, rows.fleet_of(row)) for epoch, row in found]

    def _rows_of(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        found = self._connection.execute(self._last(kind))
        return [(name, row) for name, _, row in found if row is not None]

    def _last(self, kind: str, names: Collection[str] | None = None) -> Any:
        """The last entry of each resource of a kind: id, epoch, and what it is after it."""
        log = _LOG
        place = func.row_number().over(partition_by=log.c.id, order_by=log.c.epoch.desc()).label("place")
        entries = select(log.c.id, log.c.epoch, log.c.after, place).where(
            log.c.kind == kind, log.c.epoch <= self._epoch
        )
        if names is not None:
            entries = entries.where(log.c.id.in_(names))
        found = entries.subquery()
        return select(found.c.id, found.c.epoch, found.c.after).where(found.c.place == 1).order_by(found.c.id)


class _Rules:
    """Where the rules of a sequence of fleets put a tenant."""

    def __init__(self, fleets: list[tuple[int, Fleet]]) -> None:
        changed: list[tuple[int, Fleet]] = []
        for epoch, fleet in fleets:
            if not changed or _rules_of(changed[-1][1]) != _rules_of(fleet):
                changed.append((epoch, fleet))
        self._epochs = [epoch for epoch, _ in changed]
        self._fleets = [fleet for _, fleet in changed]

    def placed(self, record: TenantRecord, epoch: int) -> TenantRecord:
        """A tenant of an entry of the log with the pool that it is in after the last of these changes of rules."""
        first, pool = bisect_right(self._epochs, epoch), record.placed_pool
        for place in range(first, len(self._fleets)):
            after = _pool_of(self._fleets[place], record.tenant)
            before = _pool_of(self._fleets[place - 1], record.tenant) if place else record.tenant.pool
            if pool is None or before != after:
                pool = after
        return TenantRecord(record.tenant, pool, epoch)


def _rules_of(fleet: Fleet) -> object:
    return fleet.default_pool, fleet.rules


def _pool_of(fleet: Fleet, tenant: Tenant) -> str:
    return Topology(fleet, (), ()).pool_of(tenant)[0]


_LOG = schema.changes
