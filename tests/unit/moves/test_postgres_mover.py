"""One tenant's rows go from one real PostgreSQL to another while they are written, and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from cellplane.moves.errors import MoveError, NotEmptyError, NotInTimeError, NotMovableError, NotTheSameError
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.settings import MoverSettings
from unit.moves.cells import Writer, fill, rows_of, writing

ROWS = 3_000


_made: list[PostgresMover] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def mover(cells: tuple[str, str], tenant: str = "acme", move_id: str = "m1", **settings: object) -> PostgresMover:
    made = PostgresMover(tenant, move_id, *cells, MoverSettings(range_rows=500, **settings))  # type: ignore[arg-type]
    _made.append(made)
    return made


def followed(cells: tuple[str, str]) -> PostgresMover:
    """A move up to the point where the target follows."""
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    return move


@contextmanager
def spoiling(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Write past the guard, as replication does: with an origin, so that it is not carried back either."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_replication_origin_create('spoiler')")
        connection.execute("SELECT pg_replication_origin_session_setup('spoiler')")
        connection.execute("SET session_replication_role = replica")
        yield connection
        connection.execute("SELECT pg_replication_origin_session_reset()")
        connection.execute("SELECT pg_replication_origin_drop('spoiler')")


def assert_nothing_left(move: PostgresMover, *urls: str) -> None:
    facts = move.facts()
    assert facts.leftovers == ()
    assert (facts.source_closed, facts.target_closed) == (None, None)
    for url in urls:
        with psycopg.connect(url) as connection:
            triggers = connection.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").fetchall()
            functions = connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'zz_cellplane%'").fetchall()
            assert (triggers, functions) == ([], [])


@pytest.mark.parametrize("isolation", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ])
def test_a_tenant_that_is_written_moves_and_loses_nothing(
    cells: tuple[str, str], isolation: psycopg.IsolationLevel
) -> None:
    source, target = cells
    fill(source, ROWS)
    move = mover(cells)
    others = rows_of(source, "globex")
    writers = [Writer(source, "acme", seed, isolation=isolation) for seed in range(3)]
    with writing(*writers):
        move.prepare()
        assert move.copy()[0] > 2 * ROWS
        move.follow()
        with psycopg.connect(source) as writer:
            # A megabyte that is not changed is not sent again either.
            changed = writer.execute(
                "UPDATE orders SET amount = 5 WHERE tenant_id = 'acme' AND length(note) > 1000000"
            ).rowcount
            assert changed
        assert move.compare().is_same
        move.fence(5)
        before = move.facts()
        verdict = move.finish(10)
    assert (before.source_closed, before.target_closed, before.follows, before.follows_back) == (True, True, True, True)
    assert verdict.is_same, verdict.differences
    assert all(writer.acknowledged for writer in writers)
    assert all(writer.refused for writer in writers), "the fence fell while they wrote"
    assert [writer.errors for writer in writers] == [[], [], []]
    assert [writer.wrong(target) for writer in writers] == [[], [], []]
    assert rows_of(target, "acme") == rows_of(source, "acme")
    assert rows_of(target, "globex") == {"orders": [], "lines": [], "visits": []}
    move.open_target(6)
    later = Writer(target, "acme", 9)
    with writing(later):
        pass
    assert not later.errors
    move.part()
    move.clean_source()
    move.forget()
    assert rows_of(source, "acme") == {"orders": [], "lines": [], "visits": []}
    assert rows_of(source, "globex") == others
    assert_nothing_left(move, *cells)


def test_what_was_written_at_the_target_comes_back(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 200)
    move = followed(cells)
    move.fence(5)
    assert move.finish(10).is_same
    move.open_target(6)
    writers = [Writer(target, "acme", seed) for seed in range(2)]
    with writing(*writers):
        while not all(len(writer.acknowledged) > 20 for writer in writers):
            pass
        assert move.compare_back().is_same
        move.fence_target(7)
        verdict = move.finish_back(10)
    assert verdict.is_same, verdict.differences
    assert [writer.errors for writer in writers] == [[], []]
    move.reopen_source()
    assert [writer.wrong(source) for writer in writers] == [[], []]
    with psycopg.connect(source) as connection:
        (order,) = connection.execute(
            "INSERT INTO orders (tenant_id, currency, amount) VALUES ('acme', 'EUR', 1) RETURNING id"
        ).fetchone() or (None,)
    assert order is not None
    move.part()
    move.clean_target()
    move.forget()
    assert rows_of(target, "acme") == {"orders": [], "lines": [], "visits": []}
    assert_nothing_left(move, *cells)


def test_never_do_both_take_writes(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 10)
    move = mover(cells)
    move.prepare()
    write = b"INSERT INTO orders (tenant_id, currency, amount) VALUES ('acme', 'EUR', 1)"
    with psycopg.connect(target, autocommit=True) as there, pytest.raises(psycopg.Error) as refused:
        there.execute(write)
    assert refused.value.sqlstate == "57CP1"
    assert "acme is not written in this cell" in str(refused.value)
    with pytest.raises(MoveError, match="the source takes writes of acme"):
        move.open_target(6)
    move.fence(5)
    with (
        psycopg.connect(source, autocommit=True) as here,
        pytest.raises(psycopg.Error, match="not written in this cell"),
    ):
        here.execute(write)
    move.open_target(6)
    with pytest.raises(MoveError, match="the target takes writes of acme"):
        move.reopen_source()
    with pytest.raises(MoveError, match="nothing of it is deleted there"):
        move.clean_target()


def test_a_transaction_that_began_before_the_fence_cannot_slip_through(cells: tuple[str, str]) -> None:
    source, _ = cells
    fill(source, 10)
    move = mover(cells)
    move.prepare()
    with psycopg.connect(source) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        assert old.execute("SELECT count(*) FROM orders").fetchone() == (20,)
        move.fence(5)
        with pytest.raises(psycopg.errors.SerializationFailure):
            old.execute("UPDATE orders SET note = 'late' WHERE tenant_id = 'acme'")


def test_the_fence_waits_for_what_is_under_way_and_gives_up_in_time(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 10)
    followed(cells)
    move = mover(cells, fence_seconds=0.2)
    with psycopg.connect(source) as under_way:
        under_way.execute("UPDATE orders SET note = 'in time' WHERE tenant_id = 'acme'")
        with pytest.raises(NotInTimeError, match="a transaction that writes acme went on for more than"):
            move.fence(5)
        assert move.facts().source_closed is False
    move.fence(5)
    assert move.finish(10).is_same
    assert rows_of(target, "acme") == rows_of(source, "acme")


def test_differences_are_found_named_and_mended(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 1_500)
    move = followed(cells)
    with spoiling(target) as spoiler:
        spoiler.execute("DELETE FROM orders WHERE tenant_id = 'acme' AND id = 7")
        spoiler.execute("UPDATE orders SET note = 'no' WHERE tenant_id = 'acme' AND id = 1234")
        spoiler.execute("INSERT INTO lines VALUES ('acme', 8, 99, '{}')")
    verdict = move.compare()
    assert sorted(verdict.differences) == [
        "public.lines (acme, 8, 99): extra",
        "public.orders (acme, 1234): other",
        "public.orders (acme, 7): missing",
    ]
    move.recopy(verdict.differences)
    assert move.compare().is_same
    assert rows_of(target, "acme") == rows_of(source, "acme")


def test_a_difference_after_the_comparison_is_found_before_the_flip(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 100)
    move = followed(cells)
    assert move.compare().is_same
    with psycopg.connect(source) as writer:
        writer.execute("UPDATE orders SET note = 'new' WHERE tenant_id = 'acme' AND id = 5")
    assert move.lag().untested == 1
    with spoiling(target) as spoiler:
        spoiler.execute("UPDATE orders SET note = 'lost' WHERE tenant_id = 'acme' AND id = 5")
    move.fence(5)
    assert move.finish(10).differences == ("public.orders (acme, 5): other",)


def test_a_target_that_has_rows_of_the_tenant_is_left_as_it_is(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 10)
    with psycopg.connect(target) as connection:
        connection.execute("INSERT INTO orders (tenant_id, id, currency, amount) VALUES ('acme', 1, 'EUR', 1)")
    move = mover(cells)
    with pytest.raises(NotEmptyError, match=r"rows of acme in public\.orders already"):
        move.prepare()
    assert len(rows_of(target, "acme")["orders"]) == 1
    with pytest.raises(MoveError, match="not prepared"):
        move.copy()


def test_a_copy_that_is_cut_short_leaves_nothing_and_can_be_made_again(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 1_000)
    move = mover(cells)
    move.prepare()

    def cut(_rows: int, copied_bytes: int) -> None:
        if copied_bytes > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move.copy(cut)
    assert rows_of(target, "acme")["orders"] == []
    move.copy()
    move.follow()
    assert move.compare().is_same


def test_shared_rows_that_the_target_lacks_are_named(cells: tuple[str, str]) -> None:
    source, _ = cells
    fill(source, 10)
    with psycopg.connect(source) as connection:
        connection.execute("INSERT INTO currencies VALUES ('CHF')")
        connection.execute("INSERT INTO orders (tenant_id, currency, amount) VALUES ('acme', 'CHF', 1)")
    move = mover(cells)
    move.prepare()
    with pytest.raises(NotTheSameError, match=r"references public\.currencies \('CHF',\)"):
        move.copy()


def test_what_cannot_be_moved_is_refused_with_advice(cells: tuple[str, str]) -> None:
    _, target = cells
    for url in cells:
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE nokey (tenant_id text NOT NULL, n int)")
            connection.execute("CREATE TABLE single (tenant_id text NOT NULL, id int PRIMARY KEY)")
            connection.execute("CREATE UNLOGGED TABLE fast (tenant_id text, id int, PRIMARY KEY (tenant_id, id))")
            connection.execute("CREATE TABLE files (tenant_id text, id int, blob oid, PRIMARY KEY (tenant_id, id))")
            connection.execute("CREATE TABLE parts (id int PRIMARY KEY, of int REFERENCES single)")
    with psycopg.connect(target) as connection:
        connection.execute("ALTER TABLE orders ALTER COLUMN note SET NOT NULL")
        connection.execute("DROP TABLE lines")
    refusals = mover(cells).estimate().refusals
    assert [refusal.partition(";")[0] for refusal in refusals] == [
        "public.fast: it is unlogged, and so not replicated",
        "public.files: blob is of type oid, and names large objects, which replication does not carry",
        "public.lines: the cells' schemas differ: the target has none",
        "public.nokey: it has no primary key",
        "public.orders: the cells' schemas differ: note is text at the source and text not null at the target",
        "public.single: tenant_id is not in its replica identity",
        "public.parts: its rows belong to rows of public.single, and nothing in them says whose they are",
    ]
    with pytest.raises(NotMovableError, match="has no primary key; give it one"):
        mover(cells).prepare()


def test_an_estimate_is_of_the_tenant_alone(cells: tuple[str, str]) -> None:
    source, _ = cells
    fill(source, 1_000)
    found = mover(cells).estimate()
    assert found.refusals == ()
    assert found.tables == ("public.orders", "public.visits", "public.lines")
    assert 1_000 < found.rows < 5_000


def test_two_moves_of_a_tenant_do_not_meet(cells: tuple[str, str]) -> None:
    fill(cells[0], 10)
    mover(cells).prepare()
    with pytest.raises(MoveError, match="guarded here by the move m1"):
        mover(cells, move_id="m2").prepare()
    mover(cells, "globex", "m2").prepare()
