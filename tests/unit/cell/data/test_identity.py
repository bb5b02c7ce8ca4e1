"""A database says whose it is, whatever address led there."""

import asyncio
import threading

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from cellplane.cell import InvalidSettingError
from cellplane.cell.data import cell_engine, claim_database, claim_database_async, whole_cell
from cellplane.cell.errors import ForeignDatabaseError
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
