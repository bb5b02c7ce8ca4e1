"""What a tenant has in a cell's database, and whether that can be moved: judged from the catalogs of both cells."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column, as its database writes its type."""

    name: str
    type: str
    not_null: bool = False
    is_generated: bool = False
    """Computed from others: it is not copied, the other cell computes it too."""

    identity: str = ""
    """``always``, ``by default``, or nothing; of SQLite, ``autoincrement``."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: columns of this table, and the table and columns that they name."""

    name: str
    columns: tuple[str, ...]
    table: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What of a table only its own kind of database knows, and keeps it from being moved."""

    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a partitioned table that has rows. It takes over neither the table's replica identity nor its
    persistence.
    """

    name: str
    replica_identity: tuple[str, ...]
    is_unlogged: bool = False
    is_foreign: bool = False
    """Its rows are at another server."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a cell's catalogs have it; a partitioned one stands for its partitions."""

    name: str
    """With its schema where it has one, each quoted where it must be: ``public.orders``."""

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """Columns of its primary key, in the key's order."""

    replica_identity: tuple[str, ...] = ()
    """Columns by which replication finds a row that was changed; of a full identity, all."""

    references: tuple[Reference, ...] = ()
    sequences: tuple[str, ...] = ()
    """What numbers its rows: sequences of its serial and identity columns, and of other columns' defaults."""

    numbered: tuple[str, ...] = ()
    """Columns whose values each cell counts up by itself, as PostgreSQL's sequences do."""

    uniques: tuple[tuple[str, ...], ...] = ()
    """Columns of its unique indexes, that of its key among them."""

    is_partitioned: bool = False
    partitions: tuple[Partition, ...] = ()
    is_unlogged: bool = False
    rows_estimate: int = 0
    """Of all tenants, as the planner thinks."""

    bytes_estimate: int = 0
    obstacles: tuple[Obstacle, ...] = ()

    def column(self, name: str) -> Column | None:
        """A column by its name; None where there is none."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def copied(self) -> tuple[Column, ...]:
        """The columns that are carried over."""
        return tuple(column for column in self.columns if not column.is_generated)

    def order_within(self, tenant_column: str) -> tuple[str, ...]:
        """What orders the rows of one tenant: the key's columns without the tenant's.

        Where rows are compared with a whole key that begins with the tenant, both PostgreSQL and SQLite begin at the
        tenant's first row each time.
        """
        return tuple(name for name in self.key if name != tenant_column)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tenant cannot be moved as things are, and what to do about it."""

    table: str
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.table}: {self.reason}; {self.advice}"


@dataclass(frozen=True, slots=True)
class Survey:
    """The tables of a move, parents before those that reference them."""

    tables: tuple[Table, ...]
    shared: tuple[str, ...]
    """Tables without a tenant that the tenant's rows reference: both cells have to have the same there."""

    refusals: tuple[Refusal, ...]

    @property
    def shared_references(self) -> Iterator[tuple[Table, Reference]]:
        """What rows of the tenant's tables reference of shared ones, each with its table."""
        for table in self.tables:
            for reference in table.references:
                if reference.table in self.shared:
                    yield table, reference


def not_at_the_target(table: Table, reference: Reference, key: object) -> str:
    """What to say where rows of a tenant reference a shared row that the target lacks."""
    return (
        f"{table.name} references {reference.table} {key}, which the target does not have: bring its shared tables up "
        "to the source's, then ask again"
    )


LARGE_OBJECTS = ("oid", "lo")
"""Types whose values name large objects, which no replication carries."""


def survey(source: Iterable[Table], target: Iterable[Table], tenant_column: str) -> Survey:
    """Judge what is to be moved.

    Args:
        source: all tables of the cell that has the tenant.
        target: all of the cell that is to have it.
        tenant_column: name of the column that holds the tenant's id, in each table that has one.
    """
    here = {table.name: table for table in source}
    there = {table.name: table for table in target}
    moved = {name: table for name, table in here.items() if table.column(tenant_column) is not None}
    refusals = [refusal for name in sorted(moved) for refusal in _refusals(moved[name], there.get(name), tenant_column)]
    for name, table in sorted(there.items()):
        if name not in moved and table.column(tenant_column) is not None:
            refusals.append(_schema(name, "only the target has it"))
    shared = set[str]()
    for name, table in sorted(here.items()):
        to_moved = sorted({each.table for each in table.references if each.table in moved})
        if name not in moved and to_moved:
            refusals.append(
                Refusal(
                    name,
                    f"its rows belong to rows of {to_moved[0]}, and nothing in them says whose they are",
                    f"give it a column {tenant_column}: rows are told apart by what is in them",
                )
            )
        if name in moved:
            refusals += [
                _schema(each.table, f"{name} references it, and the target has none")
                for each in table.references
                if each.table in here and each.table not in moved and each.table not in there
            ]
            shared |= {each.table for each in table.references if each.table not in moved}
    if not moved:
        refusals.append(
            Refusal("the database", f"no table has a column {tenant_column}", "name the column that holds the tenant")
        )
    return Survey(in_order(moved), tuple(sorted(shared)), tuple(refusals))


