"""What only PostgreSQL has: snapshots that are kept, catalogs, and copies that are one transaction.

What every mover promises is in ``test_contract.py``.
"""

import itertools
from typing import Any

import psycopg
import pytest

from cellplane.moves.driver import WantedOtherwiseError
from cellplane.moves.errors import NotInTimeError, NotMovableError
from cellplane.moves.postgres.guard import stream_names
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.postgres.stream import Stream
from cellplane.moves.settings import MoverSettings
from unit.moves.cells import PostgresWriter, fill, rows_of, writing
from unit.moves.ends import SOURCE, TARGET, PostgresEnds


def mover(cells: tuple[str, str]) -> PostgresMover:
    return PostgresMover("acme", "m1", *cells, MoverSettings(range_rows=500))


def test_transactions_that_keep_their_snapshot_lose_nothing_either(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 1_000)
    move = mover(cells)
    writers = [
        PostgresWriter(source, "acme", seed, isolation=psycopg.IsolationLevel.REPEATABLE_READ) for seed in range(3)
    ]
    with writing(*writers):
        move.prepare()
        move.copy()
        move.follow()
        while not all(writer.acknowledged for writer in writers):
            pass
        with psycopg.connect(source) as connection:
            # A megabyte that is not changed is not sent again either.
            changed = connection.execute(
                "UPDATE orders SET amount = 5 WHERE tenant_id = 'acme' AND length(note) > 1000000"
            ).rowcount
            assert changed
        move.fence(5)
        verdict = move.finish(10)
        while not all(writer.refused for writer in writers):
            pass
    assert verdict.is_same, verdict.differences
    assert [writer.errors for writer in writers] == [[], [], []]
    with psycopg.connect(target) as connection:
        there = connection.execute("SELECT id, note FROM orders WHERE tenant_id = 'acme'").fetchall()
    assert [writer.wrong(there) for writer in writers] == [[], [], []]
    assert rows_of(target, "acme") == rows_of(source, "acme")


def test_all_rows_are_compared_and_counted(cells: tuple[str, str]) -> None:
    source, _ = cells
    fill(source, 3_000)
    move = mover(cells)
    move.prepare()
    copied, _ = move.copy()
    move.follow()
    assert move.compare().rows == copied, "ranges follow one another in the order of the key"


BRIEFLY = MoverSettings(wait_seconds=2.5, quiet_seconds=2.5, look_seconds=0.1, lag_look_seconds=0.3)
AT_THE_TARGET = """
CREATE FUNCTION at_the_target() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {}; RETURN NEW; END';
CREATE TRIGGER at_the_target BEFORE INSERT ON visits FOR EACH ROW EXECUTE FUNCTION at_the_target();
ALTER TABLE visits ENABLE ALWAYS TRIGGER at_the_target;
"""
VISIT = "INSERT INTO visits VALUES ('acme', now())"


@pytest.mark.parametrize("transaction", ["executing", pytest.param("under_way", marks=pytest.mark.long)])
def test_what_is_coming_is_waited_for(cells: tuple[str, str], transaction: str) -> None:
    ends = PostgresEnds(cells)
    move = PostgresMover("acme", "m1", *cells, BRIEFLY)
    move.prepare()
    move.copy()
    with ends.executing(TARGET) as execute:
        execute(AT_THE_TARGET.format("PERFORM pg_sleep(0.2)"))
    with getattr(ends, transaction)(SOURCE) as execute:
        for _ in range(20):
            execute(VISIT)
    move.follow()
    assert move.compare().rows == 20
    with getattr(ends, transaction)(SOURCE) as execute:
        for _ in range(8):
            execute(VISIT)
    move.lag()
    assert len(rows_of(cells[TARGET], "acme")["visits"]) < 28, "the lag is said before all has come"
    assert move.compare().rows == 28


