"""What only SQLite has: files, types, keys, triggers in apps' own connections, and a mover that may die anywhere.

What every mover promises is in ``test_contract.py``.
"""

import itertools
import shutil
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.moves.book import MoveBook
from cellplane.moves.driver import Driver
from cellplane.moves.errors import MoveError, NotInTimeError, NotMovableError, NotTheSameError, StoreError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.mover import Verdict
from cellplane.moves.settings import CutoverSettings, DriverSettings, MoverSettings
from cellplane.moves.sqlite import files
from cellplane.moves.sqlite.comparing import row_hash
from cellplane.moves.sqlite.files import path_of
from cellplane.moves.sqlite.mover import SqliteMover
from cellplane.moves.steps import Steps
from cellplane.moves.stores import mover_between
from support.moving import SOURCE as SOURCE_CELL
from support.moving import TARGET as TARGET_CELL
from support.moving import World, WorldRecords, WorldRoutes
from unit.moves.ends import app_connection

Pair = tuple[Path, Path]


def pair(folder: Path, schema: str) -> Pair:
    """Two files with the same tables."""
    paths = (folder / "source.sqlite3", folder / "target.sqlite3")
    for path in paths:
        with app_connection(path) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(schema)
    return paths


def mover(paths: Pair, move_id: str = "m1", **settings: Any) -> SqliteMover:
    source, target = (f"sqlite:///{path}" for path in paths)
    return SqliteMover("acme", move_id, source, target, MoverSettings(**settings))


def followed(paths: Pair, **settings: Any) -> SqliteMover:
    move = mover(paths, **settings)
    move.prepare()
    move.copy()
    move.follow()
    return move


def finished(move: SqliteMover) -> Verdict:
    move.fence(5)
    return move.finish(10)


def do(path: Path, *statements: str) -> None:
    with app_connection(path) as connection:
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, words: str) -> list[tuple[Any, ...]]:
    with app_connection(path) as connection:
        return connection.execute(words).fetchall()


ITEMS = """
CREATE TABLE items (
    tenant_id TEXT NOT NULL, id INTEGER NOT NULL, name TEXT, rank INTEGER,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name)
);
"""


def test_every_kind_of_value_and_key_arrives_as_it_was(tmp_path: Path) -> None:
    odd = '"odd ""name"""'
    paths = pair(
        tmp_path,
        f"CREATE TABLE {odd} (tenant_id TEXT NOT NULL, 'a key' BLOB NOT NULL, any, amount NUMERIC, "
        "twice AS (amount * 2), stored TEXT AS (upper(any)) STORED, "
        'PRIMARY KEY (tenant_id, "a key")) WITHOUT ROWID;',
    )
    values = [
        (b"\x00\xff", 1, 1),
        (b"", 1.0, 1.5),
        ("text", "1", "1e400"),
        ("text\x00with nul", None, -(2**63)),
        (7, b"1", 2**63 - 1),
        (7.5, "é'\"%s?", 1e308),
    ]
    insert = f"INSERT INTO {odd} (tenant_id, \"a key\", any, amount) VALUES ('acme', ?, ?, ?)"
    with app_connection(paths[0]) as connection:
        connection.executemany(insert, values[:3])
        move = followed(paths)
        connection.executemany(insert, values[3:])
    assert finished(move).is_same
    words = f'SELECT *, typeof("a key"), typeof(any), typeof(amount) FROM {odd}'
    assert len(rows(paths[1], words)) == 6
    assert rows(paths[1], words) == rows(paths[0], words)
    move.open_target(6)
    do(paths[1], f"DELETE FROM {odd} WHERE \"a key\" = x'00ff'")
    move.fence_target(7)
    assert move.finish_back(10).is_same
    assert len(rows(paths[0], words)) == 5
    assert rows(paths[0], words) == rows(paths[1], words)


