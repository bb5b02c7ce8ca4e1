"""Runs a move as a durable workflow: DBOS knows which steps were made, and goes on behind the last after a crash."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from cellplane.errors import CellplaneError
from cellplane.moves.book import MoveBook
from cellplane.moves.driver import Driver
from cellplane.moves.move import Move, Phase, Wish

DATABASE = "workflow.sqlite"
"""Name of the workflow's database, in the folder of its move."""

MAX_STEPS = 100
"""Most steps of one move: each cut-over that did not come in time is two."""

_ENDED = frozenset({"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})
"""States of a workflow with which DBOS does not go on."""


def run(driver: Driver, book: MoveBook, move_id: str) -> Move:
    """Take a move to its end, or to where somebody wants it to pause; again after a crash, from where it was.

    Args:
        driver: makes the steps.
        book: where the move is kept.
        move_id: which.

    Returns:
        The move as it is then; where a step failed it is where it was, with the reason.
    """
    with _launched(book.root / move_id / DATABASE):

        @DBOS.step(name="look where it is")
        def look() -> str:
            return book.get(move_id).phase.value

        @DBOS.step(name="reach the next phase")
        def reach_next(phase: str) -> str | None:
            reached = _next(driver, book, move_id, Phase(phase))
            return None if reached is None else reached.value

        @DBOS.workflow(name="move")
        def move() -> None:
            phase = look()
            for _ in range(MAX_STEPS):
                reached = reach_next(phase)
                if reached is None or Phase(reached).is_end:
                    break
                phase = reached

        # Goes on by itself with what a process that died was at.
        DBOS.launch()
        last = f"{move_id}-{book.attempts(move_id)}"
        status = DBOS.get_workflow_status(last)
        # What it goes on with by itself is pending, and for a moment enqueued: a second would work beside it.
        if status is not None and status.status not in _ENDED:
            DBOS.retrieve_workflow(last).get_result()
        else:
            with SetWorkflowID(f"{move_id}-{book.begin_attempt(move_id)}"):
                DBOS.start_workflow(move).get_result()
    return book.get(move_id)


def _next(driver: Driver, book: MoveBook, move_id: str, phase: Phase) -> Phase | None:
    """Advance until another phase is reached; None where somebody wants a pause, or a step failed."""
    move = book.get(move_id)
    # What a step reached before a crash is in the book, also where DBOS does not know it.
    while move.phase is phase and not move.phase.is_end:
        try:
            move = driver.persist(move_id)
        except (CellplaneError, OSError):
            # The book has the reason, for whoever asked.
            return None
        if move.phase is phase and book.wish(move_id) is Wish.PAUSE:
            return None
    return move.phase


@contextmanager
def _launched(database: Path) -> Iterator[None]:
    config: DBOSConfig = {
        "name": "cellplane-move",
        "system_database_url": f"sqlite:///{database}",
        "log_level": "ERROR",
        # The steps find out what is so: a newer release goes on with what an older one began.
        "application_version": "1",
        "executor_id": "mover",
    }
    DBOS(config=config)
    try:
        yield
    finally:
        DBOS.destroy(destroy_registry=True)
