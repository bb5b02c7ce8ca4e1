"""One shadow of a move, from its begin to what it came to."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cellplane.errors import ControlPlaneError
from cellplane.moves.errors import ChangedError, MoveError
from cellplane.moves.move import Move
from cellplane.moves.settings import ShadowSettings
from cellplane.moves.shadowing import OURS, Note, Seen, Shadows, Sight, Tally


@dataclass
class ShadowWatch:
    """Begins it, counts while it lasts, and ends it.

    Args:
        move: of which move.
        shadows: who lets the target shadow the source.
        settings: how often that is looked at.
        note: keeps whether the tenant's policy may say this shadow.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    move: Move
    shadows: Shadows
    settings: ShadowSettings
    note: Note
    monotonic: Callable[[], float]
    pause: Callable[[float], None]

    def __post_init__(self) -> None:
        self._tally = Tally(Sight())

    def begin(self) -> int:
        """Let it begin; returns the epoch. Raises as ``Shadows.begin`` does."""
        self._tally = Tally(self.shadows.look(self.move))
        return self.shadows.begin(self.move, self._note)

    def watch(self, told: Callable[[Seen, float], None]) -> None:
        """Count for as long as the move says.

        Args:
            told: hears what was compared so far, and for how many seconds it goes on.

        Raises:
            MoveError: somebody has taken the shadow away.
        """
        began = self.monotonic()
        while (left := self.move.shadow_seconds - (self.monotonic() - began)) > 0:
            with suppress(ControlPlaneError):
                # What is counted meanwhile is there when it answers again.
                self._look()
                self.require(is_on=self.shadows.is_on(self.move))
            told(self._seen, left)
            self.pause(min(left, self.settings.poll_seconds))

    def end(self) -> bool:
        """End it, where it may have begun; returns whether it was on until now. Tries for a while.

        Raises:
            ControlPlaneError: the control plane does not take it.
            MoveError: others change the tenant all the while.
        """
        if not self.move.has_shadow:
            return False
        began, may_be_done = self.monotonic(), False
        while True:
            try:
                was_on = self.shadows.end(self.move) or may_be_done
            except (ControlPlaneError, ChangedError) as error:
                if self.monotonic() - began > self.settings.end_seconds:
                    if isinstance(error, ControlPlaneError):
                        raise
                    # And no ChangedError, behind which all of it would be made anew.
                    raise MoveError(
                        f"{self.move.tenant_id} was changed by others all the while, for "
                        f"{self.settings.end_seconds:g} s, so that its shadow did not end: resume the move when that "
                        "is over"
                    ) from error
                may_be_done = may_be_done or isinstance(error, ControlPlaneError)
            else:
                if was_on:
                    # Each change is of a version: what the dead asked for before this one comes too late.
                    self._note(has_shadow=False)
                return was_on
            self.pause(self.settings.poll_seconds)

    def require(self, *, is_on: bool) -> None:
        """Take for nothing what somebody has ended before its time.

        Raises:
            MoveError: it is so.
        """
        if not is_on:
            raise MoveError(
                f"the policy of {self.move.tenant_id} does not say any more what the shadow of this move made it say: "
                f"somebody changed its {', '.join(OURS)}; resume the move when nobody else sets them"
            )

    def settle(self, told: Callable[[Seen, float], None]) -> None:
        """Count what was compared last: until routers say that no answer of it is waited for any more, or for long
        enough that none is.

        Args:
            told: hears what was compared so far.

        Raises:
            ControlPlaneError: the control plane does not say it.
        """
        began = self.monotonic()
        while True:
            passed = self.monotonic() - began
            try:
                sight = self._look()
            except ControlPlaneError:
                if passed > self.settings.late_seconds:
                    raise
            else:
                # What was asked right before the end, or at a router that heard of it later, is answered a while on.
                before = passed - self.settings.settle_seconds
                has_counted = before >= 0 and all(heard.has_counted(before) for heard in sight.routers.values())
                if has_counted or passed > self.settings.late_seconds:
                    return
            told(self._seen, 0.0)
            self.pause(self.settings.poll_seconds)

    def judge(self) -> Seen:
        """What it came to.

        Raises:
            MoveError: nothing was compared.
            NotTheSameError: too many answers differ.
        """
        self.shadows.rules.check(self._seen, self.move, self._tally.samples)
        return self._seen

    @property
    def _seen(self) -> Seen:
        return self.shadows.rules.judged(self._tally.seen)

    def _look(self) -> Sight:
        sight = self.shadows.look(self.move)
        self._tally.add(sight)
        return sight

    def _note(self, *, has_shadow: bool) -> None:
        self.note(has_shadow=has_shadow)
        self.move = replace(self.move, has_shadow=has_shadow)
