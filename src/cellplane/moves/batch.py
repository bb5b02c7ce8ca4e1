"""Many moves as one: a few at once, and no more of them once too many fail."""

import dataclasses
import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from cellplane.durable import locked, write_durably
from cellplane.moves.errors import MoveError
from cellplane.moves.settings import BatchSettings


class State(Enum):
    """What became of one move of a batch."""

    WAITING = "waiting"
    MOVING = "moving"
    DONE = "done"
    PAUSED = "paused"
    """Somebody lets it pause: it goes on when the batch is resumed, or by itself."""

    REFUSED = "refused"
    """It is too large to be moved without being forced. That is no failure."""

    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Item:
    """One tenant of a batch.

    Attributes:
        move_id: of its move, given before it begins, so that whoever goes on finds it.
        tenant_id: who moves.
        source: the cell that it is in.
        target: the cell that it goes to.
        state: what became of it.
        reason: why it failed, was refused, or could not go on before it paused.
        pause_seconds: for how long its writes waited.
    """

    move_id: str
    tenant_id: str
    source: str
    target: str
    state: State = State.WAITING
    reason: str = ""
    pause_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Moves that somebody wanted together.

    Attributes:
        id: lower case letters and digits.
        what: for people: what it is for.
        began: Unix seconds.
        items: in the order in which they begin.
        settings: how many at once, and when it stops.
        options: arguments for each of its moves, as the command line takes them.
    """

    id: str
    what: str
    began: float
    items: tuple[Item, ...]
    settings: BatchSettings
    options: tuple[str, ...] = ()

    def with_item(self, item: Item) -> "Batch":
        """The batch with what one of its moves has become."""
        items = tuple(item if each.move_id == item.move_id else each for each in self.items)
        return replace(self, items=items)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch came to: how many moves are in each state, and how long writes waited."""

    counts: dict[str, int]
    is_stopped: bool
    pause_p50_ms: float | None
    pause_max_ms: float | None
    reasons: tuple[str, ...]
    """Of failures and refusals, the most frequent first, with how many there are."""


def is_stopped(items: Sequence[Item], settings: BatchSettings) -> bool:
    """Whether so many failed that no more may begin."""
    ended = Counter(item.state for item in items if item.state in {State.DONE, State.FAILED})
    failed = ended[State.FAILED]
    if failed >= settings.max_failures:
        return True
    return ended.total() >= settings.share_after and failed > settings.max_failed_share * ended.total()


def next_items(items: Sequence[Item], settings: BatchSettings) -> list[Item]:
    """Those that may begin now beside those that go on: of each cell, and altogether, only a few at once."""
    if is_stopped(items, settings):
        return []
    moving = [item for item in items if item.state is State.MOVING]
    busy = Counter(cell for item in moving for cell in (item.source, item.target))
    found: list[Item] = []
    for item in items:
        if len(moving) + len(found) >= settings.at_once:
            break
        if item.state is State.WAITING and max(busy[item.source], busy[item.target]) < settings.per_cell:
            found.append(item)
            busy.update((item.source, item.target))
    return found


def least_held_seconds(moves: Sequence[tuple[str, str, str]], settings: BatchSettings, hold_seconds: float) -> float:
    """How long the ways back of (tenant, source, target) are held open one after the other, at least: one that is held
    counts as one that goes on.

    Args:
        moves: those of the batch.
        settings: how many may go on at once.
        hold_seconds: of each.
    """
    of_cells = Counter(cell for _, source, target in moves for cell in (source, target))
    busiest = max(of_cells.values(), default=0)
    return hold_seconds * max(math.ceil(len(moves) / settings.at_once), math.ceil(busiest / settings.per_cell))


def summary(batch: Batch) -> Summary:
    """What it came to, so far."""
    pauses = sorted(1000 * item.pause_seconds for item in batch.items if item.pause_seconds is not None)
    reasons = Counter(item.reason for item in batch.items if item.state in {State.FAILED, State.REFUSED})
    return Summary(
        {state.value: sum(item.state is state for item in batch.items) for state in State},
        is_stopped(batch.items, batch.settings),
        round(statistics.median(pauses), 1) if pauses else None,
        round(pauses[-1], 1) if pauses else None,
        tuple(f"{count} × {reason}" for reason, count in reasons.most_common()),
    )


