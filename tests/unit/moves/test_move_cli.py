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


def test_a_plan_says_how_long_it_takes_and_for_how_long_writes_wait(fleet: Commands) -> None:
    found = fleet.answer("acme", "cell-2", "--dry-run", "--shadow", "60")
    assert found["rows"] == 50
    assert found["expected"] == {
        "seconds": 62.001,
        "copy_seconds": 0.001,
        "compare_seconds": 0.001,
        "other_seconds": 62,
        "pause_seconds": 0.226,
        "pause_rare_seconds": 0.504,
        "pause_bound_seconds": 5,
    }
    slow = fleet.answer("acme", "cell-2", "--dry-run", "--rate", "0.001")["expected"]
    assert slow["copy_seconds"] == pytest.approx(found["bytes"] / 1_000)
    said = fleet.run("acme", "cell-2", "--dry-run", "--hours", "22:00-06:00").output
    assert "about 2 s within 22:00-06:00 UTC until the flip (copy 0 s, comparison 0 s)" in said
    assert "with writes waiting some 226 ms, rarely more than 504, and at most 5 s before it" in said
    begun = fleet.run("acme", "cell-2", "--hold", "0")
    assert begun.exit_code == 0, begun.output
    assert "(copy 0 s, comparison 0 s), with writes waiting some 226 ms" in begun.output.splitlines()[0]


def test_what_is_too_large_is_moved_by_force_alone(fleet: Commands) -> None:
    fleet.configure("limits: {rows: 49}")
    for words in (("--hold", "0"), ("--dry-run",)):
        refused = fleet.run("acme", "cell-2", *words)
        assert refused.exit_code == 1
        assert "acme has some 50 rows (0.0 MB), and more than 49 rows or 50.0 GB are not moved" in refused.output
        assert "then use --force; or raise limits in moves.yaml" in refused.output
    as_json = json.loads(fleet.run("acme", "cell-2", "--hold", "0", "--json").stdout)
    assert (as_json["refused"], as_json["rows"]) == ("too-large", 50)
    assert fleet.book.all() == []
    assert fleet.answer("acme", "cell-2", "--dry-run", "--force")["rows"] == 50
    assert fleet.run("acme", "cell-2", "--hold", "0", "--force").exit_code == 0
    assert fleet.cell_of("acme") == ["cell-2"]
