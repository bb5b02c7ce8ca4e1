"""What becomes of a tenant of a batch by what became of its move."""

from dataclasses import replace

import pytest

from cellplane.moves.batch import Item, State
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.outcomes import again, came_of, must_abort

ITEM = Item("m1", "acme", "cell-1", "cell-2", State.MOVING)
MOVE = Move("m1", "acme", "cell-1", "cell-2", True, 0.0)
PAUSES = {Phase.PLANNED, Phase.PREPARED, Phase.COPIED, Phase.FOLLOWING, Phase.VERIFIED, Phase.SHADOWED}


@pytest.mark.parametrize("phase", list(Phase))
def test_a_move_that_is_paused_is_left_and_one_that_failed_before_its_flip_is_aborted(phase: Phase) -> None:
    move = replace(MOVE, phase=phase, reason="a table is not there")
    paused = came_of(ITEM, move, Wish.PAUSE)
    assert (paused.state is State.PAUSED) == (phase in PAUSES)
    assert must_abort(move, Wish.PAUSE) == (phase in {Phase.FENCED, Phase.ABORTING}), "nobody pauses where writes wait"
    assert must_abort(move, Wish.RUN) == (phase in PAUSES | {Phase.FENCED, Phase.ABORTING})
    failed = came_of(ITEM, move, Wish.RUN)
    if phase is not Phase.DONE:
        assert (failed.state, failed.reason) == (State.FAILED, "a table is not there")
        assert came_of(ITEM, replace(move, reason=""), Wish.RUN).reason == f"it is {phase.value}"


def test_one_that_is_done_says_for_how_long_its_writes_waited() -> None:
    done = came_of(replace(ITEM, reason="earlier"), replace(MOVE, phase=Phase.DONE, pause_seconds=0.3), Wish.RUN)
    assert done == replace(ITEM, state=State.DONE, pause_seconds=0.3)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("state", [State.PAUSED, State.REFUSED, State.FAILED])
def test_the_id_stays_while_its_move_has_not_ended(phase: Phase, state: State) -> None:
    found = again(replace(ITEM, state=state, reason="no"), replace(MOVE, phase=phase, pause_seconds=0.3), lambda: "m2")
    if phase is Phase.DONE:
        assert found == replace(ITEM, state=State.DONE, pause_seconds=0.3)
    else:
        assert found == replace(ITEM, move_id="m2" if phase.is_end else "m1", state=State.WAITING)


def test_one_without_a_move_gets_another_id() -> None:
    assert again(replace(ITEM, state=State.FAILED), None, lambda: "m2") == replace(
        ITEM, move_id="m2", state=State.WAITING
    )
