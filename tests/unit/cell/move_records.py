"""Records of moves for tests: a clock that stands, a small record, and doors that ask it."""

from pathlib import Path

from cellplane.cell.door import Door, RequestLine
from cellplane.cell.moves import Moves
from cellplane.cell.problem import Problem
from cellplane.cell.settings import MoveLimits

DAY = 86_400.0
CELL = "cell-1"


class Clock:
    """Tells the time that it is given."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(path: Path, clock: Clock | None = None, **limits: float) -> Moves:
    """One more process's record of cell-1; it is made where there is none."""
    said = MoveLimits(**limits)  # type: ignore[arg-type]
    Moves.create(path, CELL, limits=said)
    return Moves(path, CELL, limits=said, clock=clock or Clock())


def admits(moves: Moves, tenant: str, epoch: int) -> bool:
    """Whether a door that asks the record lets a request in."""
    door = Door(CELL, moved=moves.moved)
    headers = [(b"x-cell-id", CELL.encode()), (b"x-cell-epoch", b"%d" % epoch), (b"x-tenant-id", tenant.encode())]
    return not isinstance(door.admit(headers, lambda: RequestLine(b"GET", b"/", b"")), Problem)
