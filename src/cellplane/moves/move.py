"""A move: who goes where, how far it is, and what may follow what (pure)."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cellplane.moves.errors import MoveError
from cellplane.moves.mover import Facts


class Phase(Enum):
    """What a move has reached. Aborting, returned and released have no way but to their ends."""

    PLANNED = "planned"
    PREPARED = "prepared"
    COPIED = "copied"
    FOLLOWING = "following"
    VERIFIED = "verified"
    SHADOWED = "shadowed"
    FENCED = "fenced"
    FLIPPED = "flipped"
    ABORTING = "aborting"
    RETURNED = "returned"
    RELEASED = "released"
    DONE = "done"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"

    @property
    def is_end(self) -> bool:
        """Whether nothing follows."""
        return self in _ENDS


_ENDS = frozenset({Phase.DONE, Phase.ABORTED, Phase.ROLLED_BACK, Phase.REFUSED})

FOLLOWERS: dict[Phase, frozenset[Phase]] = {
    Phase.PLANNED: frozenset({Phase.PREPARED, Phase.ABORTING, Phase.REFUSED}),
    Phase.PREPARED: frozenset({Phase.COPIED, Phase.ABORTING}),
    Phase.COPIED: frozenset({Phase.FOLLOWING, Phase.ABORTING}),
    Phase.FOLLOWING: frozenset({Phase.VERIFIED, Phase.ABORTING}),
    Phase.VERIFIED: frozenset({Phase.SHADOWED, Phase.FENCED, Phase.FOLLOWING, Phase.ABORTING}),
    Phase.SHADOWED: frozenset({Phase.FENCED, Phase.FOLLOWING, Phase.ABORTING}),
    # Back to verified: the fence was lifted again, since what was to be there did not come in time. Back to following:
    # something differed, and all is compared, and mended, anew.
    Phase.FENCED: frozenset({Phase.FLIPPED, Phase.VERIFIED, Phase.FOLLOWING, Phase.ABORTING}),
    Phase.FLIPPED: frozenset({Phase.RELEASED, Phase.RETURNED}),
    Phase.ABORTING: frozenset({Phase.ABORTED}),
    Phase.RETURNED: frozenset({Phase.ROLLED_BACK}),
    Phase.RELEASED: frozenset({Phase.DONE}),
    **{end: frozenset[Phase]() for end in _ENDS},
}
"""Phase → those that may follow it. Until it is flipped, a move can be aborted; from then on, rolled back."""


def may_become(before: Phase, after: Phase) -> bool:
    """Whether a move that was in one phase can be in another one by now, over any that lie between."""
    return after in _LATER[before]


def _later(phase: Phase) -> frozenset[Phase]:
    found: set[Phase] = set()
    next_: set[Phase] = {*FOLLOWERS[phase]}
    while next_:
        found |= next_
        next_ = {after for each in next_ for after in FOLLOWERS[each]} - found
    return frozenset(found)


_LATER = {phase: _later(phase) for phase in Phase}


class Wish(Enum):
    """What people want of a move."""

    RUN = "run"
    PAUSE = "pause"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RELEASE = "release"
    """Do not wait for the hold to end."""

    RELEASE_ANYWAY = "release-anyway"
    """Nor for a last check, or whatever it finds: the source's copy is given up unseen."""


_MAY_PAUSE = frozenset({Phase.PLANNED, Phase.PREPARED, Phase.COPIED, Phase.FOLLOWING, Phase.VERIFIED, Phase.SHADOWED})
_BEFORE_THE_FLIP = _MAY_PAUSE | {Phase.FENCED}

WISHES: dict[Wish, frozenset[Phase]] = {
    Wish.RUN: _BEFORE_THE_FLIP | {Phase.FLIPPED},
    Wish.PAUSE: _MAY_PAUSE,
    Wish.ABORT: _BEFORE_THE_FLIP,
    Wish.ROLLBACK: frozenset({Phase.FLIPPED}),
    Wish.RELEASE: _BEFORE_THE_FLIP | {Phase.FLIPPED},
    Wish.RELEASE_ANYWAY: frozenset({Phase.FLIPPED}),
}
"""Wish → the phases in which it can still be met."""