def test_what_does_not_come_is_not_waited_for(cells: tuple[str, str]) -> None:
    ends = PostgresEnds(cells)
    move = PostgresMover("acme", "m1", *cells, BRIEFLY)
    move.prepare()
    move.copy()
    move.follow()
    with psycopg.connect(cells[TARGET]) as other:
        other.execute("LOCK TABLE visits_new IN ACCESS EXCLUSIVE MODE")
        with ends.executing(SOURCE) as execute:
            execute(VISIT)
        with pytest.raises(NotInTimeError, match=r"nothing of what .* came for 2\.5 s: it is behind, after 0 errors"):
            move.lag()
    assert move.compare().is_same


def test_what_fails_each_time_it_comes_is_not_waited_for(cells: tuple[str, str]) -> None:
    ends = PostgresEnds(cells)
    move = PostgresMover("acme", "m1", *cells, BRIEFLY)
    move.prepare()
    move.copy()
    with ends.executing(TARGET) as execute:
        execute(AT_THE_TARGET.format("RAISE EXCEPTION ''never''"))
    with ends.under_way(SOURCE) as execute:
        # What comes before comes anew each time.
        execute("INSERT INTO orders SELECT 'acme', n, 'EUR', 1 FROM generate_series(1, 1000) AS n")
        execute(VISIT)
    with pytest.raises(NotInTimeError, match=r"nothing of what .* came for 2\.5 s: .* after [1-9]\d* errors"):
        move.follow()


def test_a_transaction_that_never_ends_is_named_and_not_waited_for(cells: tuple[str, str]) -> None:
    source, target = cells
    move = PostgresMover("acme", "m1", *cells, MoverSettings(slot_seconds=0.5))
    move.prepare()
    with psycopg.connect(source, application_name="forgotten") as idle:
        idle.execute("INSERT INTO orders (tenant_id, currency, amount) VALUES ('globex', 'EUR', 77)")
        advice = rf"forgotten.*idle in transaction.* SELECT pg_terminate_backend\({idle.info.backend_pid}\) ends it"
        with pytest.raises(NotInTimeError, match=advice) as refused:
            move.copy()
        assert "77" not in str(refused.value), "what others write is not told"
    move.copy()
    with psycopg.connect(target, application_name="forgotten") as idle:
        idle.execute("INSERT INTO orders (tenant_id, currency, amount) VALUES ('globex', 'EUR', 77)")
        with pytest.raises(NotInTimeError, match=rf"pg_terminate_backend\({idle.info.backend_pid}\)"):
            move.follow()
    move.follow()
    assert move.compare().is_same


def test_who_waits_for_a_transaction_hears_what_is_wanted(cells: tuple[str, str]) -> None:
    move = mover(cells)
    move.prepare()

    def stop(_rows: int, _bytes: int) -> None:
        raise WantedOtherwiseError

    with psycopg.connect(cells[SOURCE]) as idle:
        idle.execute("INSERT INTO orders (tenant_id, currency, amount) VALUES ('globex', 'EUR', 1)")
        with pytest.raises(WantedOtherwiseError):
            move.copy(stop)
    assert move.facts().leftovers == ("publication cellplane_m1 at source",)