def test_values_of_other_types_are_not_the_same(tmp_path: Path) -> None:
    assert len({row_hash((value,)) for value in (1, 1.0, "1", b"1", None, "None", "1.0", b"1.0")}) == 8
    paths = pair(
        tmp_path,
        "CREATE TABLE things (tenant_id TEXT NOT NULL, id TEXT, v, PRIMARY KEY (tenant_id, id)) WITHOUT ROWID;",
    )
    do(paths[0], "INSERT INTO things VALUES ('acme', 'a', 1), ('acme', 'b', '1')")
    move = followed(paths)
    with app_connection(paths[1]) as connection:
        connection.executescript(
            "BEGIN IMMEDIATE; INSERT INTO cellplane_moves_bringing VALUES ('me');"
            "UPDATE things SET v = 1.0 WHERE id = 'a'; UPDATE things SET v = x'31' WHERE id = 'b';"
            "DELETE FROM cellplane_moves_bringing; COMMIT"
        )
    verdict = move.compare()
    assert verdict.differences == ("things (acme, a): other", "things (acme, b): other")
    move.recopy(verdict.differences)
    assert move.compare().is_same


def test_names_of_tenants_and_columns_may_have_any_letters(tmp_path: Path) -> None:
    paths = pair(
        tmp_path, 'CREATE TABLE t ("org ""x""" TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY ("org ""x""", id));'
    )
    tenant = "o'neil \"; --é"
    move = replace(mover(paths, tenant_column='org "x"'), tenant_id=tenant)
    with app_connection(paths[0]) as connection:
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(tenant, 1), (tenant, 2), ("oneil", 3)])
        move.prepare()
        move.copy()
        connection.execute("DELETE FROM t WHERE id = 1")
        move.follow()
        move.fence(5)
        with pytest.raises(sqlite3.IntegrityError, match=r"tenant o'neil \"; --é is not written in this cell"):
            connection.execute("DELETE FROM t WHERE id = 2")
        connection.execute("DELETE FROM t WHERE id = 3")
    assert move.finish(10).is_same
    assert rows(paths[1], "SELECT * FROM t") == [(tenant, 2)]


def test_a_row_that_replaces_another_takes_it_along(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, 'one', 1), ('acme', 2, 'two', 2), ('acme', 3, 'three', 3)")
    move = followed(paths)
    assert move.compare().is_same
    do(
        paths[0],
        "INSERT OR REPLACE INTO items VALUES ('acme', 9, 'one', 9)",
        "UPDATE OR REPLACE items SET name = 'two' WHERE id = 3",
        "INSERT INTO items VALUES ('acme', 9, 'nine', 0) ON CONFLICT DO UPDATE SET rank = 10",
    )
    assert finished(move).is_same
    assert rows(paths[1], "SELECT id, name, rank FROM items ORDER BY id") == [(3, "two", 3), (9, "one", 10)]


def test_another_tenants_row_that_replaces_one_takes_it_along(tmp_path: Path) -> None:
    paths = pair(tmp_path, "CREATE TABLE codes (code TEXT NOT NULL PRIMARY KEY, tenant_id TEXT NOT NULL);")
    do(paths[0], "INSERT INTO codes VALUES ('x', 'acme'), ('y', 'acme')")
    move = followed(paths)
    do(paths[0], "REPLACE INTO codes VALUES ('x', 'globex')")
    assert finished(move).is_same
    assert rows(paths[1], "SELECT * FROM codes") == [("y", "acme")]


def test_a_row_that_another_tenant_replaces_at_the_target_is_missed_before_the_flip(tmp_path: Path) -> None:
    paths = pair(tmp_path, "CREATE TABLE codes (code TEXT NOT NULL PRIMARY KEY, tenant_id TEXT NOT NULL);")
    do(paths[0], "INSERT INTO codes VALUES ('x', 'acme'), ('y', 'acme')")
    move = followed(paths)
    assert move.compare().is_same
    do(paths[1], "REPLACE INTO codes VALUES ('x', 'globex')")
    assert finished(move).differences == ("codes (x): missing",)


def test_a_row_that_goes_without_a_note_is_found_behind_the_fence(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS + "CREATE UNIQUE INDEX by_name ON items (tenant_id, lower(name));")
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, 'one', 1), ('acme', 2, 'two', 2)")
    move = followed(paths)
    assert move.compare().is_same
    do(paths[0], "INSERT OR REPLACE INTO items VALUES ('acme', 9, 'ONE', 9)")
    with pytest.raises(NotMovableError, match="another row has its number or name there"):
        move.lag()
    do(paths[0], "UPDATE items SET name = 'nine' WHERE id = 9")
    assert finished(move).differences == ("items (acme, 1): extra",)


