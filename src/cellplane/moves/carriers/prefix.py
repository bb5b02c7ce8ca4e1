"""What lies below a tenant's prefix, in folders or buckets: copied while it is written, then what was changed since.

A round compares the names, sizes and tags of both ends, copies what differs and deletes what the origin does not have.
What an app acknowledged before its writes were held is found by the round that follows. So an app has to write a file
before the row that names it: where the database refuses the row, the file is nobody's.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, Self, TypeVar

from cellplane.faults import fault_point
from cellplane.moves.carriers.carrier import Carrier, Load, Way
from cellplane.moves.errors import MoveError, NotEmptyError, NotInTimeError, NotTheSameError
from cellplane.moves.settings import CarrierSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Blob:
    """A file, a folder or an object.

    Attributes:
        key: its name below the prefix; that of a folder ends with a slash.
        bytes: its size.
        tag: another one after each change.
    """

    key: str
    bytes: int
    tag: str


class Found(Enum):
    """What became of one blob."""

    SAME = "same"
    COPIED = "copied"
    CHANGED = "changed"
    """It was written, or deleted, as it was copied: the next round looks again."""


class Prefix(Protocol):
    """One tenant's prefix at one cell. Its calls may come from several threads."""

    @property
    def where(self) -> str:
        """For messages."""

    def list(self) -> Iterator[Blob]:
        """All that lies below it.

        Raises:
            MoveError: it cannot be looked at, or has what cannot be carried.
        """

    def is_copy(self, ours: Blob | None, theirs: Blob) -> bool:
        """Whether ours is a copy of what another end has, as far as names, sizes and tags say."""

    def fetch(self, other: Self, theirs: Blob, go_on: Callable[[], None]) -> Found:
        """Copy from another end of the same kind, whole or not at all; ``go_on`` is asked meanwhile, and may raise."""

    def is_same(self, other: Self, theirs: Blob) -> bool:
        """Whether the content is the same."""

    def delete(self, blobs: Sequence[Blob]) -> None:
        """Delete these; it is no error that one is not there."""

    def settle(self) -> None:
        """Make durable what was fetched and deleted."""

    def owner(self) -> str | None:
        """The move that the prefix is marked as changed by."""

    def claim(self, move_id: str) -> None:
        """Mark it, durably. The mark lies beside the prefix."""

    def unclaim(self) -> None:
        """Take the mark away."""


P = TypeVar("P", bound=Prefix)

_NEVER = float("inf")


