"""What the board counts, as Prometheus metrics: by cell, and of a bounded number of tenants."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from cellplane.router.board import BUCKETS, FIRST_BUCKET, LATENCY_BOUNDS_SECONDS, Board, Count
from cellplane.router.judge import CellHealth

MAX_TENANTS = 10
"""Tenants of a cell that have metrics of their own: those that take most of its time."""

_COUNTERS = (
    (Count.REQUESTS, "cellplane_router_cell_requests", "Requests that went to a cell and have ended"),
    (Count.ERRORS, "cellplane_router_cell_errors", "Of them, those that the cell failed: 5xx, or no answer"),
    (Count.UNREACHABLE, "cellplane_router_cell_unreachable", "Of them, those that the cell did not take, or broke off"),
    (Count.RETRIED, "cellplane_router_cell_retried", "Of them, those that were tried again on another cell"),
    (Count.MISROUTED, "cellplane_router_cell_misrouted", "Of them, those that the cell refused as not its own: 421"),
    (Count.SHED, "cellplane_router_cell_shed", "Requests refused for the cell's limit"),
    (Count.LIMITED, "cellplane_router_tenant_limited", "Requests refused for their tenant's limit, by its cell"),
    (Count.UNAVAILABLE, "cellplane_router_cell_unavailable", "Requests refused since no cell of theirs could be used"),
    (Count.CANARY, "cellplane_router_cell_canary", "Requests that went to a cell as a canary"),
    (Count.PROBES, "cellplane_router_cell_probes", "Requests that went to a cell to see whether it works again"),
    (Count.SHADOWED, "cellplane_router_cell_shadowed", "Requests to a cell that were copied to another"),
    (Count.KEPT, "cellplane_router_cell_kept", "Answers of a cell that were kept, for when it is down"),
    (Count.KEPT_EVICTED, "cellplane_router_cell_kept_evicted", "Kept answers that went to make room for one of a cell"),
    (Count.STALE, "cellplane_router_cell_kept_given", "Requests that got what was kept of a cell's answers"),
    (
        Count.KEPT_MISSED,
        "cellplane_router_cell_kept_missed",
        "Requests of which nothing was kept while a cell was down",
    ),
    (Count.COMPARED, "cellplane_router_cell_compared", "Requests to a cell whose answer was kept to be compared"),
    (Count.UNHEARD, "cellplane_router_cell_unheard", "Of them, those whose answer the agent did not take"),
    (Count.REDIRECTED, "cellplane_router_cell_redirected", "Requests whose client was sent to the cell's own address"),
)
_REASONS = (
    (Count.BY_ASSIGNMENT, "assignment"),
    (Count.BY_SLOT, "slot"),
    (Count.BY_DEFAULT, "default"),
    (Count.BY_SOURCE, "source"),
)
_BREAKER_STATES = ("closed", "open", "half-open")


class BoardMetrics(Collector):
    """Reads the board when it is asked.

    Args:
        board: the board now; None before the first table.
        health: what the judge thinks of each cell now.
    """

    def __init__(self, board: Callable[[], Board | None], health: Callable[[], Mapping[str, CellHealth]]) -> None:
        self._board = board
        self._health = health

    def describe(self) -> Iterable[Metric]:
        """The metrics, without samples."""
        return self._families(None)

    def collect(self) -> Iterable[Metric]:
        """The metrics now."""
        return self._families(self._board())

    def _families(self, board: Board | None) -> Iterable[Metric]:
        cells = () if board is None else board.cells
        counts = None if board is None else board.counts().tolist()
        for count, name, about in _COUNTERS:
            family = CounterMetricFamily(name, about, labels=["cell"])
            for place, cell in enumerate(cells):
                assert counts is not None
                family.add_metric([cell], counts[place][count])
            yield family
        reasons = CounterMetricFamily(
            "cellplane_router_decisions",
            "Requests that were let through, by what named the shard",
            labels=["cell", "reason"],
        )
        in_flight = GaugeMetricFamily(
            "cellplane_router_cell_in_flight", "Requests under way at a cell", labels=["cell"]
        )
        durations = HistogramMetricFamily(
            "cellplane_router_cell_duration_seconds", "How long requests were under way at a cell", labels=["cell"]
        )
        for place, cell in enumerate(cells):
            assert counts is not None
            row = counts[place]
            for count, reason in _REASONS:
                reasons.add_metric([cell, reason], row[count])
            in_flight.add_metric([cell], 0 if row[Count.IN_FLIGHT] >> 63 else row[Count.IN_FLIGHT])
            durations.add_metric([cell], _buckets(row[FIRST_BUCKET : FIRST_BUCKET + BUCKETS]), row[Count.BUSY_US] / 1e6)
        yield from (reasons, in_flight, durations)
        kept = GaugeMetricFamily("cellplane_router_kept_bytes", "Bytes that all kept answers take")
        if board is not None:
            kept.add_metric([], board.kept_bytes)
        yield kept
        yield from self._tenant_families(board)
        yield from self._health_families()

    def _tenant_families(self, board: Board | None) -> Iterable[Metric]:
        busy = GaugeMetricFamily(
            "cellplane_router_tenant_busy_seconds",
            f"Time that requests took, of the up to {MAX_TENANTS} tenants of a cell that take most of it",
            labels=["cell", "tenant"],
        )
        for cell in () if board is None else board.cells:
            assert board is not None
            most = sorted(board.tenants(cell), key=lambda found: (-found.busy_seconds, found.tenant))
            for found in most[:MAX_TENANTS]:
                busy.add_metric([cell, found.tenant], found.busy_seconds)
        yield busy

    def _health_families(self) -> Iterable[Metric]:
        score = GaugeMetricFamily("cellplane_router_cell_health_score", "Health of a cell, 0 to 100", labels=["cell"])
        gray = GaugeMetricFamily(
            "cellplane_router_cell_gray", "Whether a cell is worse than its peers", labels=["cell"]
        )
        breaker = GaugeMetricFamily(
            "cellplane_router_cell_breaker", "1 for the state of a cell's circuit breaker", labels=["cell", "state"]
        )
        for cell, health in self._health().items():
            score.add_metric([cell], health.score)
            gray.add_metric([cell], float(health.is_gray))
            for state in _BREAKER_STATES:
                breaker.add_metric([cell, state], float(health.breaker == state))
        return (score, gray, breaker)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    found, below = [], 0
    for bound, count in zip((*map(str, LATENCY_BOUNDS_SECONDS), "+Inf"), counts, strict=True):
        below += count
        found.append((bound, float(below)))
    return found
