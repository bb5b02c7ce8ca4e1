"""The examples of ``docs/sdk-data.md`` run, in their order, against a real PostgreSQL."""

import re
from pathlib import Path
from typing import Any

import pytest

from cellplane.cell.data import RowGuard
from unit.cell.data.conftest import CellDatabase

PAGE = Path(__file__).resolve().parents[4] / "docs" / "sdk-data.md"


def blocks(language: str) -> list[tuple[int, str]]:
    """Code of the page, each with the line before it begins."""
    text = PAGE.read_text()
    return [
        (text.count("\n", 0, found.start(1)), found[1])
        for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def test_the_examples_run(database: CellDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [(_, manifest)] = blocks("toml")
    own = manifest.replace('"db-1"', f'"127.0.0.1:{database.server.port}"').replace("orders", database.name)
    (tmp_path / "cell.toml").write_text(own)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLPLANE_CELL_ID", "cell-1")
    monkeypatch.setenv("CELLPLANE_DATABASE_URL", database.conninfo)
    monkeypatch.setenv("CELLPLANE_NATS_URL", "nats://nats-1")
    monkeypatch.setenv("OWNER_URL", database.owner)
    names: dict[str, Any] = {"__name__": "page"}
    examples = blocks("python")
    assert len(examples) == 9
    for line, example in examples:
        exec(compile("\n" * line + example, str(PAGE), "exec"), names)
    names["engine"].dispose()
    assert isinstance(names["RowGuard"], type(RowGuard))
