"""Opens the SQLite file so that a process may die at any moment and no acknowledged change is lost."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect

from cellplane.directory import schema
from cellplane.errors import DirectoryError

BUSY_TIMEOUT_MS = 5_000
"""How long a connection waits for the one writer before it gives up."""


def open_sqlite(path: Path, *, for_writing: bool) -> Engine:
    """An engine on a SQLite file.

    Writers begin with BEGIN IMMEDIATE: a transaction that reads first and upgrades later deadlocks against another.

    Args:
        path: the file; its folder exists.
        for_writing: whether transactions take the write lock when they begin.
    """
    engine = create_engine(f"sqlite+pysqlite:///{path}", pool_size=1 if for_writing else 8, max_overflow=0)

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # SQLAlchemy, not the driver, begins transactions.
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if for_writing else "BEGIN")

    return engine


def ensure_schema(connection: Connection, path: Path) -> None:
    """Create the tables in an empty database.

    Raises:
        DirectoryError: the database has tables of another version.
    """
    found = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if found == 0 and not inspect(connection).get_table_names():
        schema.metadata.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {schema.SCHEMA_VERSION}")
    elif found != schema.SCHEMA_VERSION:
        raise DirectoryError(
            f"{path} was written by another release: its schema is version {found}, this release reads "
            f"{schema.SCHEMA_VERSION}. Use the release that wrote it, or begin with an empty state folder"
        )