def test_a_row_that_is_written_at_each_look_leaves_no_others_to_compare(
    cells: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = cells
    fill(source, 100)
    move = PostgresMover("acme", "m1", *cells, MoverSettings(compare_tries=3, compare_pause_seconds=0.0))
    move.prepare()
    move.copy()
    move.follow()
    with psycopg.connect(source) as connection:
        connection.execute("UPDATE orders SET note = 'before' WHERE tenant_id = 'acme' AND id < 50")
    assert move.lag().untested > 20
    ends = PostgresEnds(cells)
    with ends.spoiling(TARGET) as execute:
        execute("UPDATE orders SET note = 'on its way' WHERE tenant_id = 'acme' AND id = 99")
    wait, waits = Stream.keep_up, itertools.count()
    with ends.executing(SOURCE) as execute:

        def wait_while_it_is_written(*arguments: Any, **options: Any) -> Any:
            # The first wait is before it is looked at.
            if next(waits) > 0:
                execute("UPDATE orders SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = 99")
            return wait(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(Stream, "keep_up", wait_while_it_is_written)
            verdict = move.compare()
    assert (verdict.differences, verdict.undecided) == ((), 1)
    assert move.lag().untested == 1
    with ends.spoiling(TARGET) as execute:
        execute("UPDATE orders SET note = 'lost' WHERE tenant_id = 'acme' AND id = 99")
    move.fence(5)
    assert move.finish(10).differences == ("public.orders (acme, 99): other",), "it is compared when it stands still"


def test_a_row_that_is_written_often_is_one_to_compare(cells: tuple[str, str]) -> None:
    source, _ = cells
    fill(source, 100)
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    assert move.compare().is_same
    with psycopg.connect(source, autocommit=True) as connection:
        for _ in range(2 * MoverSettings().repeated_max):
            connection.execute("UPDATE orders SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = 7")
        connection.execute("UPDATE orders SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = 8")
        assert move.lag().untested == 2
        notes = connection.execute("SELECT count(*) FROM cellplane_moves.touched").fetchone()
        assert notes == (2,), "while writes wait, what was noted before is not read"
        few = PostgresMover("acme", "m1", *cells, MoverSettings(noted_max=10))
        for _ in range(12):
            connection.execute("UPDATE orders SET amount = amount + 1 WHERE tenant_id = 'acme' AND id = 7")
        assert (few.lag().untested, move.lag().untested) == (10, 2), "of many it is not looked whose they are"
    with PostgresEnds(cells).spoiling(TARGET) as execute:
        execute("UPDATE orders SET note = 'lost' WHERE tenant_id = 'acme' AND id IN (7, 8)")
    move.fence(5)
    assert move.finish(10).differences == ("public.orders (acme, 7): other", "public.orders (acme, 8): other")


def test_rows_of_a_large_table_are_told_while_it_is_copied(cells: tuple[str, str]) -> None:
    fill(cells[SOURCE], 2_000)
    move = mover(cells)
    move.prepare()
    told: list[int] = []
    rows, _ = move.copy(lambda copied, _bytes: told.append(copied))
    assert set(range(2_000)) <= set(told), "the orders come first"
    assert told == sorted(told)
    assert told[-1] <= rows == 5_000


def test_a_partitioned_table_is_as_large_as_its_partitions(cells: tuple[str, str]) -> None:
    with psycopg.connect(cells[SOURCE], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO visits SELECT tenant, timestamptz '2025-12-31' + n * interval '1 minute' "
            "FROM unnest(ARRAY['acme', 'globex']) AS tenant, generate_series(1, 5000) AS n"
        )
        # As autovacuum does, which knows no other.
        connection.execute("ANALYZE visits_old, visits_new")
    found = mover(cells).estimate()
    assert 4_500 < found.rows < 5_500
    assert found.bytes > 5_000 * 32


ALIKE = {
    "bare numeric": ("numeric", "1.0", "1.00"),
    "float": ("double precision", "0", "-0"),
    "interval": ("interval", "1 day", "24 hours"),
    "json": ("jsonb", '{"n": 1.0}', '{"n": 1.00}'),
    "list": ("numeric[]", "{1.0}", "{1.00}"),
}
"""Columns, each with two values that the database holds to be equal."""


def test_values_that_are_equal_and_not_the_same_are_told_apart(cells: tuple[str, str]) -> None:
    columns = ", ".join(f'"{name}" {kind}' for name, (kind, _, _) in ALIKE.items())
    for url in cells:
        with psycopg.connect(url) as connection:
            connection.execute(
                f"CREATE TABLE alike (tenant_id text, id int, {columns}, PRIMARY KEY (tenant_id, id))".encode()
            )
    with psycopg.connect(cells[0]) as connection:
        for number in range(len(ALIKE)):
            row = ("acme", number, *(here for _, here, _ in ALIKE.values()))
            connection.execute(f"INSERT INTO alike VALUES ({', '.join(['%s'] * len(row))})".encode(), row)
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    assert move.compare().is_same
    with PostgresEnds(cells).spoiling(TARGET) as execute:
        for number, (name, (_, here, there)) in enumerate(ALIKE.items()):
            changed = execute(f'UPDATE alike SET "{name}" = ? WHERE id = ? RETURNING 1', (there, number))
            assert changed == [(1,)], name
            same = execute(
                f'SELECT count(*) FROM alike AS a JOIN alike AS b USING ("{name}") WHERE a.id = ?', (number,)
            )
            assert same == [(len(ALIKE),)], f"{name}: to the database {here} and {there} are equal"
    assert move.compare().differences == tuple(f"public.alike (acme, {number}): other" for number in range(len(ALIKE)))


def test_statistics_of_another_time_do_not_make_a_move_slow(cells: tuple[str, str]) -> None:
    source, _ = cells
    rows = 20_000
    for url in cells:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE events (tenant_id text, id int, PRIMARY KEY (tenant_id, id))")
            connection.execute("ALTER TABLE events SET (autovacuum_enabled = false)")
            connection.execute("INSERT INTO events SELECT 'globex', n FROM generate_series(1, %s) AS n", (rows,))
            connection.execute("DELETE FROM events WHERE id < %s", (rows,))
            # The last row keeps the table as long as it was: one row for so many pages.
            connection.execute("VACUUM ANALYZE events")
    with psycopg.connect(source) as connection:
        connection.execute("INSERT INTO events SELECT 'acme', n FROM generate_series(1, %s) AS n", (rows,))
    # Each statement takes a minute where it looks at all rows for each.
    bounded = [f"{url}?options=-c%20statement_timeout%3D20s" for url in cells]
    move = PostgresMover("acme", "m1", bounded[0], bounded[1], MoverSettings(range_rows=500))
    move.prepare()
    move.copy()
    move.follow()
    assert move.compare().is_same
    with psycopg.connect(source) as connection:
        connection.execute("UPDATE events SET id = -id WHERE tenant_id = 'acme'")
    move.fence(5)
    verdict = move.finish(30)
    assert (verdict.is_same, verdict.rows) == (True, 2 * rows)
    move.open_target(6)
    move.part()
    assert move.clean_source() == rows


def test_who_empties_a_table_takes_no_tenant_at_either_end(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 100)
    with psycopg.connect(target) as connection:
        connection.execute("INSERT INTO orders (tenant_id, currency, amount) VALUES ('globex', 'EUR', 1)")
        connection.execute("INSERT INTO visits VALUES ('globex', '2025-01-01')")
    there = rows_of(target, "globex")
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    for url in cells:
        for tables in ("currencies CASCADE", "orders, lines", "visits", "visits_old"):
            with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.ObjectInUse, match="tenant acme"):
                connection.execute(f"TRUNCATE {tables}".encode())
    with psycopg.connect(source) as connection:
        # As tools that bring rows back do: no trigger hears of it.
        connection.execute("SET session_replication_role = replica")
        connection.execute("TRUNCATE orders, lines, visits")
    move.lag()
    assert rows_of(target, "globex") == there, "what was written at the source until then has come"
    move.part()
    move.forget()
    for url in cells:
        with psycopg.connect(url) as connection:
            connection.execute("TRUNCATE orders, lines, visits")


def test_a_move_that_began_before_that_was_known_tells_no_truncate_any_more_either(cells: tuple[str, str]) -> None:
    source, target = cells
    fill(source, 100)
    fill(target, 100)
    with psycopg.connect(target) as connection:
        connection.execute("DELETE FROM orders WHERE tenant_id = 'acme'")
        connection.execute("DELETE FROM visits WHERE tenant_id = 'acme'")
    there = rows_of(target, "globex")
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    told = "insert, update, delete, truncate"
    for url, name in zip(cells, stream_names("m1"), strict=True):
        with psycopg.connect(url) as connection:
            connection.execute(f"ALTER PUBLICATION {name} SET (publish = '{told}')".encode())
    move.reconnect()
    for url in cells:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT DISTINCT pubtruncate FROM pg_publication").fetchall() == [(False,)]
    with psycopg.connect(source) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("TRUNCATE orders, lines, visits")
    move.lag()
    assert rows_of(target, "globex") == there, "what was written at the source until then has come"


def test_partitions_may_come_and_go_between_two_tries_to_prepare(cells: tuple[str, str]) -> None:
    mover(cells).prepare()
    for url in cells:
        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE visits DETACH PARTITION visits_old")
            connection.execute(
                "CREATE TABLE visits_older PARTITION OF visits FOR VALUES FROM (MINVALUE) TO ('2026-01-01')"
            )
    move = mover(cells)
    for _ in range(2):
        move.prepare()
    with psycopg.connect(cells[1]) as connection:
        for table in ("visits", "visits_older", "visits_new", "visits_old"):
            with pytest.raises(psycopg.errors.ObjectInUse), connection.transaction():
                connection.execute(f"TRUNCATE {table}".encode())
            at = "2026-01-01" if table == "visits_new" else "2025-01-01"
            with pytest.raises(psycopg.Error, match="tenant acme is not written"), connection.transaction():
                connection.execute(f"INSERT INTO {table} VALUES ('acme', '{at}')".encode())


def test_a_table_that_is_called_otherwise_by_now_is_written_again_behind_the_move(cells: tuple[str, str]) -> None:
    fill(cells[0], 10)
    move = mover(cells)
    move.prepare()
    for url in cells:
        with psycopg.connect(url) as connection:
            connection.execute("ALTER TABLE lines RENAME TO positions")
            connection.execute("CREATE SCHEMA archive")
            connection.execute("ALTER TABLE visits SET SCHEMA archive")
            connection.execute("ALTER TABLE visits_old RENAME TO first_visits")
    move.forget()
    for url in cells:
        with psycopg.connect(url) as connection:
            triggers = connection.execute("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'zz%'").fetchall()
            functions = connection.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'zz%'").fetchall()
            assert (triggers, functions) == ([], [])
            connection.execute("UPDATE positions SET what = '{}' WHERE tenant_id = 'acme'")
            connection.execute("INSERT INTO archive.visits VALUES ('acme', '2025-01-01')")
            connection.execute("TRUNCATE positions, archive.visits, first_visits")


def test_a_trigger_whose_guard_is_gone_holds_nobody_back(cells: tuple[str, str]) -> None:
    fill(cells[0], 10)
    mover(cells).prepare()
    with psycopg.connect(cells[0]) as connection:
        connection.execute("DELETE FROM cellplane_moves.guards")
        assert connection.execute("UPDATE orders SET note = 'x' WHERE tenant_id = 'acme'").rowcount == 10
        assert connection.execute("DELETE FROM orders WHERE tenant_id = 'acme'").rowcount == 10
        connection.execute("INSERT INTO visits VALUES ('acme', '2025-01-01')")


def test_another_moves_triggers_stay(cells: tuple[str, str]) -> None:
    source, _ = cells
    others = [PostgresMover(tenant, move_id, *cells, MoverSettings()) for tenant, move_id in (("a", "m"), ("b", "m11"))]
    for other in others:
        other.prepare()
    mine = mover(cells)
    mine.prepare()
    mine.forget()
    with psycopg.connect(source) as connection:
        rows = connection.execute(
            "SELECT split_part(tgname, '_', 3) AS id, count(*) FROM pg_trigger "
            "WHERE tgname LIKE 'zz%' AND tgparentid = 0 GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert rows == [("m", 3 * 4 + 2), ("m11", 3 * 4 + 2)]


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


def test_a_copy_that_is_cut_short_leaves_nothing(cells: tuple[str, str]) -> None:
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