def test_names_that_rows_swap_do_not_stop_what_is_brought(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], *(f"INSERT INTO items VALUES ('acme', {n}, 'n{n}', {n})" for n in range(6)))
    move = followed(paths, carry_rows=1)
    do(
        paths[0],
        "UPDATE items SET name = 'aside' WHERE id = 0",
        *(f"UPDATE items SET name = 'n{n - 1}' WHERE id = {n}" for n in range(1, 6)),
        "UPDATE items SET name = 'n5' WHERE id = 0",
    )
    assert finished(move).is_same
    assert rows(paths[1], "SELECT * FROM items ORDER BY id") == rows(paths[0], "SELECT * FROM items ORDER BY id")


def test_what_a_foreign_key_deletes_is_carried_and_an_app_keeps_its_own_counts(tmp_path: Path) -> None:
    paths = pair(
        tmp_path,
        ITEMS
        + """
        CREATE TABLE parts (
            tenant_id TEXT NOT NULL, id INTEGER NOT NULL, item INTEGER, PRIMARY KEY (tenant_id, id),
            FOREIGN KEY (tenant_id, item) REFERENCES items ON DELETE CASCADE ON UPDATE CASCADE
        );""",
    )
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, 'one', 1), ('acme', 2, 'two', 2)")
    do(paths[0], "INSERT INTO parts VALUES ('acme', 1, 1), ('acme', 2, 1), ('acme', 3, 2)")
    move = followed(paths)
    with app_connection(paths[0]) as connection:
        assert connection.execute("DELETE FROM items WHERE id = 1").rowcount == 1
        assert connection.execute("UPDATE items SET id = 5 WHERE id = 2").rowcount == 1
        last = connection.execute("INSERT INTO items VALUES ('acme', 7, 'x', 1)").lastrowid
        assert connection.execute("SELECT id FROM items WHERE rowid = ?", (last,)).fetchone() == (7,)
    assert finished(move).is_same
    assert rows(paths[1], "SELECT id, item FROM parts") == [(3, 5)]


def test_a_row_that_is_given_to_another_tenant_leaves(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, 'one', 1), ('globex', 2, 'two', 2)")
    move = followed(paths)
    do(paths[0], "UPDATE items SET tenant_id = 'globex' WHERE id = 1")
    do(paths[0], "UPDATE items SET tenant_id = 'acme' WHERE id = 2")
    assert finished(move).is_same
    assert rows(paths[1], "SELECT tenant_id, id FROM items") == [("acme", 2)]


NUMBERED = "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, tenant_id TEXT NOT NULL, what TEXT);"


def test_numbers_that_were_given_are_not_given_again(tmp_path: Path) -> None:
    paths = pair(tmp_path, NUMBERED)
    do(paths[0], "INSERT INTO logs (id, tenant_id) VALUES (1, 'acme'), (500, 'acme')")
    do(paths[0], "DELETE FROM logs WHERE id = 500")
    move = followed(paths, sequence_gap=1_000)
    assert finished(move).is_same
    move.open_target(6)
    do(paths[1], "INSERT INTO logs (tenant_id) VALUES ('acme')")
    do(paths[0], "INSERT INTO logs (tenant_id) VALUES ('globex')")
    assert rows(paths[1], "SELECT id FROM logs ORDER BY id") == [(1,), (1_501,)]
    move.fence_target(7)
    assert move.finish_back(10).is_same
    move.reopen_source()
    do(paths[0], "INSERT INTO logs (tenant_id) VALUES ('acme')")
    assert rows(paths[0], "SELECT id, tenant_id FROM logs ORDER BY id") == [
        (1, "acme"),
        (501, "globex"),
        (1_501, "acme"),
        (2_502, "acme"),
    ]


def test_a_number_that_another_tenant_has_at_the_target_is_refused_and_left_to_it(tmp_path: Path) -> None:
    paths = pair(tmp_path, NUMBERED)
    do(paths[0], "INSERT INTO logs (tenant_id, what) VALUES ('acme', 'ours')")
    do(paths[1], "INSERT INTO logs (tenant_id, what) VALUES ('globex', 'theirs')")
    move = mover(paths)
    move.prepare()
    with pytest.raises(NotMovableError, match=r"UNIQUE constraint failed: logs\.id; another row has its number"):
        move.copy()
    move.part()
    move.clean_target()
    move.forget()
    do(paths[1], "DELETE FROM logs", "UPDATE sqlite_sequence SET seq = 5000")
    move = followed(paths)
    do(paths[1], "INSERT INTO logs (id, tenant_id, what) VALUES (2, 'globex', 'theirs')")
    do(paths[0], "INSERT INTO logs (tenant_id, what) VALUES ('acme', 'ours')")
    with pytest.raises(NotMovableError, match=r"cannot be written at the target: UNIQUE constraint failed: logs\.id"):
        move.lag()
    assert rows(paths[1], "SELECT id, tenant_id FROM logs") == [(1, "acme"), (2, "globex")]


