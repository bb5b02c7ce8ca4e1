"""Migrations of cells' schemas while a tenant moves between two PostgreSQL databases: what they add is carried, or the
move says so; nothing is deleted that was not carried.
"""

import psycopg
import pytest

from cellplane.moves.errors import MoveError, NotInTimeError, NotMovableError, NotTheSameError
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.settings import MoverSettings
from unit.moves.cells import fill

INVOICES = "CREATE TABLE invoices (tenant_id text, id int, PRIMARY KEY (tenant_id, id))"
INVOICE = "INSERT INTO invoices VALUES ('acme', 1), ('globex', 1)"


def mover(cells: tuple[str, str]) -> PostgresMover:
    return PostgresMover("acme", "m1", *cells, MoverSettings(range_rows=500))


def run(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Each is committed by itself; returns what the last one gives."""
    rows: list[tuple[object, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def verified(cells: tuple[str, str], rows: int = 100) -> PostgresMover:
    """A move that waits for its fence."""
    fill(cells[0], rows)
    move = mover(cells)
    move.prepare()
    move.copy()
    move.follow()
    assert move.compare().is_same
    move.close()
    return move


def test_a_table_that_appears_keeps_a_tenant_from_going(cells: tuple[str, str]) -> None:
    move = verified(cells)
    run(cells[0], INVOICES, INVOICE)
    run(cells[1], INVOICES)
    with pytest.raises(MoveError, match=r"public\.invoices in the source appeared, .* abort the move and begin"):
        move.lag()
    move.fence(5)
    with pytest.raises(MoveError, match=r"public\.invoices in the source appeared"):
        move.finish(10)
    move.reopen_source()
    move.part()
    move.clean_target()
    move.forget()
    assert run(cells[0], "SELECT tenant_id FROM invoices ORDER BY 1") == [("acme",), ("globex",)]


def test_a_table_that_appears_behind_the_fence_keeps_its_rows(cells: tuple[str, str]) -> None:
    move = verified(cells)
    move.fence(5)
    assert move.finish(10).is_same
    for url in cells:
        run(url, INVOICES)
    run(cells[0], INVOICE)
    move.open_target(6)
    with pytest.raises(MoveError, match=r"public\.invoices .* release it, and move the tenant back by another"):
        move.lag_back()
    assert move.compare_back().is_same, "what the move carries is compared all the same"
    move.part()
    with pytest.raises(MoveError, match=r"public\.invoices appeared in the source .* bring them to the cell"):
        move.clean_source()
    assert run(cells[0], "SELECT id FROM invoices WHERE tenant_id = 'acme'") == [(1,)]
    run(cells[0], "DELETE FROM invoices WHERE tenant_id = 'acme'")
    assert move.clean_source() > 100
    move.forget()


def test_what_the_target_wrote_to_a_table_that_appeared_keeps_it_there(cells: tuple[str, str]) -> None:
    move = verified(cells)
    move.fence(5)
    assert move.finish(10).is_same
    move.open_target(6)
    for url in cells:
        run(url, INVOICES)
    run(cells[1], INVOICE)
    move.fence_target(7)
    with pytest.raises(MoveError, match=r"public\.invoices in the source appeared"):
        move.finish_back(10)


@pytest.mark.parametrize(
    ("where", "change"),
    [
        (0, "DROP TABLE lines; CREATE TABLE lines (LIKE lines_before INCLUDING ALL)"),
        (1, "DROP TABLE lines; CREATE TABLE lines (LIKE lines_before INCLUDING ALL)"),
        (0, "ALTER TABLE lines DISABLE TRIGGER ALL"),
        (0, "ALTER PUBLICATION cellplane_m1 DROP TABLE lines"),
        (1, "ALTER PUBLICATION cellplane_m1_back DROP TABLE lines"),
        (0, "ALTER TABLE visits DETACH PARTITION visits_old; ALTER TABLE visits_old RENAME TO gone"),
    ],
)
def test_a_table_that_lost_what_watches_it_keeps_a_tenant_from_going(
    cells: tuple[str, str], where: int, change: str
) -> None:
    for url in cells:
        run(url, "CREATE TABLE lines_before (LIKE lines INCLUDING ALL)")
    move = verified(cells)
    run(cells[where], *change.split("; "))
    move.fence(5)
    with pytest.raises(MoveError, match=r"lines|gone"):
        move.finish(10)
    move.reopen_source()
    move.part()
    move.forget()
    for url in cells:
        assert run(url, "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'zz_cellplane%'") == []
        assert run(url, "SELECT proname FROM pg_proc WHERE proname LIKE 'zz_cellplane%'") == []


LATE = """
CREATE TABLE visits_late (LIKE visits INCLUDING ALL);
INSERT INTO visits_late SELECT 'acme', '2031-01-01' FROM generate_series({end}, 0);
ALTER TABLE visits ATTACH PARTITION visits_late FOR VALUES FROM ('2030-01-01') TO (MAXVALUE);
"""


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE orders ALTER COLUMN amount TYPE numeric(12, 2) USING amount * (1 + {end})",
        pytest.param(LATE, id="a partition that has rows at the source"),
    ],
)
def test_rows_that_a_migration_changed_by_itself_are_compared_again(cells: tuple[str, str], change: str) -> None:
    for url in cells:
        run(
            url,
            "ALTER TABLE visits DETACH PARTITION visits_new",
            "ALTER TABLE visits ATTACH PARTITION visits_new FOR VALUES FROM ('2026-01-01') TO ('2030-01-01')",
            "ALTER TABLE orders DROP COLUMN doubled",
        )
    move = verified(cells)
    assert move.lag().untested == 0
    for end, url in enumerate(cells):
        # In one transaction.
        run(url, change.format(end=end))
    assert move.lag().untested > 5_000, "so all is compared before writes are held"
    move.fence(5)
    with pytest.raises(NotInTimeError, match="compared anew before writes are held again"):
        move.finish(10)
    move.reopen_source()
    differing = move.compare().differences
    assert differing
    move.recopy(differing)
    assert move.compare().is_same
    move.fence(8)
    assert move.finish(10).is_same


def test_numbers_of_a_sequence_that_no_column_owns_go_on_at_the_target(cells: tuple[str, str]) -> None:
    for url in cells:
        run(url, "CREATE SEQUENCE order_no", "ALTER TABLE lines ALTER number SET DEFAULT nextval('order_no')")
    run(cells[0], "SELECT setval('order_no', 5000)")
    move = verified(cells)
    line = (
        "INSERT INTO lines (tenant_id, order_id, what) SELECT tenant_id, id, '{}' FROM orders "
        "WHERE tenant_id = 'acme' LIMIT 1 RETURNING number"
    )
    run(cells[0], line)
    move.fence(5)
    assert move.finish(10).is_same
    move.open_target(6)
    ((number,),) = run(cells[1], line)
    assert isinstance(number, int)
    assert number > 5_001


def test_a_sequence_that_one_cell_lacks_is_refused(cells: tuple[str, str]) -> None:
    run(cells[0], "CREATE SEQUENCE order_no", "ALTER TABLE lines ALTER number SET DEFAULT nextval('order_no')")
    (refusal,) = mover(cells).estimate().refusals
    assert "public.order_no at the source and by nothing at the target; run the same migrations" in refusal


def test_numbers_that_other_tenants_have_at_the_target_are_refused(cells: tuple[str, str]) -> None:
    for url in cells:
        run(
            url,
            "CREATE TABLE numbered (tenant_id text NOT NULL, id serial PRIMARY KEY)",
            "ALTER TABLE numbered REPLICA IDENTITY FULL",
            "CREATE TABLE tokens (tenant_id text NOT NULL, id uuid PRIMARY KEY, n int)",
            "ALTER TABLE tokens REPLICA IDENTITY FULL",
            "ALTER TABLE orders ADD COLUMN ticket bigserial UNIQUE",
        )
    assert [refusal.partition(":")[0] for refusal in mover(cells).estimate().refusals] == [
        "public.numbered",
        "public.orders",
    ]
    with pytest.raises(NotMovableError, match=r"\(ticket\) is unique without tenant_id, and each cell counts ticket"):
        mover(cells).prepare()


def test_shared_rows_that_the_target_lacks_are_told_before_anything_is_copied(cells: tuple[str, str]) -> None:
    run(cells[0], "INSERT INTO currencies VALUES ('CHF')")
    run(cells[0], "INSERT INTO orders (tenant_id, currency, amount) VALUES ('globex', 'CHF', 1)")
    assert mover(cells).estimate().refusals == (), "another tenant's"
    run(cells[0], "INSERT INTO orders (tenant_id, currency, amount) VALUES ('acme', 'CHF', 1)")
    (refusal,) = mover(cells).estimate().refusals
    assert refusal.startswith("public.orders references public.currencies (CHF), which the other cell does not have")
    move = mover(cells)
    with pytest.raises(NotTheSameError, match="bring its shared tables up to date"):
        move.prepare()
    assert run(cells[1], "SELECT to_regclass('cellplane_moves.guards')") == [(None,)], "nobody noticed"
    run(cells[1], "INSERT INTO currencies VALUES ('CHF')")
    assert mover(cells).estimate().refusals == ()
    run(cells[1], "DROP TABLE currencies CASCADE")
    (refusal,) = mover(cells).estimate().refusals
    assert "public.orders references it, and the target has none" in refusal


def test_shared_rows_that_are_referenced_since_keep_a_tenant_from_going(cells: tuple[str, str]) -> None:
    move = verified(cells)
    order = "INSERT INTO orders (tenant_id, currency, amount) VALUES ('acme', '{}', 1)"
    run(cells[0], "INSERT INTO currencies VALUES ('CHF')", order.format("CHF"))
    with pytest.raises(NotTheSameError, match=r"public.currencies \(CHF\)"):
        move.lag()
    move.fence(5)
    with pytest.raises(NotTheSameError, match=r"public.currencies \(CHF\)"):
        move.finish(10)
    move.reopen_source()
    with pytest.raises(NotTheSameError, match=r"public.currencies \('CHF',\)"):
        move.compare()
    assert move.lag().untested > 5_000, "what is not known to be there is looked for again"
    run(cells[1], "INSERT INTO currencies VALUES ('CHF')")
    assert move.compare().is_same
    move.fence(7)
    assert move.finish(10).is_same
    move.open_target(8)
    run(cells[1], "INSERT INTO currencies VALUES ('SEK')", order.format("SEK"))
    with pytest.raises(NotTheSameError, match=r"public.currencies \(SEK\)"):
        move.lag_back()
    run(cells[0], "INSERT INTO currencies VALUES ('SEK')")
    move.fence_target(9)
    assert move.finish_back(10).is_same


def test_partitions_that_do_not_say_whose_a_changed_row_is_are_refused(cells: tuple[str, str]) -> None:
    for url in cells:
        run(
            url,
            "CREATE TABLE events (id uuid, day date, tenant_id text NOT NULL, PRIMARY KEY (id, day)) "
            "PARTITION BY RANGE (day)",
            "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
            "CREATE UNLOGGED TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
            "ALTER TABLE events REPLICA IDENTITY FULL",
            "ALTER TABLE events_2 REPLICA IDENTITY FULL",
            "INSERT INTO events VALUES (gen_random_uuid(), '2026-01-01', 'globex')",
        )
    reason = "tenant_id is not in the replica identity of this partition, which does not take over its table's"
    assert [refusal.partition(";")[0] for refusal in mover(cells).estimate().refusals] == [
        f"public.events_1: {reason}",
        "public.events_2: it is unlogged, and so not replicated",
    ]
    run(cells[0], "ALTER TABLE events_1 REPLICA IDENTITY FULL", "ALTER TABLE events_2 SET LOGGED")
    refusals = mover(cells).estimate().refusals
    assert [refusal.partition(":")[0] for refusal in refusals] == ["public.events_1", "public.events_2"], "the way back"
    run(cells[1], "ALTER TABLE events_1 REPLICA IDENTITY FULL", "ALTER TABLE events_2 SET LOGGED")
    assert mover(cells).estimate().refusals == ()
    move = verified(cells)
    for url in cells:
        run(url, "UPDATE events SET day = '2026-02-01'", "DELETE FROM events")
    move.fence(5)
    assert move.finish(10).is_same


def test_a_table_that_others_inherit_from_is_refused(cells: tuple[str, str]) -> None:
    for url in cells:
        run(url, "CREATE TABLE more_lines (PRIMARY KEY (tenant_id, order_id, number)) INHERITS (lines)")
    (refusal,) = mover(cells).estimate().refusals
    assert refusal.startswith("public.lines: public.more_lines inherits from it, and its rows are among its own")
