"""A request that comes twice is done once, whoever dies in between."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from cellplane.cell import CellContext, NoCellContextError, entered
from cellplane.cell.data import (
    IDEMPOTENCY_SQL,
    IDEMPOTENCY_TABLE,
    CellConnection,
    IdempotencySettings,
    RowGuard,
    cell_async_engine,
    cell_connect,
    cell_engine,
    cell_sessions,
    fingerprint_of,
    forget_expired,
    idempotent,
    idempotent_async,
    whole_cell,
)
from cellplane.cell.errors import IdempotencyError, InProgressError, KeyReuseError
from cellplane.cell.row_security import rls_sql
from e2e_app.servers import eventually
from unit.cell.data.conftest import CELL, GUARD, A, B, CellDatabase

REQUEST = fingerprint_of("POST", "/orders", b"{}")
HASTY = IdempotencySettings(wait_seconds=0.05)


@pytest.fixture
def ready(database: CellDatabase) -> CellDatabase:
    database.run(
        IDEMPOTENCY_SQL,
        IDEMPOTENCY_SQL,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {IDEMPOTENCY_TABLE} TO app, sweeper",
        rls_sql([IDEMPOTENCY_TABLE], whole_cell_role="sweeper").up,
        "TRUNCATE orders",
    )
    return database


def connected(database: CellDatabase, **options: Any) -> CellConnection:
    return cell_connect(database.conninfo, database.manifest, row_guard=GUARD, **options)


def order(database: CellDatabase, context: CellContext, key: str, fingerprint: str = REQUEST) -> tuple[bool, object]:
    """Whether it was done before, and the answer."""
    connection = connected(database)
    with entered(context), connection, idempotent(connection, key, fingerprint, HASTY) as run:
        if run.is_repeat:
            return True, run.answer
        connection.execute(
            "INSERT INTO orders SELECT %s, coalesce(max(id), 0) + 1 FROM orders WHERE tenant_id = %s",
            [context.tenant_id, context.tenant_id],
        )
        run.keep({"key": key, "n": 1.5})
        return False, None


def test_a_repeated_request_gets_the_first_answer(ready: CellDatabase) -> None:
    assert order(ready, A, "k") == (False, None)
    assert order(ready, A, "k") == (True, {"key": "k", "n": 1.5})
    assert ready.rows() == [("acme", 1, "")]


def test_keys_are_a_tenants_own(ready: CellDatabase) -> None:
    assert order(ready, A, "k") == (False, None)
    assert order(ready, B, "k", fingerprint_of("another")) == (False, None)
    assert len(ready.rows()) == 2


def test_the_same_key_with_another_request_is_refused(ready: CellDatabase) -> None:
    order(ready, A, "k")
    with pytest.raises(KeyReuseError, match="'k' came before with another request"):
        order(ready, A, "k", fingerprint_of("POST", "/orders", b"{}", b""))


def test_a_request_that_failed_can_come_again(ready: CellDatabase) -> None:
    connection = connected(ready)
    with entered(A):
        with pytest.raises(RuntimeError), connection.transaction(), idempotent(connection, "k", REQUEST):
            raise RuntimeError
        with connection.transaction(), idempotent(connection, "k", REQUEST) as run:
            assert not run.is_repeat
        with connection.transaction(), idempotent(connection, "k", REQUEST) as run:
            assert run.is_repeat
            assert run.answer is None
        connection.close()


def test_while_the_first_is_under_way_others_wait_or_are_told(ready: CellDatabase) -> None:
    first = connected(ready)
    found: list[bool] = []

    def second() -> None:
        connection = connected(ready)
        with entered(A), connection, idempotent(connection, "k", REQUEST) as run:
            found.append(run.is_repeat)

    with entered(A):
        with first, idempotent(first, "k", REQUEST) as run:
            run.keep(1)
            with pytest.raises(InProgressError, match=r"did not end within 0\.05 s"):
                order(ready, A, "k")
            waiting = threading.Thread(target=second)
            waiting.start()
            eventually("it waits", lambda: ready.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
        waiting.join(60)
    assert found == [True]


def test_its_patience_is_not_that_of_the_transaction(ready: CellDatabase) -> None:
    connection = connected(ready)
    with entered(A), connection:
        connection.execute("SET LOCAL lock_timeout = '7s'")
        with idempotent(connection, "k", REQUEST, HASTY):
            assert connection.execute("SHOW lock_timeout").fetchone() == ("7s",)


def test_a_key_expires_and_is_forgotten_in_bounds(ready: CellDatabase) -> None:
    for number in range(5):
        order(ready, A, f"k{number}")
    ready.run(f"UPDATE {IDEMPOTENCY_TABLE} SET expires_at = now() - interval '1 s' WHERE key <> 'k4'")
    assert order(ready, A, "k0") == (False, None)
    with pytest.raises(KeyReuseError):
        order(ready, A, "k4", "another")
    sweeper = connected(ready)
    with whole_cell("forget keys"), sweeper:
        assert [forget_expired(sweeper, IdempotencySettings(max_forgotten=2)) for _ in range(3)] == [2, 1, 0]
    assert ready.rows(f"SELECT key FROM {IDEMPOTENCY_TABLE} ORDER BY key") == [("k0",), ("k4",)]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "ü", "a\n"])
def test_a_key_that_cannot_be_one_is_refused(ready: CellDatabase, key: str) -> None:
    with pytest.raises(IdempotencyError, match="visible ASCII"):
        order(ready, A, key)


def test_it_needs_a_context_and_a_transaction(ready: CellDatabase) -> None:
    connection = connected(ready, autocommit=True)
    with pytest.raises(NoCellContextError), idempotent(connection, "k", REQUEST):
        pass
    with whole_cell("a test"), pytest.raises(NoCellContextError), idempotent(connection, "k", REQUEST):
        pass
    with entered(A):
        with pytest.raises(IdempotencyError, match="Begin one"), idempotent(connection, "k", REQUEST):
            pass
        engine = cell_engine(ready.url, ready.manifest, isolation_level="AUTOCOMMIT")
        with (
            engine.connect() as bound,
            pytest.raises(IdempotencyError, match="Begin one"),
            idempotent(bound, "k", REQUEST),
        ):
            pass
        engine.dispose()
    connection.close()


def test_a_transaction_that_ends_within_the_block_is_noticed(ready: CellDatabase) -> None:
    connection = connected(ready)

    def work(end: Callable[[], None]) -> None:
        with idempotent(connection, "k", REQUEST):
            end()
            connection.execute("INSERT INTO orders VALUES ('acme', 1)")

    for end in (connection.rollback, connection.commit):
        with entered(A), pytest.raises(IdempotencyError, match="Commit or roll back after the block"):
            work(end)
        connection.rollback()
    connection.close()
    assert order(ready, A, "k") == (False, None)


def test_answers_are_bounded_json(ready: CellDatabase) -> None:
    connection = connected(ready)

    def work(answer: object) -> None:
        with connection.transaction(), idempotent(connection, "k", REQUEST) as run:
            with pytest.raises(IdempotencyError, match="found the first"):
                assert run.answer
            run.keep(answer)

    with entered(A):
        for answer, message in ((object(), "JSON"), (float("nan"), "JSON"), ("x" * 70_000, "65536 bytes")):
            with pytest.raises(IdempotencyError, match=message):
                work(answer)
        with connection.transaction(), idempotent(connection, "k", REQUEST) as run:
            run.keep("\0\ud800")
            with pytest.raises(IdempotencyError, match="a second"):
                run.keep(2)
        with connection.transaction(), idempotent(connection, "k", REQUEST) as run:
            assert run.answer == "\0\ud800"
    connection.close()


def test_sqlalchemy_and_asyncio_do_the_same(ready: CellDatabase) -> None:
    engine = cell_engine(ready.url, ready.manifest, row_guard=RowGuard())
    with entered(A):
        with cell_sessions(engine).begin() as session, idempotent(session, "s", REQUEST) as run:
            run.keep([1])
        with engine.begin() as connection, idempotent(connection, "s", REQUEST) as run:
            assert run.answer == [1]
    engine.dispose()

    async def one(number: int) -> bool:
        with entered(B):
            async with async_engine.begin() as connection, idempotent_async(connection, "a", REQUEST) as run:
                if not run.is_repeat:
                    await connection.execute(text(f"INSERT INTO orders VALUES ('berta', {number})"))
                    run.keep(number)
                return run.is_repeat

    async def scenario() -> list[bool]:
        try:
            return await asyncio.gather(*(one(number) for number in range(6)))
        finally:
            await async_engine.dispose()

    async_engine = cell_async_engine(ready.url, ready.manifest, row_guard=RowGuard(), pool_size=6)
    assert sorted(asyncio.run(scenario())) == [False] + [True] * 5
    assert len(ready.rows()) == 1


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.text(), max_size=4), others=st.lists(st.text(), max_size=4))
def test_fingerprints_tell_requests_apart(parts: list[str], others: list[str]) -> None:
    try:
        same = fingerprint_of(*parts) == fingerprint_of(*others)
    except UnicodeEncodeError:
        return
    assert same == (parts == others)


_VICTIMS = """
import os
import sys
import psycopg
from cellplane.cell import CellContext, entered
from cellplane.cell.data import idempotent

