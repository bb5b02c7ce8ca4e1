"""Where moves are kept: a folder each, with what is reached, what is wanted, and how far a step is."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellplane.durable import locked, write_durably
from cellplane.moves.errors import MoveError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.settings import BookSettings

_MOVE, _WISH, _PROGRESS, _ATTEMPTS, _LOCK = (
    "move.json",
    "wish.json",
    "progress.json",
    "attempts.json",
    "lock",
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the step is that is being made."""

    doing: str = ""
    rows: int = 0
    bytes: int = 0
    rows_expected: int = 0
    """About how many there are; 0 where nobody knows."""

    bytes_expected: int = 0
    lag_seconds: float | None = None
    """How far the target was behind, when that was measured last."""

    eta_seconds: float | None = None
    """How long this step goes on, about; None where nobody knows."""

    at: float = 0.0
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class MoveBook:
    """The moves of one mover. What is reached is on the disk before the next step begins.

    Args:
        root: its folder.
        settings: how often it is tried to be the only one.
        clock: Unix seconds.
        pause: waits so many seconds.
    """

    root: Path
    settings: BookSettings = field(default_factory=BookSettings)
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep

    def add(self, move: Move, files: Mapping[str, bytes] | None = None) -> None:
        """Begin to keep a move.

        Args:
            move: which.
            files: name → what the move is to have in its folder from the beginning.

        Raises:
            MoveError: another move of the tenant has not ended.
        """
        with self._adding():
            self._add(move, files or {})

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """Two that begin a move of the same tenant see one another."""
        for _ in range(self.settings.add_tries):
            with locked(self.root / _LOCK) as is_free:
                if is_free:
                    yield
                    return
            self.pause(self.settings.add_pause_seconds)
        raise MoveError(f"others begin moves in {self.root} all the while: ask again")

    def _add(self, move: Move, files: Mapping[str, bytes]) -> None:
        if self.has(move.id):
            raise MoveError(f"there is a move {move.id} already: `cellplane move resume {move.id}` goes on with it")
        for other in self.all():
            # What one that is aborting has left the next one finds by itself: a cell may be down for long.
            if other.tenant_id == move.tenant_id and not (other.phase.is_end or other.phase is Phase.ABORTING):
                raise MoveError(
                    f"{move.tenant_id} is moving already, from {other.source} to {other.target} ({other.id}, "
                    f"{other.phase.value}): wait for it, or `cellplane move abort {other.id}`"
                )
        folder = self.root / move.id
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_durably(folder / name, data)
        self.put(move)

    def has(self, move_id: str) -> bool:
        """Whether it keeps this move."""
        return (self.root / move_id / _MOVE).is_file()

    def put(self, move: Move) -> None:
        """Keep what a move has reached."""
        value = {**dataclasses.asdict(move), "phase": move.phase.value}
        self._write(move.id, _MOVE, value)

    def get(self, move_id: str) -> Move:
        """A move.

        Raises:
            MoveError: there is none, or its file cannot be read.
        """
        value = self._read(move_id, _MOVE)
        if value is None:
            known = ", ".join(each.id for each in self.all()[-5:]) or "none"
            raise MoveError(f"there is no move {move_id!r} in {self.root}; the last are: {known}")
        return Move(**{**value, "phase": Phase(value["phase"])})

    def all(self) -> list[Move]:
        """All moves, by when they began."""
        if not self.root.is_dir():
            return []
        files = [path for path in self.root.glob(f"*/{_MOVE}") if path.is_file()]
        found = [self.get(path.parent.name) for path in files]
        return sorted(found, key=lambda move: (move.began, move.id))

    def wish(self, move_id: str) -> Wish:
        """What people want of a move."""
        value = self._read(move_id, _WISH)
        return Wish.RUN if value is None else Wish(value["wish"])

    def ask(self, move_id: str, wish: Wish) -> None:
        """Want something of a move."""
        self.get(move_id)
        self._write(move_id, _WISH, {"wish": wish.value, "heard": self.heard(move_id)})

    def heard(self, move_id: str) -> int:
        """The number of the last wish that was heard from elsewhere; 0 for none."""
        value = self._read(move_id, _WISH)
        return 0 if value is None else int(value.get("heard", 0))

    def hear(self, move_id: str, wish: Wish, number: int) -> None:
        """Want what somebody wants elsewhere, if that is news: numbers grow."""
        if number > self.heard(move_id):
            self._write(move_id, _WISH, {"wish": wish.value, "heard": number})

    def attempts(self, move_id: str) -> int:
        """How often it was asked to go on."""
        value = self._read(move_id, _ATTEMPTS)
        return 0 if value is None else int(value["attempts"])

    def begin_attempt(self, move_id: str) -> int:
        """Count one more; returns its number, from 1."""
        number = self.attempts(move_id) + 1
        self._write(move_id, _ATTEMPTS, {"attempts": number})
        return number

    def progress(self, move_id: str) -> Progress:
        """How far the step is that is being made."""
        value = self._read(move_id, _PROGRESS)
        return Progress() if value is None else Progress(**value)

    def tell(self, move_id: str, progress: Progress) -> None:
        """Note how far it is. Nothing depends on it."""
        path = self.root / move_id / _PROGRESS
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(progress, at=self.clock()))))
        aside.rename(path)

    @contextmanager
    def working_on(self, move_id: str) -> Iterator[bool]:
        """Be the only process that works on a move, until the block ends; yields whether nobody else does."""
        self.get(move_id)
        with locked(self.root / move_id / _LOCK) as is_free:
            yield is_free

    def _write(self, move_id: str, name: str, value: dict[str, Any]) -> None:
        write_durably(self.root / move_id / name, json.dumps(value).encode())

    def _read(self, move_id: str, name: str) -> dict[str, Any] | None:
        try:
            value: dict[str, Any] = json.loads((self.root / move_id / name).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise MoveError(
                f"{self.root / move_id / name} is damaged ({error}): repair the move by its facts"
            ) from error
        return value
