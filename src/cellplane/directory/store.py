"""The store: every change and its log entry are one transaction, and the log's number is the epoch."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import ColumnElement

from cellplane.directory import rows, schema
from cellplane.directory.engine import open_sqlite
from cellplane.directory.records import Change, Page
from cellplane.errors import ConflictError, DirectoryError, NotFoundError, ValidationError
from cellplane.model import Cell, Fleet, Pool, Tenant, TenantState, Topology
from cellplane.model.topology import MAX_CELLS, MAX_POOLS


def utc_now() -> datetime:
    """The clock of the change log."""
    return datetime.now(UTC)


class Directory:
    """The fleet's store on SQLite. Safe to share between threads.

    Args:
        path: the database file; created when missing, with its folder.
        clock: the time that log entries carry.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._clock = clock
        self._writing = threading.Lock()
        self._writer = open_sqlite(path, for_writing=True)
        self._reader = open_sqlite(path, for_writing=False)
        with self._errors(), self._writer.begin() as connection:
            schema.metadata.create_all(connection)

    def close(self) -> None:
        """Release the file."""
        self._writer.dispose()
        self._reader.dispose()

    # Reading

    def epoch(self) -> int:
        """Number of the last change, 0 when there is none."""
        with self._reading() as connection:
            return _epoch(connection)

    def topology(self) -> tuple[Topology, int] | None:
        """The whole fleet and the epoch it is of, or None as long as there is no fleet."""
        with self._reading() as connection:
            fleet = connection.execute(select(schema.fleet)).mappings().first()
            if fleet is None:
                return None
            topology = Topology(
                fleet=rows.fleet_of(dict(fleet)),
                cells=tuple(rows.cell_of(row) for row in _all(connection, schema.cells, schema.cells.c.id)),
                pools=tuple(rows.pool_of(row) for row in _all(connection, schema.pools, schema.pools.c.name)),
                tenants=tuple(rows.tenant_of(row) for row in _all(connection, schema.tenants, schema.tenants.c.id)),
            )
            return topology, _epoch(connection)

    def fleet(self) -> Fleet:
        """The fleet.

        Raises:
            NotFoundError: none was put yet.
        """
        with self._reading() as connection:
            row = connection.execute(select(schema.fleet)).mappings().first()
        if row is None:
            raise NotFoundError("the directory has no fleet yet: put one first")
        return rows.fleet_of(dict(row))

    def cells(self) -> tuple[Cell, ...]:
        """All cells, by id."""
        with self._reading() as connection:
            return tuple(rows.cell_of(row) for row in _all(connection, schema.cells, schema.cells.c.id))

    def pools(self) -> tuple[Pool, ...]:
        """All pools, by name."""
        with self._reading() as connection:
            return tuple(rows.pool_of(row) for row in _all(connection, schema.pools, schema.pools.c.name))

    def tenant(self, tenant_id: str) -> Tenant:
        """One tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        with self._reading() as connection:
            row = _one(connection, schema.tenants, schema.tenants.c.id == tenant_id)
        if row is None:
            raise NotFoundError(f"no tenant is named {tenant_id!r}")
        return rows.tenant_of(row)

    def tenants(self, *, limit: int, after: str = "", cell: str | None = None) -> Page[Tenant]:
        """Tenants by id.

        Args:
            limit: most on the page, ≥ 1.
            after: only ids behind this one.
            cell: only those pinned to this cell.
        """
        table = schema.tenants
        query = select(table).where(table.c.id > after).order_by(table.c.id).limit(limit + 1)
        if cell is not None:
            query = query.where(table.c.cell == cell)
        with self._reading() as connection:
            found = [rows.tenant_of(dict(row)) for row in connection.execute(query).mappings()]
        more = len(found) > limit
        return Page(tuple(found[:limit]), found[limit - 1].id if more else None)

    def pinned_tenants(self) -> dict[str, int]:
        """How many tenants are pinned to each cell that has any."""
        cell = schema.tenants.c.cell
        query = select(cell, func.count()).where(cell.is_not(None)).group_by(cell)
        with self._reading() as connection:
            return {str(row[0]): int(row[1]) for row in connection.execute(query)}

    def changes(self, *, limit: int, after: int = 0) -> tuple[Change, ...]:
        """Entries of the change log behind an epoch, oldest first."""
        table = schema.changes
        query = select(table).where(table.c.epoch > after).order_by(table.c.epoch).limit(limit)
        with self._reading() as connection:
            return tuple(Change(**row) for row in connection.execute(query).mappings())

    # Changing. Each returns the epoch from which the change is in the table.

    def put_fleet(self, fleet: Fleet, *, actor: str) -> int:
        """Set the fleet's policy; there is one fleet in a directory.

        Raises:
            ValidationError: the default pool is not there, though the one before is: no table could be compiled.
            ConflictError: the directory is another fleet's.
        """
        fleet.validate("fleet")
        with self._changing() as connection:
            before = connection.execute(select(schema.fleet)).mappings().first()
            if before is not None and before["name"] != fleet.name:
                raise ConflictError(f"this directory is fleet {before['name']!r}'s, not {fleet.name!r}'s")
            # The first fleet comes before its pools.
            if (
                before is not None
                and _has_pool(connection, before["default_pool"])
                and not _has_pool(connection, fleet.default_pool)
            ):
                raise ValidationError("fleet.default_pool", f"no pool is named {fleet.default_pool!r}: put it first")
            return self._put(connection, schema.fleet, rows.fleet_row(fleet), actor)

    def put_cell(self, cell: Cell, *, actor: str) -> int:
        """Create or replace a cell.

        Raises:
            ValidationError: its weight gives the ring of a pool too many points.
            ConflictError: a table can hold no more cells.
        """
        cell.validate("cell")
        with self._changing() as connection:
            _require_room(connection, schema.cells, cell.id, MAX_CELLS)
            for row in _all(connection, schema.pools, schema.pools.c.name):
                if cell.id in row["cells"]:
                    _check_ring(connection, "cell.weight", rows.pool_of(row), {cell.id: cell.weight})
            return self._put(connection, schema.cells, rows.cell_row(cell), actor)

    def delete_cell(self, cell_id: str, *, actor: str) -> int:
        """Remove a cell.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: a pool or a tenant still names it.
        """
        with self._changing() as connection:
            for pool in _all(connection, schema.pools, schema.pools.c.name):
                if cell_id in pool["cells"]:
                    raise ConflictError(f"cell {cell_id!r} is in pool {pool['name']!r}: take it out first")
            pinned = _one(connection, schema.tenants, schema.tenants.c.cell == cell_id)
            if pinned is not None:
                raise ConflictError(f"tenant {pinned['id']!r} is pinned to cell {cell_id!r}: unpin it first")
            return self._delete(connection, schema.cells, cell_id, actor)

    def put_pool(self, pool: Pool, *, actor: str) -> int:
        """Create or replace a pool.

        Raises:
            ValidationError: a cell of it is not in the directory, or its ring would have too many points.
            ConflictError: a table can hold no more pools.
        """
        pool.validate("pool")
        with self._changing() as connection:
            for place, cell_id in enumerate(pool.cells):
                _require_cell(connection, f"pool.cells[{place}]", cell_id)
            _require_room(connection, schema.pools, pool.name, MAX_POOLS)
            _check_ring(connection, "pool.virtual_nodes", pool, {})
            return self._put(connection, schema.pools, rows.pool_row(pool), actor)

    def delete_pool(self, name: str, *, actor: str) -> int:
        """Remove a pool.

        Raises:
            NotFoundError: it is not in the directory.
            ConflictError: the fleet names it as its default.
        """
        with self._changing() as connection:
            if _one(connection, schema.fleet, schema.fleet.c.default_pool == name) is not None:
                raise ConflictError(f"pool {name!r} is the fleet's default: name another default first")
            return self._delete(connection, schema.pools, name, actor)

    def put_tenant(self, tenant: Tenant, *, actor: str) -> int:
        """Create or replace a tenant; raises as ``assign`` does."""
        return self.assign(tenant.id, tenant.cell, state=tenant.state, actor=actor)[1]

    def assign(
        self, tenant_id: str, cell: str | None, *, state: TenantState | None = None, actor: str
    ) -> tuple[Tenant, int]:
        """Pin a tenant to a cell, or, without one, leave it to its slot; create it where it is new.

        Args:
            state: None keeps the state that it has.

        Returns:
            The tenant as it is now, and the epoch from which on it is so.

        Raises:
            ValidationError: the id is no key, or the cell is not in the directory.
        """
        Tenant(tenant_id, cell).validate("tenant")
        with self._changing() as connection:
            if cell is not None:
                _require_cell(connection, "tenant.cell", cell)
            before = _one(connection, schema.tenants, schema.tenants.c.id == tenant_id)
            kept = TenantState.ACTIVE if before is None else rows.tenant_of(before).state
            tenant = Tenant(tenant_id, cell, state or kept)
            return tenant, self._put(connection, schema.tenants, rows.tenant_row(tenant), actor)

    def delete_tenant(self, tenant_id: str, *, actor: str) -> int:
        """Remove a tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        with self._changing() as connection:
            return self._delete(connection, schema.tenants, tenant_id, actor)

    def record_publication(self, epoch: int, sha256: str) -> bool:
        """Note that an epoch was compiled to a table with this checksum.

        Returns:
            False where the epoch is already known with another checksum: the same epoch must never have two
            contents, so the caller asks for a new one with ``republish``.
        """
        with self._changing() as connection:
            known = _one(connection, schema.publications, schema.publications.c.epoch == epoch)
            if known is None:
                at = self._clock().isoformat(timespec="milliseconds")
                connection.execute(insert(schema.publications).values(epoch=epoch, sha256=sha256, at=at))
                return True
            return bool(known["sha256"] == sha256)

    def republish(self, *, actor: str) -> int:
        """Make a new epoch of an unchanged fleet, because the compiler of this release writes other bytes."""
        with self._changing() as connection:
            change = {"kind": "table", "id": "table", "action": "republish", "before": None, "after": None}
            return self._log(connection, actor, change)

    def _put(self, connection: Connection, table: Table, after: dict[str, Any], actor: str) -> int:
        (key,) = table.primary_key.columns
        before = _one(connection, table, key == after[key.name])
        if before == after:
            return _epoch(connection)
        connection.execute(delete(table).where(key == after[key.name]))
        connection.execute(insert(table).values(**after))
        change = {"kind": table.info["kind"], "id": after[key.name], "action": "put", "before": before, "after": after}
        return self._log(connection, actor, change)

    def _delete(self, connection: Connection, table: Table, value: str, actor: str) -> int:
        (key,) = table.primary_key.columns
        before = _one(connection, table, key == value)
        if before is None:
            raise NotFoundError(f"no {table.info['kind']} is named {value!r}")
        connection.execute(delete(table).where(key == value))
        change = {"kind": table.info["kind"], "id": value, "action": "delete", "before": before, "after": None}
        return self._log(connection, actor, change)

    def _log(self, connection: Connection, actor: str, change: dict[str, Any]) -> int:
        at = self._clock().isoformat(timespec="milliseconds")
        result = connection.execute(insert(schema.changes).values(at=at, actor=actor, **change))
        assert result.inserted_primary_key is not None
        return int(result.inserted_primary_key[0])

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._writing, self._errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = getattr(error, "orig", None) or error
            raise DirectoryError(f"the directory's database failed, nothing was changed: {reason}") from error


