"""Metrics of capacity, as the leader sees it."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from cellplane.capacity.survey import Survey


class CapacityMetrics:
    """Of cells and pools.

    Args:
        registry: of the process.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._utilisation = Gauge(
            "cellplane_cell_utilisation_ratio",
            "How full a cell is of the resource that it has least of",
            ["cell", "resource"],
            registry=registry,
        )
        self._headroom = Gauge(
            "cellplane_pool_headroom_ratio",
            "Share of a pool's room that is left until its cells are locked",
            ["pool"],
            registry=registry,
        )
        self._days = Gauge(
            "cellplane_pool_days_left", "Days until a pool's room is used up, by its trend", ["pool"], registry=registry
        )
        self.changes = Counter(
            "cellplane_cell_locks_total",
            "Cells that were locked or opened again by what they report",
            ["to"],
            registry=registry,
        )
        self.asks = Counter(
            "cellplane_cell_asks_total", "Cells that a provisioner was asked for", ["outcome"], registry=registry
        )
        self.failures = Counter(
            "cellplane_capacity_failures_total",
            "Rounds over capacity that failed and were tried again",
            registry=registry,
        )

    def clear(self) -> None:
        """Show nothing of cells and pools: another leads, and shows it."""
        for gauge in (self._utilisation, self._headroom, self._days):
            gauge.clear()

    def show(self, survey: Survey) -> None:
        """Show what is known now, and of others nothing."""
        self.clear()
        for cell, each in survey.utilisations.items():
            self._utilisation.labels(cell=cell, resource=each.resource.value).set(each.share)
        for name, pool in survey.pools.items():
            if pool.left is not None:
                self._headroom.labels(pool=name).set(pool.left)
        for name, days in survey.pool_days.items():
            if days.days is not None:
                self._days.labels(pool=name).set(days.days)
