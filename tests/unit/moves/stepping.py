"""A move whose steps do nothing but take a while, and a process that dies in the first."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cellplane.moves import workflow
from cellplane.moves.book import MoveBook
from cellplane.moves.driver import Driver
from cellplane.moves.move import Move, Phase

NEXT = {
    Phase.PLANNED: Phase.PREPARED,
    Phase.PREPARED: Phase.COPIED,
    Phase.COPIED: Phase.ABORTING,
    Phase.ABORTING: Phase.ABORTED,
}
STEP_SECONDS = 0.1


@dataclass
class Steps:
    """A driver that reaches one phase after the other and notes each step; in the first it may die."""

    book: MoveBook
    notes: Path
    dies: bool = False

    def persist(self, move_id: str) -> Move:
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        move = self.book.get(move_id)
        time.sleep(STEP_SECONDS)
        with self.notes.open("a") as notes:
            notes.write(f"{move.phase.value}\n")
        self.book.put(move.reached(NEXT[move.phase]))
        return self.book.get(move_id)


def die_in_a_step(book: MoveBook, notes: Path) -> None:
    workflow.run(cast(Driver, Steps(book, notes, dies=True)), book, "m1")
