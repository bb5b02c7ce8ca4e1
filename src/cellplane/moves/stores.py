"""Chooses what moves data, and what looks after moves, by the kind of the cells' databases."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from cellplane.moves.errors import MoveError, StoreError
from cellplane.moves.mover import DataMover
from cellplane.moves.postgres import catalog as postgres_catalog
from cellplane.moves.postgres import remains as postgres_remains
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.remains import Remnant, Slot
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite import catalog as sqlite_catalog
from cellplane.moves.sqlite import remains as sqlite_remains
from cellplane.moves.sqlite.carrying import End
from cellplane.moves.sqlite.files import CellFile, path_of
from cellplane.moves.sqlite.mover import SqliteMover
from cellplane.moves.tables import Table


def kind_of(url: str) -> str:
    """What kind of database a URL is of.

    Raises:
        MoveError: none that tenants can be moved between; says no more of the URL than its scheme.
    """
    scheme = url.partition(":")[0]
    if scheme in {"postgresql", "postgres"}:
        return "PostgreSQL"
    if scheme == "sqlite":
        return "SQLite"
    raise MoveError(
        f"a tenant cannot be moved in a database of {scheme if scheme.isalnum() else 'this'!r} URLs: expected "
        "postgresql://… or sqlite:///PATH"
    )


def mover_between(
    tenant_id: str,
    move_id: str,
    source_url: str,
    target_url: str,
    settings: MoverSettings,
    *,
    peer_urls: tuple[str | None, str | None] = (None, None),
) -> DataMover:
    """What moves a tenant from one cell's database to another's.

    Args:
        tenant_id: whose rows.
        move_id: of the move.
        source_url: of the database that has the tenant.
        target_url: of the one that is to have it.
        settings: limits and times.
        peer_urls: of the same two databases as each other's servers reach them, where these are others.

    Raises:
        MoveError: it cannot be moved between these.
    """
    source, target = kind_of(source_url), kind_of(target_url)
    if source != target:
        raise MoveError(
            f"the source is {source} and the target {target}: rows are moved between databases of one kind; name a "
            f"cell with {source}, or make one"
        )
    if source == "SQLite":
        return SqliteMover(tenant_id, move_id, source_url, target_url, settings)
    source_peer, target_peer = peer_urls
    return PostgresMover(
        tenant_id,
        move_id,
        source_url,
        target_url,
        settings,
        source_seen_from_target=source_peer,
        target_seen_from_source=target_peer,
    )


def tables_in(cell: str, url: str, settings: MoverSettings) -> tuple[Table, ...]:
    """All tables of a cell's database but those that the settings leave out.

    Raises:
        MoveError: the database cannot be asked.
    """
    if kind_of(url) == "SQLite":
        with _file(cell, url, settings) as end:
            return sqlite_catalog.read_tables(end.connection, settings.tenant_column, settings.left_out)
    with _server(cell, url, settings) as connection:
        return postgres_catalog.read_tables(connection, settings.left_out)


def remnants_in(cell: str, url: str, settings: MoverSettings) -> list[Remnant]:
    """All that any move has in a cell's database, under way or not.

    Raises:
        MoveError: the database cannot be asked.
    """
    if kind_of(url) == "SQLite":
        with _file(cell, url, settings) as end:
            return sqlite_remains.remnants(end, cell)
    with _server(cell, url, settings) as connection:
        return postgres_remains.remnants(connection, cell)


def slots_in(cell: str, url: str, settings: MoverSettings) -> tuple[Slot, ...]:
    """All replication slots of a cell's server, whoever's; SQLite has none.

    Raises:
        MoveError: the database cannot be asked.
    """
    if kind_of(url) == "SQLite":
        return ()
    with _server(cell, url, settings) as connection:
        return postgres_remains.slots(connection)


def remove_in(url: str, remnant: Remnant, settings: MoverSettings) -> None:
    """Take something of a move away from a cell's database. Rows stay.

    Raises:
        MoveError: it cannot be removed.
    """
    if kind_of(url) == "SQLite":
        with _file(remnant.cell, url, settings) as end:
            sqlite_remains.remove(end, remnant, settings)
    else:
        with _server(remnant.cell, url, settings) as connection:
            postgres_remains.remove(connection, remnant, settings)


@contextmanager
def _file(cell: str, url: str, settings: MoverSettings) -> Iterator[End]:
    file = CellFile(path_of(url), cell, settings)
    with file.opened() as connection:
        yield End(file, connection)


@contextmanager
def _server(cell: str, url: str, settings: MoverSettings) -> Iterator[postgres_remains.Connection]:
    try:
        with postgres_remains.connected(url, settings) as connection:
            yield connection
    except psycopg.Error as error:
        raise StoreError(f"the database of {cell}: {str(error).strip() or type(error).__name__}") from error