@dataclass(frozen=True, slots=True)
class BatchBook:
    """The batches of one mover: a file each, which says before a move begins that it does.

    Args:
        root: its folder.
        clock: Unix seconds.
    """

    root: Path
    clock: Callable[[], float] = time.time

    def put(self, batch: Batch) -> None:
        """Keep a batch as it is now."""
        self.root.mkdir(parents=True, exist_ok=True)
        value = dataclasses.asdict(batch)
        for item in value["items"]:
            item["state"] = item["state"].value
        write_durably(self._path(batch.id), json.dumps(value).encode())

    def get(self, batch_id: str) -> Batch:
        """A batch.

        Raises:
            MoveError: there is none, or its file cannot be read.
        """
        try:
            value = json.loads(self._path(batch_id).read_text())
        except FileNotFoundError:
            known = ", ".join(each.id for each in self.all()[-5:]) or "none"
            raise MoveError(f"there is no batch {batch_id!r} in {self.root}; the last are: {known}") from None
        except ValueError as error:
            raise MoveError(f"{self._path(batch_id)} is damaged ({error}): look at its moves by themselves") from error
        items = tuple(Item(**{**item, "state": State(item["state"])}) for item in value.pop("items"))
        settings = BatchSettings(**value.pop("settings"))
        return Batch(items=items, settings=settings, options=tuple(value.pop("options")), **value)

    def all(self) -> list[Batch]:
        """All batches, by when they began."""
        found = [self.get(path.stem) for path in self.root.glob("*.json")]
        return sorted(found, key=lambda batch: (batch.began, batch.id))

    @contextmanager
    def working_on(self, batch_id: str) -> Iterator[None]:
        """Be the only process that works on a batch, until the block ends.

        Raises:
            MoveError: another one does.
        """
        with locked(self.root / f"{batch_id}.lock") as is_free:
            if not is_free:
                raise MoveError(
                    f"another process makes the batch {batch_id}: `cellplane move batch status {batch_id}` shows how "
                    "far it is"
                )
            yield

    def _path(self, batch_id: str) -> Path:
        return self.root / f"{batch_id}.json"


def run(
    batch: Batch, book: BatchBook, make: Callable[[Item], Item], told: Callable[[Batch], None] = lambda _: None
) -> Batch:
    """Make a batch's moves, or go on with them; whoever calls may die at any moment, and call again.

    Args:
        batch: as the book has it.
        book: where it is kept.
        make: makes one move, or goes on with it, and returns what it has become; called from several threads.
        told: hears of each change.
    """
    # One that was cut short goes on first.
    begun = [item for item in batch.items if item.state is State.MOVING]
    with ThreadPoolExecutor(batch.settings.at_once, thread_name_prefix="batch") as pool:
        running: dict[Future[Item], Item] = {pool.submit(make, item): item for item in begun}
        while True:
            for item in next_items(batch.items, batch.settings):
                batch = batch.with_item(replace(item, state=State.MOVING))
                book.put(batch)
                running[pool.submit(make, item)] = item
            told(batch)
            if not running:
                return batch
            batch = _settled(batch, running)
            book.put(batch)


def _settled(batch: Batch, running: dict[Future[Item], Item]) -> Batch:
    ended, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in ended:
        item = running.pop(future)
        try:
            batch = batch.with_item(future.result())
        except (MoveError, OSError) as error:
            batch = batch.with_item(replace(item, state=State.FAILED, reason=str(error)))
    return batch


def items_of(moves: Iterable[tuple[str, str, str]], new_id: Callable[[], str]) -> tuple[Item, ...]:
    """The items of (tenant, source, target), in this order."""
    return tuple(Item(new_id(), tenant, source, target) for tenant, source, target in moves)
