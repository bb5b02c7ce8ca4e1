"""The agent's Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge


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
            "Tables that were refused, by whom; the one before goes on serving",
            ["by"],
            registry=self.registry,
        )
        self.table_failures = Counter(
            "cellplane_agent_table_failures_total",
            "Times that no table could be fetched, checked, stored or switched to; each is followed by a pause",
            registry=self.registry,
        )
        self.proxy_restarts = Counter(
            "cellplane_agent_proxy_restarts_total",
            "Times that the proxy was found dead, whether or not the start that followed succeeded",
            registry=self.registry,
        )
