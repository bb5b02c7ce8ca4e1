"""A database says whose it is, whatever address led there."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from cellplane.cell import InvalidSettingError
from cellplane.cell.data import cell_engine, claim_database, claim_database_async, whole_cell
from cellplane.cell.errors import ForeignDatabaseError
from cellplane.cell.wiring import CellManifest, Database, check_wiring
from unit.cell.data.conftest import CELL, CellDatabase


def test_the_first_start_claims_and_every_other_checks(database: CellDatabase) -> None:
    for _ in range(2):
        with psycopg.connect(database.owner) as connection:
            claim_database(connection, CELL)
    with psycopg.connect(database.owner) as connection:
        with pytest.raises(ForeignDatabaseError, match=r"expected the database of cell-2, found that of cell-1"):
            claim_database(connection, "cell-2")
        with pytest.raises(InvalidSettingError):
            claim_database(connection, "no cell")
    assert database.rows("SELECT cell_id FROM cellplane_cell_identity") == [(CELL,)]


def test_a_role_that_may_only_read_can_check(database: CellDatabase) -> None:
    with psycopg.connect(database.owner) as connection:
        claim_database(connection, CELL)
    database.run("GRANT SELECT ON cellplane_cell_identity TO app")
    engine = cell_engine(database.url, database.manifest)
    with whole_cell("start"), engine.begin() as bound:
        claim_database(bound, CELL)
        with pytest.raises(ForeignDatabaseError):
            claim_database(bound, "cell-2")
    engine.dispose()


def test_of_many_at_once_one_cell_wins(database: CellDatabase) -> None:
    owners: list[str] = []

    def start(cell_id: str) -> None:
        with psycopg.connect(database.owner) as connection:
            try:
                claim_database(connection, cell_id)
                owners.append(cell_id)
            except ForeignDatabaseError as error:
                owners.append(error.owner)

    threads = [threading.Thread(target=start, args=(f"cell-{number % 3}",)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(owners) == 9
    assert len(set(owners)) == 1


def test_every_kind_of_connection_will_do(database: CellDatabase) -> None:
    url = database.url.replace("app@", "postgres@")
    engine = create_engine(url)
    with Session(engine) as session, session.begin():
        claim_database(session, CELL)
    engine.dispose()

    async def scenario() -> None:
        async_engine = create_async_engine(url)
        async with async_engine.begin() as connection:
            await claim_database_async(connection, CELL)
        await async_engine.dispose()
        async with await psycopg.AsyncConnection.connect(database.owner) as raw:
            with pytest.raises(ForeignDatabaseError):
                await claim_database_async(raw, "cell-2")

    asyncio.run(scenario())


@contextmanager
def pooler(server_port: int, leads_to: str) -> Iterator[int]:
    """As PgBouncer with ``orders = dbname=…``: whoever asks for a database here gets that one; gives its port."""

    def splice(source: socket.socket, target: socket.socket) -> None:
        with source, target:
            while data := source.recv(65_536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = listener.accept()
        (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
        said = client.recv(length - 4, socket.MSG_WAITALL)
        words = said[4:].split(b"\0")
        words[words.index(b"database") + 1] = leads_to.encode()
        start = said[:4] + b"\0".join(words)
        server = socket.create_connection(("127.0.0.1", server_port))
        server.sendall(struct.pack("!I", len(start) + 4) + start)
        back = threading.Thread(target=splice, args=(server.dup(), client.dup()))
        back.start()
        splice(client, server)
        back.join(30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(30)


def test_a_pooler_that_leads_to_another_cell_is_found_out(database: CellDatabase) -> None:
    """Its address is the cell's own, so that the wiring is right; the database is not."""
    with psycopg.connect(database.owner) as connection:
        claim_database(connection, "cell-2")
    with pooler(database.server.port, database.name) as port:
        conninfo = f"postgresql://postgres@localhost:{port}/orders?sslmode=disable&gssencmode=disable"
        manifest = CellManifest("cell-1", (Database(name="orders", hosts=(f"127.0.0.1:{port}",)),))
        check_wiring(manifest, {"database": conninfo}, environ={})
        with psycopg.connect(conninfo) as connection, pytest.raises(ForeignDatabaseError, match="that of cell-2"):
            claim_database(connection, "cell-1")
