"""What was at the other end when the last write was waited for is there also when that end dies."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from cellplane.moves.postgres.mover import PostgresMover
from e2e_app.servers import Postgres
from unit.databases import start

NOTES = "CREATE TABLE notes (tenant_id text NOT NULL, id integer, PRIMARY KEY (tenant_id, id))"
ROWS = 50
LOGICAL = ("-c", "wal_level=logical")
# Nothing is on disk before somebody waits for it.
LAZY = ("-c", "wal_writer_delay=10s", "-c", "wal_writer_flush_after=1GB", "-c", "autovacuum=off")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    made = []
    try:
        for name in ("source", "target"):
            (tmp_path / name).mkdir()
            made.append(Postgres(tmp_path / name, *LOGICAL, *LAZY))
            start(made[-1])
            with psycopg.connect(made[-1].url) as connection:
                connection.execute(NOTES.encode())
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop()


def write(server: Postgres, rows: range) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        for row in rows:
            connection.execute("INSERT INTO notes VALUES ('acme', %s)", (row,))


def count(server: Postgres) -> int:
    found: int = server.query("SELECT count(*) FROM notes")[0][0]
    return found


def alone(server: Postgres, other: Postgres) -> int:
    """How many notes a server has that is killed, and gets no more of the other."""
    other.kill()
    server.kill()
    server.start_and_wait()
    return count(server)


def test_what_came_is_kept_by_an_end_that_is_killed(servers: tuple[Postgres, Postgres]) -> None:
    source, target = servers
    with closing(PostgresMover("acme", "m1", source.url, target.url)) as move:
        move.prepare()
        move.copy()
        move.follow()
        write(source, range(ROWS))
        move.fence(5)
        assert move.finish(30).is_same
        assert alone(target, source) == ROWS
        source.start_and_wait()
        move.open_target(6)
        write(target, range(ROWS, 2 * ROWS))
        move.fence_target(7)
        assert move.finish_back(30).is_same
        assert alone(source, target) == 2 * ROWS
