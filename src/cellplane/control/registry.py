"""What routers say about themselves."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cellplane.control.report_book import ReportBook, Reported
from cellplane.control.schemas import CellHealth, RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.control.shadow_schemas import ShadowCounts, ShadowTenant, ShadowTotals
from cellplane.shadow.comparison import Outcome
from cellplane.shadow.report import MAX_SAMPLES_OF_ONE

KnownRouter: TypeAlias = Reported[RouterReport]
"""A router's last report."""


TIMES_AS_LONG = 10.0
"""For how many times as long as it took to add them up the words of routers count."""

MOST_SECONDS = 0.5
"""And no longer: a process may have been stopped meanwhile."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """By cell, whether any router reaches it, and the worst that one says of it."""

    healthy: Mapping[str, bool]
    worst: Mapping[str, CellHealth]


class RouterRegistry:
    """The routers that report here. Safe to share between threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, settings: ControlSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._last_seen = (-math.inf, _Seen({}, {}))
        self.reports = ReportBook(
            RouterReport,
            "routers",
            most=settings.max_routers,
            forget_seconds=settings.router_forget_seconds,
            clock=clock,
        )

    def report(self, router_id: str, report: RouterReport) -> None:
        """Take a report.

        Raises:
            ConflictError: there are too many routers already.
        """
        self.reports.take(router_id, report)

    def routers(self) -> list[tuple[KnownRouter, float]]:
        """All routers by id, each with the age of its report in seconds."""
        return self.reports.all()

    def cell_health(self) -> Mapping[str, bool]:
        """Whether any fresh router can reach a cell, for each cell that one has said anything of."""
        return self._seen().healthy

    def cell_judgements(self) -> Mapping[str, CellHealth]:
        """What the fresh router that thinks worst of a cell says of it, for each cell that one has said anything of."""
        return self._seen().worst

    def _seen(self) -> _Seen:
        """What fresh routers say together. Adding that up takes milliseconds where there are a thousand, and everybody
        asks: so it counts for a few times as long as it took.
        """
        began = self._clock()
        until, seen = self._last_seen
        if began < until:
            return seen
        seen = _together(known.report for known, age in self.routers() if age <= self._settings.router_stale_seconds)
        took = self._clock() - began
        self._last_seen = began + min(took * TIMES_AS_LONG, MOST_SECONDS), seen
        return seen

    def shadows(self) -> list[ShadowTotals]:
        """What comparisons came to at all routers together, with the last samples and tenants."""
        found: dict[tuple[str, str], list[ShadowCounts]] = {}
        for known, _ in self.routers():
            for counts in known.report.shadows:
                found.setdefault((counts.cell, counts.shadow), []).append(counts)
        return [_totals(*cells, parts) for cells, parts in sorted(found.items())]

    def unhealthy_cells(self) -> frozenset[str]:
        """Ids of the cells that fresh routers speak of and none can reach."""
        return frozenset(cell_id for cell_id, is_healthy in self.cell_health().items() if not is_healthy)


def _totals(cell: str, shadow: str, parts: Sequence[ShadowCounts]) -> ShadowTotals:
    samples = sorted((sample for part in parts for sample in part.samples), key=lambda sample: sample.at)
    tenants: dict[str, list[ShadowTenant]] = {}
    for part in parts:
        for counts in part.tenants:
            tenants.setdefault(counts.tenant, []).append(counts)
    return ShadowTotals(
        cell=cell,
        shadow=shadow,
        **_sums(parts),
        samples=samples[-MAX_SAMPLES_OF_ONE:],
        tenants=[ShadowTenant(tenant=tenant, **_sums(counts)) for tenant, counts in sorted(tenants.items())],
    )


def _sums(parts: Sequence[ShadowCounts | ShadowTenant]) -> dict[str, int]:
    return {outcome.field: sum(getattr(part, outcome.field) for part in parts) for outcome in Outcome}


def _together(reports: Iterable[RouterReport]) -> _Seen:
    healthy: dict[str, bool] = {}
    worst: dict[str, CellHealth] = {}
    for report in reports:
        for cell_id, health in report.cells.items():
            healthy[cell_id] = healthy.get(cell_id, False) or health.healthy_hosts > 0
            before = worst.get(cell_id)
            if before is None or _badness(health) > _badness(before):
                worst[cell_id] = health
    return _Seen(healthy, worst)


def _badness(health: CellHealth) -> tuple[int, float]:
    return _BREAKERS.index(health.breaker), -health.score


_BREAKERS = ("closed", "half-open", "open")
"""States of a breaker, the fewest refusals first."""
