"""moves.yaml may say which tables are the tenant's; nothing of it is lost silently."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click
import pytest

from cellplane.cli.mover import Mover
from cellplane.moves.chosen import ChosenTables
from cellplane.moves.config import KEPT, parse_config
from cellplane.moves.errors import MoveError, NotInTimeError
from cellplane.moves.move import Move
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.mover import SqliteMover
from cellplane.moves.tables import Column, Reference, Table
from unit.moves.commanding import CELLS, Commands, commanding
from unit.moves.ends import SOURCE, TARGET, Ends, PostgresEnds, SqliteEnds
from unit.moves.test_contract import quiet

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "moves.md"
TABLES = "tables: {tenantColumn: account_id, include: [orders, lines], leftOut: visits}"


def table(name: str, *references: str, tenant: str = "account_id") -> Table:
    columns = tuple(Column(each, "text") for each in ("id", tenant) if each)
    return Table(name, columns, references=tuple(Reference("r", ("id",), each, ("id",)) for each in references))


SHOP = (
    table("public.lines", "public.orders"),
    table("public.orders", "public.currencies"),
    table("public.currencies", tenant=""),
    table("billing.visits"),
)


def refusals(text: str, tables: tuple[Table, ...] = SHOP, there: tuple[Table, ...] | None = None) -> list[str]:
    chosen = parse_config(f"tables: {{tenantColumn: account_id, {text}}}", Path()).tables
    return [said.partition(";")[0] for said in chosen.refusals(tables, tables if there is None else there)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", []),
        ("include: [orders, public.lines, billing.visits]", []),
        ("include: [orders, lines], leftOut: billing.visits", []),
        ("leftOut: [cellplane_outbox, billing.visits]", []),
        (
            "include: [orders, lines]",
            [
                "billing.visits: it has a column account_id, and moves.yaml neither includes it nor leaves it out",
            ],
        ),
        ("leftOut: visits", ["visits: neither cell has this table: did you mean billing.visits?"]),
        (
            "include: [orders, lines, billing.visits, public.liens]",
            ["public.liens: neither cell has this table: did you mean public.lines?"],
        ),
        (
            "include: [orders, lines, billing.visits, currencies]",
            ["public.currencies: it has no column account_id, by which its rows would be the tenant's"],
        ),
        ("leftOut: lines", ["public.lines: it is left out, and its rows reference rows of public.orders, which move"]),
        ("leftOut: orders", ["public.lines: its rows reference rows of public.orders, which is left out"]),
        ("leftOut: [orders, lines]", []),
        ("leftOut: [currencies]", []),
    ],
)
def test_what_does_not_fit_the_cells_is_refused(text: str, said: list[str]) -> None:
    assert refusals(text) == said


def test_a_table_of_the_target_alone_is_looked_at_too() -> None:
    found = refusals("include: [orders, lines, billing.visits]", there=(*SHOP, table("public.more")))
    assert found == ["public.more: it has a column account_id, and moves.yaml neither includes it nor leaves it out"]


def test_the_example_of_the_manual_is_read() -> None:
    found = re.search(r"```yaml\n(tables:\n.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    chosen = parse_config(found[1], Path()).tables
    assert chosen == ChosenTables("account_id", ("orders", "lines", "billing.invoices"), ("audit",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tables: {column: a}", r"tables.column: no field is named 'column' here"),
        ("tables: {include: []}", r"tables.include: expected a text or a list of them, found none"),
        ("tables: {include: [a, 7]}", r"moves.yaml:1:23: tables.include\[1\]: expected a text, found the number 7"),
        ("tables: {tenantColumn: ''}", r"tables.tenantColumn: expected a text"),
        ("tables: {include: [a], leftOut: [public.a]}", r"tables.leftOut\[0\]: public.a is under include too"),
        ("tables: {include: [public.a], leftOut: a}", r"tables.leftOut: a is under include too"),
        ("tables: [a]", r"tables: expected tenantColumn, include, leftOut, found a list"),
    ],
)
def test_what_is_not_understood_is_said_by_its_field(text: str, said: str) -> None:
    with pytest.raises(MoveError, match=said):
        parse_config(text, Path())


@pytest.fixture(params=["postgres", "sqlite"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Ends:
    """Two tenants' rows, which another column tells apart than usual."""
    made: Ends
    made = PostgresEnds(request.getfixturevalue("cells")) if request.param == "postgres" else SqliteEnds(tmp_path)
    made.fill(20)
    for end in (SOURCE, TARGET):
        with made.executing(end) as execute:
            for name in ("orders", "lines", "visits"):
                execute(f"ALTER TABLE {name} RENAME COLUMN tenant_id TO account_id")
            execute("CREATE TABLE cellplane_outbox (tenant_id text NOT NULL, seq integer PRIMARY KEY)")
    return made


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: Ends) -> Iterator[Commands]:
    with commanding(tmp_path, monkeypatch, ends) as fleet:
        yield fleet


