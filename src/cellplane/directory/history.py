"""What was: entries of the change log by what they are about, and the tables that were published."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from cellplane.directory import schema
from cellplane.directory.records import Change


@dataclass(frozen=True, slots=True)
class ChangeFilter:
    """Which entries of the log; None takes any.

    Attributes:
        kind: of the resource: fleet, cell, pool, tenant, quarantine, move, config or table.
        id: its id or name.
        actor: who asked.
        action: what became of it.
    """

    kind: str | None = None
    id: str | None = None
    actor: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class PublishedEpoch:
    """A table that was published; ``base_sha256`` is None where its bytes are not kept any more."""

    epoch: int
    at: str
    sha256: str
    token: int
    base_sha256: str | None
    overlay_tenants: int


def read_changes(
    connection: Connection, wanted: ChangeFilter, *, limit: int, after: int | None = None, before: int | None = None
) -> tuple[Change, ...]:
    """Entries of the log: with ``after`` the oldest first, without it the newest."""
    table = schema.changes
    query = select(table).limit(limit)
    for column in (table.c.kind, table.c.id, table.c.actor, table.c.action):
        value = getattr(wanted, column.name)
        if value is not None:
            query = query.where(column == value)
    if after is not None:
        query = query.where(table.c.epoch > after)
    if before is not None:
        query = query.where(table.c.epoch < before)
    query = query.order_by(table.c.epoch.asc() if after is not None else table.c.epoch.desc())
    return tuple(Change(**row) for row in connection.execute(query).mappings())


def read_epochs(connection: Connection, *, limit: int, before: int | None = None) -> tuple[PublishedEpoch, ...]:
    """The tables that were published, the last first."""
    table = schema.publications
    columns = (table.c.epoch, table.c.at, table.c.sha256, table.c.token, table.c.base, table.c.overlay_tenants)
    query = select(*columns).order_by(table.c.epoch.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.epoch < before)
    return tuple(PublishedEpoch(*row) for row in connection.execute(query))


def tenants_changed_since(connection: Connection, epoch: int) -> list[str]:
    """Ids of the tenants that were changed behind an epoch."""
    log = schema.changes
    query = select(log.c.id).where(log.c.kind == "tenant", log.c.epoch > epoch).distinct().order_by(log.c.id)
    return list(connection.execute(query).scalars())
