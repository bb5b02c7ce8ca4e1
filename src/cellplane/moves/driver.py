"""Takes a move on, a step at a time. Whoever calls may die in any step: the next call goes on from what is so."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cellplane.errors import CellplaneError
from cellplane.moves.book import MoveBook, Progress
from cellplane.moves.errors import MoveError, NotInTimeError, StoreError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.routes import Routes
from cellplane.moves.settings import DriverSettings
from cellplane.moves.steps import Steps

_MAY_END = frozenset({Phase.PLANNED, Phase.PREPARED, Phase.COPIED, Phase.FOLLOWING})
"""Phases whose next step may be ended in its middle: it is made anew, or taken back."""

_MAY_PAUSE = _MAY_END | {Phase.VERIFIED}
_BEFORE_THE_FLIP = _MAY_PAUSE | {Phase.FENCED}
_ENDINGS = {Phase.ABORTING: Phase.ABORTED, Phase.RETURNED: Phase.ROLLED_BACK, Phase.RELEASED: Phase.DONE}


class WantedOtherwiseError(MoveError):
    """Somebody wants a step to end that is being made."""


@dataclass(frozen=True, slots=True)
class Driver:
    """Makes one step after the other.

    Args:
        book: where moves are kept.
        routes: of the tenant's requests.
        steps_of: gives a move its steps.
        settings: how often things are looked at and tried.
        clock: Unix seconds.
        pause: waits so many seconds.
    """

    book: MoveBook
    routes: Routes
    steps_of: Callable[[Move], Steps]
    settings: DriverSettings
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep

    def advance(self, move_id: str) -> Move:
        """Make the next step of a move; returns what is reached then.

        The caller is the only one that works on it (``MoveBook.working_on``). A step that fails leaves the move where
        it was, with the reason in it, and raises. One that is to be paused returns as it is.
        """
        move = self.book.get(move_id)
        if move.phase.is_end:
            return move
        wish = self.book.wish(move_id)
        try:
            if wish is Wish.ABORT and move.phase in _BEFORE_THE_FLIP:
                reached = self._abort(move)
            elif wish is Wish.PAUSE and move.phase in _MAY_PAUSE:
                return move
            else:
                reached = self._step(move, wish)
        except WantedOtherwiseError:
            return self.book.get(move_id)
        except (CellplaneError, OSError) as error:
            self.book.put(replace(self.book.get(move_id), reason=str(error)))
            raise
        self.book.put(reached)
        try:
            self.steps_of(reached).announce()
        except CellplaneError as error:
            # What is reached stays so; who goes on tries again.
            self.book.put(replace(reached, reason=str(error)))
            raise
        return reached

    def _step(self, move: Move, wish: Wish) -> Move:
        steps = self.steps_of(move)
        steps.announce()
        tell = self._teller(move, may_end=move.phase in _MAY_END)
        match move.phase:
            case Phase.PLANNED:
                tell("preparing")
                steps.prepare()
                return move.reached(Phase.PREPARED)
            case Phase.PREPARED:
                steps.copy(lambda rows, count: tell("copying", rows=rows, bytes=count))
                return move.reached(Phase.COPIED)
            case Phase.COPIED:
                tell("catching up")
                steps.follow()
                return move.reached(Phase.FOLLOWING)
            case Phase.FOLLOWING:
                steps.verify(lambda rows: tell("comparing", rows=rows))
                return move.reached(Phase.VERIFIED)
            case Phase.VERIFIED:
                tell("cutting over")
                # Whoever finds this after a crash looks in the directory how far it came.
                fenced = move.reached(Phase.FENCED, tries=move.tries + 1)
                self.book.put(fenced)
                return self._cut_over(fenced, self.steps_of(fenced))
            case Phase.FENCED:
                placed = self.routes.placed(move.tenant_id)
                if placed.cells == (move.target,):
                    return self._flipped(steps.arrive(placed.epoch))
                steps.stay()
                return move.reached(Phase.VERIFIED)
            case Phase.FLIPPED:
                return self._behind_the_flip(move, steps, wish)
            case Phase.ABORTING | Phase.RETURNED | Phase.RELEASED:
                tell("cleaning up")
                steps.clean_up(lambda rows: tell("cleaning up", rows=rows))
                return move.reached(_ENDINGS[move.phase])
            case _:
                raise MoveError(f"nothing follows {move.phase.value}")

    def _cut_over(self, move: Move, steps: Steps) -> Move:
        try:
            began = steps.hold_and_finish()
        except (CellplaneError, OSError) as error:
            # Where even this fails it stays fenced, and is mended by the next step.
            steps.stay()
            back = move.reached(Phase.VERIFIED, reason=str(error))
            if not isinstance(error, NotInTimeError | StoreError) or move.tries >= self.settings.cutover_tries:
                self.book.put(replace(back, tries=0))
                raise
            self.pause(self.settings.cutover_pause_seconds)
            return back
        return self._flipped(steps.arrive(steps.flip(), began))

    def _flipped(self, move: Move) -> Move:
        return move.reached(Phase.FLIPPED, flipped=self.clock(), reason="")

    def _behind_the_flip(self, move: Move, steps: Steps, wish: Wish) -> Move:
        tell = self._teller(move)
        placed = self.routes.placed(move.tenant_id)
        if placed.cells == (move.source,):
            # A way back that was cut short behind its flip.
            steps.return_home(placed.epoch)
            return move.reached(Phase.RETURNED)
        if wish is Wish.ROLLBACK:
            tell("rolling back")
            steps.roll_back()
            return move.reached(Phase.RETURNED)
        # A way back that was cut short before its flip, and is not wanted any more.
        steps.go_on_there()
        left = move.flipped + move.hold_seconds - self.clock()
        if left > 0 and wish is not Wish.RELEASE:
            tell(f"holding the way back for {left:.0f} s")
            self.pause(min(left, self.settings.hold_poll_seconds))
            return move
        steps.before("release")
        return move.reached(Phase.RELEASED)

    def _abort(self, move: Move) -> Move:
        steps = self.steps_of(move)
        steps.before("abort")
        if move.phase is Phase.FENCED:
            placed = self.routes.placed(move.tenant_id)
            if placed.cells == (move.target,):
                # Too late: it is the target's. What is wanted now is the way back.
                self.book.ask(move.id, Wish.ROLLBACK)
                return self._flipped(steps.arrive(placed.epoch))
        steps.stay()
        return move.reached(Phase.ABORTING)

    def _teller(self, move: Move, *, may_end: bool = False) -> Callable[..., None]:
        """Notes how far a step is, now and then, and ends it where it may end and somebody wants that."""
        last = 0.0

        def tell(doing: str, rows: int = 0, bytes: int = 0) -> None:  # noqa: A002  # as in Progress
            nonlocal last
            now = self.clock()
            if abs(now - last) < self.settings.progress_seconds:
                return
            last = now
            self.book.tell(move.id, Progress(doing, rows, bytes))
            if may_end and self.book.wish(move.id) in {Wish.ABORT, Wish.PAUSE}:
                raise WantedOtherwiseError("somebody wants another thing now")

        return tell
