"""A directory of another release: brought up to date with all that it holds, or refused."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from cellplane.directory import schema
from cellplane.directory.database import open_database
from cellplane.directory.migrating import FIRST_REVISION, bring_up_to_date, head_revision, revision_of
from cellplane.directory.settings import DatabaseSettings
from cellplane.errors import DirectoryError
from cellplane.model import Cell, Fleet, Pool, StrategyName, Tenant
from support.directory import Directory

BEFORE_MIGRATIONS = Path(__file__).parent / "directory_4.sql"
"""What `sqlite3 .dump` said of a directory of the last release without migrations."""


def before_migrations(path: Path) -> None:
    engine = create_engine(f"sqlite+pysqlite:///{path}")
    with engine.begin() as connection:
        connection.connection.executescript(BEFORE_MIGRATIONS.read_text())
    engine.dispose()


def test_migrations_make_what_the_code_expects(location: Path | str) -> None:
    database = open_database(location, DatabaseSettings(), None)
    with database.writing(is_long=True) as connection:
        bring_up_to_date(connection, "it", FIRST_REVISION)
        bring_up_to_date(connection, "it")
        as_expected(connection)
    database.close()


def test_a_new_directory_is_what_the_code_expects_at_once(location: Path | str) -> None:
    directory = Directory(location)
    assert directory.revision() == head_revision()
    with directory._database.reading() as connection:
        as_expected(connection)
    directory.close()


def as_expected(connection: Connection) -> None:
    assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    # What comparing leaves out: conditions of indexes.
    if connection.dialect.name == "sqlite":
        assert conditions(connection) == {
            index.name: str(index.dialect_options["sqlite"]["where"])
            for table in schema.metadata.tables.values()
            for index in table.indexes
            if index.dialect_options["sqlite"]["where"] is not None
        }


def conditions(connection: Connection) -> dict[str, str]:
    query = text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")
    return {name: sql.partition(" WHERE ")[2] for name, sql in connection.execute(query)}


def test_a_directory_from_before_migrations_keeps_all_it_has(tmp_path: Path) -> None:
    path = tmp_path / "directory.sqlite3"
    before_migrations(path)
    directory = Directory(path)
    assert directory.epoch() == 8
    assert [cell.id for cell in directory.cells()] == ["cell-1", "cell-2"]
    assert directory.tenant("acme").tenant == Tenant("acme", ("cell-2",), tier="gold")
    assert directory.tenant("acme").version == 7, "the epoch of its last change"
    assert directory.assigned_tenants() == {"cell-1": 1, "cell-2": 1}
    with directory.snapshot() as snapshot:
        assert snapshot.versions("cell", ["cell-1", "cell-2"]) == {"cell-1": 2, "cell-2": 3}
        assert snapshot.topology_epoch() == 5
    assert [change.reason for change in directory.changes(limit=10)] == [""] * 8
    assert directory.put_tenant(Tenant("acme", ("cell-1",)), actor="test") == 9
    directory.close()


def test_bringing_up_to_date_again_changes_nothing(location: Path | str) -> None:
    directory = Directory(location)
    directory.put_fleet(Fleet("shop"), actor="test")
    directory.close()
    again = Directory(location)
    assert again.fleet().name == "shop"
    again.close()


def test_a_migration_that_fails_leaves_the_directory_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "directory.sqlite3"
    before_migrations(path)
    engine = create_engine(f"sqlite+pysqlite:///{path}")
    with engine.begin() as connection:
        # In the way of the last thing that it does.
        connection.execute(text("CREATE TABLE publications_with_bytes (x INTEGER)"))
    engine.dispose()
    with pytest.raises(DirectoryError, match="publications_with_bytes"):
        Directory(path)
    with engine.begin() as connection:
        assert revision_of(connection) is None
        connection.execute(text("DROP TABLE publications_with_bytes"))
    engine.dispose()
    directory = Directory(path)
    assert directory.tenant("acme").version == 7
    directory.close()


def test_a_directory_of_a_newer_release_is_refused_by_name(location: Path | str) -> None:
    directory = Directory(location)
    directory.put_cell(Cell("cell-1", "127.0.0.1", 1), actor="test")
    with directory._database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    directory.close()
    with pytest.raises(DirectoryError, match=r"newer release: its schema is 9999, this release knows up to \d{4}"):
        Directory(location)


def test_a_foreign_postgresql_is_not_taken_over(database_url: str) -> None:
    directory = Directory(database_url)
    with directory._database.writing() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        with pytest.raises(DirectoryError, match="older release: its schema is version 0"):
            bring_up_to_date(connection, "it")
    directory.close()


def test_what_was_put_into_either_is_read_back_alike(location: Path | str) -> None:
    directory = Directory(location)
    pool = Pool("default", ("cell-1",), StrategyName.SHUFFLE, shard_size=1, seed=2**64 - 1)
    directory.apply([Fleet("shop"), Cell("cell-1", "127.0.0.1", 1), pool], actor="test")
    assert directory.pools() == (pool,)
    directory.close()
