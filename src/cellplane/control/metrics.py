"""The control plane's Prometheus metrics, one registry a process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """All metrics of one control plane."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._published_epoch = Gauge(
            "cellplane_published_epoch", "Epoch of the table that routers are given", registry=self.registry
        )
        self._table_bytes = Gauge("cellplane_table_bytes", "Size of that table", registry=self.registry)
        self._publish_seconds = Histogram(
            "cellplane_publish_seconds", "Time from the directory to a published table", registry=self.registry
        )
        self.publish_failures = Counter(
            "cellplane_publish_failures_total",
            "Publications that failed and left the table before",
            registry=self.registry,
        )
        self.requests = Counter(
            "cellplane_control_requests_total",
            "Requests answered by the control plane",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.router_epoch = Gauge(
            "cellplane_router_applied_epoch", "Epoch that a router said it runs", ["router"], registry=self.registry
        )

    def published(self, epoch: int, size_bytes: int, seconds: float) -> None:
        """Count one publication."""
        self._published_epoch.set(epoch)
        self._table_bytes.set(size_bytes)
        self._publish_seconds.observe(seconds)
