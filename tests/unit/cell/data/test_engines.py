"""SQLAlchemy's engines and sessions are for one tenant at a time, and for none outside of a context."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from cellplane.cell import CellContext, NoCellContextError, carried, entered
from cellplane.cell.data import (
    RowGuard,
    cell_async_engine,
    cell_async_sessions,
    cell_engine,
    cell_sessions,
    whole_cell,
)
from cellplane.cell.errors import DataScopeError, RowGuardError, WiringError
from cellplane.cell.wiring import CellManifest, Database
from unit.cell.data.conftest import GUARD, A, B, CellDatabase

COUNT = text("SELECT count(*) FROM orders")


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(default="")


@pytest.fixture
def engine(database: CellDatabase) -> Iterator[Engine]:
    engine = cell_engine(database.url, database.manifest, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def test_no_connection_is_given_outside_of_a_context(engine: Engine) -> None:
    with pytest.raises(NoCellContextError, match="whole_cell"):
        engine.connect()
    with pytest.raises(NoCellContextError):
        engine.raw_connection()
    with entered(A), engine.connect() as connection:
        assert connection.scalar(COUNT) == 3


def test_a_context_of_another_cell_is_refused(engine: Engine) -> None:
    with entered(CellContext("cell-2", 7, "acme")), pytest.raises(DataScopeError, match=r"of cell-1.*of cell-2"):
        engine.connect()


def test_no_statement_runs_once_the_context_is_gone(engine: Engine) -> None:
    with entered(A):
        connection = engine.connect()
        connection.execute(COUNT)
    with pytest.raises(NoCellContextError):
        connection.execute(COUNT)
    connection.close()


def test_a_transaction_does_not_go_on_for_another_tenant(engine: Engine) -> None:
    with entered(A), engine.connect() as connection:
        connection.execute(COUNT)
        with entered(B), pytest.raises(DataScopeError, match=r"tenant acme.*tenant berta"):
            connection.execute(COUNT)
        with whole_cell("a test"), pytest.raises(DataScopeError, match="the whole cell"):
            connection.execute(COUNT)
        connection.rollback()
        with entered(B):
            assert connection.scalar(COUNT) == 3


def test_a_disposed_engine_is_still_guarded(engine: Engine) -> None:
    with entered(A), engine.connect() as connection:
        connection.execute(COUNT)
    engine.dispose()
    with pytest.raises(NoCellContextError):
        engine.connect()
    with pytest.raises(NoCellContextError):
        engine.execution_options(isolation_level="AUTOCOMMIT").connect()


def test_work_for_the_whole_cell_says_why(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "cellplane.cell"), whole_cell("tests of engines"), engine.connect() as connection:
        assert connection.scalar(COUNT) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "work on the data of the whole cell: tests of engines"
    ]
    with pytest.raises(DataScopeError, match="expected a reason"), whole_cell(" "):
        pass


def test_inside_of_work_for_the_whole_cell_a_tenant_is_one_tenant(guarded: CellDatabase) -> None:
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=GUARD)
    with whole_cell("a sweep"):
        with engine.connect() as connection:
            assert connection.scalar(COUNT) == 3
        with entered(B), engine.connect() as connection:
            assert connection.scalar(COUNT) == 1
        with engine.connect() as connection:
            assert connection.scalar(COUNT) == 3
    engine.dispose()


def test_a_session_gives_nothing_that_it_loaded_for_another(engine: Engine) -> None:
    session = cell_sessions(engine)()
    with entered(A):
        assert session.get_one(Order, ("acme", 1)).note == "a"
    with entered(B):
        with pytest.raises(DataScopeError, match=r"tenant acme.*tenant berta"):
            session.get(Order, ("acme", 1))
        session.rollback()
        with pytest.raises(DataScopeError):
            session.scalars(select(Order)).all()
    with pytest.raises(NoCellContextError):
        session.get(Order, ("acme", 1))
    session.close()
    with entered(B):
        assert session.get_one(Order, ("berta", 1)).note == "b"
    session.close()


def test_async_engines_and_sessions_are_guarded_alike(guarded: CellDatabase) -> None:
    async def scenario() -> None:
        engine = cell_async_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
        with pytest.raises(NoCellContextError):
            await engine.connect()
        with entered(A):
            async with engine.connect() as connection:
                assert await connection.scalar(COUNT) == 2
                with entered(B), pytest.raises(DataScopeError):
                    await connection.scalar(COUNT)
        session = cell_async_sessions(engine)()
        with entered(B):
            assert len((await session.scalars(select(Order))).all()) == 1
        with entered(A), pytest.raises(DataScopeError):
            await session.get(Order, ("berta", 1))
        await session.close()
        await engine.dispose()

    asyncio.run(scenario())


def test_each_task_has_its_own_tenant(guarded: CellDatabase) -> None:
    async def count(engine: AsyncEngine, context: CellContext) -> int:
        with entered(context):
            found = 0
            for _ in range(5):
                async with engine.begin() as connection:
                    found += await connection.scalar(COUNT) or 0
            return found

    async def scenario() -> list[int]:
        engine = cell_async_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=2)
        try:
            return await asyncio.gather(*(count(engine, context) for context in (A, B, A, B)))
        finally:
            await engine.dispose()

    assert asyncio.run(scenario()) == [10, 5, 10, 5]


def test_a_thread_that_lost_the_context_gets_nothing(guarded: CellDatabase) -> None:
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard())

    def count() -> int:
        with engine.connect() as connection:
            return int(connection.scalar(COUNT) or 0)

    with ThreadPoolExecutor(1) as threads, entered(B):
        with pytest.raises(NoCellContextError, match="carried"):
            threads.submit(count).result(30)
        assert threads.submit(carried(count)).result(30) == 1
    engine.dispose()


def test_a_url_without_a_driver_is_psycopgs(database: CellDatabase) -> None:
    engine = cell_engine(database.conninfo, database.manifest)
    assert engine.dialect.driver == "psycopg"
    assert cell_async_engine(database.conninfo, database.manifest).dialect.driver == "psycopg"
    with entered(A), engine.connect() as connection:
        assert connection.scalar(COUNT) == 3
    engine.dispose()


def test_an_engine_of_another_database_is_not_made(database: CellDatabase) -> None:
    other = database.url.replace(database.name, "postgres")
    with pytest.raises(WiringError, match=r"engine: postgresql://…@127.0.0.1:\d+/postgres is not of cell-1"):
        cell_engine(other, database.manifest)
    with pytest.raises(WiringError, match="has a creator"):
        cell_engine(database.url, database.manifest, creator=lambda: None)
    with pytest.raises(WiringError, match="not of cell-1"):
        cell_async_engine(database.url, database.manifest, connect_args={"dbname": "postgres"})


def test_sessions_are_of_a_guarded_engine_alone(engine: Engine, database: CellDatabase) -> None:
    bare = create_engine(database.url)
    with pytest.raises(DataScopeError, match="cell_engine"):
        cell_sessions(bare)
    with pytest.raises(DataScopeError, match="cell_engine"):
        cell_async_sessions(create_async_engine(database.url))
    with pytest.raises(DataScopeError, match="no bind"):
        cell_sessions(engine, binds={Order: bare})
    with pytest.raises(DataScopeError, match="no bind"):
        cell_sessions(engine, class_=Session)


def test_row_guard_needs_psycopg_and_a_transaction(guarded: CellDatabase) -> None:
    with pytest.raises(RowGuardError, match="found sqlite"):
        cell_engine(
            "sqlite://", CellManifest("cell-1", (Database(kind="sqlite", name=":memory:"),)), row_guard=RowGuard()
        )
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), isolation_level="AUTOCOMMIT")
    with entered(A), engine.connect() as connection, pytest.raises(RowGuardError, match="autocommit"):
        connection.execute(COUNT)
    engine.dispose()
