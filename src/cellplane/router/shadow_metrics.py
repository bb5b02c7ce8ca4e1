"""What comparisons of shadows came to, as Prometheus metrics."""

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from cellplane.shadow.comparison import Outcome
from cellplane.shadow.report import ShadowReport


class ShadowMetrics(Collector):
    """Reads the report when it is asked."""

    def __init__(self, report: ShadowReport) -> None:
        self._report = report

    def collect(self) -> Iterable[Metric]:
        """The metrics now."""
        family = CounterMetricFamily(
            "cellplane_router_shadow_comparisons",
            "Requests of which a shadow's answer was to be compared with the cell's, by what that came to",
            labels=["cell", "shadow", "outcome"],
        )
        for cell, shadow, outcomes in self._report.counts():
            for outcome in Outcome:
                family.add_metric([cell, shadow, outcome.value], outcomes[outcome])
        yield family