def _epoch(connection: Connection) -> int:
    return int(connection.execute(select(func.coalesce(func.max(schema.changes.c.epoch), 0))).scalar_one())


def _all(connection: Connection, table: Table, order: ColumnElement[str]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(select(table).order_by(order)).mappings()]


def _one(connection: Connection, table: Table, where: ColumnElement[bool]) -> dict[str, Any] | None:
    row = connection.execute(select(table).where(where).limit(1)).mappings().first()
    return None if row is None else dict(row)


def _require_cell(connection: Connection, field: str, cell_id: str) -> None:
    if _one(connection, schema.cells, schema.cells.c.id == cell_id) is None:
        known = [row["id"] for row in _all(connection, schema.cells, schema.cells.c.id)]
        raise ValidationError(field, f"no cell is named {cell_id!r}; there are {', '.join(known[:20]) or 'none yet'}")


def _has_pool(connection: Connection, name: str) -> bool:
    return _one(connection, schema.pools, schema.pools.c.name == name) is not None


def _require_room(connection: Connection, table: Table, key: str, limit: int) -> None:
    (column,) = table.primary_key.columns
    others = connection.execute(select(func.count()).select_from(table).where(column != key)).scalar_one()
    if others >= limit:
        raise ConflictError(f"there are {others} {table.info['kind']}s already, as many as a table can hold")


def _check_ring(connection: Connection, field: str, pool: Pool, changed: Mapping[str, float]) -> None:
    """Check a pool's ring as it would be with these weights changed."""
    weights = {row["id"]: row["weight"] for row in _all(connection, schema.cells, schema.cells.c.id)}
    weights.update(changed)
    pool.validate_ring(field, (weights[cell_id] for cell_id in pool.cells))
