"""psycopg's connections and pools are for one tenant at a time, and for none outside of a context."""

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cellplane.cell import CellContext, NoCellContextError, entered
from cellplane.cell.data import (
    CellConnection,
    RowGuard,
    cell_async_connect,
    cell_async_pool,
    cell_connect,
    cell_pool,
    whole_cell,
)
from cellplane.cell.errors import DataScopeError, RowGuardError, WiringError
from cellplane.cell.wiring import CellManifest, Database, check_wiring
from unit.cell.data.conftest import CELL, A, B, CellDatabase

COUNT = "SELECT count(*) FROM orders"


def count(connection: CellConnection) -> int:
    row = connection.execute(COUNT).fetchone()
    assert row is not None
    return int(row[0])


def test_a_pool_gives_no_connection_outside_of_a_context(database: CellDatabase) -> None:
    with cell_pool(database.conninfo, database.manifest, min_size=1, open=True) as pool:
        with pytest.raises(NoCellContextError), pool.connection():
            pass
        with pytest.raises(NoCellContextError):
            pool.getconn()
        with entered(CellContext("cell-2", 7, "acme")), pytest.raises(DataScopeError, match="of cell-1"):
            pool.getconn()
        with entered(A), pool.connection() as connection:
            assert count(connection) == 3


def test_what_a_pool_does_about_its_connections_needs_no_context(guarded: CellDatabase) -> None:
    seen: list[str] = []

    def configure(connection: psycopg.Connection[Any]) -> None:
        connection.execute("SET statement_timeout = '5s'")
        connection.commit()
        seen.append("configure")

    def reset(connection: psycopg.Connection[Any]) -> None:
        connection.execute("RESET ALL")
        connection.commit()
        seen.append("reset")

    with cell_pool(
        guarded.conninfo,
        guarded.manifest,
        row_guard=RowGuard(),
        min_size=1,
        max_size=1,
        open=True,
        configure=configure,
        reset=reset,
        check=ConnectionPool.check_connection,
    ) as pool:
        for context, expected in ((A, 2), (B, 1), (A, 2)):
            with entered(context), pool.connection() as connection:
                assert count(connection) == expected
        assert seen[:2] == ["configure", "reset"]


def test_a_transaction_does_not_go_on_for_another_tenant(database: CellDatabase) -> None:
    with entered(A), cell_connect(database.conninfo, database.manifest) as connection:
        count(connection)
        with entered(B), pytest.raises(DataScopeError, match=r"tenant acme.*tenant berta"):
            count(connection)
        connection.rollback()
        with entered(B):
            assert count(connection) == 3


@pytest.mark.parametrize("how", ["execute", "executemany", "stream", "copy", "named", "binary", "factory"])
def test_every_way_to_run_a_statement_is_guarded(database: CellDatabase, how: str) -> None:
    with entered(A), cell_connect(database.conninfo, database.manifest) as connection:
        if how == "factory":
            connection.cursor_factory = psycopg.ClientCursor
        cursor = connection.cursor("c") if how == "named" else connection.cursor(binary=how == "binary")

        def run() -> None:
            if how == "executemany":
                cursor.executemany("SELECT %s", [(1,), (2,)])
            elif how == "stream":
                list(cursor.stream(COUNT))
            elif how == "copy":
                with cursor.copy("COPY orders TO STDOUT") as copy:
                    list(copy)
            else:
                cursor.execute(COUNT)

        run()
        with entered(B), pytest.raises(DataScopeError):
            run()
        cursor.close()


def test_blocks_and_pipelines_are_transactions_too(guarded: CellDatabase) -> None:
    with entered(A), cell_connect(guarded.conninfo, guarded.manifest, row_guard=RowGuard()) as connection:
        for _ in range(2):
            with connection.transaction():
                assert count(connection) == 2
                with connection.transaction():
                    assert count(connection) == 2
                    with entered(B), pytest.raises(DataScopeError):
                        count(connection)
        with connection.pipeline():
            found = [connection.execute(COUNT) for _ in range(3)]
            assert [cursor.fetchall() for cursor in found] == [[(2,)]] * 3
            with entered(B), pytest.raises(DataScopeError):
                connection.execute(COUNT)
        connection.commit()
        with entered(B):
            assert count(connection) == 1


def test_transactions_that_sql_ends_are_told_anew(guarded: CellDatabase) -> None:
    with entered(A), cell_connect(guarded.conninfo, guarded.manifest, row_guard=RowGuard()) as connection:
        assert count(connection) == 2
        connection.execute("COMMIT")
        with entered(B):
            assert count(connection) == 1
            connection.execute("ROLLBACK")
        assert count(connection) == 2


