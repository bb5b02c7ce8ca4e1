"""What a cell's store has to be able to do, so that a tenant can be moved out of it and into it.

The order in which a move calls these is its safety (``docs/moves.md``); each call can be repeated after a crash, and
leaves what it found done as it is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cellplane.moves.errors import MoveError

MOVE_ID = "[a-z0-9]{1,20}"
"""Pattern of a move's id: it is part of names in the cells' databases."""


def require_move_id(move_id: str) -> None:
    """Raise MoveError where this is no id of a move."""
    if not re.fullmatch(MOVE_ID, move_id):
        raise MoveError(f"{move_id!r} is no id of a move: expected at most 20 lower case letters and digits")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a move would carry."""

    tables: tuple[str, ...]
    rows: int
    bytes: int
    refusals: tuple[str, ...]
    """Why it cannot be made as things are, each with advice; none: it can."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the follower is behind."""

    seconds: float
    """How long it took what was written just now to be there; where it is still coming, how long it was waited for."""

    bytes: int | None
    """Of the source's log that are not known to be applied."""

    untested: int
    """Rows that were changed since all was compared, or changes: they are compared while writes wait."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison of both ends found."""

    rows: int
    differences: tuple[str, ...]
    undecided: int
    seconds: float

    @property
    def is_same(self) -> bool:
        """Whether nothing differs that was not being written."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so in both stores, whoever did it: from this alone a move is repaired."""

    source_closed: bool | None
    """Whether the source refuses the tenant's writes by this move; None: the move has no guard there."""

    target_closed: bool | None
    follows: bool
    """Whether what is written at the source comes to the target."""

    follows_back: bool
    leftovers: tuple[str, ...]
    """What of this move is still there and must not stay for ever, each as ``slot NAME at source``."""


class DataMover(Protocol):
    """Moves one tenant's data from one store to another, for one move."""

    def estimate(self) -> Estimate:
        """Look what there is, and whether it can be moved."""

    def prepare(self) -> None:
        """Close the target to the tenant's writes, and watch the source's. From then on there is a rest to remove."""

    def copy(self, told: Callable[[int, int], None]) -> tuple[int, int]:
        """Copy what is there, and keep what is written meanwhile; returns rows and bytes, which ``told`` hears of."""

    def follow(self) -> None:
        """Let the target follow the source, and prove that it does; prepare and prove the way back."""

    def reconnect(self) -> None:
        """Let each store find the other where it is now, since both may have been started elsewhere."""

    def lag(self) -> Lag:
        """Measure how far the target is behind."""

    def compare(self, told: Callable[[int], None]) -> Verdict:
        """Compare all rows while they are written."""

    def recopy(self, differences: Sequence[str]) -> None:
        """Make rows that differ the same."""

    def fence(self, epoch: int) -> None:
        """Let the source refuse the tenant's writes. When it returns no write is under way."""

    def finish(self, within_seconds: float) -> Verdict:
        """While the source is fenced: wait for the last write, compare what is not compared, carry sequences over."""

    def compare_back(self, told: Callable[[int], None]) -> Verdict:
        """As ``compare``, after the flip: is the source what the target is?"""

    def open_target(self, epoch: int) -> None:
        """Let the target take the tenant's writes. The source is fenced, and remains so."""

    def reopen_source(self, *, alone: bool = False) -> None:
        """Let the source take the tenant's writes again. The target is closed, and remains so.

        Args:
            alone: whether it is so that the target was never opened, and is not to be looked at: it may be down.
        """

    def lag_back(self) -> Lag:
        """As ``lag``, after the flip: how far the source is behind the target."""

    def fence_target(self, epoch: int) -> None:
        """As ``fence``, at the target after the flip: the first step of the way back."""

    def finish_back(self, within_seconds: float) -> Verdict:
        """As ``finish``, for the way back."""

    def part(self) -> None:
        """End both directions, and remove every slot, publication and subscription of the move.

        Raises:
            StoreError: one end cannot be reached; at the other nothing is left.
        """

    def leave_source(self) -> None:
        """Before the flip, and whatever becomes of the target: let the source take the tenant's writes, and remove all
        that the move brought there.
        """

    def clean_source(self, told: Callable[[int], None]) -> int:
        """Delete the tenant's rows at the source, which it has left; returns how many."""

    def clean_target(self, told: Callable[[int], None]) -> int:
        """Delete the tenant's rows at the target, which did not get it; returns how many."""

    def forget(self) -> None:
        """Remove what watched the tenant's tables, in both stores."""

    def facts(self) -> Facts:
        """Look what is so."""

    def close(self) -> None:
        """End the connections; the next call makes new ones."""
