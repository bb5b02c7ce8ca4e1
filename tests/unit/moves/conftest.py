"""Two PostgreSQL servers for all tests of a process, and two databases of them for each test."""

from collections.abc import Iterator

import psycopg
import pytest

from cellplane.moves.postgres.mover import PostgresMover
from e2e_app.servers import Postgres
from unit.databases import drop_database, new_database, start
from unit.moves.cells import SHOP


@pytest.fixture(autouse=True)
def _movers_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Movers keep connections, and a test makes many."""
    made: list[PostgresMover] = []
    check = PostgresMover.__post_init__

    def note(mover: PostgresMover) -> None:
        check(mover)
        made.append(mover)

    monkeypatch.setattr(PostgresMover, "__post_init__", note)
    yield
    for mover in made:
        mover.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postgres, Postgres]]:
    made = []
    try:
        for name in ("source", "target"):
            server = Postgres(
                tmp_path_factory.mktemp(name), "-c", "wal_level=logical", "-c", "max_replication_slots=20"
            )
            start(server)
            made.append(server)
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop()


@pytest.fixture
def cells(servers: tuple[Postgres, Postgres]) -> Iterator[tuple[str, str]]:
    """The URLs of two databases with the same tables."""
    urls = [new_database(server) for server in servers]
    for url in urls:
        with psycopg.connect(url) as connection:
            connection.execute(SHOP.encode())
    yield urls[0], urls[1]
    # All subscriptions before any slot: one that is there takes its slot again.
    for url in urls:
        _let_subscriptions_go(url)
    for server, url in zip(servers, urls, strict=True):
        _let_slots_go(url)
        drop_database(server, url)


def _let_subscriptions_go(url: str) -> None:
    """Those that a test left: each keeps its database."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid "
            "WHERE datname = current_database()"
        ).fetchall()
        for (name,) in found:
            for action in ("DISABLE", "SET (slot_name = NONE)"):
                connection.execute(f"ALTER SUBSCRIPTION {name} {action}".encode())
            connection.execute(f"DROP SUBSCRIPTION {name}".encode())


def _let_slots_go(url: str) -> None:
    """Those that a test left: each keeps the server's log."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
            "WHERE database = current_database() AND active_pid IS NOT NULL"
        )
        for _ in range(200):
            left = connection.execute(
                "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
            ).fetchall()
            if not left:
                return
            for (name,) in left:
                try:
                    connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))
                except psycopg.errors.ObjectInUse:
                    connection.execute("SELECT pg_sleep(0.02)")
