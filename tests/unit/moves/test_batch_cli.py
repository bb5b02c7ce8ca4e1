"""`cellplane move batch` leaves what people pause, and goes on with what has not ended."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cellplane.moves.batch import Batch, BatchBook, Item, State
from cellplane.moves.move import Move, Phase
from cellplane.moves.settings import BatchSettings
from unit.control.serving import eventually
from unit.moves.commanding import CELLS, TENANTS, Commands, commanding
from unit.moves.ends import TARGET

TENANT, WAY = TENANTS[0], ("cell-1", "cell-2")


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """With one tenant in the first cell."""
    with commanding(tmp_path, monkeypatch) as fleet:
        fleet.ends.fill(20)
        fleet.api.put_epoch(f"/v1/tenants/{TENANTS[1]}", {"cell": CELLS[TARGET]})
        yield fleet


def not_now() -> str:
    """Hours in which a move may work, and now is none of them: so it stands still, prepared."""
    now = datetime.now(UTC)
    return f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=4):%H:%M}"


def the_batch(fleet: Commands) -> Any:
    (found,) = fleet.answer("batch", "status")["items"]
    return found


def the_move(fleet: Commands) -> Move:
    (found,) = fleet.book.all()
    return found


def test_what_is_paused_is_left_as_it_is_and_goes_on_under_its_id(fleet: Commands) -> None:
    before = fleet.rows_of(TENANT)
    with fleet.running("batch", "merge", *WAY, "--hours", not_now(), "--hold", "0") as process:
        eventually(
            lambda: [move.phase for move in fleet.book.all()] == [Phase.PREPARED], "it waits for its hours", seconds=60
        )
        paused = the_move(fleet)
        assert fleet.run("pause", paused.id).exit_code == 0
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "goes on with those that pause" in said
    found = the_batch(fleet)
    assert {state: count for state, count in found["counts"].items() if count} == {"paused": 1}
    assert the_move(fleet).phase is Phase.PREPARED, "nobody aborted it"
    assert "1 paused" in fleet.run("batch", "status").output
    fleet.book.put(replace(paused, hours=""))
    resumed = fleet.run("batch", "resume", found["id"])
    assert resumed.exit_code == 0, resumed.output
    assert (the_move(fleet).id, the_move(fleet).phase) == (paused.id, Phase.DONE)
    assert the_batch(fleet)["counts"]["done"] == 1
    assert fleet.cell_of(TENANT) == ["cell-2"]
    assert fleet.ends.rows_of(TARGET, TENANT) == before
    assert not any(fleet.rows_of(TENANT).values())


@pytest.mark.long
def test_what_failed_before_it_began_is_tried_again_as_another_move(fleet: Commands) -> None:
    with fleet.ends.executing(TARGET) as execute:
        execute("ALTER TABLE lines RENAME TO elsewhere")
    failed = fleet.run("batch", "merge", *WAY, "--hold", "0")
    assert failed.exit_code == 1
    (first,) = the_batch(fleet)["items"]
    assert (first["state"], "the cells' schemas differ" in first["reason"]) == ("failed", True)
    with fleet.ends.executing(TARGET) as execute:
        execute("ALTER TABLE elsewhere RENAME TO lines")
    resumed = fleet.run("batch", "resume", the_batch(fleet)["id"])
    assert resumed.exit_code == 0, resumed.output
    assert the_batch(fleet)["counts"]["done"] == 1
    assert the_move(fleet).id != first["move_id"]


def test_one_process_alone_makes_a_batch(fleet: Commands) -> None:
    book = BatchBook(fleet.folder / "batches")
    book.put(Batch("b1", "merge", 0.0, (Item("m1", TENANT, *WAY, State.FAILED),), BatchSettings()))
    with book.working_on("b1"):
        refused = fleet.run("batch", "resume", "b1")
    assert refused.exit_code == 1
    assert "another process makes the batch b1: `cellplane move batch status b1`" in refused.output
    assert book.get("b1").items[0].state is State.FAILED


@pytest.mark.long
def test_who_is_too_large_is_no_failure_and_moves_when_that_is_forced(fleet: Commands) -> None:
    fleet.configure("limits: {rows: 1}")
    refused = fleet.run("batch", "merge", *WAY, "--hold", "0", "--max-failures", "1")
    assert refused.exit_code == 1
    found = the_batch(fleet)
    assert {state: count for state, count in found["counts"].items() if count} == {"refused": 1}
    assert not found["is_stopped"]
    assert "1 × acme has some 50 rows" in refused.output
    assert fleet.book.all() == []
    forced = fleet.run("batch", "resume", found["id"], "--force")
    assert forced.exit_code == 0, forced.output
    assert the_batch(fleet)["counts"]["done"] == 1
