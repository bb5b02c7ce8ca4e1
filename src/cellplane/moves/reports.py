"""What a mover tells of its moves, so that people and other systems see them, and what it hears of their wishes.

Each phase that a move has reached is told before the next step begins, and a move that may not begin is refused there.
How far a step is, is told now and then, and never while writes wait.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from cellplane.client import Client
from cellplane.errors import BusyControlPlaneError, ControlPlaneError, UnreachableError
from cellplane.moves.book import MoveBook, Progress
from cellplane.moves.errors import MoveError
from cellplane.moves.move import Move, Wish
from cellplane.moves.settings import ReportSettings

MAX_REASON_CHARS = 2_000
"""Longest reason that the control plane takes."""

MAX_DOING_CHARS = 200
"""Longest name of what is being done."""


class RefusedMoveError(MoveError):
    """The control plane does not take what a move has reached."""


class Reports(Protocol):
    """Whom a mover tells of its moves."""

    def reached(self, move: Move) -> None:
        """Tell what a move has reached; it may be told again.

        Raises:
            RefusedMoveError: the control plane has something against it.
            ControlPlaneError: it cannot be told.
        """

    def going(self, move: Move, progress: Progress) -> None:
        """Tell how far its step is, if that can be done at once."""


class Untold(Reports):
    """Nobody is told."""

    def reached(self, move: Move) -> None:
        """See ``Reports``."""

    def going(self, move: Move, progress: Progress) -> None:
        """See ``Reports``."""


@dataclass
class ControlPlaneReports(Reports):
    """Tells the control plane, by its API, and notes in the book of moves what people want by way of it.

    Args:
        client: with a token that may change tenants.
        book: of the mover.
        settings: how often, and for how long it is tried.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    client: Client
    book: MoveBook
    settings: ReportSettings = field(default_factory=ReportSettings)
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _told: dict[str, Move] = field(default_factory=dict, init=False, repr=False)
    _next: float = field(default=float("-inf"), init=False, repr=False)

    def reached(self, move: Move) -> None:
        """See ``Reports``."""
        known = self._told.get(move.id)
        if known is not None and known.phase is move.phase:
            return
        body = {
            "tenant": move.tenant_id,
            "source": move.source,
            "target": move.target,
            "phase": move.phase.value,
            "reason": move.reason[:MAX_REASON_CHARS] if move.phase.is_end else "",
            "hold_seconds": move.hold_seconds,
            "flipped_epoch": move.flipped_epoch or None,
            "pause_seconds": move.pause_seconds,
        }
        answer = self._put(move, body)
        self._told[move.id] = move
        self._hear(move, answer)

    def going(self, move: Move, progress: Progress) -> None:
        """See ``Reports``."""
        now = self.monotonic()
        if now < self._next:
            return
        self._next = now + self.settings.progress_seconds
        body = {
            "doing": progress.doing[:MAX_DOING_CHARS],
            "rows": progress.rows,
            "bytes": progress.bytes,
            "rows_expected": progress.rows_expected,
            "bytes_expected": progress.bytes_expected,
            "lag_seconds": progress.lag_seconds,
            "eta_seconds": progress.eta_seconds,
            "reason": move.reason[:MAX_REASON_CHARS],
            "wish": self.book.wish(move.id).value,
            "heard_epoch": self.book.heard(move.id),
        }
        try:
            answer = self.client.post(
                f"/v1/moves/{move.id}/report", body, timeout_seconds=self.settings.progress_timeout_seconds
            )
        except ControlPlaneError:
            # Nothing depends on it; the next phase is told for as long as it takes, or the move ends there.
            self._next = self.monotonic() + self.settings.failed_seconds
        else:
            self._hear(move, answer)

    def _put(self, move: Move, body: dict[str, Any]) -> dict[str, Any]:
        began, delay = self.monotonic(), self.settings.retry_min_seconds
        while True:
            try:
                return self.client.put(f"/v1/moves/{move.id}", body)
            except ControlPlaneError as error:
                if not may_pass(error):
                    raise RefusedMoveError(str(error)) from error
                if self.monotonic() - began + delay > self.settings.phase_seconds:
                    raise
                self.pause(delay)
                delay = min(2 * delay, self.settings.retry_max_seconds)

    def _hear(self, move: Move, answer: dict[str, Any]) -> None:
        self.book.hear(move.id, Wish(answer["wish"]), int(answer["wish_epoch"]))


def may_pass(error: ControlPlaneError) -> bool:
    """Whether the same may be taken if it is told again."""
    if isinstance(error, UnreachableError | BusyControlPlaneError):
        return True
    return error.status in {0, HTTPStatus.TOO_MANY_REQUESTS} or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
