"""What becomes of a tenant of a batch by what became of its move, and how it is tried again (pure)."""

from collections.abc import Callable
from dataclasses import replace

from cellplane.moves.batch import Item, State
from cellplane.moves.move import WISHES, Move, Phase, Wish

_AFTER_THE_FLIP = frozenset({Phase.FLIPPED, Phase.RELEASED, Phase.RETURNED})
"""Phases that lead to an end, and not back."""


def is_paused(move: Move, wish: Wish) -> bool:
    """Whether a move that nobody works on is where somebody let it pause. Behind its fence none is: writes wait."""
    return wish is Wish.PAUSE and move.phase in WISHES[Wish.PAUSE]


def must_abort(move: Move, wish: Wish) -> bool:
    """Whether a move that nobody works on any more has failed, so that its tenant is to stay where it is."""
    return not move.phase.is_end and move.phase not in _AFTER_THE_FLIP and not is_paused(move, wish)


def came_of(item: Item, move: Move, wish: Wish) -> Item:
    """What a tenant's move has come to, where nobody works on it any more.

    Args:
        item: the tenant.
        move: as the book has it.
        wish: what people want of it.
    """
    if move.phase is Phase.DONE:
        return replace(item, state=State.DONE, reason="", pause_seconds=move.pause_seconds)
    if is_paused(move, wish):
        return replace(item, state=State.PAUSED, reason=move.reason)
    return replace(item, state=State.FAILED, reason=move.reason or f"it is {move.phase.value}")


def again(item: Item, move: Move | None, new_id: Callable[[], str]) -> Item:
    """A tenant as it is tried once more.

    Args:
        item: one that was paused or refused, or failed.
        move: its move; None where none was begun.
        new_id: makes the id of another move.
    """
    if move is not None and move.phase is Phase.DONE:
        # Somebody went on with it alone.
        return came_of(item, move, Wish.RUN)
    if move is not None and not move.phase.is_end:
        # Another one would find the tenant moving, or in its new cell; and nobody would end this one.
        return replace(item, state=State.WAITING, reason="")
    return replace(item, move_id=new_id(), state=State.WAITING, reason="")
