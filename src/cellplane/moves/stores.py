"""Chooses what moves data, by the databases of the two cells."""

from cellplane.moves.errors import MoveError
from cellplane.moves.mover import DataMover
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.mover import SqliteMover


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


def mover_between(tenant_id: str, move_id: str, source_url: str, target_url: str, settings: MoverSettings) -> DataMover:
    """What moves a tenant from one cell's database to another's.

    Args:
        tenant_id: whose rows.
        move_id: of the move.
        source_url: of the database that has the tenant.
        target_url: of the one that is to have it.
        settings: limits and times.

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
    return PostgresMover(tenant_id, move_id, source_url, target_url, settings)
