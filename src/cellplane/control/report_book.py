"""Who reports: the last report of each, and when it came. Kept in memory: they report often, so a restart forgets
nothing for long.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cellplane.directory.reports import SharedReport
from cellplane.errors import ConflictError

Report = TypeVar("Report", bound=BaseModel)

_SAME_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Reported(Generic[Report]):
    """A last report, and when it came, in seconds of the book's clock."""

    id: str
    report: Report
    at: float


class ReportBook(Generic[Report]):
    """The last reports of one kind of reporters. Safe to share between threads.

    Args:
        kind: what is taken.
        noun: what reporters are called, in the plural.
        most: reporters that are remembered.
        forget_seconds: silence after which one is forgotten.
        clock: seconds that only grow.
    """

    def __init__(
        self, kind: type[Report], noun: str, *, most: int, forget_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._kind = kind
        self._noun = noun
        self._most = most
        self._forget_seconds = forget_seconds
        self._clock = clock
        self._known: dict[str, Reported[Report]] = {}
        self._fresh: set[str] = set()
        self._lock = threading.Lock()

    def take(self, reporter: str, report: Report) -> Reported[Report]:
        """Take a report, and return it with its time.

        Raises:
            ConflictError: there are too many reporters already.
        """
        with self._lock:
            now = self._clock()
            if reporter not in self._known and len(self._known) >= self._most:
                self._forget(now)
                if len(self._known) >= self._most:
                    raise ConflictError(f"{len(self._known)} {self._noun} report already, which is the limit")
            self._known[reporter] = known = Reported(reporter, report, now)
            self._fresh.add(reporter)
            return known

    def own(self) -> dict[str, tuple[dict[str, Any], float]]:
        """By reporter, what it said here since this was last asked, and how long ago in seconds."""
        with self._lock:
            now = self._clock()
            fresh, self._fresh = self._fresh, set()
            known = [self._known[reporter] for reporter in fresh if reporter in self._known]
        # Not under the lock: a report that comes meanwhile would hold up all other requests.
        return {each.id: (each.report.model_dump(mode="json"), now - each.at) for each in known}

    def absorb(self, shared: Sequence[SharedReport]) -> list[Report]:
        """Take what others were told, where it is newer than what is known here; returns these reports."""
        now = self._clock()
        with self._lock:
            known_at = {reporter: known.at for reporter, known in self._known.items()}
        found = []
        for each in shared:
            at = now - each.age_seconds
            # Reports come each second or less often; what differs by less was only told late.
            if known_at.get(each.id, -math.inf) >= at - _SAME_SECONDS:
                continue
            try:
                found.append(Reported(each.id, self._kind.model_validate(each.report), at))
            except ValidationError:
                # Of a control plane of another release: the reporter is known there.
                continue
        with self._lock:
            for known in found:
                before = self._known.get(known.id)
                has_room = before is not None or len(self._known) < self._most
                if has_room and (before is None or before.at < known.at):
                    self._known[known.id] = known
        return [known.report for known in found]

    def all(self) -> list[tuple[Reported[Report], float]]:
        """All reporters by id, each with the age of its report in seconds."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            return [(known, now - known.at) for _, known in sorted(self._known.items())]

    def _forget(self, now: float) -> None:
        oldest = now - self._forget_seconds
        self._known = {key: known for key, known in self._known.items() if known.at >= oldest}
        self._fresh &= self._known.keys()
