"""A move as a durable workflow: whoever goes on with it after a crash is alone at it."""

import multiprocessing
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from dbos import DBOS

from cellplane.moves import workflow
from cellplane.moves.book import MoveBook
from cellplane.moves.driver import Driver
from cellplane.moves.move import Move, Phase
from unit.moves.stepping import Steps, die_in_a_step

RECOVERY_SECONDS = 0.3


def test_one_alone_goes_on_with_a_move_whose_process_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, notes = MoveBook(tmp_path / "moves"), tmp_path / "notes"
    book.add(Move("m1", "acme", "cell-1", "cell-2", True, 0.0))
    first = multiprocessing.get_context("spawn").Process(target=die_in_a_step, args=(book, notes))
    first.start()
    first.join(30)
    assert first.exitcode == -signal.SIGKILL
    launch: Callable[[], None] = DBOS.launch

    def slowly() -> None:
        launch()
        time.sleep(RECOVERY_SECONDS)

    # What DBOS goes on with by itself it takes up in a thread, sooner or later.
    monkeypatch.setattr(DBOS, "launch", slowly)
    moved = workflow.run(cast(Driver, Steps(book, notes)), book, "m1")
    assert moved.phase is Phase.ABORTED
    assert notes.read_text().split() == ["planned", "prepared", "copied", "aborting"], "each step was made once"
    assert book.attempts("m1") == 1