def counts(ends: Ends, end: int) -> list[int]:
    """How many orders, lines and visits of acme are there."""
    with ends.executing(end) as execute:
        found = [execute(f"SELECT count(*) FROM {each} WHERE account_id = 'acme'") for each in ("orders", "lines")]
        return [row[0] for rows in (*found, execute("SELECT count(*) FROM visits")) for row in rows]


def test_the_tables_that_are_named_move_and_no_others(fleet: Commands) -> None:
    fleet.configure("tables: {tenantColumn: tenant}")
    refused = fleet.run("acme", "cell-2", "--dry-run")
    assert "no table has a column tenant; name the column" in refused.output
    fleet.configure("tables: {tenantColumn: account_id, include: orders, leftOut: visit}")
    refused = fleet.run("acme", "cell-2", "--hold", "0")
    assert refused.exit_code == 1
    assert "lines: it has a column account_id, and moves.yaml neither includes it" in refused.output
    assert "visit: neither cell has this table: did you mean" in refused.output
    assert fleet.book.all() == []
    fleet.configure(TABLES)
    planned = fleet.answer("acme", "cell-2", "--dry-run")
    assert sorted(name.removeprefix("public.") for name in planned["tables"]) == ["lines", "orders"]
    assert planned["left_out"] == ["visits"]
    before = counts(fleet.ends, SOURCE)
    moved = fleet.run("acme", "cell-2", "--hold", "0")
    assert moved.exit_code == 0, moved.output
    assert ", without visits" in moved.output
    assert counts(fleet.ends, TARGET) == [20, 10, 0]
    assert counts(fleet.ends, SOURCE) == [0, 0, before[2]]


def test_the_outbox_is_waited_for_whatever_the_apps_column_is(ends: Ends) -> None:
    with ends.executing(SOURCE) as execute:
        execute("INSERT INTO cellplane_outbox VALUES ('acme', 1), ('globex', 2)")
    move = ends.mover(tenant_column="account_id")
    assert not any("cellplane_outbox" in name for name in move.estimate().tables)
    move.prepare()
    move.copy(quiet)
    move.follow()
    move.fence(5)
    with pytest.raises(NotInTimeError, match="the outbox still has events of acme"):
        move.finish(0.5)
    with ends.executing(SOURCE) as execute:
        execute("DELETE FROM cellplane_outbox WHERE tenant_id = 'acme'")
    assert move.finish(10).is_same


@pytest.mark.parametrize("scheme", ["postgresql://a/", "sqlite:////a/"])
def test_a_move_goes_on_with_the_tables_that_it_began_with(tmp_path: Path, scheme: str) -> None:
    cells = "\n".join(f"  {cell}: {{database: '{scheme}{cell}'}}" for cell in CELLS)
    (tmp_path / "cells.yaml").write_text(f"control: http://127.0.0.1:1\ncells:\n{cells}")
    (tmp_path / "moves.yaml").write_text(TABLES)
    with click.Context(click.Command("x")), ExitStack() as stack:
        mover = Mover(tmp_path, stack)
        mover.book.add(Move("m1", "acme", *CELLS, True, 1.0), {KEPT: mover.config(None).kept()})
        (tmp_path / "moves.yaml").unlink()
        moved = Mover(tmp_path, stack).mover_of(mover.book.get("m1"))
        other = mover.mover_of(Move("m2", "acme", *CELLS, True, 1.0))
    assert isinstance(moved, PostgresMover | SqliteMover)
    assert isinstance(other, PostgresMover | SqliteMover)
    assert moved.settings.tenant_column == "account_id"
    assert moved.settings.left_out == (*MoverSettings().left_out, "visits", "public.visits")
    assert other.settings == MoverSettings()


def test_a_table_of_a_file_is_left_out_by_its_name_however_that_is_written(tmp_path: Path) -> None:
    ends = SqliteEnds(tmp_path)
    for end in (SOURCE, TARGET):
        with ends.executing(end) as execute:
            execute('CREATE TABLE "old.visits 1" (tenant_id TEXT NOT NULL PRIMARY KEY)')
    chosen = parse_config("tables: {leftOut: ['\"old.visits 1\"']}", Path()).tables
    assert '"old.visits 1"' in ends.mover().estimate().tables
    found = ends.mover(left_out=chosen.settings(MoverSettings()).left_out).estimate()
    assert set(found.tables) == {"orders", "lines", "visits"}
