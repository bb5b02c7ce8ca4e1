"""Two cells of small databases in a folder with a cells.yaml, a real control plane, and the commands between them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.moves.book import MoveBook
from unit.control.serving import Api, serving
from unit.moves.ends import SOURCE, Ends, SqliteEnds

CELLS = ("cell-1", "cell-2")
TENANTS = ("acme", "globex")


@dataclass
class Commands:
    """What is commanded of the tenants ``TENANTS``, who are in ``cell-1``."""

    folder: Path
    api: Api
    ends: Ends

    def run(self, *words: str) -> Result:
        """``cellplane move …``, in this process."""
        return CliRunner().invoke(cli, ["move", *words, "--state", str(self.folder)])

    def answer(self, *words: str) -> Any:
        """What it says as JSON, where it succeeds."""
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """``cellplane move …``, in a process of its own, which is gone when the block ends."""
        command = [sys.executable, "-m", "cellplane.cli", "move", *words, "--state", str(self.folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    @property
    def book(self) -> MoveBook:
        return MoveBook(self.folder / "moves")

    def cell_of(self, tenant: str) -> list[str]:
        cells: list[str] = self.api.get(f"/v1/tenants/{tenant}").json()["cells"]
        return cells

    def rows_of(self, tenant: str) -> dict[str, list[tuple[Any, ...]]]:
        """At the source."""
        return self.ends.rows_of(SOURCE, tenant)

    def configure(self, text: str) -> None:
        """Let moves.yaml say this."""
        (self.folder / "moves.yaml").write_text(text)


@contextmanager
def commanding(folder: Path, monkeypatch: pytest.MonkeyPatch, ends: Ends | None = None) -> Iterator[Commands]:
    """Cells of SQLite files, or of other ends, with rows of both tenants, whom a control plane knows."""
    ends = ends or SqliteEnds(folder)
    with serving(folder / "control") as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        api.fill()
        for tenant in TENANTS:
            api.put_epoch(f"/v1/tenants/{tenant}", {"cell": CELLS[SOURCE]})
        lines = [f"control: http://127.0.0.1:{api.port}", "cells:"]
        lines += [f"  {cell}: {{database: '{url}'}}" for cell, url in zip(CELLS, ends.urls, strict=True)]
        (folder / "cells.yaml").write_text("\n".join(lines))
        yield Commands(folder, api, ends)
