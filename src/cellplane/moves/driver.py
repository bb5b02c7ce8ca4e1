"""Takes a move on, a step at a time. Whoever calls may die in any step: the next call goes on from what is so."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from cellplane.errors import CellplaneError, ControlPlaneError
from cellplane.moves.book import MoveBook, Progress
from cellplane.moves.errors import ChangedError, HookError, MoveError, NotInTimeError, NotTheSameError, StoreError
from cellplane.moves.hours import Hours
from cellplane.moves.move import WISHES, Move, Phase, Wish
from cellplane.moves.mover import Lag
from cellplane.moves.reports import RefusedMoveError, Reports, Untold, may_pass
from cellplane.moves.routes import Placed, Routes, placed_or_removed
from cellplane.moves.settings import DriverSettings
from cellplane.moves.shadowing import Seen
from cellplane.moves.steps import Steps

_MAY_END = frozenset({Phase.PLANNED, Phase.PREPARED, Phase.COPIED, Phase.FOLLOWING})
"""Phases whose next step may be ended in its middle: it is made anew, or taken back."""

_RELEASES = frozenset({Wish.RELEASE, Wish.RELEASE_ANYWAY})
_AT_ONCE = _RELEASES | {Wish.ROLLBACK}
"""What is wanted of one that is flipped, and waits for nobody who is to be told that it is."""

_NOT_BARRED = frozenset({Phase.FLIPPED, Phase.RETURNED})
"""Phases that go on where somebody could not be told of them: the way back, or slots that are to go, wait for nobody.
They are told again meanwhile, and where the move has cleaned up."""

_MAY_PAUSE, _BEFORE_THE_FLIP = WISHES[Wish.PAUSE], WISHES[Wish.ABORT]
_BY_THE_HOUR = frozenset({Phase.PREPARED, Phase.FOLLOWING, Phase.VERIFIED, Phase.SHADOWED})
"""Phases whose next step is a load on the cells, or holds writes: it begins in the move's hours."""

_ENDINGS = {Phase.ABORTING: Phase.ABORTED, Phase.RETURNED: Phase.ROLLED_BACK, Phase.RELEASED: Phase.DONE}


_CLEANING = frozenset(_ENDINGS)
_FOR_LONG = _CLEANING | {Phase.FENCED, Phase.FLIPPED}
"""Phases in which a mover does not give up: nobody may write, or something is left that must not stay."""


def _may_pass(error: Exception, phase: Phase) -> bool:
    """Whether the same step may do if it is made again."""
    if isinstance(error, ControlPlaneError):
        return phase in _FOR_LONG and may_pass(error)
    if isinstance(error, NotInTimeError):
        return phase in _CLEANING or phase is Phase.FENCED
    return isinstance(error, StoreError | OSError)


class WantedOtherwiseError(MoveError):
    """Somebody wants a step to end that is being made."""


