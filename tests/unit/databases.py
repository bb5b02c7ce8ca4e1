"""Databases for directories: a SQLite file, or one of a real PostgreSQL's."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from e2e_app.servers import Postgres, eventually

_numbers = count(1)


def is_up(server: Postgres) -> bool:
    try:
        psycopg.connect(server.url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def start(server: Postgres) -> None:
    server.start()
    eventually("PostgreSQL answers", lambda: is_up(server), 30)


@contextmanager
def running(folder: Path) -> Iterator[Postgres]:
    """A server of its own, until the block ends."""
    server = Postgres(folder)
    start(server)
    try:
        yield server
    finally:
        server.stop()


def new_database(server: Postgres) -> str:
    """The URL of an empty database whose language does not sort byte by byte, as most do not."""
    name = f"directory_{next(_numbers)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'".encode()
        )
    return server.url.rpartition("/")[0] + f"/{name}"


def drop_database(server: Postgres, url: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)".encode())
