"""Quarantining: quarantines of one transaction, beside the assignments of tenants, and whether they may go on."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert

from cellplane.directory import rows, schema
from cellplane.directory.outline import Outline
from cellplane.directory.quarantines import read_quarantines
from cellplane.directory.records import TenantRecord
from cellplane.directory.tenant_book import TenantBook
from cellplane.errors import NotFoundError
from cellplane.model import Quarantine, TenantState, UnknownTenant
from cellplane.model.residency import Act, laws, violations
from cellplane.placement import place, slot_of
from cellplane.placement.quarantine import Asked, LeftAlone, LeftAloneBy, is_forgotten, quarantine, released

MAX_REMEMBERED = 1_000
"""Most quarantines that are over and remembered; beyond that the oldest are forgotten early."""

Logger = Callable[[str, str, str, dict[str, Any] | None, dict[str, Any] | None], int]


class Quarantining:
    """Quarantines of one transaction.

    Args:
        connection: inside a transaction that may write.
        book: its tenants.
        log: notes a change (kind, id, action, before, after), and returns its epoch.
        now: the time, UTC.
    """

    def __init__(self, connection: Connection, book: TenantBook, log: Logger, now: datetime) -> None:
        self._connection = connection
        self._book = book
        self._log = log
        self._now = now

    def begin(self, outline: Outline, asked: Asked) -> Quarantine | LeftAlone:
        """Quarantine a tenant, if that may be (``placement.quarantine.quarantine``)."""
        fleet = outline.fleet
        if fleet is None or not outline.is_whole:
            return LeftAlone(LeftAloneBy.NO_CELL, "there is no fleet that routes requests yet")
        record = self._book.read(asked.tenant)
        if record is None and fleet.unknown_tenant is not UnknownTenant.HASH:
            return LeftAlone(
                LeftAloneBy.UNKNOWN, f"no tenant is named {asked.tenant!r}, and the fleet places no others"
            )
        if record is not None and record.tenant.state is not TenantState.ACTIVE:
            return LeftAlone(LeftAloneBy.STATE, f"it is {record.tenant.state.value}, and routers do what that says")
        known = self.known()
        law = _law(outline, asked.tenant, record)
        if law is None:
            return LeftAlone(LeftAloneBy.STATE, "it has no cell of its own from which to send it away")
        found = quarantine(asked, fleet.quarantine, outline.cells, law, known=known, now=self._now)
        before = known.get(asked.tenant)
        if isinstance(found, LeftAlone) or found is before:
            return found
        self._forget({tenant: each for tenant, each in known.items() if tenant != asked.tenant}, outline)
        return self._write(before, found)

    def end(self, tenant_id: str, reason: str, hold_seconds: float = 0.0) -> Quarantine:
        """End a tenant's quarantine.

        Raises:
            NotFoundError: it has none.
        """
        before = self.known().get(tenant_id)
        if before is None or not before.lasts:
            raise NotFoundError(f"tenant {tenant_id!r} is not in quarantine")
        return self._end(before, reason, hold_seconds)

    def end_if_any(self, tenant_id: str, reason: str) -> None:
        """End a tenant's quarantine, where it has one."""
        before = self.known().get(tenant_id)
        if before is not None and before.lasts:
            self._end(before, reason)

    def end_due(self) -> tuple[Quarantine, ...]:
        """End those whose time is over."""
        due = [each for each in self.known().values() if each.lasts and each.until <= self._now]
        return tuple(self._end(each, "its time is over") for each in due)

    def settle(self, outline: Outline, touched: Collection[str] | None) -> None:
        """End those that a change of the fleet, of cells, of pools or of tenants left without a cause or a right.

        Args:
            touched: ids of the tenants that changed; None where more than tenants did.
        """
        fleet = outline.fleet
        if fleet is None or not outline.is_whole:
            return
        for each in read_quarantines(self._connection, only_lasting=True).values():
            if touched is not None and each.tenant not in touched:
                continue
            record = self._book.read(each.tenant)
            law = _law(outline, each.tenant, record)
            if each.cell not in fleet.quarantine.cells:
                self._end(each, f"{each.cell} is no quarantine cell any more")
            elif record is None and fleet.unknown_tenant is not UnknownTenant.HASH:
                self._end(each, "tenants that nobody lists are not placed any more")
            elif law is None or violations(Act.QUARANTINE, each.tenant, law, (outline.cells[each.cell],)):
                self._end(each, f"it is at home under {law}, and {each.cell} is under another law")

    def known(self) -> Mapping[str, Quarantine]:
        """The last quarantine of each tenant that is remembered."""
        return read_quarantines(self._connection)

    def _end(self, before: Quarantine, reason: str, hold_seconds: float = 0.0) -> Quarantine:
        return self._write(before, released(before, reason, self._now, hold_seconds))

    def _write(self, before: Quarantine | None, after: Quarantine) -> Quarantine:
        old = None if before is None else rows.quarantine_row(before)
        epoch = self._log("quarantine", after.tenant, "put", old, rows.quarantine_row(after))
        after = replace(after, epoch=epoch)
        table = schema.quarantines
        self._connection.execute(delete(table).where(table.c.tenant == after.tenant))
        self._connection.execute(insert(table).values(**rows.quarantine_row(after)))
        return after

    def _forget(self, known: Mapping[str, Quarantine], outline: Outline) -> None:
        assert outline.fleet is not None, "who is quarantined is in a fleet"
        over = sorted(
            (each for each in known.values() if each.ended is not None), key=lambda each: each.ended or each.since
        )
        kept = [each for each in over if not is_forgotten(each, outline.fleet.quarantine, self._now)][-MAX_REMEMBERED:]
        gone = {each.tenant for each in over} - {each.tenant for each in kept}
        if gone:
            table = schema.quarantines
            self._connection.execute(delete(table).where(table.c.tenant.in_(sorted(gone))))


def _law(outline: Outline, tenant_id: str, record: TenantRecord | None) -> str | None:
    """Under whose law a tenant is at home; None where it has no cell."""
    if record is not None and record.tenant.shard:
        return laws((outline.cells[record.tenant.shard[0]],))[0]
    if record is not None and record.tenant.jurisdiction:
        return record.tenant.jurisdiction
    assert outline.fleet is not None, "a whole outline has a fleet"
    name = outline.fleet.default_pool if record is None else record.placed_pool
    pool = outline.pools.get(name or "")
    if pool is None or not pool.has_slots:
        return None
    found = outline.jurisdictions(pool)
    if len(found) == 1:
        return next(iter(found))
    placed = place(pool, outline.cells)
    first = int(placed.shards[slot_of(tenant_id.encode())][0])
    return laws((outline.cells[placed.cells[first]],))[0]