def test_what_cannot_be_moved_is_refused_with_advice(tmp_path: Path) -> None:
    paths = pair(
        tmp_path,
        """
        CREATE TABLE nokey (tenant_id TEXT NOT NULL, n INTEGER);
        CREATE TABLE numbered (id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, note TEXT DEFAULT 'AUTOINCREMENT');
        CREATE TABLE nulls (tenant_id TEXT NOT NULL, id TEXT, PRIMARY KEY (tenant_id, id));
        CREATE TABLE triggered (tenant_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant_id, id));
        CREATE TRIGGER counts AFTER INSERT ON triggered BEGIN SELECT 1; END;
        CREATE TABLE parts (id INTEGER PRIMARY KEY, nokey INTEGER REFERENCES NoKey (n));
        CREATE VIRTUAL TABLE found USING fts5 (tenant_id, text);
        CREATE TABLE typed (tenant_id TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant_id, id)) WITHOUT ROWID;
        CREATE TABLE good (id INTEGER /* ( */ PRIMARY KEY autoincrement, tenant_id TEXT NOT NULL);
        """,
    )
    do(paths[1], "ALTER TABLE typed ADD COLUMN more TEXT", "DROP TABLE good")
    refusals = mover(paths).estimate().refusals
    assert [refusal.partition(";")[0] for refusal in refusals] == [
        "found: it has no primary key",
        "found: it is a virtual table, and has no triggers",
        "good: the cells' schemas differ: the target has none",
        "nokey: it has no primary key",
        "nulls: id is of its primary key and may be NULL, as SQLite lets it",
        "numbered: each cell numbers its rows by itself (id), from the largest number that is there",
        "triggered: its triggers would run again for rows that are brought here (counts)",
        "typed: the cells' schemas differ: the source lacks the column more",
        "parts: its rows belong to rows of nokey, and nothing in them says whose they are",
    ]
    with pytest.raises(NotMovableError, match="has no primary key; give it one"):
        mover(paths).prepare()


