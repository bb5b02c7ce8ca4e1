"""What routers say about themselves. Kept in memory: a router reports every second, so a restart forgets nothing."""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cellplane.control.schemas import CellHealth, RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.control.shadow_schemas import ShadowCounts
from cellplane.directory.reports import SharedReport
from cellplane.errors import ConflictError
from cellplane.shadow.report import MAX_SAMPLES_OF_ONE


@dataclass(frozen=True, slots=True)
class KnownRouter:
    """A router's last report and when it came, in seconds of the registry's clock."""

    id: str
    report: RouterReport
    at: float


class RouterRegistry:
    """The routers that report here. Safe to share between threads.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, settings: ControlSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._routers: dict[str, KnownRouter] = {}
        self._fresh: set[str] = set()
        self._lock = threading.Lock()

    def report(self, router_id: str, report: RouterReport) -> None:
        """Take a report.

        Raises:
            ConflictError: there are too many routers already.
        """
        with self._lock:
            now = self._clock()
            if router_id not in self._routers and len(self._routers) >= self._settings.max_routers:
                self._forget(now)
                if len(self._routers) >= self._settings.max_routers:
                    raise ConflictError(f"{len(self._routers)} routers report already, which is the limit")
            self._routers[router_id] = KnownRouter(router_id, report, now)
            self._fresh.add(router_id)

    def own(self) -> dict[str, tuple[dict[str, Any], float]]:
        """By router, what it said here since this was last asked, and how long ago in seconds."""
        with self._lock:
            now = self._clock()
            fresh, self._fresh = self._fresh, set()
            known = [self._routers[router] for router in fresh if router in self._routers]
        # Not under the lock: a report that comes meanwhile would hold up all other requests.
        return {each.id: (each.report.model_dump(mode="json"), now - each.at) for each in known}

    def absorb(self, shared: Sequence[SharedReport]) -> list[RouterReport]:
        """Take what others were told, where it is newer than what is known here; returns these reports."""
        now = self._clock()
        with self._lock:
            known_at = {router: known.at for router, known in self._routers.items()}
        found = []
        for each in shared:
            at = now - each.age_seconds
            # Reports come each second; what differs by less was only told late.
            if known_at.get(each.router, -math.inf) >= at - _SAME_SECONDS:
                continue
            try:
                found.append(KnownRouter(each.router, RouterReport.model_validate(each.report), at))
            except ValidationError:
                # Of a control plane of another release: the router is known there.
                continue
        with self._lock:
            for known in found:
                before = self._routers.get(known.id)
                if before is None or before.at < known.at:
                    self._routers[known.id] = known
        return [known.report for known in found]

    def routers(self) -> list[tuple[KnownRouter, float]]:
        """All routers by id, each with the age of its report in seconds."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            return [(known, now - known.at) for _, known in sorted(self._routers.items())]

    def cell_health(self) -> dict[str, bool]:
        """Whether any fresh router can reach a cell, for each cell that one has said anything of."""
        healthy: dict[str, bool] = {}
        for known, age in self.routers():
            if age <= self._settings.router_stale_seconds:
                for cell_id, health in known.report.cells.items():
                    healthy[cell_id] = healthy.get(cell_id, False) or health.healthy_hosts > 0
        return healthy

    def cell_judgements(self) -> dict[str, CellHealth]:
        """What the fresh router that thinks worst of a cell says of it, for each cell that one has said anything of."""
        worst: dict[str, CellHealth] = {}
        for known, age in self.routers():
            if age > self._settings.router_stale_seconds:
                continue
            for cell_id, health in known.report.cells.items():
                before = worst.get(cell_id)
                if before is None or _badness(health) > _badness(before):
                    worst[cell_id] = health
        return worst

    def shadows(self) -> list[ShadowCounts]:
        """What comparisons came to at all routers together, with the last samples."""
        found: dict[tuple[str, str], ShadowCounts] = {}
        for known, _ in self.routers():
            for counts in known.report.shadows:
                before = found.get((counts.cell, counts.shadow))
                found[counts.cell, counts.shadow] = counts if before is None else _sum(before, counts)
        return [counts for _, counts in sorted(found.items())]

    def unhealthy_cells(self) -> frozenset[str]:
        """Ids of the cells that fresh routers speak of and none can reach."""
        return frozenset(cell_id for cell_id, is_healthy in self.cell_health().items() if not is_healthy)

    def _forget(self, now: float) -> None:
        oldest = now - self._settings.router_forget_seconds
        self._routers = {key: known for key, known in self._routers.items() if known.at >= oldest}


def _sum(one: ShadowCounts, other: ShadowCounts) -> ShadowCounts:
    samples = sorted((*one.samples, *other.samples), key=lambda sample: sample.at)
    return ShadowCounts(
        cell=one.cell,
        shadow=one.shadow,
        match=one.match + other.match,
        mismatch=one.mismatch + other.mismatch,
        unanswered=one.unanswered + other.unanswered,
        too_large=one.too_large + other.too_large,
        skipped=one.skipped + other.skipped,
        samples=samples[-MAX_SAMPLES_OF_ONE:],
    )


def _badness(health: CellHealth) -> tuple[int, float]:
    return _BREAKERS.index(health.breaker), -health.score


_SAME_SECONDS = 0.2

_BREAKERS = ("closed", "half-open", "open")
"""States of a breaker, the fewest refusals first."""
