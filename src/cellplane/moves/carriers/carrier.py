"""What has to be able to move with a tenant, and when it is asked to.

There are two kinds. What is **copied**, such as files, is brought over before the flip: in bulk while the tenant
writes, the rest while its writes are held; the former copy is deleted where the move ends. What is **handed over**,
such as work that waits in a queue, may be at one cell alone: it goes behind the flip and before the other cell takes
writes, so that nothing has to be taken back where a move ends before its flip.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Way(Enum):
    """Which way a tenant goes."""

    THERE = "there"
    """From the source to the target."""

    BACK = "back"
    """From the target to the source, by a rollback."""


@dataclass(frozen=True, slots=True)
class Load:
    """How much there is."""

    things: int
    """Files, objects, messages."""

    bytes: int | None = None
    """None: nobody knows."""


class Carrier(Protocol):
    """Carries one tenant's things between two cells, for one move.

    Each call may be repeated after a crash, leaves what it found done as it is, and raises a ``MoveError`` where it
    cannot be done. It has nothing open between two of them.
    """

    name: str
    """What it is called in messages."""

    def estimate(self) -> Load:
        """Look how much there is.

        Raises:
            NotMovableError: it cannot be carried as it is.
        """

    def prepare(self) -> None:
        """Find out whether both ends can be used, and mark as this move's what will be changed.

        Raises:
            NotEmptyError: the target has things of the tenant already.
        """

    def copy(self, way: Way, told: Callable[[int], None]) -> Load:
        """Bring over what the other end lacks, while it may be changed; ``told`` hears of bytes, and may raise.

        Returns:
            What was brought this time.
        """

    def compare(self) -> None:
        """Compare, from source to target, what was copied, and mend it once.

        Raises:
            NotTheSameError: something differs all the same.
        """

    def finish(self, way: Way, within_seconds: float) -> None:
        """While writes are held, and before the flip: bring what was changed since the last ``copy``.

        When it returns, what is copied is at the other end, and what is handed over can be.

        Raises:
            NotInTimeError: that would take longer.
        """

    def hand_over(self, way: Way, epoch: int) -> None:
        """Behind the flip, before the other end takes writes: give it what may be at one end alone.

        Args:
            way: which way.
            epoch: of the table by which the tenant is the other end's.
        """

    def clean(self, way: Way, epoch: int) -> None:
        """Where the move has ended: remove, from the end that the way began at, what the tenant has there."""
