"""A transaction: changes that happen together or not at all, each with its entry of the log."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert

from cellplane.directory import rows, schema
from cellplane.directory.answers import RequestKey, find_answer, keep_answer
from cellplane.directory.audit import AuditEntry, write_audit
from cellplane.directory.change_log import ChangeLog
from cellplane.directory.guards import require_joinable, require_lives, require_room, require_unnamed, require_unused
from cellplane.directory.history import tenants_changed_since
from cellplane.directory.locking import Locking
from cellplane.directory.moving import MoveRecord, Moving, SaidMove
from cellplane.directory.outline import Outline
from cellplane.directory.past import Past
from cellplane.directory.placing import Placing
from cellplane.directory.preconditions import ANY, Precondition
from cellplane.directory.quarantining import Quarantining
from cellplane.directory.records import Author, Change, Placement, TenantRecord
from cellplane.directory.snapshot import NAMED_ROWS, Snapshot, by_key, read_version
from cellplane.directory.tenant_book import TenantBook
from cellplane.errors import ConflictError, NotFoundError
from cellplane.model import Cell, CellStatus, Fleet, Pool, Quarantine
from cellplane.model.topology import MAX_CELLS, MAX_POOLS
from cellplane.moves.move import Wish
from cellplane.placement.quarantine import Asked, LeftAlone


class Transaction:
    """Changes of one transaction; ``finish`` checks them as a whole, and writes what is held back.

    Args:
        connection: inside a transaction that may write.
        outline: the fleet, cells and pools as they are.
        author: who asks, and why.
        now: the time that log entries carry, UTC.
        unhealthy: ids of cells that get no new tenants since they are not well.
    """

    def __init__(
        self,
        connection: Connection,
        outline: Outline,
        *,
        author: Author,
        now: datetime,
        unhealthy: Collection[str] = (),
    ) -> None:
        self._connection = connection
        self._began_with = outline
        self._settled = outline
        self._outline = outline
        self._now = now
        self._log = ChangeLog(connection, author, now.isoformat(timespec="milliseconds"))
        self._book = TenantBook(connection)
        self._placing = Placing(connection, self._book, self._record, unhealthy)
        self._quarantining = Quarantining(connection, self._book, self._log.add, now)
        self._touched: set[str] = set()
        self._deleted: list[tuple[str, str]] = []
        self._changed: list[tuple[str, str]] = []
        self._locking = Locking(connection, self._log)
        self._moving = Moving(connection, self._log.add, now)
        self._statuses: dict[str, tuple[CellStatus, bool]] = {}
        self._joined: dict[str, set[str]] = {}
        self._allows = False
        self._allows_anyway = False
        self._is_finished = False

    @property
    def now(self) -> datetime:
        """The time of the transaction, UTC: that of all its entries of the log."""
        return self._now

    @property
    def outline(self) -> Outline:
        """The fleet, cells and pools as they are with what was changed so far."""
        return self._outline

    @property
    def epoch(self) -> int:
        """Number of the last change."""
        return self._log.epoch

    @property
    def changes(self) -> list[Change]:
        """What was changed so far: entries of the log, in order."""
        return self._log.changes

    def require(self, kind: str, name: str, precondition: Precondition) -> None:
        """Raise PreconditionError unless a resource is as a change expects it.

        Args:
            kind: fleet, cell, pool or tenant.
            name: its id or name.
        """
        if precondition != ANY:
            precondition.check(f"{kind} {name!r}", self.version(kind, name))

    def require_epoch(self, base_epoch: int | None) -> None:
        """Raise ConflictError unless nothing was changed since this epoch; None asks nothing."""
        if base_epoch is not None and base_epoch != self.epoch:
            raise ConflictError(
                f"the directory is at epoch {self.epoch}, not {base_epoch}: look at the changes since, and apply again"
            )

    def version(self, kind: str, name: str) -> int | None:
        """The epoch of a resource's last change; None where it is not there."""
        if kind == "tenant":
            record = self._book.read(name)
            return None if record is None else record.version
        return read_version(self._connection, kind, name)

    def expect_tenants(self, tenant_ids: Sequence[str]) -> None:
        """Read these tenants at once, since they are about to be changed one by one."""
        self._book.fetch(tenant_ids)

    def find_answer(self, key: RequestKey) -> dict[str, Any] | None:
        """What was answered to this request before; None where it is new (``answers.find_answer``)."""
        return find_answer(self._connection, key)

    def keep_answer(self, key: RequestKey, answer: Mapping[str, Any], kept_seconds: int) -> None:
        """Remember the answer to this request with what it changed."""
        keep_answer(self._connection, key, answer, self._now, kept_seconds)

    @property
    def locks(self) -> Locking:
        """The locks of cells."""
        return self._locking

    def audit(self, entry: AuditEntry) -> None:
        """Put a call on record with what it changes."""
        write_audit(self._connection, [replace(entry, at=self._now, epoch=self._log.epoch)])

    def put_fleet(self, fleet: Fleet) -> None:
        """Set the fleet.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            ConflictError: the directory is another fleet's.
        """
        fleet.validate("fleet")
        known = self._outline.fleet
        if known is not None and known.name != fleet.name:
            raise ConflictError(f"this directory is fleet {known.name!r}'s, not {fleet.name!r}'s")
        self._outline = replace(self._outline, fleet=fleet)
        self._put(schema.fleet, None if known is None else rows.fleet_row(known), rows.fleet_row(fleet))

    def put_cell(self, cell: Cell) -> None:
        """Create or replace a cell.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            ConflictError: a table can hold no more cells.
        """
        cell.validate("cell")
        known = self._outline.cells.get(cell.id)
        if known is None:
            require_room("cell", len(self._outline.cells), MAX_CELLS)
            sums = {"assigned": 0, "tenants": 0, "rps_micro": 0, "storage_gib_micro": 0}
            self._connection.execute(insert(schema.loads).values(cell=cell.id, **sums))
        elif known.status is not cell.status:
            self._statuses.setdefault(cell.id, (known.status, False))
        self._outline = self._outline.with_cell(cell)
        self._put(schema.cells, None if known is None else rows.cell_row(known), rows.cell_row(cell))

    def set_status(self, cell_id: str, status: CellStatus, *, force: bool = False) -> None:
        """Give a cell another status; ``finish`` refuses where its life does not go on like that (``model.lifecycle``).

        Args:
            force: also where a pool is left without a cell that is active or locked.

        Raises:
            NotFoundError: it is not in the directory.
        """
        known = self._outline.cells.get(cell_id)
        if known is None:
            raise NotFoundError(f"no cell is named {cell_id!r}")
        self._statuses.setdefault(cell_id, (known.status, force))
        self.put_cell(replace(known, status=status))

    def delete_cell(self, cell_id: str) -> None:
        """Remove a cell; ``finish`` refuses where something still names it.

        Raises:
            NotFoundError: it is not in the directory.
        """
        known = self._outline.cells.get(cell_id)
        self._outline = self._outline.without("cell", cell_id)
        self._delete(schema.cells, cell_id, None if known is None else rows.cell_row(known))
        self._connection.execute(delete(schema.loads).where(schema.loads.c.cell == cell_id))

    def put_pool(self, pool: Pool) -> None:
        """Create or replace a pool.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            ConflictError: a table can hold no more pools.
        """
        pool.validate("pool")
        known = self._outline.pools.get(pool.name)
        if known is None:
            require_room("pool", len(self._outline.pools), MAX_POOLS)
        self._joined.setdefault(pool.name, set()).update(set(pool.cells).difference(known.cells if known else ()))
        self._outline = self._outline.with_pool(pool)
        self._put(schema.pools, None if known is None else rows.pool_row(known), rows.pool_row(pool))

    def delete_pool(self, name: str) -> None:
        """Remove a pool; ``finish`` refuses where something still names it.

        Raises:
            NotFoundError: it is not in the directory.
        """
        known = self._outline.pools.get(name)
        self._outline = self._outline.without("pool", name)
        self._delete(schema.pools, name, None if known is None else rows.pool_row(known))

    def put_config(self, config_id: str, said: Mapping[str, Any]) -> None:
        """Say a setting, or a flag's rollout: ``model.configuration`` has checked it."""
        before = self._config(config_id)
        self._put(schema.configuration, before, {"id": config_id, "said": dict(said)})

    def delete_config(self, config_id: str) -> None:
        """Say it no more.

        Raises:
            NotFoundError: nobody did.
        """
        self._delete(schema.configuration, config_id, self._config(config_id))

    def _config(self, config_id: str) -> dict[str, Any] | None:
        row = by_key(self._connection, schema.configuration, config_id)
        return None if row is None else {"id": row["id"], "said": row["said"]}

    def settle(self) -> None:
        """Check the fleet, cells and pools as they are now; know each tenant's pool by the rules as they are now.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            ConflictError: something still names what was removed.
        """
        if self._outline is self._settled:
            return
        require_unnamed(self._outline, self._deleted)
        self._outline.check(self._settled, self._changed[0] if len(self._changed) == 1 else None)
        self._placing.settle(self._settled, self._outline)
        self._settled = self._outline

    def past(self, epoch: int) -> Past:
        """The directory as it was at an epoch.

        Raises:
            NotFoundError: there is no such epoch yet.
        """
        return Past(self._connection, epoch)

    def restore(self, past: Past) -> None:
        """Make the fleet, its cells, pools and tenants what they were. Quarantines are about now: they stay, as far as
        they may. Whether a cell's life goes on like that is not asked: what was, may be again.
        """
        then, now = past.outline, self._outline
        for cell in then.cells.values():
            self.put_cell(cell)
            if cell.id in now.cells and now.cells[cell.id].status is not cell.status:
                self._locking.restore(cell)
        for pool in then.pools.values():
            self.put_pool(pool)
        if then.fleet is not None:
            self.put_fleet(then.fleet)
        for name in now.pools.keys() - then.pools.keys():
            self.delete_pool(name)
        for cell_id in now.cells.keys() - then.cells.keys():
            self.delete_cell(cell_id)
        self._statuses.clear()
        self._joined.clear()
        self.settle()
        changed = tenants_changed_since(self._connection, past.epoch())
        for start in range(0, len(changed), NAMED_ROWS):
            part = changed[start : start + NAMED_ROWS]
            self._book.fetch(part)
            known = past.named_tenants(part)
            for tenant_id in part:
                if tenant_id in known:
                    self._record(self._book.read(tenant_id), known[tenant_id])
                elif self._book.read(tenant_id) is not None:
                    self.delete_tenant(tenant_id)

    def change_tenant(self, tenant_id: str, fields: Mapping[str, Any], *, anew: bool = False) -> Placement:
        """Create or change a tenant; what is not named stays as it is.

        Args:
            fields: attributes of Tenant but its id. A ``shard`` of cells assigns it to these; an empty one, or none
                for a new tenant, leaves the choice to its pool: to its slot, or to an assignment.
            anew: whether its pool chooses again, whatever it has now.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            NoCellError: its pool assigns tenants, and no cell takes it.
        """
        return self._placing.change(self._outline, tenant_id, fields, anew=anew)

    def delete_tenant(self, tenant_id: str) -> None:
        """Remove a tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        before = self._book.read(tenant_id)
        if before is None:
            raise NotFoundError(f"no tenant is named {tenant_id!r}")
        self._book.write(tenant_id, before, None, None)
        self._log.add("tenant", tenant_id, "delete", rows.tenant_row(before), None)
        self._quarantining.end_if_any(tenant_id, "the tenant was removed")

    def quarantine(self, asked: Asked) -> Quarantine | LeftAlone:
        """Quarantine a tenant, or say why it is left alone."""
        return self._quarantining.begin(self._outline, asked)

    def release(self, tenant_id: str, reason: str, hold_seconds: float) -> Quarantine:
        """End a tenant's quarantine.

        Raises:
            NotFoundError: it has none.
        """
        return self._quarantining.end(tenant_id, reason, hold_seconds)

    def release_due(self) -> tuple[Quarantine, ...]:
        """End the quarantines whose time is over."""
        return self._quarantining.end_due()

    def reach_move(self, said: SaidMove) -> MoveRecord:
        """Note what a move has reached (``Moving.reach``)."""
        return self._moving.reach(said)

    def want_of_move(self, move_id: str, wish: Wish) -> MoveRecord:
        """Note what people want of a move (``Moving.want``)."""
        return self._moving.want(move_id, wish)

    def republish(self) -> None:
        """Note an epoch of its own for an unchanged fleet."""
        self._log.add("table", "table", "republish", None, None)

    def allow(self, *, anyway: bool = False) -> None:
        """Let the table with these changes, and with those not yet published, be published whatever it does.

        Args:
            anyway: also where this transaction changes nothing.
        """
        self._allows = True
        self._allows_anyway = anyway

    def snapshot(self) -> Snapshot:
        """Reads of what is so in this transaction, after ``finish``."""
        return Snapshot(self._connection, lambda: self._outline)

    def finish(self) -> None:
        """Check what concerns tenants, assign those that lost their slots, and write what is held back; once.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
            NoCellError: a tenant lost its slot, and no cell takes it.
            ConflictError: something still names what was removed, a tenant would be under a foreign law, or a shard
                that was asked for shares too many cells with another tenant's.
        """
        if self._is_finished:
            return
        self.settle()
        self._placing.assign_the_unplaced(self._began_with, self._outline)
        self._book.flush()
        require_unused(self._connection, self._deleted)
        if self._statuses:
            require_lives(self._outline, self.snapshot().assigned_tenants(), self._statuses)
        require_joinable(self._outline, self._joined)
        self._locking.order(self._outline, {cell: before for cell, (before, _) in self._statuses.items()})
        self._placing.check_neighbours(self._outline)
        self._placing.check_law(self._began_with, self._outline)
        self._placing.check_policies(self._began_with, self._outline)
        if self._touched or self._outline is not self._began_with:
            is_of_tenants = self._outline is self._began_with
            self._quarantining.settle(self._outline, self._touched if is_of_tenants else None)
        if self._allows and (self.changes or self._allows_anyway):
            self._log.add("table", "table", "allow", None, None)
        self._log.flush()
        self._is_finished = True

    def _put(self, table: Any, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        if before == after:
            return
        (key,) = table.primary_key.columns
        kind, name = table.info["kind"], after[key.name]
        epoch = self._log.add(kind, name, "put", before, after)
        self._connection.execute(delete(table).where(key == name))
        self._connection.execute(insert(table).values(**after, version=epoch))
        self._changed.append((kind, name))

    def _delete(self, table: Any, name: str, before: dict[str, Any] | None) -> None:
        kind = table.info["kind"]
        if before is None:
            raise NotFoundError(f"no {kind} is named {name!r}")
        (key,) = table.primary_key.columns
        self._connection.execute(delete(table).where(key == name))
        self._deleted.append((kind, name))
        self._changed.append((kind, name))
        self._log.add(kind, name, "delete", before, None)

    def _record(self, before: TenantRecord | None, after: TenantRecord) -> tuple[TenantRecord, int]:
        """Write a tenant and its entry of the log; return it with its version, and the epoch."""
        if before == after:
            return before, self._log.epoch
        row = None if before is None else rows.tenant_row(before)
        now = rows.tenant_row(after)
        epoch = self._log.add("tenant", after.tenant.id, "put", row, now)
        after = TenantRecord(after.tenant, after.placed_pool, epoch)
        self._book.write(after.tenant.id, before, after, {**now, "version": epoch})
        self._touched.add(after.tenant.id)
        return after, epoch
