"""Brings a database's schema up to this release, in one transaction: it is of the one version or of the other."""

from functools import cache
from importlib.resources import files

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from cellplane.directory import schema
from cellplane.errors import DirectoryError

BEFORE_MIGRATIONS = 4
"""``PRAGMA user_version`` of the one SQLite schema from before there were migrations that can be brought up to date."""

_LOCATION = str(files("cellplane.directory").joinpath("migrations"))

FIRST_REVISION = "0001"
"""The migration that makes that schema."""


def bring_up_to_date(connection: Connection, name: str, revision: str = "head") -> None:
    """Run the migrations that the database has not had. An empty one is given the schema of this release at once.

    Args:
        connection: inside a transaction in which nobody else writes.
        name: of the database, for messages.
        revision: the last of them; by default that of this release.

    Raises:
        DirectoryError: it was written by a newer release, by one from before migrations, or is not a directory.
    """
    context = MigrationContext.configure(connection)
    found = context.get_current_revision()
    known = _revisions()
    if found == (known[0] if revision == "head" else revision):
        return
    config = _config(connection)
    if found is None and set(inspect(connection).get_table_names()) & set(schema.metadata.tables):
        _adopt(connection, config, name)
    elif found is None and revision == "head":
        schema.metadata.create_all(connection)
        context.stamp(_scripts(), known[0])
        return
    elif found is not None and found not in known:
        raise DirectoryError(
            f"{name} was written by a newer release: its schema is {found}, this release knows up to {known[0]}. "
            "Use the release that wrote it"
        )
    if revision not in {"head", *known}:
        raise DirectoryError(f"schema {revision} is of a newer release: this one knows up to {known[0]}")
    command.upgrade(config, revision)


def revision_of(connection: Connection) -> str | None:
    """The last migration that a database has had; None for none."""
    return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str:
    """The last migration of this release."""
    return _revisions()[0]


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(_LOCATION)


@cache
def _revisions() -> tuple[str, ...]:
    """All migrations, the last one first."""
    return tuple(each.revision for each in _scripts().walk_revisions())


def _adopt(connection: Connection, config: Config, name: str) -> None:
    version = 0
    if connection.dialect.name == "sqlite":
        version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if version != BEFORE_MIGRATIONS:
        raise DirectoryError(
            f"{name} was written by an older release: its schema is version {version}, this release can take over "
            f"version {BEFORE_MIGRATIONS}. Use the release that wrote it, or begin with an empty state folder"
        )
    command.stamp(config, FIRST_REVISION)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _LOCATION)
    config.attributes["connection"] = connection
    return config