class PrefixCarrier(Carrier, Generic[P]):
    """Copies a tenant's prefix, and deletes it where the tenant has left.

    Args:
        name: for messages.
        move_id: of the move.
        source: at the cell that has the tenant.
        target: at the cell that is to have it.
        settings: limits and times.
        monotonic: seconds.
    """

    def __init__(
        self,
        name: str,
        move_id: str,
        source: P,
        target: P,
        settings: CarrierSettings | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._move_id = move_id
        self._ends = {Way.THERE: (source, target), Way.BACK: (target, source)}
        self._settings = settings or CarrierSettings()
        self._monotonic = monotonic

    def estimate(self) -> Load:
        """See ``Carrier``."""
        here, _ = self._ends[Way.THERE]
        blobs = self._listed(here)
        return Load(len(blobs), sum(blob.bytes for blob in blobs.values()))

    def prepare(self) -> None:
        """See ``Carrier``."""
        source, target = self._ends[Way.THERE]
        self._listed(source)
        for end in (target, source):
            owner = end.owner()
            if owner not in {None, self._move_id}:
                raise MoveError(f"{self.name}: {end.where} is marked by the move {owner}: end or repair that one first")
            if owner is None:
                first = next(iter(end.list()), None) if end is target else None
                if first is not None:
                    raise NotEmptyError(
                        f"{self.name}: {end.where} has {first.key} already, and this move has not copied it: see whose "
                        "that is, and delete it"
                    )
                end.claim(self._move_id)

    def copy(self, way: Way, told: Callable[[int], None]) -> Load:
        """See ``Carrier``."""
        here, there = self._ends[way]
        return self._round(here, there, told, _NEVER)[0]

    def compare(self) -> None:
        """See ``Carrier``. What is written meanwhile is left to the rounds that follow."""
        here, there = self._ends[Way.THERE]
        self._compare(here, there)

    def finish(self, way: Way, within_seconds: float) -> None:
        """See ``Carrier``. What is copied is also compared."""
        here, there = self._ends[way]
        until = self._monotonic() + within_seconds
        _, changed = self._round(here, there, lambda _: None, until)
        if changed:
            raise NotInTimeError(
                f"{self.name}: {here.where} is written while writes are held, such as {changed[0].key}"
            )

    def hand_over(self, way: Way, epoch: int) -> None:
        """See ``Carrier``. All was copied before the flip."""

    def clean(self, way: Way, epoch: int) -> None:  # noqa: ARG002  # which work in queues needs
        """See ``Carrier``. Only what this move has marked is deleted."""
        here, there = self._ends[way]
        if here.owner() == self._move_id:
            blobs = sorted(self._listed(here).values(), key=lambda blob: blob.key, reverse=True)
            for start in range(0, len(blobs), self._settings.page):
                here.delete(blobs[start : start + self._settings.page])
                fault_point("move.blobs.deleted")
            here.settle()
            here.unclaim()
        if there.owner() == self._move_id:
            there.unclaim()

    def _round(self, here: P, there: P, told: Callable[[int], None], until: float) -> tuple[Load, list[Blob]]:
        """Make one end what the other is; returns what was copied, and what was written meanwhile."""
        if there.owner() != self._move_id:
            raise MoveError(f"{self.name}: {there.where} is not marked by this move: prepare it first")
        ours, theirs = self._listed(here), self._listed(there)
        # First, since a file may have become a folder.
        gone = sorted(
            (blob for key, blob in theirs.items() if key not in ours), key=lambda blob: blob.key, reverse=True
        )
        for start in range(0, len(gone), self._settings.page):
            there.delete(gone[start : start + self._settings.page])
        is_last = until < _NEVER
        # What ends one copy ends all: large ones that are under way would be waited for.
        ended_by: list[BaseException] = []

        def go_on() -> None:
            if ended_by:
                raise ended_by[0]
            if self._monotonic() > until:
                raise NotInTimeError(
                    f"{self.name}: not all that was changed could be copied while writes are held; they go on"
                )

        def bring(blob: Blob) -> tuple[Blob, Found]:
            if there.is_copy(theirs.get(blob.key), blob):
                return blob, Found.SAME
            try:
                found = there.fetch(here, blob, go_on)
            except BaseException as error:
                ended_by.append(error)
                raise
            fault_point("move.blob.copied")
            if is_last and found is Found.COPIED and not there.is_same(here, blob):
                raise NotTheSameError(f"{self.name}: {blob.key} differs at {there.where} after it was copied")
            return blob, found

        things = size = 0
        changed = []
        for blob, found in self._together(bring, ours.values()):
            if found is Found.CHANGED:
                changed.append(blob)
            elif found is Found.COPIED:
                things, size = things + 1, size + blob.bytes
            try:
                go_on()
                told(size)
            except BaseException as error:
                ended_by.append(error)
                raise
        there.settle()
        return Load(things, size), changed

    def _compare(self, here: P, there: P) -> None:
        ours, theirs = self._listed(here), self._listed(there)

        def differs(blob: Blob) -> str | None:
            if not there.is_copy(theirs.get(blob.key), blob) or there.is_same(here, blob):
                return None
            if there.fetch(here, blob, lambda: None) is not Found.COPIED or there.is_same(here, blob):
                return None
            return blob.key

        wrong = [key for key in self._together(differs, ours.values()) if key is not None]
        there.settle()
        if wrong:
            raise NotTheSameError(
                f"{self.name}: {len(wrong)} differ at {there.where} after they were copied again, such as {wrong[0]}"
            )

    def _listed(self, end: Prefix) -> dict[str, Blob]:
        found = {}
        for blob in end.list():
            found[blob.key] = blob
            if len(found) > self._settings.things_max:
                raise MoveError(
                    f"{self.name}: {end.where} has more than {self._settings.things_max:,} things, which is the most "
                    "that one move takes: carry them by other means"
                )
        return found

    def _together(self, work: Callable[[Blob], T], blobs: Iterable[Blob]) -> Iterator[T]:
        """Do a work for many, a few at a time."""
        waiting = iter(blobs)
        with ThreadPoolExecutor(self._settings.threads, thread_name_prefix=f"move {self.name}") as pool:
            running = {pool.submit(work, blob) for blob in itertools.islice(waiting, 2 * self._settings.threads)}
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                running |= {pool.submit(work, blob) for blob in itertools.islice(waiting, len(done))}
