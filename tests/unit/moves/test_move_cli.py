"""`cellplane move` between cells of a cells.yaml, with a real control plane."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellplane.cli.move_cells import cells_in
from cellplane.provision.local.wishes import request_row
from cellplane.provision.values import CellRequest
from unit.moves.commanding import CELLS, Commands, commanding

DAY_SECONDS = 86_400.0


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    with commanding(tmp_path, monkeypatch) as fleet:
        fleet.ends.fill(20)
        yield fleet


def test_the_way_back_is_held_for_a_day_where_nobody_says(fleet: Commands) -> None:
    assert fleet.answer("acme", "cell-2", "--dry-run")["hold_seconds"] == DAY_SECONDS
    assert "The way back would be held for 24.0 h" in fleet.run("acme", "cell-2", "--dry-run").output
    assert fleet.answer("acme", "cell-2", "--dry-run", "--hold", "0")["hold_seconds"] == 0
    found = fleet.answer("batch", "merge", *CELLS, "--dry-run")
    assert (found["hold_seconds"], found["least_seconds"]) == (DAY_SECONDS, DAY_SECONDS), "two at once"
    one = fleet.run("batch", "merge", *CELLS, "--dry-run", "--at-once", "1")
    assert "each is held for 24.0 h and counts as one, so they take 48.0 h and more" in one.output
    none = fleet.run("batch", "merge", *CELLS, "--dry-run", "--hold", "0")
    assert "2 tenants would move. Nothing" in none.output


def test_a_local_fleet_holds_it_for_seconds(tmp_path: Path) -> None:
    members = {cell: {"request": request_row(CellRequest(cell)), "running": True} for cell in CELLS}
    ports = {f"{cell}.{part}": 1 for cell in CELLS for part in ("postgres", "nats")}
    found = {"control": "http://127.0.0.1:1", "cells": 2, "members": members, "ports": ports}
    (tmp_path / "endpoints.json").write_text(json.dumps(found))
    assert cells_in(tmp_path).hold_seconds == 10
