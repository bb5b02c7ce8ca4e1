"""The steps of one move, each of which can be repeated, in the only order in which they are safe.

Whoever runs them may die at any moment. Whose the tenant is, is said by the directory alone: one change of it is the
flip. Before it everything leads back to the source, after it to the target. ``docs/moves.md`` has the argument.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cellplane.faults import fault_point
from cellplane.moves.carriers.cargo import Cargo
from cellplane.moves.carriers.carrier import Way
from cellplane.moves.errors import ChangedError, MoveError, NotInTimeError, NotTheSameError, StoreError
from cellplane.moves.hooks import Hooks
from cellplane.moves.move import Mending, Move, Phase, mendings
from cellplane.moves.mover import DataMover, Lag, Verdict
from cellplane.moves.records import Records
from cellplane.moves.routes import HELD, NOWHERE, Routes, placed_or_removed
from cellplane.moves.settings import CutoverSettings, ShadowSettings
from cellplane.moves.shadow_watch import ShadowWatch
from cellplane.moves.shadowing import NoShadows, Note, Seen, Shadows

_DONE = {
    Phase.PREPARED: "prepare",
    Phase.COPIED: "copy",
    Phase.FOLLOWING: "follow",
    Phase.VERIFIED: "verify",
    Phase.SHADOWED: "shadow",
    Phase.FLIPPED: "flip",
    Phase.RETURNED: "rollback",
}
"""What is done where a move has reached a phase, as hooks name it."""

_ENDS = {Phase.ABORTING: ("abort",), Phase.RELEASED: ("flip", "release"), Phase.RETURNED: ("rollback",)}
"""What is done where it has been cleaned up behind a phase; of some was told before, as far as that could be."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What a move does to the world.

    Args:
        move: which.
        mover: of the tenant's data.
        routes: of its requests.
        records: of the cells' apps.
        settings: how long writes may wait.
        monotonic: seconds.
        pause: waits so many seconds.
        cargo: what moves beside the data.
        hooks: of others, before and after.
        shadows: who lets the target answer, unseen, before it has the tenant.
        shadowing: how often that is looked at.
    """

    move: Move
    mover: DataMover
    routes: Routes
    records: Records
    settings: CutoverSettings
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    cargo: Cargo = field(default_factory=Cargo)
    hooks: Hooks = field(default_factory=Hooks)
    shadows: Shadows = field(default_factory=NoShadows)
    shadowing: ShadowSettings = field(default_factory=ShadowSettings)

    def before(self, phase: str) -> None:
        """Ask those who may refuse a phase.

        Raises:
            HookError: one does.
        """
        self.hooks.before(self.move, phase)

    def announce(self) -> None:
        """Tell those who are to know what is done; once, where that was noted.

        Raises:
            HookError: one could not be told.
        """
        if self.move.phase in _DONE:
            self.hooks.after(self.move, _DONE[self.move.phase])

    def prepare(self) -> None:
        """Close the target, watch the source."""
        self.before("prepare")
        self._require_at(self.move.source)
        self.mover.prepare()
        self.cargo.prepare()
        fault_point("move.prepared")

    def copy(self, told: Callable[[int, int], None]) -> tuple[int, int]:
        """Copy what is there; returns rows and bytes."""
        self.before("copy")
        rows, size = self.mover.copy(told)
        fault_point("move.copied")
        return rows, size + self.cargo.copy(lambda carried: told(rows, size + carried))

    def follow(self, told: Callable[[Lag], None]) -> None:
        """Let the target follow the source, and prove both ways. What was written during the copy is waited for here,
        where ``told`` hears how far the target is behind; it may raise, which ends the wait.
        """
        self.before("follow")
        began = self.monotonic()
        while (lag := self.mover.lag()).seconds > self.settings.lag_seconds:
            told(lag)
            if self.monotonic() - began > self.settings.follow_seconds:
                break
            self.pause(self.settings.lag_poll_seconds)
        self.mover.follow()
        fault_point("move.following")

    def verify(self, told: Callable[[int], None]) -> Verdict:
        """Compare everything, and mend what differs, once.

        Raises:
            NotTheSameError: something differs all the same.
        """
        self.before("verify")
        verdict = self.mover.compare(told)
        if not verdict.is_same:
            self.mover.recopy(verdict.differences)
            again = self.mover.compare(told)
            if not again.is_same:
                raise NotTheSameError(_said(again))
        self.cargo.compare()
        fault_point("move.verified")
        return verdict

    def shadow(self, told: Callable[[Seen, float], None], note: Note) -> Seen:
        """Let the target answer what the tenant reads, unseen, for as long as the move says, and compare.

        Args:
            told: hears what was compared so far, and for how many seconds it goes on.
            note: keeps whether the tenant's policy may say a shadow of this move from now on.

        Raises:
            MoveError: nothing was compared, the tenant has a shadow of its own, or somebody took this one away.
            NotTheSameError: too many answers differ.
        """
        self.before("shadow")
        self._require_at(self.move.source)
        watch = ShadowWatch(self.move, self.shadows, self.shadowing, note, self.monotonic, self.pause)
        try:
            epoch = watch.begin()
            fault_point("move.shadowing")
            self.routes.wait_until_applied(epoch, self.shadowing.apply_seconds)
            watch.watch(told)
        finally:
            was_on = watch.end()
        watch.require(is_on=was_on)
        watch.settle(told)
        seen = watch.judge()
        fault_point("move.shadowed")
        return seen

    def require_active(self) -> None:
        """Before writes are held.

        Raises:
            MoveError: somebody has suspended the tenant.
        """
        placed = self.routes.placed(self.move.tenant_id)
        if not placed.is_ours:
            raise MoveError(
                f"{self.move.tenant_id} is {placed.state}: only an active tenant is moved; make it active, then "
                "resume the move, or abort it"
            )

    def get_close(self, told: Callable[[Lag], None] = lambda _: None) -> None:
        """Before writes are held: see that both ways work, and wait until the target is so close that they wait for a
        moment alone. ``told`` hears how far it is behind.

        Raises:
            NotInTimeError: it does not get that close.
            NotTheSameError: something differs.
        """

        def look() -> Lag:
            lag = self.mover.lag()
            told(lag)
            return lag

        # A way back that broke since it was proven is found before the flip.
        self.mover.lag_back()
        # Twice: the first time takes longer, and the target falls behind; the second has little to do.
        self.cargo.catch_up(Way.THERE)
        self._wait_until_close(look, self.mover.compare, self.settings.catch_up_seconds)
        self.cargo.catch_up(Way.THERE)

    def hold_and_finish(self) -> float:
        """Hold writes, and wait until the last of them is at the target; returns since when, by ``monotonic``.

        Where it raises, writes may be held: ``stay`` is next.

        Raises:
            NotInTimeError: writes would wait for too long.
            NotTheSameError: something differs.
            HookError: somebody refuses the fence or the flip.
        """
        self.hooks.before(self.move, "fence", self.routes.placed(self.move.tenant_id).epoch)
        # Who was asked may have taken a while.
        self._wait_until_close(self.mover.lag, self.mover.compare, self.settings.close_again_seconds)
        began = self.monotonic()
        held = self.routes.hold_writes(self.move.tenant_id)
        fault_point("move.writes.held")
        self.routes.wait_until_applied(held, self.settings.router_seconds)
        self.mover.fence(held)
        fault_point("move.fenced")
        self.hooks.after(self.move, "fence", held)
        left = self._left(began)
        if left <= 0:
            raise NotInTimeError(f"routers took all of the {self.settings.pause_seconds} s in which writes may wait")
        verdict = self.mover.finish(left)
        if not verdict.is_same:
            raise NotTheSameError(_said(verdict))
        self.cargo.finish(Way.THERE, self._left(began))
        # Here, and not in the flip: who refuses it leaves the tenant at the source, with its writes.
        self.hooks.before(self.move, "flip", held)
        fault_point("move.finished")
        return began

    def flip(self) -> int:
        """Make the target the tenant's cell: from here on everything leads there. Returns the epoch."""
        # Held, so that who suspends the tenant now leaves nothing that comes late: the source writes again before that.
        tenant, target = self.move.tenant_id, self.move.target
        epoch = self.routes.assign(tenant, target, taken_from=self.move.source, only_held=True)
        fault_point("move.flipped")
        return epoch

    def arrive(self, epoch: int, began: float | None = None) -> Move:
        """Behind the flip: queued work goes over, the source's apps refuse, the target writes. For as long as it takes.

        Args:
            epoch: by which the tenant is the target's.
            began: when its writes began to wait, by ``monotonic``; None where nobody knows any more.
        """
        self.mover.fence(epoch)
        # Before the source's apps know: they would put what waits aside, as work of a tenant that has moved.
        self.cargo.hand_over(Way.THERE, epoch)
        self.records.note(self.move.source, self.move.tenant_id, self.move.target, epoch)
        self.records.note(self.move.target, self.move.tenant_id, self.move.target, epoch)
        fault_point("move.source.refuses")
        self.mover.open_target(epoch)
        fault_point("move.target.open")
        paused = None if began is None else self.monotonic() - began
        return self.move.reached(Phase.FLIPPED, flipped_epoch=epoch, pause_seconds=paused)

    def stay(self, *, is_found: bool = False) -> None:
        """Before the flip: the source writes, and routers let it.

        Args:
            is_found: whether somebody else held its writes, who may have come further than is known.
        """
        self._let_writes(self.move.source, anyway=self.move.phase is Phase.FENCED)
        # Before all else that may not go: neither who has the tenant nor a database that is away keeps it on.
        self._end_shadow()
        self._require_at(self.move.source)
        self._open_source(is_found=is_found)
        fault_point("move.stayed")

    def give_up(self) -> None:
        """Before the flip, where the move is to end: as ``stay``, as far as is possible. What cannot be done at a cell
        that is down is done when the move cleans up.
        """
        placed = placed_or_removed(self.routes, self.move.tenant_id)
        if placed is not NOWHERE:
            # Also where somebody has assigned it to a third cell: its writes are held for this move.
            self._let_writes(self.move.source, anyway=self.move.phase is Phase.FENCED)
            self._end_shadow()
        if self.move.phase is Phase.FENCED and placed.cells == (self.move.source,):
            with suppress(StoreError):
                self._open_source(is_found=True)
        fault_point("move.stayed")

    def _open_source(self, *, is_found: bool) -> None:
        try:
            if is_found:
                self._take_back()
            self.mend()
        except StoreError:
            # One is down. Before the flip no step has opened the target, so the source need not ask it.
            self.mover.reopen_source(alone=True)

    def _take_back(self) -> None:
        """Where the source is closed the tenant may have been flipped, and assigned back by somebody before its target
        was opened. What a flip brings there is undone before the source opens.
        """
        if self.mover.facts().source_closed:
            self._hand_back(self.routes.placed(self.move.tenant_id).epoch)

    def _hand_back(self, epoch: int) -> None:
        self.cargo.hand_over(Way.BACK, epoch)
        self.records.note(self.move.target, self.move.tenant_id, self.move.source, epoch)
        self.records.note(self.move.source, self.move.tenant_id, self.move.source, epoch)

    def go_on_there(self) -> None:
        """Behind the flip: the target writes, and routers let it, unless somebody has suspended the tenant.

        Raises:
            ChangedError: somebody has assigned it back.
        """
        self._let_writes(self.move.target, anyway=self.move.is_returning)
        if self.routes.placed(self.move.tenant_id).cells == (self.move.source,):
            raise ChangedError(f"{self.move.tenant_id} was assigned back to {self.move.source}")
        self.mend()

    def way_back_is_long(self) -> bool:
        """Behind the flip: whether much is left to compare if the tenant goes back.

        Raises:
            NotInTimeError: the source does not follow.
        """
        return self.mover.lag_back().untested > self.settings.untested

    def keep_way_back(self, told: Callable[[int], None]) -> None:
        """Behind the flip: compare, so that little is left if the tenant goes back.

        Raises:
            NotTheSameError: something differs.
        """
        verdict = self.mover.compare_back(told)
        if not verdict.is_same:
            raise NotTheSameError(_said(verdict))

    def check_before_release(self, told: Callable[[int], None]) -> None:
        """The last check: the target has what the source has, and takes writes, before the source's copy is deleted.

        Raises:
            NotTheSameError: it does not; where it lost rows the source's copy may be the only one.
        """
        self._require_open_target()
        verdict = self.mover.compare_back(told)
        if not verdict.is_same:
            raise NotTheSameError(
                f"{self.move.target} is not what {self.move.source} is, {_said(verdict)}: nothing is deleted; find out "
                f"which is right, then `cellplane move rollback {self.move.id}`, or `release {self.move.id} --anyway`"
            )

    def _require_open_target(self) -> None:
        if self.mover.facts().target_closed is not False:
            raise MoveError(
                f"{self.move.target} does not take {self.move.tenant_id}'s writes by this move, as is to be so "
                f"behind its flip: was its database put back? Nothing is deleted at {self.move.source}; find out "
                f"what it has, then `cellplane move rollback {self.move.id}`, or `release {self.move.id} --anyway`"
            )

    def hold_and_finish_back(self) -> float:
        """Behind the flip: hold writes, and wait for the last of them at the source; returns since when, by
        ``monotonic``.

        Where it raises, writes may be held: ``go_on_there`` is next.

        Raises:
            NotInTimeError: writes would wait for too long.
            NotTheSameError: something differs.
            HookError: somebody refuses the way back.
        """
        self.before("rollback")
        self.cargo.catch_up(Way.BACK)
        self._wait_until_close(self.mover.lag_back, self.mover.compare_back, self.settings.catch_up_seconds)
        self.cargo.catch_up(Way.BACK)
        began = self.monotonic()
        placed = self.routes.placed(self.move.tenant_id)
        # Who is suspended writes nothing, and stays so.
        held = self.routes.hold_writes(self.move.tenant_id) if placed.is_ours else placed.epoch
        self.routes.wait_until_applied(held, self.settings.router_seconds)
        self.mover.fence_target(held)
        fault_point("move.back.fenced")
        verdict = self.mover.finish_back(self._left(began))
        if not verdict.is_same:
            raise NotTheSameError(_said(verdict))
        self.cargo.finish(Way.BACK, self._left(began))
        return began

    def flip_back(self, began: float) -> Move:
        """Make the source the tenant's cell again, and let it write. Arguments as of ``arrive``."""
        # Its slot may be another cell's by now, which has nothing of it: then it is assigned to the source.
        slot_cell = self.routes.placed(self.move.tenant_id).slot_cell
        home = None if slot_cell == self.move.source and not self.move.was_pinned else self.move.source
        epoch = self.routes.assign(self.move.tenant_id, home, taken_from=self.move.target)
        fault_point("move.back.flipped")
        return self.return_home(epoch, began)

    def come_home(self, epoch: int) -> Move:
        """Behind a flip back that is found: of a rollback that was cut short, or by somebody who assigned the tenant.
        The source takes no writes until it has all that the target has.

        Raises:
            NotInTimeError: that did not come.
            NotTheSameError: something differs: the source stays closed.
        """
        # Where it is open already all was there, and it may have been written since.
        if self.mover.facts().source_closed is not False:
            self.mover.fence_target(epoch)
            self.cargo.catch_up(Way.BACK)
            verdict = self.mover.finish_back(self.settings.home_seconds)
            if not verdict.is_same:
                raise NotTheSameError(
                    f"{self.move.tenant_id} was assigned back to {self.move.source}, which is not what "
                    f"{self.move.target} is, {_said(verdict)}: assign it to {self.move.target} again, which has all"
                )
            self.cargo.finish(Way.BACK, self.settings.home_seconds)
        return self.return_home(epoch)

    def was_open_there(self) -> bool:
        """Whether the target takes writes by this move, as far as it can be asked."""
        try:
            return self.mover.facts().target_closed is False
        except StoreError:
            return False

    def return_home(self, epoch: int, began: float | None = None) -> Move:
        """Behind the flip back: queued work comes back, the target's apps refuse, then the source writes. Arguments as
        of ``arrive``.
        """
        self.mover.fence_target(epoch)
        self._hand_back(epoch)
        self.mover.reopen_source()
        fault_point("move.back.open")
        paused = None if began is None else self.monotonic() - began
        return self.move.reached(Phase.RETURNED, back_pause_seconds=paused)

    def mend(self) -> tuple[Mending, ...]:
        """Bring both databases to what the directory says; returns what that took."""
        self.mover.reconnect()
        placed = self.routes.placed(self.move.tenant_id)
        found = mendings(self.move, self.mover.facts(), placed.cells[0])
        for mending in found:
            match mending:
                case Mending.OPEN_SOURCE:
                    self.mover.reopen_source()
                case Mending.OPEN_TARGET:
                    self.mover.open_target(0)
                case Mending.CLOSE_SOURCE:
                    self.mover.fence(0)
                case Mending.CLOSE_TARGET:
                    self.mover.fence_target(0)
        return found

    def clean_up(self, cleaned: Callable[[int], None]) -> None:
        """Part the cells, delete the copy that nobody needs, and take away all that the move brought.

        Raises:
            StoreError: a cell is down; at the other one nothing is left that keeps its log, or its tenant.
        """
        if self.move.phase is Phase.ABORTING:
            self._clean_up_aborted(cleaned)
            return
        placed = self.routes.placed(self.move.tenant_id)
        cell = placed.cells[0]
        if self.move.phase is Phase.RELEASED and cell == self.move.source:
            raise MoveError(
                f"{self.move.tenant_id} was assigned back to {self.move.source} when its way back was given up "
                f"already: assign it to {self.move.target} again, which has all; then resume"
            )
        self.mover.part()
        fault_point("move.parted")
        # From here on nothing at the former cell refuses what a router with an older table sends there.
        self.routes.wait_until_applied(placed.epoch, self.settings.applied_seconds)
        facts = self.mover.facts()
        # Without a guard there is nothing any more: it goes behind all else.
        if cell == self.move.target and facts.source_closed is not None:
            if not self.move.is_unchecked:
                self._require_open_target()
            self.mover.clean_source(cleaned)
        elif cell == self.move.source and facts.target_closed is not None:
            self.mover.clean_target(cleaned)
        if cell in {self.move.source, self.move.target}:
            self.cargo.clean(Way.THERE if cell == self.move.target else Way.BACK, placed.epoch)
        fault_point("move.cleaned")
        # Once more: one that somebody asked for who died may have begun behind its end.
        self._end_shadow()
        self._forget()

    def _clean_up_aborted(self, cleaned: Callable[[int], None]) -> None:
        """Of one that was not flipped: the source is let go first, whatever becomes of the target."""
        troubles = []
        for step in (self.mover.leave_source, self.mover.part):
            try:
                step()
            except StoreError as error:
                troubles.append(str(error))
            fault_point("move.parted")
        if troubles:
            raise StoreError(
                f"{self.move.tenant_id} stays where it is, and something of the move is left where a cell cannot be "
                f"reached: its slots, its guard, and at {self.move.target} the rows that it brought; `cellplane move "
                f"resume {self.move.id}` removes that when the cell is back: {'; '.join(dict.fromkeys(troubles))}"
            )
        placed = placed_or_removed(self.routes, self.move.tenant_id)
        # Where somebody has assigned it to the target meanwhile, what is there is not this move's to delete.
        if placed.cells != (self.move.target,):
            if self.mover.facts().target_closed is not None:
                self.mover.clean_target(cleaned)
            self.cargo.clean(Way.BACK, placed.epoch)
        fault_point("move.cleaned")
        # Once more: one that somebody asked for who died may have begun behind its end.
        if placed is not NOWHERE:
            self._end_shadow()
        self._forget()

    def _forget(self) -> None:
        self.mover.forget()
        fault_point("move.forgotten")
        for done in _ENDS[self.move.phase]:
            self.hooks.after(self.move, done)

    def _end_shadow(self) -> None:
        """End one that may be there, also one that somebody asked for who died and that has not begun."""
        if not self.move.has_shadow or self.shadows.end(self.move):
            return
        try:
            # What is not changed is of the same version, and a shadow that was asked for would still begin.
            self.shadows.begin(replace(self.move, has_shadow=False), _unkept)
        except ChangedError:
            raise
        except MoveError:
            # The tenant has one of its own by now: that was a change, too.
            return
        self.shadows.end(self.move)

    def _let_writes(self, cell: str, *, anyway: bool) -> None:
        """Let routers send the tenant's writes to a cell, before it takes them.

        One that somebody has suspended stays so. Nothing that was asked for can be late then: a flip is asked for while
        writes are held alone, and one back is made to its end.

        Args:
            cell: whose the tenant is.
            anyway: also where they do: a flip that somebody asked for is then done before this, or never.

        Raises:
            ChangedError: it was done.
        """
        state = self.routes.placed(self.move.tenant_id).state
        if not anyway and state != HELD:
            return
        self.routes.let_writes(self.move.tenant_id)
        (other,) = {self.move.source, self.move.target} - {cell}
        if self.routes.placed(self.move.tenant_id).cells == (other,):
            raise ChangedError(f"{self.move.tenant_id} was {cell}'s a moment ago, and is not any more")

    def _require_at(self, cell: str) -> None:
        placed = self.routes.placed(self.move.tenant_id)
        if placed.cells != (cell,):
            raise MoveError(
                f"{self.move.tenant_id} is served by {' + '.join(placed.cells) or 'nobody'}, and this move expects "
                f"{cell}: somebody assigned it meanwhile; abort the move, or assign it back"
            )

    def _left(self, began: float) -> float:
        """Seconds that writes may still be held."""
        return self.settings.pause_seconds - (self.monotonic() - began)

    def _wait_until_close(
        self, look: Callable[[], Lag], compare: Callable[[Callable[[int], None]], Verdict], within_seconds: float
    ) -> None:
        """Writes are held once the follower is so little behind that they wait for no longer than they may."""
        began = self.monotonic()
        while True:
            lag = look()
            if lag.seconds <= self.settings.lag_seconds and lag.untested <= self.settings.untested:
                return
            if self.monotonic() - began > within_seconds:
                raise NotInTimeError(
                    f"the other cell is {lag.seconds:.1f} s behind, with {lag.untested} changes to compare, after "
                    f"{within_seconds:.0f} s: move the tenant when it writes less"
                )
            if lag.untested > self.settings.untested:
                verdict = compare(lambda _: None)
                if not verdict.is_same:
                    raise NotTheSameError(_said(verdict))
            self.pause(self.settings.lag_poll_seconds)


def _unkept(*, has_shadow: bool) -> None:
    """What is kept of a shadow that ends at once is that one may be there, as before."""


def _said(verdict: Verdict) -> str:
    shown = "; ".join(verdict.differences[:5])
    return f"{len(verdict.differences)} rows differ: {shown}{'; …' if len(verdict.differences) > 5 else ''}"
