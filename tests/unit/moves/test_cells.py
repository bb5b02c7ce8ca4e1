"""cells.yaml: the example of the manual is read, and what is wrong is said by its field, without a secret."""

import re
from pathlib import Path

import click
import pytest

from cellplane.cli.move_cells import cells_in
from cellplane.cli.mover import Mover
from cellplane.errors import ProvisionError
from cellplane.moves.cells import FILE, read_cells
from cellplane.moves.config import MovesConfig
from cellplane.moves.errors import MoveError
from cellplane.moves.move import Move
from cellplane.moves.postgres.mover import PostgresMover

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "moves.md"
SECRET = "postgresql://mover:s3cret@db-1.example.com/app"


def example() -> str:
    found = re.search(r"```yaml\n(control:.*?)```", MANUAL.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def write(folder: Path, text: str) -> Path:
    (folder / FILE).write_text(text)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the manual's example, and the files that it names."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cell-1.url").write_text(f"{SECRET}\n")
    (tmp_path / "secrets" / "cell-2-queue.url").write_text("nats://u:s3cret@nats-2.example.com:4222")
    return write(tmp_path, example())


def test_the_manuals_example_names_cells(folder: Path) -> None:
    found = cells_in(folder)
    assert found.control_url == "https://control.example.com:8443"
    assert found.databases["cell-1"] == SECRET
    assert found.databases.keys() == {"cell-1", "cell-2"}
    assert found.peer_databases.keys() == {"cell-2"}
    assert found.queues.keys() == {"cell-1", "cell-2"}
    assert found.records == {"cell-1": Path("/srv/cell-1/moves.record")}
    assert found.moves == folder / "moves"
    assert "s3cret" not in repr(found)


def test_other_cells_reach_a_database_by_its_peer_url(folder: Path) -> None:
    mover = Mover.__new__(Mover)
    mover.cells = read_cells(folder)
    moved = mover.mover_of(Move("m1", "acme", "cell-1", "cell-2", True, 1.0), MovesConfig())
    assert isinstance(moved, PostgresMover)
    assert (moved.source_url, moved.source_seen_from_target) == (SECRET, None)
    assert moved.target_seen_from_source == "postgresql://mover@10.0.2.7/app"
    assert "s3cret" not in repr(moved)


TWO = "control: http://c\ncells:\n  a: {database: 'postgresql://a'}\n  b: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: expected control and cells"),
        ("control: http://c\ncells: {a: {database: 'postgresql://a'}}", "cells: expected two cells or more, found 1"),
        (TWO + "{database: 'postgresql://b'}\nmore: 1", "no field is named 'more' here"),
        (TWO + "{databse: x}", "cells.b.databse: no field is named 'databse' here: did you mean database?"),
        (TWO + "{queue: 'nats://b'}", "cells.b.database: expected a URL, or databaseFile with one; found neither"),
        (TWO + "{database: 'postgresql://u:s3cret@b', databaseFile: f}", "database: databaseFile is there too"),
        (TWO + "{databaseFile: nothing.url}", "cells.b.databaseFile: "),
        (TWO + "{databaseFile: empty.url}", "empty.url is empty: expected a URL"),
        ("cells:\n  a: {database: 'x'}\n  b: {database: 'y'}", "control: expected a text, found nothing: add it"),
        ("cells: [a, b]\ncontrol: c", "cells: expected names and values, found"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "empty.url").write_text("\n")
    with pytest.raises(MoveError) as raised:
        read_cells(write(tmp_path, text))
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_folder_of_neither_kind_is_said_with_both_ways(tmp_path: Path) -> None:
    with click.Context(click.Command("x")), pytest.raises(ProvisionError, match=r"`cellplane demo`.*cells\.yaml"):
        cells_in(tmp_path)
