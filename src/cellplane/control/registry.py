"""What routers say about themselves."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cellplane.control.report_book import ReportBook, Reported
from cellplane.control.schemas import CellHealth, RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.control.shadow_schemas import (
    ShadowAtRouter,
    ShadowCounts,
    ShadowList,
    ShadowRouter,
    ShadowSample,
    ShadowTenant,
    ShadowTenantTotals,
    ShadowTotals,
)
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

    def shadows(self, tenant: str | None = None) -> ShadowList:
        """What comparisons came to at all routers together, with the last samples and tenants.

        Args:
            tenant: whose alone, and by router too.
        """
        routers = self.routers()
        found: dict[tuple[str, str], dict[str, ShadowCounts]] = {}
        for known, _ in routers:
            for counts in known.report.shadows:
                found.setdefault((counts.cell, counts.shadow), {})[known.id] = counts
        totals = [_totals(*cells, parts) for cells, parts in sorted(found.items())]
        if tenant is None:
            return ShadowList(items=totals)
        return ShadowList(
            items=[_of_tenant(tenant, total, found[total.cell, total.shadow]) for total in totals],
            routers=[
                ShadowRouter(
                    id=known.id,
                    at=known.report.at,
                    age_seconds=round(age, 3),
                    lost=age > self._settings.router_stale_seconds,
                    waiting_seconds=known.report.waiting_seconds,
                )
                for known, age in routers
            ],
        )

    def unhealthy_cells(self) -> frozenset[str]:
        """Ids of the cells that fresh routers speak of and none can reach."""
        return frozenset(cell_id for cell_id, is_healthy in self.cell_health().items() if not is_healthy)


def _totals(cell: str, shadow: str, by_router: Mapping[str, ShadowCounts]) -> ShadowTotals:
    parts = list(by_router.values())
    tenants: dict[str, list[ShadowTenant]] = {}
    for part in parts:
        for counts in part.tenants:
            tenants.setdefault(counts.tenant, []).append(counts)
    return ShadowTotals(
        cell=cell,
        shadow=shadow,
        **_sums(parts),
        samples=_last_samples(parts),
        tenants=[
            ShadowTenantTotals(tenant=tenant, **_sums(counts), routers=[]) for tenant, counts in sorted(tenants.items())
        ],
    )


def _of_tenant(tenant: str, total: ShadowTotals, by_router: Mapping[str, ShadowCounts]) -> ShadowTotals:
    """The same with nobody else's counts and samples."""
    routers = [
        ShadowAtRouter(router=router, **_sums([counts]))
        for router, part in by_router.items()
        for counts in part.tenants
        if counts.tenant == tenant
    ]
    tenants = [each.model_copy(update={"routers": routers}) for each in total.tenants if each.tenant == tenant]
    return total.model_copy(update={"samples": _last_samples(by_router.values(), tenant), "tenants": tenants})


def _last_samples(parts: Iterable[ShadowCounts], tenant: str | None = None) -> list[ShadowSample]:
    samples = (sample for part in parts for sample in part.samples if tenant in {None, sample.tenant})
    return sorted(samples, key=lambda sample: sample.at)[-MAX_SAMPLES_OF_ONE:]


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