def test_autocommit_cannot_be_told_whose_rows_it_sees(guarded: CellDatabase) -> None:
    with (
        entered(A),
        cell_connect(guarded.conninfo, guarded.manifest, row_guard=RowGuard(), autocommit=True) as connection,
    ):
        with pytest.raises(RowGuardError, match="Begin one"):
            count(connection)
        with connection.transaction():
            assert count(connection) == 2
        with entered(B), connection.transaction():
            assert count(connection) == 1


def test_without_row_guard_autocommit_is_guarded_by_context(database: CellDatabase) -> None:
    connection = cell_connect(database.conninfo, database.manifest, autocommit=True)
    for context in (A, B):
        with entered(context):
            assert count(connection) == 3
    with pytest.raises(NoCellContextError):
        count(connection)
    with whole_cell("a test"):
        assert count(connection) == 3
    connection.close()


def test_row_factories_do_not_disturb_the_guard(guarded: CellDatabase) -> None:
    with (
        entered(A),
        cell_connect(guarded.conninfo, guarded.manifest, row_guard=RowGuard(), row_factory=dict_row) as made,
    ):
        assert made.execute("SELECT count(*) AS n FROM orders").fetchone() == {"n": 2}


def test_another_database_is_not_connected_to(database: CellDatabase) -> None:
    with pytest.raises(WiringError, match="not of cell-1"):
        cell_pool(database.conninfo, database.manifest, kwargs={"dbname": "postgres"})
    with pytest.raises(WiringError, match="not of cell-1"):
        cell_connect(database.conninfo, database.manifest, dbname="postgres")


def test_asyncio_is_guarded_alike(guarded: CellDatabase) -> None:
    async def scenario() -> None:
        made = cell_async_pool(
            guarded.conninfo, guarded.manifest, row_guard=RowGuard(), min_size=1, max_size=2, open=False
        )
        async with made as pool:
            with pytest.raises(NoCellContextError):
                await pool.getconn()

            async def one(context: CellContext) -> int:
                with entered(context):
                    async with pool.connection() as connection:
                        async with connection.transaction():
                            row = await (await connection.execute(COUNT)).fetchall()
                            await asyncio.sleep(0)
                        again = await (await connection.execute(COUNT)).fetchall()
                        assert row == again
                        return int(row[0][0])

            assert await asyncio.gather(*(one(context) for context in (A, B, B, A))) == [2, 1, 1, 2]
        with entered(A):
            connection = await cell_async_connect(guarded.conninfo, guarded.manifest, row_guard=RowGuard())
            cursor = connection.cursor()
            assert [row async for row in cursor.stream(COUNT)] == [(2,)]
            async with cursor.copy("COPY (SELECT id FROM orders ORDER BY id) TO STDOUT") as copy:
                assert [row async for row in copy.rows()] == [("1",), ("2",)]
            await cursor.executemany("UPDATE orders SET note = %s", [("x",), ("y",)])
            with entered(B), pytest.raises(DataScopeError):
                await cursor.execute(COUNT)
            await connection.rollback()
            with entered(B):
                async with connection.transaction():
                    assert await (await connection.execute(COUNT)).fetchall() == [(1,)]
            await connection.close()

    asyncio.run(scenario())


def test_what_is_connected_is_looked_into(database: CellDatabase) -> None:
    """By the server that answers; the pools and connections of a cell are as those of psycopg."""
    other = CellManifest(CELL, (Database(name="other", hosts=("127.0.0.1",)),))

    def wired(thing: object) -> None:
        check_wiring(database.manifest, {"store": thing}, environ={})
        with pytest.raises(WiringError, match=rf"store: postgresql://…@.*/{database.name} is not of cell-1"):
            check_wiring(other, {"store": thing}, environ={})

    connection = cell_connect(database.conninfo, database.manifest)
    wired(connection)
    connection.close()
    with pytest.raises(WiringError, match="is closed"):
        check_wiring(database.manifest, {"store": connection})
    with cell_pool(database.conninfo, database.manifest, min_size=1, open=True) as pool:
        wired(pool)

    async def scenario() -> None:
        raw = await psycopg.AsyncConnection.connect(database.conninfo.replace("127.0.0.1", "localhost"))
        wired(raw)
        await raw.close()
        wired(cell_async_pool(database.conninfo, database.manifest, open=False))

    asyncio.run(scenario())
