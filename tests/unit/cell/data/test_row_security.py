"""Under row-level security no statement reaches another tenant's rows, whatever it forgets or says."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from cellplane.cell import CellContext, entered
from cellplane.cell.data import RowGuard, cell_async_engine, cell_async_pool, cell_engine, cell_pool, whole_cell
from cellplane.cell.data.row_guard import check_row_guard, check_row_guard_async
from cellplane.cell.errors import RowGuardError
from cellplane.cell.row_security import rls_sql
from unit.cell.data.conftest import CELL, GUARD, A, B, CellDatabase

ATTACKS = [
    "UPDATE orders SET note = 'mine'",
    "UPDATE orders SET note = 'mine' WHERE tenant_id = 'berta'",
    "DELETE FROM orders WHERE tenant_id = 'berta'",
    "SELECT id FROM orders WHERE tenant_id = 'berta' FOR UPDATE",
]


def test_no_statement_of_one_tenant_touches_rows_of_another(guarded: CellDatabase) -> None:
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard())
    with entered(A), engine.begin() as connection:
        assert connection.execute(text("SELECT DISTINCT tenant_id FROM orders")).scalars().all() == ["acme"]
        for attack in ATTACKS:
            connection.exec_driver_sql(attack)
        connection.exec_driver_sql("DELETE FROM orders WHERE id = 2")
    for attack in (
        "INSERT INTO orders VALUES ('berta', 9)",
        "UPDATE orders SET tenant_id = 'berta' WHERE tenant_id = 'acme'",
        "INSERT INTO orders VALUES ('acme', 1) ON CONFLICT (tenant_id, id) DO UPDATE SET tenant_id = 'berta'",
    ):
        with entered(A), pytest.raises(DBAPIError, match="row-level security"), engine.begin() as connection:
            connection.exec_driver_sql(attack)
    engine.dispose()
    assert guarded.rows() == [("acme", 1, "mine"), ("berta", 1, "b")]


def test_it_holds_after_an_error_and_in_savepoints(guarded: CellDatabase) -> None:
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
    with entered(B), engine.connect() as connection:
        for _ in range(2):
            nested = connection.begin_nested()
            with pytest.raises(DBAPIError):
                connection.exec_driver_sql("SELECT 1/0")
            nested.rollback()
            assert connection.scalar(text("SELECT count(*) FROM orders")) == 1
            connection.rollback()
            assert connection.scalar(text("SELECT count(*) FROM orders")) == 1
            with pytest.raises(DBAPIError):
                connection.exec_driver_sql("SELECT 1/0")
            connection.rollback()
    engine.dispose()


def test_what_is_not_told_sees_nothing(guarded: CellDatabase) -> None:
    """Neither a bare connection, nor a driver's own beside SQLAlchemy's back, nor one that was told before."""
    with psycopg.connect(guarded.conninfo) as bare:
        assert bare.execute("SELECT count(*) FROM orders").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bare.execute("INSERT INTO orders VALUES ('', 1)")
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
    with entered(A):
        with engine.begin() as connection:
            assert connection.scalar(text("SELECT count(*) FROM orders")) == 2
        raw = engine.raw_connection()
        cursor = raw.cursor()
        cursor.execute("SELECT count(*) FROM orders")
        assert cursor.fetchone() == (0,)
        cursor.close()
        raw.close()
    engine.dispose()


def test_a_setting_of_the_session_does_not_outlive_the_next_transaction(guarded: CellDatabase) -> None:
    with cell_pool(guarded.conninfo, guarded.manifest, row_guard=RowGuard(), min_size=1, max_size=1, open=True) as pool:
        with entered(A), pool.connection() as connection:
            connection.execute("SET cellplane.tenant_id = 'acme'")
        with entered(B), pool.connection() as connection:
            assert connection.execute("SELECT DISTINCT tenant_id FROM orders").fetchall() == [("berta",)]


def test_work_for_the_whole_cell_sees_all_where_its_policy_is(guarded: CellDatabase) -> None:
    for guard, expected in ((GUARD, 3), (RowGuard(), 0)):
        engine = cell_engine(guarded.url, guarded.manifest, row_guard=guard, pool_size=1, max_overflow=0)
        with whole_cell("a test"), engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM orders")) == expected
        with entered(B), engine.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM orders")) == 1
            assert connection.scalar(text("SELECT current_user")) == "app"
        engine.dispose()
    with (
        cell_pool(guarded.conninfo, guarded.manifest, row_guard=GUARD, min_size=1, open=True) as pool,
        whole_cell("a test"),
        pool.connection() as pooled,
    ):
        assert pooled.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_the_migration_goes_up_twice_and_down(guarded: CellDatabase) -> None:
    sql = rls_sql(["public.orders"])
    guarded.run(sql.up, sql.up)
    with psycopg.connect(guarded.conninfo) as bare:
        assert bare.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    guarded.run(sql.down, sql.down)
    with psycopg.connect(guarded.conninfo) as bare:
        assert bare.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_a_column_of_another_type_keeps_its_index(database: CellDatabase) -> None:
    database.run(
        'CREATE TABLE "Big" (owner bigint NOT NULL, id integer NOT NULL, PRIMARY KEY (owner, id))',
        'GRANT SELECT ON "Big" TO app',
        'INSERT INTO "Big" SELECT n % 1000, n FROM generate_series(1, 20000) AS n',
        'ANALYZE "Big"',
        rls_sql(["Big"], "owner", column_type="bigint").up,
    )
    engine = cell_engine(database.url, database.manifest, row_guard=RowGuard())
    with entered(CellContext(CELL, 1, "7")), engine.connect() as connection:
        assert connection.scalar(text('SELECT count(*) FROM "Big"')) == 20
        plan = "\n".join(connection.execute(text('EXPLAIN SELECT count(*) FROM "Big"')).scalars())
    engine.dispose()
    assert "Index" in plan or "Bitmap" in plan, plan


@pytest.mark.parametrize(
    ("tables", "options", "message"),
    [
        ([], {}, "1–1000 tables, found 0"),
        (["a", "a"], {}, "each table once"),
        (["a.b.c"], {}, "schema.name"),
        (["orders; DROP TABLE orders"], {}, "letters, digits"),
        (['a"b'], {}, "letters, digits"),
        (["a"], {"column": "x y"}, "letters, digits"),
        (["a"], {"column_type": "text); --"}, "expected a column of"),
        (["x" * 64], {}, "1–63"),
    ],
)
def test_names_that_cannot_be_are_refused(tables: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RowGuardError, match=message):
        rls_sql(tables, **options)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_connection_that_is_lost_is_replaced(guarded: CellDatabase, asynchronous: bool) -> None:
    lose = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND datname = current_database()"
    )
    count = text("SELECT count(*) FROM orders")

    async def scenario() -> None:
        engine = cell_async_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
        with entered(A):
            async with engine.connect() as connection:
                assert await connection.scalar(count) == 2
            guarded.run(lose)
            with pytest.raises(DBAPIError):
                async with engine.connect() as connection:
                    await connection.scalar(count)
            async with engine.connect() as connection:
                assert await connection.scalar(count) == 2
        await engine.dispose()

    if asynchronous:
        asyncio.run(scenario())
        return
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
    with entered(A):
        with engine.connect() as connection:
            assert connection.scalar(count) == 2
        guarded.run(lose)
        with pytest.raises(DBAPIError) as raised, engine.connect() as connection:
            connection.scalar(count)
        assert raised.value.connection_invalidated
        with engine.connect() as connection:
            assert connection.scalar(count) == 2
    engine.dispose()


def test_a_role_that_cannot_be_taken_is_told(guarded: CellDatabase) -> None:
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(whole_cell_role="postgres"))
    count = text("SELECT count(*) FROM orders")
    with whole_cell("a test"), engine.connect() as connection, pytest.raises(RowGuardError, match="permission denied"):
        connection.execute(count)
    engine.dispose()


# Roles whom row security does not bind.


@contextmanager
def connected(database: CellDatabase, role: str = "app") -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.conninfo.replace("app@", f"{role}@"), autocommit=True) as connection:
        yield connection


def test_a_role_that_is_bound_passes(guarded: CellDatabase) -> None:
    with connected(guarded) as connection:
        check_row_guard(connection, ["orders", "public.orders"])

    async def scenario() -> None:
        async with await psycopg.AsyncConnection.connect(guarded.conninfo) as connection:
            await check_row_guard_async(connection, ["orders"])

    asyncio.run(scenario())


def test_a_role_that_is_not_bound_is_named_with_why(guarded: CellDatabase) -> None:
    with connected(guarded, "postgres") as connection, pytest.raises(RowGuardError, match="postgres is a superuser"):
        check_row_guard(connection, ["orders"])
    guarded.run("DROP ROLE IF EXISTS free", "CREATE ROLE free LOGIN BYPASSRLS")
    with connected(guarded, "free") as connection, pytest.raises(RowGuardError, match="free has BYPASSRLS"):
        check_row_guard(connection, ["orders"])


def test_an_owner_is_bound_by_force_alone(guarded: CellDatabase) -> None:
    guarded.run("ALTER TABLE orders OWNER TO app")
    with connected(guarded) as connection:
        check_row_guard(connection, ["orders"])
        connection.execute("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY")
        with pytest.raises(RowGuardError, match="app owns orders, which has no FORCE"):
            check_row_guard(connection, ["orders"])
    guarded.run("ALTER TABLE orders OWNER TO postgres")


def test_tables_that_are_not_there_or_not_under_it_are_all_named(guarded: CellDatabase) -> None:
    guarded.run("CREATE TABLE bare (tenant_id text)", "ALTER TABLE orders DISABLE ROW LEVEL SECURITY")
    guarded.run("CREATE TABLE empty (tenant_id text)", "ALTER TABLE empty ENABLE ROW LEVEL SECURITY")
    with connected(guarded) as connection, pytest.raises(RowGuardError) as raised:
        check_row_guard(connection, ["orders", "bare", "missing", "empty"])
    assert [fault.partition(" ")[0] for fault in raised.value.faults] == ["orders", "bare", "missing", "empty"]


def test_a_policy_that_lets_everybody_in_is_found(guarded: CellDatabase) -> None:
    guarded.run("CREATE POLICY everybody ON orders USING (true)")
    with connected(guarded) as connection, pytest.raises(RowGuardError, match="orders has the policy everybody"):
        check_row_guard(connection, ["orders"])


def test_a_role_that_inherits_the_sight_of_all_rows_is_found(guarded: CellDatabase) -> None:
    guarded.run("CREATE ROLE heir LOGIN", "GRANT sweeper TO heir")
    with connected(guarded, "heir") as connection, pytest.raises(RowGuardError, match="cellplane_whole_cell too"):
        check_row_guard(connection, ["orders"])


# Any interleaving of tenants on few connections.

STEP = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["read", "write", "steal", "fail", "savepoint", "set"]),
    st.sampled_from(["commit", "rollback", "leave"]),
)
INTERLEAVED = settings(
    max_examples=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def statements(tenant: str, act: str) -> list[str]:
    if act == "write":
        return [f"INSERT INTO orders SELECT '{tenant}', coalesce(max(id), 0) + 1, '{tenant}' FROM orders"]
    if act == "steal":
        return ["UPDATE orders SET note = note || 'x' WHERE tenant_id <> current_setting('cellplane.tenant_id')"]
    if act == "fail":
        return ["SELECT 1/0"]
    if act == "savepoint":
        return ["SAVEPOINT s", "DELETE FROM orders", "ROLLBACK TO s"]
    if act == "set":
        return ["SET cellplane.tenant_id = 'b'"]
    return []


@INTERLEAVED
@given(steps=st.lists(STEP, min_size=1, max_size=12))
def test_no_interleaving_on_a_pooled_connection_leaks(guarded: CellDatabase, steps: list[tuple[str, str, str]]) -> None:
    """``set`` is what a careless statement leaves behind: it counts in its own transaction, and never after."""
    guarded.run("TRUNCATE orders", "INSERT INTO orders VALUES ('a', 1, 'a'), ('b', 1, 'b'), ('c', 1, 'c')")
    engine = cell_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=1, max_overflow=0)
    try:
        for tenant, act, end in steps:
            with entered(CellContext(CELL, 1, tenant)), engine.connect() as connection:
                found = connection.execute(text("SELECT tenant_id, note FROM orders")).all()
                assert found
                assert {tuple(row) for row in found} == {(tenant, tenant)}
                try:
                    for statement in statements(tenant, act):
                        connection.exec_driver_sql(statement)
                except DBAPIError:
                    assert act == "fail"
                if end == "commit":
                    connection.commit()
                elif end == "rollback":
                    connection.rollback()
    finally:
        engine.dispose()
    assert all(tenant == note for tenant, _, note in guarded.rows())


@INTERLEAVED
@given(steps=st.lists(STEP, min_size=1, max_size=10), kind=st.sampled_from(["engine", "pool"]))
def test_no_interleaving_of_tasks_leaks(guarded: CellDatabase, steps: list[tuple[str, str, str]], kind: str) -> None:
    """Tasks of several tenants at once, on fewer connections than there are tasks."""
    guarded.run("TRUNCATE orders", "INSERT INTO orders VALUES ('a', 1, 'a'), ('b', 1, 'b'), ('c', 1, 'c')")

    async def work(run: Any, tenant: str, act: str) -> None:
        for _ in range(2):
            assert set(await run("SELECT tenant_id, note FROM orders")) == {(tenant, tenant)}
            await asyncio.sleep(0)
        for statement in statements(tenant, act):
            await run(statement)

    async def by_engine(engine: Any, tenant: str, act: str) -> None:
        with entered(CellContext(CELL, 1, tenant)):
            async with engine.begin() as connection:

                async def run(statement: str) -> list[tuple[Any, ...]]:
                    result = await connection.exec_driver_sql(statement)
                    return [tuple(row) for row in result] if result.returns_rows else []

                await work(run, tenant, act)

    async def by_pool(pool: Any, tenant: str, act: str) -> None:
        with entered(CellContext(CELL, 1, tenant)):
            async with pool.connection() as connection:

                async def run(statement: str) -> list[tuple[Any, ...]]:
                    cursor = await connection.execute(statement)
                    return await cursor.fetchall() if cursor.description else []

                await work(run, tenant, act)

    async def scenario() -> None:
        if kind == "engine":
            engine = cell_async_engine(guarded.url, guarded.manifest, row_guard=RowGuard(), pool_size=2, max_overflow=0)
            outcomes = await asyncio.gather(
                *(by_engine(engine, tenant, act) for tenant, act, _ in steps), return_exceptions=True
            )
            await engine.dispose()
        else:
            made = cell_async_pool(guarded.conninfo, guarded.manifest, row_guard=RowGuard(), min_size=2, open=False)
            async with made as pool:
                outcomes = await asyncio.gather(
                    *(by_pool(pool, tenant, act) for tenant, act, _ in steps), return_exceptions=True
                )
        for outcome in outcomes:
            # Two tasks may insert the same row, or wait for each other's locks.
            assert outcome is None or isinstance(outcome, (DBAPIError, psycopg.Error)), repr(outcome)

    asyncio.run(scenario())
    assert all(tenant == note for tenant, _, note in guarded.rows())


def test_a_role_s_name_is_checked() -> None:
    with pytest.raises(RowGuardError, match="letters"):
        RowGuard(whole_cell_role="a; --")