def work(first):
    connection = psycopg.connect(sys.argv[1])
    with entered(CellContext("cell-1", 7, "acme")):
        for number in range(first, 1_000_000):
            with connection.transaction(), idempotent(connection, f"k{number // 2}", "same") as run:
                if not run.is_repeat:
                    for part in range(2):
                        connection.execute("INSERT INTO orders VALUES ('acme', %s)", [number * 2 + part])
                    run.keep(number)
            os.write(1, b"done %d\\n" % number)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        work(int(line))
    os.write(1, b"began %d\\n" % pid)
    os.waitpid(pid, 0)
    os.write(1, b"ended 0\\n")
"""


def test_kill_9_at_any_moment_leaves_nothing_half_done(ready: CellDatabase) -> None:
    """Each key is worked on by two requests, a process at a time, that is killed at random moments."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    done, pid = -1, 0
    command = [sys.executable, "-c", _VICTIMS, ready.owner]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victims:
        assert victims.stdout is not None
        assert victims.stdin is not None
        for _ in range(40):
            print(done + 1, file=victims.stdin, flush=True)
            left = moments.randrange(1, 8)
            for line in victims.stdout:
                what, _, number = line.partition(" ")
                if what == "began":
                    pid = int(number)
                elif what == "done":
                    done = int(number)
                    left -= 1
                else:
                    break
                if left <= 0 and pid:
                    time.sleep(moments.random() * 0.004)
                    os.kill(pid, signal.SIGKILL)
                    pid, left = 0, 1_000_000
        victims.stdin.close()
    ids = [int(str(row[0])) for row in ready.rows("SELECT id FROM orders ORDER BY id")]
    keys = ready.rows(f"SELECT key, answer FROM {IDEMPOTENCY_TABLE}")
    assert all(answer is not None for _, answer in keys), "a key without its answer was committed"
    firsts = {int(str(answer)) for _, answer in keys}
    assert ids == sorted(number * 2 + part for number in firsts for part in range(2)), "work without its key, or half"
    assert len({number // 2 for number in firsts}) == len(firsts) >= (done + 1) // 2 > 0


def test_it_is_bounded_that_a_dead_peer_holds_a_key(ready: CellDatabase) -> None:
    """A process that is killed with a key in hand frees it with its connection."""
    holder = psycopg.connect(ready.owner)
    with entered(A):
        held = idempotent(holder, "k", REQUEST)
        held.__enter__()
        pid = holder.info.backend_pid
        ready.run(f"SELECT pg_terminate_backend({pid})")
        assert order(ready, CellContext(CELL, 8, "acme"), "k") == (False, None)
    holder.close()
