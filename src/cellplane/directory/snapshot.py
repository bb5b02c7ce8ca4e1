"""A snapshot: the directory at one moment, for reads that must agree with each other."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Select, Table, bindparam, func, null, or_, select, text, true
from sqlalchemy.sql import ColumnElement

from cellplane.directory import publications, rows, schema
from cellplane.directory.history import ChangeFilter, PublishedEpoch, read_changes, read_epochs
from cellplane.directory.moving import ANY_MOVE, MoveFilter, MoveRecord, read_move, read_moves
from cellplane.directory.outline import Outline
from cellplane.directory.publications import StoredPublication
from cellplane.directory.quarantines import read_quarantines
from cellplane.directory.records import Change, ChangedTenant, ConfigRow, Entry, Page, TenantRecord
from cellplane.errors import NotFoundError
from cellplane.model import Load, Quarantine, TenantState, Topology, UnknownTenant

STREAMED_ROWS = 1_000
"""Rows that a stream takes from the database at once."""

LAST_CHARACTER = "\uffff"
"""Behind all that an id begins with, in the order of databases that go by bytes."""

NAMED_ROWS = 500
"""Rows that one query reads by their ids: a statement of SQLite has some thousand parameters at most."""

MICRO = 1_000_000
"""Loads are summed in millionths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFilter:
    """Which tenants; None takes any.

    Attributes:
        cell: those assigned to this cell, alone or among others.
        pool: those placed in this pool.
        jurisdiction: those under this law.
        tier: those of this tier.
        state: those in this state.
        prefix: those whose id begins so.
    """

    cell: str | None = None
    pool: str | None = None
    jurisdiction: str | None = None
    tier: str | None = None
    state: TenantState | None = None
    prefix: str = ""


ANY_TENANT = TenantFilter()


class Holding(NamedTuple):
    """What a cell holds.

    Attributes:
        assigned: tenants that are assigned to it, alone or among others.
        load: what these declare, summed.
        version: the epoch of the cell's last change.
    """

    assigned: int
    load: Load
    version: int


