"""The router's Prometheus metrics: the agent's own, and its proxy's behind them."""

from collections.abc import Callable, Iterable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from cellplane.errors import RouterError

log = structlog.get_logger()


class AgentMetrics:
    """All metrics of one agent."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.applied_epoch = Gauge(
            "cellplane_agent_applied_epoch", "Epoch of the table that the proxy runs", registry=self.registry
        )
        self.tables_applied = Counter(
            "cellplane_agent_tables_applied_total", "Tables that the proxy took", registry=self.registry
        )
        self.tables_rejected = Counter(
            "cellplane_agent_tables_rejected_total",
            "Tables that were refused, by whom or by their signature; the one before goes on serving",
            ["by"],
            registry=self.registry,
        )
        self.tables_fetched = Counter(
            "cellplane_agent_tables_fetched_total",
            "Tables that were taken to disk, by where they came from: control, folder or url",
            ["source"],
            registry=self.registry,
        )
        self.table_failures = Counter(
            "cellplane_agent_table_failures_total",
            "Times that no table could be fetched, checked, stored or switched to; each is followed by a pause",
            registry=self.registry,
        )
        self.key_failures = Counter(
            "cellplane_agent_key_failures_total",
            "Times that keys could not be fetched, or changed ones not be taken; those before go on verifying",
            registry=self.registry,
        )
        self.proxy_restarts = Counter(
            "cellplane_agent_proxy_restarts_total",
            "Times that the proxy was found dead, whether or not the start that followed succeeded",
            registry=self.registry,
        )

    def show_proxy(self, metrics: Callable[[], bytes]) -> None:
        """Show the proxy's metrics too, as it gives them when they are asked for."""
        self.registry.register(_ProxyMetrics(metrics))


class _ProxyMetrics(Collector):
    def __init__(self, metrics: Callable[[], bytes]) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        """Nothing: what a proxy counts is not known before it runs."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What the proxy counts now; nothing where it does not answer."""
        try:
            text = self._metrics().decode()
        except (RouterError, TimeoutError) as error:
            log.warning("proxy_metrics_missing", error=str(error))
            return
        yield from text_string_to_metric_families(text)
