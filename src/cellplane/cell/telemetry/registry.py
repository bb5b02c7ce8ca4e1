"""A registry of Prometheus whose every series says of which cell it is."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from cellplane.cell.settings import check_cell_id

CELL_LABEL = "cell"


class CellRegistry(CollectorRegistry):
    """Gives every sample the label ``cell``, whichever library or collector it is of.

    Use it in place of the client library's own, or bring what is registered there already with ``include``. A sample
    that has a label of that name keeps it.

    Args:
        cell_id: this cell's id.
    """

    def __init__(self, cell_id: str) -> None:
        check_cell_id("cell_id", cell_id)
        super().__init__(auto_describe=True)
        self._cell_id = cell_id

    def include(self, other: Collector) -> None:
        """Tell also what another registry or collector has."""
        self.register(_Others(other))

    def collect(self) -> Iterable[Metric]:
        """All metrics, with their cell."""
        for metric in super().collect():
            yield self._of_cell(metric)

    def _of_cell(self, metric: Metric) -> Metric:
        found = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        label = {CELL_LABEL: self._cell_id}
        found.samples = [sample._replace(labels={**label, **sample.labels}) for sample in metric.samples]
        return found


class _Others(Collector):
    """Names nothing when it is registered: what another registry has may change."""

    def __init__(self, other: Collector) -> None:
        self._other = other

    def collect(self) -> Iterable[Metric]:
        return self._other.collect()

    def describe(self) -> Iterator[Metric]:
        return iter(())