class Snapshot:
    """Reads of one transaction. Streams end with it.

    Args:
        connection: inside a transaction.
        outline: gives the fleet, cells and pools of this transaction; asked at most once.
    """

    def __init__(self, connection: Connection, outline: Callable[[], Outline]) -> None:
        self._connection = connection
        self._find_outline = outline
        self._known_outline: Outline | None = None

    @property
    def outline(self) -> Outline:
        """The fleet, cells and pools."""
        if self._known_outline is None:
            self._known_outline = self._find_outline()
        return self._known_outline

    @property
    def topology(self) -> Topology | None:
        """The fleet, its cells and pools, without tenants; None as long as there is no fleet."""
        return self.outline.topology

    def epoch(self) -> int:
        """Number of the last change, 0 when there is none."""
        return read_epoch(self._connection)

    def topology_epoch(self) -> int:
        """Number of the last change of the fleet, a cell or a pool."""
        return read_topology_epoch(self._connection)

    def version(self, kind: str, name: str) -> int | None:
        """The epoch of a resource's last change; None where it is not there."""
        return read_version(self._connection, kind, name)

    def versions(self, kind: str, names: Sequence[str]) -> dict[str, int]:
        """The epoch of the last change of these resources of a kind, by id."""
        return {str(name): int(version) for name, version in self._named(_VERSIONS_OF[kind], names)}

    def is_allowed(self, after_epoch: int) -> bool:
        """Whether somebody allowed all that was changed behind an epoch, but for single tenants since."""
        log = schema.changes
        allowed = (log.c.kind == "table") & (log.c.action == "allow") & (log.c.epoch > after_epoch)
        last = self._connection.execute(select(func.max(log.c.epoch)).where(allowed)).scalar()
        return last is not None and self.topology_epoch() <= last

    def tenant(self, tenant_id: str) -> TenantRecord:
        """One tenant.

        Raises:
            NotFoundError: it is not in the directory.
        """
        record = self.find_tenant(tenant_id)
        if record is None:
            raise NotFoundError(f"no tenant is named {tenant_id!r}")
        return record

    def find_tenant(self, tenant_id: str) -> TenantRecord | None:
        """One tenant; None where it is not in the directory."""
        row = by_key(self._connection, schema.tenants, tenant_id)
        return None if row is None else rows.tenant_of(row)

    def tenants(self, *, limit: int, after: str = "", wanted: TenantFilter = ANY_TENANT) -> Page[TenantRecord]:
        """Tenants by id.

        Args:
            limit: most on the page, ≥ 1.
            after: only ids behind this one.
            wanted: which.
        """
        table, assignments = schema.tenants, schema.assignments
        query, key = select(table), table.c.id
        if wanted.cell is not None:
            query = query.join(assignments, assignments.c.tenant == table.c.id).where(assignments.c.cell == wanted.cell)
            key = assignments.c.tenant
        for column, value in (
            (table.c.placed_pool, wanted.pool),
            (table.c.jurisdiction, wanted.jurisdiction),
            (table.c.tier, wanted.tier),
            (table.c.state, None if wanted.state is None else wanted.state.value),
        ):
            if value is not None:
                query = query.where(column == value)
        if wanted.prefix:
            # Ids are ASCII: this is behind all that begin so.
            query = query.where(key >= wanted.prefix, key < wanted.prefix + "\x7f")
        query = query.where(key > after).order_by(key).limit(limit + 1)
        found = [rows.tenant_of(dict(row)) for row in self._connection.execute(query).mappings()]
        more = len(found) > limit
        return Page(tuple(found[:limit]), found[limit - 1].tenant.id if more else None)

    def all_tenants(self) -> Iterator[TenantRecord]:
        """Every tenant by id, streamed."""
        query = select(schema.tenants).order_by(schema.tenants.c.id)
        names = schema.tenants.columns.keys()
        for row in self._stream(query):
            yield rows.tenant_of(dict(zip(names, row, strict=True)))

    def named_tenants(self, tenant_ids: Sequence[str]) -> dict[str, TenantRecord]:
        """Those of these tenants that the directory lists, by id."""
        return read_tenants(self._connection, tenant_ids)

    def placements(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Id, pool and shard of every tenant that has a pool, by id, streamed."""
        table = schema.tenants
        query = select(table.c.id, table.c.placed_pool, table.c.shard).where(table.c.placed_pool.is_not(None))
        for tenant_id, pool, shard in self._stream(query.order_by(table.c.id)):
            yield tenant_id, pool, tuple(shard)

    def entries(self) -> Iterator[Entry]:
        """What a table says of tenants, by id, streamed: of those that are assigned, not active, in another pool than
        the default, or have a policy; of every tenant where unknown ones are not placed like known ones.

        Reads each tenant's row once; makes objects of those alone that are returned.
        """
        table, away = schema.tenants, self.away()
        columns = (table.c.id, table.c.placed_pool, table.c.shard, table.c.state, table.c.policy)
        for tenant_id, pool, shard, state, policy in self._stream(
            select(*columns).where(self._is_said(away)).order_by(table.c.id)
        ):
            entry = Entry(tenant_id, pool, tuple(shard), _STATES[state], rows.policy_of(policy))
            yield listed_entry(away, entry) if away else entry
        yield from self._unlisted(away)

    def changed_tenants(self, after_epoch: int) -> Iterator[ChangedTenant]:
        """The tenants that changed behind an epoch, by id, each once, with what a table says of them now.

        A change of the fleet or of a pool can place tenants that did not change: compare ``topology_epoch``.
        """
        log, table, away = schema.changes, schema.tenants, self.away()
        kinds = [table.info["kind"], schema.quarantines.info["kind"]]
        changed = select(log.c.id).where(log.c.epoch > after_epoch, log.c.kind.in_(kinds)).distinct().subquery()
        unlisted = {entry.id: entry for entry in self._unlisted(away)}
        query = (
            select(changed.c.id, table.c.id, table.c.placed_pool, table.c.shard, table.c.state, table.c.policy)
            .select_from(changed.outerjoin(table, (table.c.id == changed.c.id) & self._is_said(away)))
            .order_by(changed.c.id)
        )
        for changed_id, tenant_id, pool, shard, state, policy in self._stream(query):
            entry = unlisted.get(changed_id)
            if tenant_id is not None:
                listed = Entry(tenant_id, pool, tuple(shard), _STATES[state], rows.policy_of(policy))
                entry = listed_entry(away, listed)
            yield ChangedTenant(changed_id, entry)

    def configuration(self, *, prefix: str = "", after: str = "", limit: int | None = None) -> list[ConfigRow]:
        """Settings and flags by id, those that begin with ``prefix``."""
        ids = schema.configuration.c.id
        query = select(schema.configuration).where(ids > after).order_by(ids)
        if prefix:
            query = query.where(ids >= prefix, ids < prefix + LAST_CHARACTER)
        found = self._connection.execute(query if limit is None else query.limit(limit)).mappings()
        return [ConfigRow(row["id"], row["said"], row["version"]) for row in found]

    def config_revision(self) -> int:
        """The epoch of the last change of a setting or a flag, also of one that is gone; 0 where there was none."""
        log = schema.changes
        query = select(func.coalesce(func.max(log.c.epoch), 0)).where(log.c.kind == schema.configuration.info["kind"])
        return int(self._connection.execute(query).scalar_one())

    def config(self, config_id: str) -> ConfigRow:
        """One setting or flag.

        Raises:
            NotFoundError: nobody said it.
        """
        row = by_key(self._connection, schema.configuration, config_id)
        if row is None:
            raise NotFoundError(f"nothing is configured as {config_id!r}")
        return ConfigRow(row["id"], row["said"], row["version"])

    def quarantines(self) -> dict[str, Quarantine]:
        """The last quarantine of each tenant that is remembered, by tenant."""
        return read_quarantines(self._connection)

    def quarantine(self, tenant_id: str) -> Quarantine | None:
        """The last quarantine of a tenant that is remembered; None for none."""
        row = by_key(self._connection, schema.quarantines, tenant_id)
        return None if row is None else rows.quarantine_of(row)

    def away(self) -> dict[str, str]:
        """The tenants that are in quarantine now, and the cell of each."""
        return {each.tenant: each.cell for each in read_quarantines(self._connection, only_lasting=True).values()}

    def move(self, move_id: str) -> MoveRecord:
        """One move.

        Raises:
            NotFoundError: it is not known, or forgotten.
        """
        found = self.find_move(move_id)
        if found is None:
            raise NotFoundError(f"no move is named {move_id!r}")
        return found

    def find_move(self, move_id: str) -> MoveRecord | None:
        """One move; None where it is not known, or forgotten."""
        return read_move(self._connection, move_id)

    def moves(
        self, wanted: MoveFilter = ANY_MOVE, *, limit: int, after: int = 0, before: int | None = None
    ) -> tuple[MoveRecord, ...]:
        """Moves in the order in which they began, behind a number; with ``before`` those before it, the last first."""
        return read_moves(self._connection, wanted, limit=limit, after=after, before=before)

    def _unlisted(self, away: Mapping[str, str]) -> Iterator[Entry]:
        """Entries of those in quarantine whom the directory does not list, by id."""
        fleet = self.outline.fleet
        if fleet is not None and away:
            listed = read_tenants(self._connection, list(away))
            for tenant_id, cell in away.items():
                if tenant_id not in listed:
                    yield Entry(tenant_id, fleet.default_pool, (cell,), TenantState.QUARANTINED)

    def assigned_tenants(self) -> dict[str, int]:
        """How many tenants are assigned to each cell, alone or among others."""
        query = select(schema.loads.c.cell, schema.loads.c.assigned)
        return {str(cell): int(assigned) for cell, assigned in self._connection.execute(query)}

    def holdings(self, cell_ids: Sequence[str]) -> dict[str, Holding]:
        """What these cells hold, by id."""
        if len(cell_ids) == 1:
            found = list(self._connection.execute(_HOLDING, {"key": cell_ids[0]}))
        else:
            found = list(self._named(_HOLDINGS, cell_ids))
        return {
            cell: Holding(assigned, Load(tenants, rps / MICRO, storage_gib / MICRO), version)
            for cell, assigned, tenants, rps, storage_gib, version in found
        }

    def changes(self, *, limit: int, after: int = 0) -> tuple[Change, ...]:
        """Entries of the change log behind an epoch, oldest first."""
        return read_changes(self._connection, ChangeFilter(), limit=limit, after=after)

    def history(
        self, wanted: ChangeFilter, *, limit: int, after: int | None = None, before: int | None = None
    ) -> tuple[Change, ...]:
        """Entries of the change log (``history.read_changes``)."""
        return read_changes(self._connection, wanted, limit=limit, after=after, before=before)

    def epochs(self, *, limit: int, before: int | None = None) -> tuple[PublishedEpoch, ...]:
        """The tables that were published, the last first."""
        return read_epochs(self._connection, limit=limit, before=before)

    def last_publication(self) -> StoredPublication | None:
        """The last publication whose bytes are kept."""
        return publications.read_last(self._connection)

    def base(self, sha256: str) -> bytes | None:
        """The bytes of a published base; None where they are not kept."""
        return publications.read_base(self._connection, sha256)

    def _is_said(self, away: Collection[str]) -> ColumnElement[bool]:
        """Whether a table has an entry for a tenant."""
        table, fleet = schema.tenants, self.outline.fleet
        is_placed = table.c.placed_pool.is_not(None)
        if fleet is None or fleet.unknown_tenant is not UnknownTenant.HASH:
            return is_placed & true()
        return is_placed & or_(
            table.c.shard != [],
            table.c.state != TenantState.ACTIVE.value,
            table.c.placed_pool != fleet.default_pool,
            table.c.policy.is_not(null()),
            table.c.id.in_(away),
        )

    def _named(self, query: Select[Any], names: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(names), NAMED_ROWS):
            yield from self._connection.execute(query, {"keys": names[start : start + NAMED_ROWS]})

    def _stream(self, query: Select[Any]) -> Iterator[Any]:
        # Closed in the transaction also where nobody reads on.
        with self._connection.execute(query, execution_options={"yield_per": STREAMED_ROWS}) as result:
            yield from result


def read_outline(connection: Connection) -> Outline:
    """The fleet, cells and pools."""
    fleet = connection.execute(select(schema.fleet)).mappings().first()
    return Outline(
        fleet=None if fleet is None else rows.fleet_of(without_version(fleet)),
        cells={row["id"]: rows.cell_of(row) for row in _all(connection, schema.cells, schema.cells.c.id)},
        pools={row["name"]: rows.pool_of(row) for row in _all(connection, schema.pools, schema.pools.c.name)},
    )


def read_version(connection: Connection, kind: str, name: str) -> int | None:
    """The epoch of a resource's last change; None where it is not there."""
    found = connection.execute(_VERSIONS[kind], {"key": name}).scalar()
    return None if found is None else int(found)


def without_version(row: RowMapping) -> dict[str, Any]:
    """A row as the log and the API have it."""
    return {name: value for name, value in row.items() if name != "version"}


def read_epoch(connection: Connection) -> int:
    """Number of the last change, 0 when there is none."""
    return int(connection.execute(_LAST_EPOCH).scalar_one())


def read_topology_epoch(connection: Connection) -> int:
    """Number of the last change of the fleet, a cell or a pool, 0 when there is none."""
    return int(connection.execute(_LAST_TOPOLOGY_EPOCH).scalar_one())


def read_tenants(connection: Connection, tenant_ids: Sequence[str]) -> dict[str, TenantRecord]:
    """Those of these tenants that there are, by id."""
    found: dict[str, TenantRecord] = {}
    for start in range(0, len(tenant_ids), NAMED_ROWS):
        query = select(schema.tenants).where(schema.tenants.c.id.in_(tenant_ids[start : start + NAMED_ROWS]))
        found |= {row["id"]: rows.tenant_of(dict(row)) for row in connection.execute(query).mappings()}
    return found


def by_key(connection: Connection, table: Table, key: str) -> dict[str, Any] | None:
    """The row of a table with this primary key, None where there is none."""
    row = connection.execute(_ROWS[table], {"key": key}).mappings().first()
    return None if row is None else dict(row)


def one(connection: Connection, table: Table, where: ColumnElement[bool]) -> dict[str, Any] | None:
    """The first row of a table where something is so, None where there is none."""
    row = connection.execute(select(table).where(where).limit(1)).mappings().first()
    return None if row is None else dict(row)


def _all(connection: Connection, table: Table, order: ColumnElement[str]) -> list[dict[str, Any]]:
    return [without_version(row) for row in connection.execute(select(table).order_by(order)).mappings()]


def listed_entry(away: Mapping[str, str], entry: Entry) -> Entry:
    """What a table says of a tenant: of an active one in quarantine, that it is there."""
    if entry.id in away and entry.state is TenantState.ACTIVE:
        return entry._replace(shard=(away[entry.id],), state=TenantState.QUARANTINED)
    return entry


_STATES = {state.value: state for state in TenantState}

TABLES: Mapping[str, Table] = {
    table.info["kind"]: table
    for table in (schema.fleet, schema.cells, schema.pools, schema.tenants, schema.configuration, schema.moves)
}
"""Where resources of a kind are that have versions."""

# Statements that requests ask are made once: to put one together takes as long as to execute it.


def _is_named(table: Table) -> ColumnElement[bool]:
    (key,) = table.primary_key.columns
    return key == bindparam("key")


_ROWS = {
    table: select(table).where(_is_named(table))
    for table in (schema.tenants, schema.quarantines, schema.tokens, schema.configuration)
}
_VERSIONS = {kind: select(table.c.version).where(_is_named(table)) for kind, table in TABLES.items()}
_VERSIONS_OF = {
    kind: select(key, table.c.version).where(key.in_(bindparam("keys", expanding=True)))
    for kind, table in TABLES.items()
    for key in table.primary_key.columns
}
_EACH_HOLDING = select(
    schema.loads.c.cell,
    schema.loads.c.assigned,
    schema.loads.c.tenants,
    schema.loads.c.rps_micro,
    schema.loads.c.storage_gib_micro,
    schema.cells.c.version,
).join(schema.cells, schema.cells.c.id == schema.loads.c.cell)
_HOLDING = _EACH_HOLDING.where(schema.loads.c.cell == bindparam("key"))
_HOLDINGS = _EACH_HOLDING.where(schema.loads.c.cell.in_(bindparam("keys", expanding=True)))
_LAST_EPOCH = select(func.coalesce(func.max(schema.changes.c.epoch), 0))
_LAST_TOPOLOGY_EPOCH = _LAST_EPOCH.where(text(schema.CHANGED_TOPOLOGY))
