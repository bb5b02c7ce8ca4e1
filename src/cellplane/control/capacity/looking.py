"""What is known of how full the fleet is, from the directory and from what cells report."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from cellplane.capacity.settings import CapacitySettings
from cellplane.capacity.survey import NO_ROOM_LEFT, Seen, Survey, survey
from cellplane.capacity.trend import DaysLeft, days_left
from cellplane.control.capacity_schemas import CellReport
from cellplane.control.report_book import ReportBook
from cellplane.directory import Directory
from cellplane.directory.capacity import KnownCapacity, SampleKind
from cellplane.directory.outline import Outline

CELL_POINTS = 100
"""Points of a cell's trend, where settings allow more: five thousand slopes, a millisecond; there may be many cells."""

CELLS_AT_ONCE = 20
"""Cells whose samples are in memory at once: some thousand each."""


@dataclass(frozen=True, slots=True)
class Look:
    """The fleet at one moment.

    Attributes:
        outline: its cells and pools.
        known: what is kept.
        ages: of what cells said last, seconds, by id.
        seen: both together, as the survey took them.
        survey: what that comes to.
    """

    outline: Outline
    known: KnownCapacity
    ages: Mapping[str, float]
    seen: Seen
    survey: Survey


class Lookout:
    """Looks. Safe to share between threads.

    Args:
        reports: of cells.
    """

    def __init__(self, directory: Directory, reports: ReportBook[CellReport], settings: CapacitySettings) -> None:
        self._directory = directory
        self._reports = reports
        self._settings = settings
        self._of_cells = replace(settings, max_points=min(settings.max_points, CELL_POINTS))
        self._pool_days: tuple[int, dict[str, DaysLeft]] = (0, {})
        self._cell_days: tuple[int, dict[str, DaysLeft]] = (0, {})
        self._one_at_a_time = threading.Lock()

    def look(self) -> Look:
        """How full the fleet is now. Blocking."""
        known = self._directory.capacity.read()
        with self._directory.snapshot() as snapshot:
            outline = snapshot.outline
        reported = self._reports.all()
        seen = Seen(
            outline.cells,
            outline.pools,
            {each.id: each.report.to_metrics(each.id, known.now - age) for each, age in reported},
            known.now,
            known.locks,
            self._days_of_pools(known.last_sample_at, outline.pools),
            known.asks_seen(),
        )
        return Look(outline, known, {each.id: age for each, age in reported}, seen, self.survey(seen))

    def survey(self, seen: Seen) -> Survey:
        """What is seen comes to."""
        return survey(seen, self._settings)

    def cell_days(self, last_at: int, cells: Sequence[str]) -> dict[str, DaysLeft]:
        """Until these cells are locked; counted anew where there are samples since. Blocking.

        Args:
            last_at: of the last samples (``KnownCapacity.last_sample_at``).
        """
        # Each has thousands of samples, and its trend takes a while: not for several callers at once.
        with self._one_at_a_time:
            known_at, days = self._cell_days
            if known_at != last_at:
                days = {}
            missing = [cell for cell in cells if cell not in days]
            for start in range(0, len(missing), CELLS_AT_ONCE):
                part = missing[start : start + CELLS_AT_ONCE]
                for cell, samples in self._directory.capacity.samples(SampleKind.CELL, part).items():
                    days[cell] = days_left(samples, self._settings.lock_at, self._of_cells)
            self._cell_days = (last_at, days)
            return {cell: days[cell] for cell in cells}

    def _days_of_pools(self, last_at: int, pools: Collection[str]) -> Mapping[str, DaysLeft]:
        known_at, days = self._pool_days
        if known_at != last_at or days.keys() != set(pools):
            samples = self._directory.capacity.samples(SampleKind.POOL, pools)
            days = {pool: days_left(each, NO_ROOM_LEFT, self._settings) for pool, each in samples.items()}
            self._pool_days = (last_at, days)
        return days