@dataclass(frozen=True, slots=True)
class Look:
    """When something is looked at again that was not as it is to be.

    Attributes:
        at: when, Unix seconds.
        pause_seconds: since it was looked at.
    """

    at: float
    pause_seconds: float

    @classmethod
    def after(cls, last: "Look | None", now: float, settings: DriverSettings) -> "Look":
        """The next one behind another, later each time."""
        seconds = settings.look_min_seconds if last is None else 2 * last.pause_seconds
        seconds = min(seconds, settings.look_max_seconds)
        return cls(now + seconds, seconds)


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
        reports: whom each phase is told, before the next step begins.
    """

    book: MoveBook
    routes: Routes
    steps_of: Callable[[Move], Steps]
    settings: DriverSettings
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    reports: Reports = field(default_factory=Untold)
    looks: dict[str, Look] = field(default_factory=dict)
    """Move → when its way back is compared again, where that found a difference."""

    deaf: dict[str, Look] = field(default_factory=dict)
    """Move → when somebody is told again what it has reached, who could not be."""

    def advance(self, move_id: str) -> Move:
        """Make the next step of a move; returns what is reached then.

        The caller is the only one that works on it (``MoveBook.working_on``). A step that fails leaves the move where
        it was, with the reason in it, and raises. One that is to be paused returns as it is.
        """
        move = self.book.get(move_id)
        if move.phase.is_end:
            return move
        try:
            # First: what people want elsewhere comes back. That it is fenced was told before; now writes may wait.
            if move.phase is not Phase.FENCED:
                self.reports.reached(move)
            wish = self.book.wish(move_id)
            if wish is Wish.ABORT and move.phase in _BEFORE_THE_FLIP:
                reached = self._abort(move)
            elif wish is Wish.PAUSE and move.phase in _MAY_PAUSE:
                return move
            else:
                reached = self._step(move, wish)
            if reached.phase.is_end:
                # Before it is kept: nobody goes on with a move that has ended.
                self.reports.reached(reached)
        except RefusedMoveError as error:
            self.book.put(self._refused(self.book.get(move_id), str(error)))
            raise
        except WantedOtherwiseError:
            return self.book.get(move_id)
        except ChangedError:
            # What was asked for in vain, as it seemed, was done: what follows is another step.
            return self.book.get(move_id)
        except (CellplaneError, OSError) as error:
            self.book.put(replace(self.book.get(move_id), reason=str(error)))
            raise
        if reached.phase not in {move.phase, Phase.ABORTING} and reached.reason == move.reason:
            # Of a try before.
            reached = replace(reached, reason="")
        self.book.put(reached)
        try:
            reached = self._announced(reached, self.steps_of(reached))
        except CellplaneError as error:
            # What is reached stays so; who goes on tries again.
            self.book.put(replace(reached, reason=str(error)))
            raise
        return reached

    def persist(self, move_id: str) -> Move:
        """``advance``, and once more where a cell or the control plane could not be reached, with growing pauses: for
        long where giving up would leave the tenant without a writer, or a slot behind; else a few times. Wishes are
        heard between two tries, and the reason is with the move.
        """
        began, tries, seconds = self.clock(), 0, self.settings.retry_min_seconds
        while True:
            try:
                return self.advance(move_id)
            except (CellplaneError, OSError) as error:
                move, tries = self.book.get(move_id), tries + 1
                if move.phase in _FOR_LONG:
                    is_over = self.clock() - began > self.settings.retry_seconds
                else:
                    is_over = tries > self.settings.retry_tries
                is_paused = self.book.wish(move_id) is Wish.PAUSE and move.phase in _MAY_PAUSE
                if is_over or is_paused or not _may_pass(error, move.phase):
                    raise
            if self._wait(move, seconds):
                seconds = self.settings.retry_min_seconds
            else:
                seconds = min(2 * seconds, self.settings.retry_max_seconds)

    def _wait(self, move: Move, seconds: float) -> bool:
        """Wait before a step is made again; returns whether somebody wants another thing, which ends it."""
        until, wish, tell = self.clock() + seconds, self.book.wish(move.id), self._teller(move)
        while (left := until - self.clock()) > 0:
            tell(f"trying again in {left:.0f} s")
            if self.book.wish(move.id) is not wish:
                return True
            self.pause(min(left, self.settings.hold_poll_seconds))
        return self.book.wish(move.id) is not wish

    def _announced(self, move: Move, steps: Steps, wish: Wish = Wish.RUN) -> Move:
        """Tell those who are to know what is done; returns the move, with the reason where they could not be told and
        it goes on all the same.
        """
        told_again = self.deaf.get(move.id)
        if move.phase is Phase.FLIPPED and wish in _AT_ONCE:
            return move
        if move.phase in _NOT_BARRED and told_again is not None and self.clock() < told_again.at:
            return move
        try:
            steps.announce()
        except HookError as error:
            if move.phase not in _NOT_BARRED:
                raise
            self.deaf[move.id] = Look.after(told_again, self.clock(), self.settings)
            move = replace(move, reason=str(error))
            self.book.put(move)
            return move
        self.deaf.pop(move.id, None)
        return move

    def _step(self, move: Move, wish: Wish) -> Move:
        with self._steps(move) as steps:
            return self._made(move, steps, wish)

    @contextmanager
    def _steps(self, move: Move) -> Iterator[Steps]:
        steps = self.steps_of(move)
        try:
            yield steps
        finally:
            steps.mover.close()

    def _made(self, move: Move, steps: Steps, wish: Wish) -> Move:
        move = self._announced(move, steps, wish)
        tell = self._teller(move, may_end=move.phase in _MAY_END)
        if move.phase in _BY_THE_HOUR and move.hours:
            left = Hours.parse(move.hours).wait_seconds(self.clock())
            if left > 0:
                tell(f"waiting {left / 60:.0f} minutes for its hours, {move.hours} UTC")
                self.pause(min(left, self.settings.hold_poll_seconds))
                return move
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
                steps.follow(self._lag_teller(move))
                return move.reached(Phase.FOLLOWING)
            case Phase.FOLLOWING:
                steps.verify(lambda rows: tell("comparing", rows=rows))
                return move.reached(Phase.VERIFIED)
            case Phase.VERIFIED if move.shadow_seconds > 0 and move.shadow_compared is None:
                seen = steps.shadow(self._shadow_teller(move), partial(self._note_shadow, move.id))
                return self.book.get(move.id).reached(
                    Phase.SHADOWED,
                    shadow_compared=seen.compared,
                    shadow_differing=seen.differing + seen.unanswered,
                    shadow_too_large=seen.too_large,
                )
            case Phase.VERIFIED | Phase.SHADOWED:
                steps.require_active()
                tell("cutting over")
                return self._cut_over(replace(move, tries=move.tries + 1), steps)
            case Phase.FENCED:
                return self._behind_a_fence(move, steps)
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
            # Writes go on, and whoever wants another thing is heard.
            steps.get_close(self._lag_teller(move))
        except (NotInTimeError, NotTheSameError, StoreError) as error:
            return self._again(move, error)
        # Whoever finds this after a crash looks in the directory how far it came.
        fenced = move.reached(Phase.FENCED)
        # From here to the flip nobody is told anything: writes wait.
        self.reports.reached(fenced)
        self.book.put(fenced)
        steps = replace(steps, move=fenced)
        try:
            began = steps.hold_and_finish()
        except (CellplaneError, OSError) as error:
            # Where even this fails it stays fenced, and is mended by the next step.
            steps.stay()
            return self._again(fenced, error)
        return self._flipped(steps.arrive(steps.flip(), began))

    def _again(self, move: Move, error: Exception) -> Move:
        """What a move has reached that was not cut over; raises where it is not tried again by itself."""
        phase = Phase.VERIFIED if move.phase is Phase.FENCED else move.phase
        if isinstance(error, NotTheSameError):
            # It differs in the next try too, unless it is looked for and mended.
            phase = Phase.FOLLOWING
        back = move.reached(phase, reason=str(error))
        may_pass_by = isinstance(error, NotInTimeError | StoreError | NotTheSameError)
        if not may_pass_by or move.tries >= self.settings.cutover_tries:
            self.book.put(replace(back, tries=0))
            raise error
        self.pause(self.settings.cutover_pause_seconds)
        return back

    def _behind_a_fence(self, move: Move, steps: Steps) -> Move:
        """Who made it died: the directory says how far that came."""
        placed = self.routes.placed(move.tenant_id)
        if placed.cells == (move.target,):
            return self._found_flipped(steps, placed.epoch)
        if steps.was_open_there():
            # Somebody has assigned it back before anybody noted that it was flipped.
            return self._flipped(move)
        steps.stay(is_found=True)
        return move.reached(Phase.VERIFIED)

    def _refused(self, move: Move, reason: str) -> Move:
        """A move that may not begin has ended; any other is where it was."""
        if move.phase is Phase.PLANNED:
            return move.reached(Phase.REFUSED, reason=reason)
        return replace(move, reason=reason)

    def _found_flipped(self, steps: Steps, epoch: int) -> Move:
        # Who died may have asked to hold writes: that is done before this, or never.
        self.routes.let_writes(steps.move.tenant_id)
        return self._flipped(steps.arrive(epoch))

    def _flipped(self, move: Move) -> Move:
        return move.reached(Phase.FLIPPED, flipped=self.clock(), reason="")

    def _behind_the_flip(self, move: Move, steps: Steps, wish: Wish) -> Move:
        tell = self._teller(move)
        placed = self.routes.placed(move.tenant_id)
        if placed.cells == (move.source,):
            # A way back that was cut short behind its flip; or somebody assigned it, who knows nothing of the move.
            self.routes.let_writes(move.tenant_id)
            tell("bringing home what was written")
            return steps.come_home(placed.epoch)
        if wish is Wish.ROLLBACK or (move.is_returning and not placed.is_ours):
            # Of one that is suspended, too, what was begun is made to its end: a flip back that the dead have asked for
            # would come late only behind another change, and who is suspended is not changed.
            tell("rolling back")
            return self._roll_back(move, steps, placed)
        # A way back that was cut short before its flip, and is not wanted any more.
        try:
            steps.go_on_there()
        except StoreError:
            # Who gives the way back up, whatever it is, need not wait for a source that is down.
            if wish is not Wish.RELEASE_ANYWAY:
                raise
        move = replace(move, is_returning=False)
        left = move.flipped + move.hold_seconds - self.clock()
        if left > 0 and wish not in _RELEASES:
            move = self._hold(move, steps, left)
            self.pause(min(left, self.settings.hold_poll_seconds))
            return move
        steps.before("release")
        is_unchecked = wish is Wish.RELEASE_ANYWAY
        if not is_unchecked:
            steps.check_before_release(lambda rows: tell("comparing a last time", rows=rows))
        self.looks.pop(move.id, None)
        return move.reached(Phase.RELEASED, reason="", is_unchecked=is_unchecked)

    def _hold(self, move: Move, steps: Steps, left: float) -> Move:
        """Look once whether the way back is open, and short; the reason says where it is not."""
        tell = self._teller(move)
        tell(f"holding the way back for {left:.0f} s")
        look = self.looks.get(move.id)
        try:
            # Something that differs is compared again and again, with all the rest: seldom.
            if steps.way_back_is_long() and (look is None or self.clock() >= look.at):
                steps.keep_way_back(lambda rows: tell("comparing, so that the way back stays short", rows=rows))
                look = None
        except NotTheSameError as error:
            self.looks[move.id] = Look.after(look, self.clock(), self.settings)
            # Who wants the way back hears why it is barred; who gives it up, before anything is deleted.
            return replace(move, reason=f"{move.source} is not what {move.target} is: {error}")
        except MoveError as error:
            return replace(move, reason=str(error))
        if look is not None or move.id in self.deaf:
            return move
        self.looks.pop(move.id, None)
        return replace(move, reason="")

    def _roll_back(self, move: Move, steps: Steps, placed: Placed) -> Move:
        # Whoever finds this after a crash ends what was begun.
        returning = replace(move, is_returning=True)
        self.book.put(returning)
        steps = replace(steps, move=returning)
        try:
            began = steps.hold_and_finish_back()
        except (CellplaneError, OSError):
            # Where even this fails, a hold may still come late; and a flip back of one that is suspended.
            steps.go_on_there()
            self.book.put(replace(move, is_returning=move.is_returning and not placed.is_ours))
            raise
        return steps.flip_back(began)

    def _abort(self, move: Move) -> Move:
        with self._steps(move) as steps:
            if move.phase is Phase.FENCED:
                placed = placed_or_removed(self.routes, move.tenant_id)
                if placed.cells == (move.target,):
                    # Too late: it is the target's. What is wanted now is the way back.
                    self.book.ask(move.id, Wish.ROLLBACK)
                    return self._found_flipped(steps, placed.epoch)
                if steps.was_open_there():
                    return self._flipped(move)
            steps.give_up()
            try:
                steps.before("abort")
            except CellplaneError as error:
                # Who refuses it leaves the move as it was, and writes go on.
                if move.phase is Phase.FENCED:
                    self.book.put(move.reached(Phase.VERIFIED, reason=str(error)))
                raise
        return move.reached(Phase.ABORTING)

    def _lag_teller(self, move: Move) -> Callable[[Lag], None]:
        """Notes how far the target is behind, as long as no write waits; it ends where somebody wants that."""
        tell = self._teller(move, may_end=True)

        def told(lag: Lag) -> None:
            tell("waiting until the target is close", lag_seconds=lag.seconds)

        return told

    def _note_shadow(self, move_id: str, *, has_shadow: bool) -> None:
        """Keep whether there may be one: whoever goes on ends that one, and none that the tenant has of its own."""
        self.book.put(replace(self.book.get(move_id), has_shadow=has_shadow))

    def _shadow_teller(self, move: Move) -> Callable[[Seen, float], None]:
        """Notes what comparing answers came to so far; it ends where somebody wants that."""
        tell = self._teller(move, may_end=True)

        def told(seen: Seen, left: float) -> None:
            wrong = seen.differing + seen.unanswered
            doing = f"comparing answers for {left:.0f} s more" if left > 0 else "waiting for the last answers"
            tell(f"{doing}: {seen.compared} so far, {wrong} of them differ")

        return told

    def _teller(self, move: Move, *, may_end: bool = False) -> Callable[..., None]:
        """Notes how far a step is, now and then, and ends it where it may end and somebody wants that."""
        began, last = self.clock(), 0.0

        def tell(doing: str, rows: int = 0, bytes: int = 0, lag_seconds: float | None = None) -> None:  # noqa: A002  # as in Progress
            nonlocal last
            now = self.clock()
            if abs(now - last) < self.settings.progress_seconds:
                return
            last = now
            progress = Progress(
                doing,
                rows,
                bytes,
                move.rows_expected,
                move.bytes_expected,
                lag_seconds,
                eta_seconds(rows, move.rows_expected, now - began, bytes, move.bytes_expected),
            )
            self.book.tell(move.id, progress)
            self.reports.going(move, progress)
            if may_end and self.book.wish(move.id) in {Wish.ABORT, Wish.PAUSE}:
                raise WantedOtherwiseError("somebody wants another thing now")

        return tell


def eta_seconds(rows: int, rows_expected: int, seconds: float, size: int = 0, size_expected: int = 0) -> float | None:
    """How long a step goes on that has done some of its rows in so many seconds; None where nobody can say.

    By bytes where these are known too: one row may be as large as a thousand others. Both are expected as they are
    stored; where more came than that, rows alone say something.
    """
    for done, expected in ((size, size_expected), (rows, rows_expected)):
        if 0 < done < expected and seconds > 0:
            return (expected - done) * seconds / done
    return None
