"""A move whose target is killed is given up: the source writes on, and keeps nothing for what may never come back."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from cellplane.moves.driver import Driver
from cellplane.moves.errors import StoreError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.routes import HELD
from cellplane.moves.settings import CutoverSettings, DriverSettings
from cellplane.moves.steps import Steps
from e2e_app.servers import Postgres
from support.moving import SOURCE, TARGET, TENANT, WorldBook, WorldRecords, WorldRoutes, world_that_follows
from unit.databases import start

NOTES = "CREATE TABLE notes (tenant_id text NOT NULL, id integer, PRIMARY KEY (tenant_id, id))"
LEFT = (
    "SELECT slot_name FROM pg_replication_slots UNION ALL SELECT subname FROM pg_subscription "
    "UNION ALL SELECT pubname FROM pg_publication UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'zz_cell%%'"
)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    made = []
    try:
        for name in ("source", "target"):
            (tmp_path / name).mkdir()
            made.append(Postgres(tmp_path / name, "-c", "wal_level=logical"))
            start(made[-1])
            with psycopg.connect(made[-1].url) as connection:
                connection.execute(NOTES.encode())
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop()


def write(server: Postgres, row: int) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (TENANT, row))


def moves_by(source: Postgres, target: Postgres, book: WorldBook) -> Driver:
    """What makes the steps of a move between two servers, whose directory is made up."""
    world = world_that_follows()
    world.directory.state = HELD
    routes, records = WorldRoutes(world), WorldRecords(world)

    def steps_of(move: Move) -> Steps:
        mover = PostgresMover(TENANT, move.id, source.url, target.url)
        return Steps(move, mover, routes, records, CutoverSettings())

    return Driver(book, routes, steps_of, DriverSettings())  # type: ignore[arg-type]  # as a book, in memory


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.FENCED])
def test_one_whose_target_is_killed_is_aborted_and_the_source_keeps_nothing_of_it(
    servers: tuple[Postgres, Postgres], phase: Phase
) -> None:
    source, target = servers
    write(source, 1)
    with closing(PostgresMover(TENANT, "m1", source.url, target.url)) as mover:
        mover.prepare()
        mover.copy()
        mover.follow()
        if phase is Phase.FENCED:
            mover.fence(5)
    target.kill()
    book = WorldBook(Move("m1", TENANT, SOURCE, TARGET, True, 10.0, phase=phase), wanted=Wish.ABORT)
    driver = moves_by(source, target, book)
    assert driver.advance("m1").phase is Phase.ABORTING
    write(source, 2)
    with pytest.raises(StoreError, match=r"something of the move is left where a cell cannot be reached.*resume m1"):
        driver.advance("m1")
    assert (book.move.phase, source.query(LEFT)) == (Phase.ABORTING, [])
    assert "cell-2" in book.move.reason
    write(source, 3)
    target.start_and_wait()
    assert driver.advance("m1").phase is Phase.ABORTED
    assert target.query(LEFT) == []
    assert target.query("SELECT count(*) FROM notes") == [(0,)]
    assert source.query("SELECT count(*) FROM notes") == [(3,)]


def test_one_whose_source_is_killed_is_aborted_when_it_is_back_and_the_target_keeps_nothing_till_then(
    servers: tuple[Postgres, Postgres],
) -> None:
    source, target = servers
    write(source, 1)
    with closing(PostgresMover(TENANT, "m1", source.url, target.url)) as mover:
        mover.prepare()
        mover.copy()
        mover.follow()
        mover.fence(5)
    source.kill()
    book = WorldBook(Move("m1", TENANT, SOURCE, TARGET, True, 10.0, phase=Phase.FENCED), wanted=Wish.ABORT)
    driver = moves_by(source, target, book)
    assert driver.advance("m1").phase is Phase.ABORTING
    with pytest.raises(StoreError, match="resume m1"):
        driver.advance("m1")
    assert target.query("SELECT slot_name FROM pg_replication_slots") == []
    source.start_and_wait()
    assert driver.advance("m1").phase is Phase.ABORTED
    write(source, 2)
    assert (source.query(LEFT), target.query(LEFT)) == ([], [])
