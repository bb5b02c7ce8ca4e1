"""The control plane's Prometheus metrics, one registry a process."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cellplane.control.capacity.metrics import CapacityMetrics
from cellplane.control.move_watch import MoveMetrics
from cellplane.control.publication import Publication
from cellplane.control.registry import KnownRouter
from cellplane.publishing.metrics import PublishingMetrics


class Metrics:
    """All metrics of one control plane."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._published_epoch = Gauge(
            "cellplane_published_epoch", "Epoch of the table that routers are given", registry=self.registry
        )
        self._table_bytes = Gauge(
            "cellplane_table_bytes", "Size of the base that routers are given", registry=self.registry
        )
        self._base_epoch = Gauge(
            "cellplane_published_base_epoch", "Epoch of the base of the published table", registry=self.registry
        )
        self._overlay_tenants = Gauge(
            "cellplane_overlay_tenants", "Tenants of the published overlay", registry=self.registry
        )
        self.publish_seconds = Histogram(
            "cellplane_publish_seconds", "Time to read the directory, compile and publish", registry=self.registry
        )
        self.publish_failures = Counter(
            "cellplane_publish_failures_total",
            "Publications that failed and left the table before",
            registry=self.registry,
        )
        self.leads = Gauge(
            "cellplane_leads", "Whether this control plane publishes; of several, one does", registry=self.registry
        )
        self.writable = Gauge(
            "cellplane_directory_writable",
            "Whether the last write of the directory was taken by its disk: 0 where that is full, or fails",
            registry=self.registry,
        )
        self.held = Gauge(
            "cellplane_publication_held",
            "Whether a table waits for somebody to allow it: see `cellplane publish`",
            registry=self.registry,
        )
        self.publishing = PublishingMetrics(self.registry)
        self.capacity = CapacityMetrics(self.registry)
        self.moves = MoveMetrics(self.registry)
        self.bridged = Counter(
            "cellplane_bridge_events_total", "Events of moves that the stream outside has taken", registry=self.registry
        )
        self.bridge_failures = Counter(
            "cellplane_bridge_failures_total", "How often the bridge had to begin anew", registry=self.registry
        )
        self.bridges = Gauge(
            "cellplane_bridge_connected", "Whether the bridge works here: of several, at one", registry=self.registry
        )
        self.quarantined = Gauge("cellplane_quarantined_tenants", "Tenants in quarantine now", registry=self.registry)
        self.quarantines = Counter(
            "cellplane_quarantines_total", "Quarantines that began, by who asked", ["by"], registry=self.registry
        )
        self.releases = Counter("cellplane_quarantine_releases_total", "Quarantines that ended", registry=self.registry)
        self.left_alone = Counter(
            "cellplane_quarantine_left_alone_total",
            "Poison tenants that were not quarantined, by what kept them",
            ["by"],
            registry=self.registry,
        )
        self.quarantine_failures = Counter(
            "cellplane_quarantine_failures_total",
            "Rounds over quarantines that failed and were tried again",
            registry=self.registry,
        )
        self.requests = Counter(
            "cellplane_control_requests_total",
            "Requests answered by the control plane",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.refused_callers = Counter(
            "cellplane_control_refused_callers_total",
            "Requests refused for who asked: `unauthenticated`, `forbidden` or `rate-limited`",
            ["reason"],
            registry=self.registry,
        )
        self.foreign_laws = Counter(
            "cellplane_residency_refused_total",
            "Changes that were refused since a tenant would be under a law that is not its own; each is in the audit",
            registry=self.registry,
        )
        self.audit_dropped = Counter(
            "cellplane_audit_dropped_total",
            "Refused calls that were counted and not put on record, because there were too many",
            registry=self.registry,
        )

    def show_routers(self, routers: Callable[[], Iterable[tuple[KnownRouter, float]]]) -> None:
        """Show what these routers say, and nothing of one that is forgotten."""
        self.registry.register(_RouterEpochs(routers))

    def published(self, publication: Publication) -> None:
        """Show the table that routers are given, whoever published it."""
        self._published_epoch.set(publication.epoch)
        self._base_epoch.set(publication.base.table.epoch)
        self._table_bytes.set(len(publication.base.data))
        self._overlay_tenants.set(publication.overlay_tenants)


class _RouterEpochs(Collector):
    def __init__(self, routers: Callable[[], Iterable[tuple[KnownRouter, float]]]) -> None:
        self._routers = routers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The applied epoch of each router that reports."""
        family = GaugeMetricFamily(
            "cellplane_router_applied_epoch", "Epoch that a router said it runs", labels=["router"]
        )
        for known, _ in self._routers():
            family.add_metric([known.id], known.report.epoch)
        yield family
