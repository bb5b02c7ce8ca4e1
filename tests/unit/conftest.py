"""What a directory is kept in: each test that asks for a ``location`` runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_app.servers import Postgres
from unit.databases import drop_database, new_database, running


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One server for all tests of this process."""
    with running(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database."""
    url = new_database(postgres)
    yield url
    drop_database(postgres, url)


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a directory can be."""
    if request.param == "sqlite":
        return tmp_path / "new" / "directory.sqlite3"
    url: str = request.getfixturevalue("database_url")
    return url