def test_a_table_that_was_made_anew_has_lost_its_triggers_and_the_fence_says_so(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    move = followed(paths)
    do(paths[0], "ALTER TABLE items RENAME TO old", ITEMS, "INSERT INTO items SELECT * FROM old", "DROP TABLE old")
    with pytest.raises(MoveError, match=r"items appeared, or has lost the triggers of the move m1 by a migration"):
        move.fence(5)
    assert move.facts().source_closed is False


def test_who_read_before_the_fence_cannot_write_behind_it(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, 'one', 1)")
    move = followed(paths)
    with app_connection(paths[0]) as old:
        old.execute("BEGIN")
        old.execute("SELECT * FROM items").fetchall()
        move.fence(5)
        with pytest.raises(sqlite3.OperationalError) as late:
            old.execute("UPDATE items SET rank = 2")
    assert late.value.sqlite_errorname == "SQLITE_BUSY_SNAPSHOT"


def test_the_sign_of_a_mover_that_died_lets_nobody_pass(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    move = followed(paths)
    dead = sqlite3.connect(paths[1], isolation_level=None)
    dead.execute("BEGIN IMMEDIATE")
    dead.execute("INSERT INTO cellplane_moves_bringing VALUES ('m1')")
    with app_connection(paths[1]) as other:
        other.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO items VALUES ('acme', 1, 'one', 1)")
    dead.close()
    with pytest.raises(sqlite3.IntegrityError, match="tenant acme is not written in this cell: it is moving, or has"):
        do(paths[1], "INSERT INTO items VALUES ('acme', 1, 'one', 1)")
    assert move.facts().target_closed is True


def test_nothing_is_brought_to_where_the_tenant_is_written(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    move = followed(paths)
    move.fence(5)
    move.finish(10)
    move.open_target(6)
    # As nobody does: the former cell takes a write all the same.
    do(paths[0], "UPDATE cellplane_moves_guards SET is_closed = 0", "INSERT INTO items VALUES ('acme', 1, 'one', 1)")
    with pytest.raises(MoveError, match="acme is written here: nothing is brought or deleted"):
        move.lag()
    assert rows(paths[1], "SELECT * FROM items") == []


def test_while_the_way_back_is_held_notes_do_not_pile_up(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    move = followed(paths)
    assert finished(move).is_same
    move.open_target(6)
    for number in range(50):
        do(paths[1], f"INSERT INTO items VALUES ('acme', {number}, 'n{number}', 1)")
    move.reconnect()
    assert rows(paths[1], "SELECT count(*) FROM cellplane_moves_touched") == [(0,)]
    assert rows(paths[0], "SELECT count(*) FROM items") == [(50,)]
    do(paths[1], "DELETE FROM items WHERE id < 25")
    move.fence_target(7)
    assert move.finish_back(10).is_same
    assert rows(paths[0], "SELECT count(*) FROM items") == [(25,)]


def test_a_way_back_that_is_barred_can_be_given_up(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    move = followed(paths)
    assert finished(move).is_same
    move.open_target(6)
    do(paths[1], "INSERT INTO items VALUES ('acme', 1, 'one', 1)", "ALTER TABLE items ADD COLUMN more TEXT")
    move.reconnect()
    with pytest.raises(NotMovableError, match="the source lacks the column more"):
        move.compare_back()
    move.part()
    move.clean_source()
    move.forget()
    assert rows(paths[1], "SELECT id FROM items") == [(1,)]


def test_files_that_cannot_be_moved_between_are_named(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    with pytest.raises(StoreError, match="gone cannot be opened: expected a file that is there"):
        mover((paths[0], tmp_path / "gone")).estimate()
    assert not (tmp_path / "gone").exists()
    with pytest.raises(MoveError, match="source and target are one file"):
        mover((paths[0], paths[0]))
    with app_connection(paths[1]) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    with pytest.raises(StoreError, match=r"has the journal mode delete.*PRAGMA journal_mode = WAL"):
        mover(paths).prepare()
    with app_connection(tmp_path / "wide") as connection:
        connection.executescript("PRAGMA encoding = 'UTF-16'; PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="keeps text as UTF-16le: only UTF-8 is moved"):
        mover((paths[0], tmp_path / "wide")).prepare()


def test_text_that_is_none_is_refused_without_telling_it(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], "INSERT INTO items VALUES ('acme', 1, CAST(x'73656372657480ff' AS TEXT), 1)")
    move = mover(paths)
    move.prepare()
    with pytest.raises(StoreError, match="has a text that is not UTF-8") as refused:
        move.copy()
    assert "secret" not in str(refused.value)


def test_what_takes_long_to_be_brought_is_brought(tmp_path: Path) -> None:
    paths = pair(tmp_path, "CREATE TABLE t (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id))")
    more = "WITH RECURSIVE n (i) AS (SELECT {0} UNION ALL SELECT i + 1 FROM n WHERE i < {0} + 999) "
    more += "INSERT INTO t SELECT 'acme', i FROM n"
    # To it each look at the clock is a second, and so each of the batches takes more than one.
    seconds = itertools.count()
    move = replace(mover(paths, carry_rows=10), monotonic=lambda: float(next(seconds)))
    move.prepare()
    move.copy()
    do(paths[0], more.format(0))
    move.follow()
    assert rows(paths[1], "SELECT count(*) FROM t") == [(1_000,)]
    do(paths[0], more.format(1_000))
    lag = move.lag()
    assert lag.seconds > CutoverSettings().lag_seconds, "it is behind"
    assert 1_000 < rows(paths[1], "SELECT count(*) FROM t")[0][0] < 2_000, "and comes closer at each look"
    assert move.compare().is_same
    assert rows(paths[1], "SELECT count(*) FROM t") == [(2_000,)]


def test_a_file_that_others_write_all_the_while_is_given_up_in_time(tmp_path: Path) -> None:
    paths = pair(tmp_path, ITEMS)
    now = iter(range(1_000_000))
    move = replace(mover(paths), monotonic=lambda: float(next(now)), pause=lambda _: None)
    with app_connection(paths[1]) as busy:
        busy.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotInTimeError, match="the target's database was written by others for 60 s"):
            move.prepare()
    move.prepare()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///a", "postgresql://u:secret@h/d", "the source is SQLite and the target PostgreSQL"),
        ("postgresql://u:secret@h/d", "sqlite:///a", "the source is PostgreSQL and the target SQLite"),
        ("mysql://u:secret@h/d", "sqlite:///a", "database of 'mysql' URLs: expected postgresql://"),
        ("host=h password=secret", "sqlite:///a", "database of 'this' URLs"),
        ("sqlite:///", "sqlite:///a", "names no SQLite file"),
    ],
)
def test_databases_of_two_kinds_are_refused_with_advice(source: str, target: str, said: str) -> None:
    with pytest.raises(MoveError, match=said) as refused:
        mover_between("acme", "m1", source, target, MoverSettings())
    assert "secret" not in str(refused.value)


def test_urls_name_files_as_elsewhere() -> None:
    assert path_of("sqlite:///cell/data%20base.sqlite3?mode=rw") == Path("cell/data base.sqlite3")
    assert path_of("sqlite:////srv/cell.sqlite3") == Path("/srv/cell.sqlite3")


def test_shared_rows_of_a_key_that_is_not_named_are_looked_for(tmp_path: Path) -> None:
    paths = pair(
        tmp_path,
        "CREATE TABLE kinds (code TEXT NOT NULL PRIMARY KEY);"
        "CREATE TABLE things (tenant_id TEXT NOT NULL, id TEXT NOT NULL, kind REFERENCES Kinds, "
        "PRIMARY KEY (tenant_id, id));",
    )
    do(paths[0], "INSERT INTO kinds VALUES ('k')", "INSERT INTO things VALUES ('acme', 'a', 'k'), ('acme', 'b', NULL)")
    move = mover(paths)
    with pytest.raises(NotTheSameError, match=r"things references kinds \('k',\)"):
        move.prepare()
    do(paths[1], "INSERT INTO kinds VALUES ('k')")
    move.prepare()
    do(paths[1], "DELETE FROM kinds")
    with pytest.raises(NotTheSameError, match=r"things references kinds \('k',\)"):
        move.copy()
    do(paths[1], "INSERT INTO kinds VALUES ('k')")
    move.copy()


class KilledError(BaseException):
    """The mover dies here."""


class Mortal(sqlite3.Connection):
    """Ends its process, as it were, before the statement that nothing is left for."""

    left = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self.live()
        return super().execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self.live()
        return super().executemany(*arguments)

    @staticmethod
    def live() -> None:
        Mortal.left -= 1
        if Mortal.left <= 0:
            raise KilledError


def mortal(path: Path, _busy_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(path, factory=Mortal, isolation_level=None)


Step = Callable[[SqliteMover], object]

THERE: list[Step] = [
    SqliteMover.prepare,
    SqliteMover.copy,
    SqliteMover.follow,
    SqliteMover.compare,
    SqliteMover.lag,
    lambda move: move.fence(5),
    lambda move: move.finish(10),
    lambda move: move.open_target(6),
]
BACK: list[Step] = [
    SqliteMover.reconnect,
    SqliteMover.compare_back,
    lambda move: move.fence_target(7),
    lambda move: move.finish_back(10),
    SqliteMover.reopen_source,
    SqliteMover.part,
    SqliteMover.clean_target,
    SqliteMover.forget,
]


def statements_of(paths: Pair) -> int:
    Mortal.left = 1_000_000
    moved(paths, [])
    return 1_000_000 - Mortal.left


def moved(paths: Pair, deaths: list[int]) -> None:
    """Move there and back, over these deaths, while an app writes between any two steps; then look."""
    acknowledged, refused = {0: 0}, list[str]()
    do(paths[0], "INSERT INTO items VALUES ('acme', 0, 'n0', 0), ('globex', 0, 'theirs', 0)")
    for number, step in enumerate((*THERE, *BACK), start=1):
        while True:
            try:
                step(mover(paths, carry_rows=2))
                break
            except KilledError:
                Mortal.left = deaths.pop() if deaths else 1_000_000
        for path in paths:
            try:
                do(path, f"INSERT INTO items VALUES ('acme', {number}, 'n{number}', 0)")
                do(path, f"UPDATE items SET rank = {number} WHERE tenant_id = 'acme' AND id = {number // 2}")
            except sqlite3.IntegrityError as error:
                refused.append(str(error))
            else:
                assert number not in acknowledged, "two of them took it"
                acknowledged[number] = 0
                acknowledged |= {number // 2: number} if number // 2 in acknowledged else {}
            if number < len(THERE) or number == len(THERE) + len(BACK):
                break
    assert len(acknowledged) > 10
    assert len(refused) > 3
    assert all("not written in this cell" in each for each in refused)
    assert rows(paths[0], "SELECT id, rank FROM items WHERE tenant_id = 'acme' ORDER BY id") == sorted(
        acknowledged.items()
    )
    assert rows(paths[1], "SELECT * FROM items") == []
    assert rows(paths[0], "SELECT id, name FROM items WHERE tenant_id = 'globex'") == [(0, "theirs")]
    for path in paths:
        assert rows(path, "SELECT name FROM sqlite_master WHERE name LIKE '%cellplane%'") == []


@pytest.mark.parametrize("stride", [97, pytest.param(3, marks=pytest.mark.long)])
def test_a_mover_that_dies_before_any_statement_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    monkeypatch.setattr(files, "connect", mortal)
    (tmp_path / "blank").mkdir()
    (tmp_path / "now").mkdir()
    blank = pair(tmp_path / "blank", ITEMS)

    def anew() -> Pair:
        shutil.rmtree(tmp_path / "now")
        shutil.copytree(tmp_path / "blank", tmp_path / "now")
        return tmp_path / "now" / blank[0].name, tmp_path / "now" / blank[1].name

    count = statements_of(anew())
    assert count > 200
    for first in range(1, count, stride):
        Mortal.left = first
        # And once more, soon behind that.
        moved(anew(), [first % 7 + 2])


@pytest.mark.parametrize("end", [Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED])
def test_the_steps_of_a_move_take_a_tenant_there_and_back_while_it_is_written(tmp_path: Path, end: Phase) -> None:
    paths = pair(tmp_path, ITEMS)
    do(paths[0], "INSERT INTO items VALUES ('acme', 0, 'n0', 0), ('globex', 0, 'theirs', 0)")
    world = World(lambda below: below - 1)
    by_cell = dict(zip((SOURCE_CELL, TARGET_CELL), paths, strict=True))
    book = MoveBook(tmp_path / "moves")
    book.add(Move("m1", "acme", SOURCE_CELL, TARGET_CELL, True, 3600.0))

    def steps_of(move: Move) -> Steps:
        return Steps(move, mover(paths), WorldRoutes(world), WorldRecords(world), CutoverSettings())

    driver = Driver(book, WorldRoutes(world), steps_of, DriverSettings(hold_poll_seconds=0.01))
    acknowledged: set[int] = set()
    wrong: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            number = len(acknowledged) + 1
            try:
                do(by_cell[world.directory.cell], f"INSERT INTO items VALUES ('acme', {number}, 'n{number}', 0)")
            except sqlite3.IntegrityError as error:
                wrong.extend([str(error)] if "not written in this cell" not in str(error) else [])
            else:
                acknowledged.add(number)
            stop.wait(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = 0
        for _ in range(1_000):
            reached = driver.advance("m1")
            if reached.phase.is_end:
                break
            if reached.phase is Phase.VERIFIED and end is Phase.ABORTED:
                book.ask("m1", Wish.ABORT)
            elif reached.phase is Phase.FLIPPED:
                seen = seen or len(acknowledged)
                if len(acknowledged) > seen + 20:
                    book.ask("m1", Wish.RELEASE if end is Phase.DONE else Wish.ROLLBACK)
    finally:
        stop.set()
        writer.join()
    assert book.get("m1").phase is end
    assert wrong == []
    home = by_cell[TARGET_CELL if end is Phase.DONE else SOURCE_CELL]
    (other,) = set(paths) - {home}
    assert {row[0] for row in rows(home, "SELECT id FROM items WHERE tenant_id = 'acme'")} == acknowledged | {0}
    assert rows(other, "SELECT id FROM items WHERE tenant_id = 'acme'") == []
    assert [rows(path, "SELECT name FROM sqlite_master WHERE name LIKE '%cellplane%'") for path in paths] == [[], []]