@dataclass(frozen=True, slots=True)
class Move:
    """One tenant's move.

    Attributes:
        id: at most 20 lower case letters and digits.
        tenant_id: who moves.
        source: the cell that has it.
        target: the cell that is to have it.
        was_pinned: whether it was assigned to the source, rather than placed there by its slot.
        hold_seconds: how long the source keeps up with the target after the flip, before it gives its copy up.
        copy_bytes_per_second: most that is copied; None: as fast as both databases can.
        hours: in which it may copy and hold writes, as ``Hours`` reads them; empty: at any.
        shadow_seconds: how long answers of both cells are compared before writes are held; 0: not at all.
        phase: what is reached.
        reason: of its end, or of the last time that it could not go on.
        flipped_epoch: by which the tenant is the target's.
        pause_seconds: for how long writes were refused.
        back_pause_seconds: the same, when it was taken back.
        tries: how often writes were held.
        began: when it was asked for, Unix seconds.
        flipped: when the target was opened, Unix seconds.
        rows_expected: about how many rows it carries, as was estimated before it began; 0 where nobody did.
        bytes_expected: likewise.
        is_unchecked: whether its way back was given up without a last check, as somebody wanted.
        is_returning: whether a way back was begun that may still be under way at the control plane.
        has_shadow: whether the tenant's policy may say the shadow of this move, now or a little later.
        shadow_compared: how many answers were compared; None: not yet, or not at all.
        shadow_differing: how many of them differed, or did not come.
        shadow_too_large: how many others were not compared, as they differ, and are too large to say where.
    """

    id: str
    tenant_id: str
    source: str
    target: str
    was_pinned: bool
    hold_seconds: float
    copy_bytes_per_second: int | None = None
    hours: str = ""
    shadow_seconds: float = 0.0
    phase: Phase = Phase.PLANNED
    reason: str = ""
    flipped_epoch: int = 0
    pause_seconds: float | None = None
    back_pause_seconds: float | None = None
    tries: int = 0
    began: float = 0.0
    flipped: float = 0.0
    rows_expected: int = 0
    bytes_expected: int = 0
    is_returning: bool = False
    has_shadow: bool = False
    is_unchecked: bool = False
    shadow_compared: int | None = None
    shadow_differing: int = 0
    shadow_too_large: int = 0

    def reached(self, phase: Phase, **changes: Any) -> "Move":
        """The move with its next phase; that it has already, it may reach again.

        Raises:
            MoveError: it cannot follow.
        """
        if phase is not self.phase and phase not in FOLLOWERS[self.phase]:
            raise MoveError(f"a move that is {self.phase.value} cannot become {phase.value}")
        return replace(self, phase=phase, **changes)


_BEHIND_THE_FLIP = frozenset({Phase.FLIPPED, Phase.RELEASED})
"""Phases in which the target has what the source may not have."""


class Mending(Enum):
    """What brings the two databases to what the directory says."""

    NOTHING = "nothing"
    OPEN_SOURCE = "open the source"
    OPEN_TARGET = "open the target"
    CLOSE_SOURCE = "close the source"
    CLOSE_TARGET = "close the target"


def mendings(move: Move, facts: Facts, cell: str) -> tuple[Mending, ...]:
    """What a repair does, in order, from the facts alone: who writes is who the directory names.

    The one that is not to write is closed before the other opens, so that a repair that is cut short, at any point,
    leaves none or one that writes.

    Args:
        move: which.
        facts: what both databases say.
        cell: whose the tenant is by the directory.

    Raises:
        MoveError: the tenant is neither's, or it is one's to whom not all of it has come.
    """
    if cell not in {move.source, move.target}:
        raise MoveError(
            f"{move.tenant_id} is {cell}'s, and this move is from {move.source} to {move.target}: nothing is mended"
        )
    was_flipped = move.phase in _BEHIND_THE_FLIP or (move.phase is Phase.FENCED and facts.target_closed is False)
    if cell == move.source and was_flipped:
        raise MoveError(
            f"{move.tenant_id} was assigned back to {move.source} behind its flip, and what was written at "
            f"{move.target} since is not known to be there: `cellplane move resume {move.id}` brings it"
        )
    if cell == move.target and move.phase not in {Phase.FENCED, *_BEHIND_THE_FLIP}:
        raise MoveError(
            f"{move.tenant_id} was assigned to {move.target} while this move was {move.phase.value}, and not all of it "
            f"is there: assign it to {move.source} again"
        )
    found = []
    if cell == move.source:
        if facts.target_closed is False:
            found.append(Mending.CLOSE_TARGET)
        if facts.source_closed is True:
            found.append(Mending.OPEN_SOURCE)
    else:
        if facts.source_closed is False:
            found.append(Mending.CLOSE_SOURCE)
        if facts.target_closed is True:
            found.append(Mending.OPEN_TARGET)
    return tuple(found)
