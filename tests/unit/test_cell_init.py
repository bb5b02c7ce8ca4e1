"""`cellplane cell init` makes a service's files, and takes nothing away that is there."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.scaffold import MAX_NAME_CHARS, Project

FILES = {
    *(".dockerignore", ".gitignore", "Dockerfile", "README.md", "cell.toml", "config.json", "pyproject.toml"),
    *(f"order_history/{name}.py" for name in ("__init__", "app", "items", "routes", "settings")),
    *(f"tests/{name}.py" for name in ("conftest", "test_cell", "test_items")),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(cli, ["cell", "init", *words])


def refused(*words: str) -> str:
    result = init(*words)
    assert result.exit_code == 1, result.output
    assert not isinstance(result.exception, Exception), result.exception
    return result.stderr


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_has_every_file(folder: Path) -> None:
    result = init("order-history")
    assert result.exit_code == 0, result.output
    found = contents(folder / "order-history")
    assert found.keys() == FILES
    assert not [path for path, text in found.items() if "${" in text]
    assert all(f"created   order-history/{path}\n" in result.output for path in FILES)
    assert "cd order-history" in result.output


def test_folder_and_package_can_be_named(folder: Path) -> None:
    result = init("order-history", "--folder", "services/orders", "--package", "orders", "--json")
    assert json.loads(result.output) == {
        "name": "order-history",
        "package": "orders",
        "folder": "services/orders",
        "created": sorted(path.replace("order_history/", "orders/") for path in FILES),
        "replaced": [],
        "unchanged": [],
    }
    assert "from orders.items import" in (folder / "services/orders/orders/app.py").read_text()


def test_the_current_folder_will_do_while_it_is_empty(folder: Path) -> None:
    (folder / ".git").mkdir()
    assert init("order-history", "--folder", ".").exit_code == 0
    assert contents(folder).keys() == FILES


@pytest.mark.parametrize("name", ["", "Orders", "2nd", "a_b", "a--b", "-a", "a-", "ä", "a b", "a.b", "../a", "a" * 41])
def test_a_name_that_cannot_be_one_is_refused(name: str, folder: Path) -> None:
    said = refused("--", name)
    assert said.startswith("error: name: expected")
    assert f"found {name[:80]!r}" in said
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "a word of Python"),
        ("match", "a word of Python"),
        ("json", "would hide a module"),
        ("fastapi", "would hide a module"),
        ("prometheus-client", "would hide a module"),
        ("tests", "would hide a module"),
    ],
)
def test_a_name_that_no_package_can_have_needs_another(name: str, reason: str, folder: Path) -> None:
    said = refused(name)
    assert reason in said
    assert "name another by --package" in said
    assert not list(folder.iterdir())
    assert init(name, "--package", "orders").exit_code == 0


@pytest.mark.parametrize("package", ["", "a-b", "_a", "a__b", "Orders", "os", "a" * 41])
def test_a_package_that_cannot_be_one_is_refused(package: str, folder: Path) -> None:
    assert refused("orders", "--package", package).startswith("error: package: ")
    assert not list(folder.iterdir())


def test_the_longest_name_will_do() -> None:
    assert Project.named("a" * MAX_NAME_CHARS).package == "a" * MAX_NAME_CHARS


def test_a_folder_that_is_not_empty_is_left_alone(folder: Path) -> None:
    (folder / "orders").mkdir()
    (folder / "orders" / "notes.txt").write_text("mine")
    said = refused("orders")
    assert "found notes.txt" in said
    assert "--force" in said
    assert contents(folder / "orders") == {"notes.txt": "mine"}


def test_by_force_files_are_replaced_and_named_and_others_stay(folder: Path) -> None:
    init("orders")
    (folder / "orders" / "notes.txt").write_text("mine")
    (folder / "orders" / "README.md").write_text("mine")
    (folder / "orders" / "Dockerfile").unlink()
    before = contents(folder / "orders")
    result = init("orders", "--force", "--json")
    said = json.loads(result.output)
    assert (said["created"], said["replaced"]) == (["Dockerfile"], ["README.md"])
    assert len(said["unchanged"]) == len(FILES) - 2
    assert contents(folder / "orders") == before | {
        path: text for path, text in Project.named("orders").files().items() if path in {"Dockerfile", "README.md"}
    }
    assert "replaced" not in init("orders", "--force").output


def test_a_file_is_no_folder(folder: Path) -> None:
    (folder / "orders").write_text("mine")
    for words in (["orders"], ["orders", "--force"], ["orders", "--folder", "orders/below"]):
        assert "orders: " in refused(*words)
    assert (folder / "orders").read_text() == "mine"


def test_nothing_is_written_through_a_link(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "app.py").write_text("mine")
    (folder / "orders").mkdir()
    (folder / "orders" / "orders").symlink_to(folder / "elsewhere")
    (folder / "orders" / "README.md").symlink_to(folder / "elsewhere" / "app.py")
    said = refused("orders", "--force")
    assert "found a link" in said
    assert contents(folder / "elsewhere") == {"app.py": "mine"}
    assert not (folder / "orders" / "Dockerfile").exists()


def test_what_is_in_the_way_is_named_before_anything_is_written(folder: Path) -> None:
    (folder / "orders" / "README.md").mkdir(parents=True)
    assert "orders/README.md: expected a file" in refused("orders", "--force")
    (folder / "orders" / "README.md").rmdir()
    (folder / "orders" / "tests").write_text("mine")
    assert "orders/tests: expected a folder" in refused("orders", "--force")
    assert contents(folder / "orders") == {"tests": "mine"}


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    assert "/proc/self/orders" in refused("orders", "--folder", "/proc/self/orders")


def test_files_can_be_read_as_the_umask_lets_them(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        init("orders")
    finally:
        os.umask(before)
    assert (folder / "orders" / "README.md").stat().st_mode & 0o777 == 0o640