def _refusals(table: Table, other: Table | None, tenant_column: str) -> Iterable[Refusal]:
    if other is None:
        yield _schema(table.name, "the target has none")
    elif difference := _difference(table, other):
        yield _schema(table.name, difference)
    if not table.key:
        yield Refusal(
            table.name,
            "it has no primary key",
            f"give it one that begins with {tenant_column}: rows could neither be followed nor compared",
        )
    elif tenant_column not in table.replica_identity:
        yield Refusal(
            table.name,
            f"{tenant_column} is not in its replica identity",
            "make it part of the primary key, or let REPLICA IDENTITY use a unique index that has it",
        )
    yield from _refusals_of_numbers(table, tenant_column)
    if table.is_unlogged:
        yield Refusal(table.name, "it is unlogged, and so not replicated", f"ALTER TABLE {table.name} SET LOGGED")
    # The way back publishes those of the target.
    theirs = () if other is None else (each for each in other.partitions if each not in table.partitions)
    for partition in (*table.partitions, *theirs):
        yield from _refusals_of(partition, tenant_column)
    yield from (Refusal(table.name, each.reason, each.advice) for each in table.obstacles)
    for column in table.columns:
        if column.type in LARGE_OBJECTS:
            yield Refusal(
                table.name,
                f"{column.name} is of type {column.type}, and names large objects, which replication does not carry",
                "store them as bytea, or beside the database",
            )


def _refusals_of_numbers(table: Table, tenant_column: str) -> Iterable[Refusal]:
    for unique in table.uniques:
        counted = [name for name in unique if name in table.numbered]
        if counted and tenant_column not in unique:
            yield Refusal(
                table.name,
                f"({', '.join(unique)}) is unique without {tenant_column}, and each cell counts {counted[0]} by "
                "itself: other tenants have the same numbers there",
                f"make {tenant_column} part of what is unique, or fill {counted[0]} with what no two cells give (uuid)",
            )


def _refusals_of(partition: Partition, tenant_column: str) -> Iterable[Refusal]:
    if partition.is_foreign:
        yield Refusal(
            partition.name,
            "its rows are at another server, and what is written there is not replicated",
            "move them to a partition of this database",
        )
    elif tenant_column not in partition.replica_identity:
        # Once it is published, every UPDATE and DELETE of it would fail, whosever the row.
        yield Refusal(
            partition.name,
            f"{tenant_column} is not in the replica identity of this partition, which does not take over its table's",
            f"ALTER TABLE {partition.name} REPLICA IDENTITY as its table has it, in both cells",
        )
    if partition.is_unlogged:
        yield Refusal(
            partition.name, "it is unlogged, and so not replicated", f"ALTER TABLE {partition.name} SET LOGGED"
        )


def _schema(name: str, reason: str) -> Refusal:
    return Refusal(name, f"the cells' schemas differ: {reason}", "run the same migrations in both cells")


def _difference(table: Table, other: Table) -> str:
    here = {column.name: column for column in table.columns}
    there = {column.name: column for column in other.columns}
    for name in sorted(here.keys() | there.keys()):
        if name not in there:
            return f"the target lacks the column {name}"
        if name not in here:
            return f"the source lacks the column {name}"
        if here[name] != there[name]:
            return f"{name} is {_said(here[name])} at the source and {_said(there[name])} at the target"
    if table.key != other.key:
        return f"the primary key is ({', '.join(table.key)}) at the source and ({', '.join(other.key)}) at the target"
    if set(table.replica_identity) != set(other.replica_identity):
        return "the replica identities are of other columns"
    if table.sequences != other.sequences:
        return (
            f"its rows are numbered by {', '.join(table.sequences) or 'nothing'} at the source and by "
            f"{', '.join(other.sequences) or 'nothing'} at the target"
        )
    return ""


def _said(column: Column) -> str:
    parts = [column.type, "not null" if column.not_null else "", "generated" if column.is_generated else ""]
    return " ".join(part for part in (*parts, f"identity {column.identity}" if column.identity else "") if part)


def in_order(tables: Mapping[str, Table]) -> tuple[Table, ...]:
    """Tables, parents before those that reference them; those of a cycle, by name."""
    ordered: list[Table] = []
    waiting = dict(sorted(tables.items()))
    while waiting:
        free = [name for name, table in waiting.items() if not _parents(table, waiting)]
        ordered += [waiting.pop(name) for name in free or sorted(waiting)[:1]]
    return tuple(ordered)


def _parents(table: Table, among: Mapping[str, Table]) -> Sequence[str]:
    return [each.table for each in table.references if each.table in among and each.table != table.name]
