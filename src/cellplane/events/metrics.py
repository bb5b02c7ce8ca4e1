"""The outbox and its relay in a cell's /metrics. Needs ``cellplane[telemetry]``.

Out of the cell's database, so any process of the cell can tell, the one that has a /metrics already, and it tells of a
backlog also where no relay runs.
"""

from collections.abc import Callable, Iterable

from prometheus_client import Metric
from prometheus_client.registry import Collector

from cellplane.events.state import OutboxState

_SERIES: tuple[tuple[str, str, str, str], ...] = (
    ("cellplane_outbox_waiting_events", "gauge", "waiting", "Events that wait to leave the cell."),
    ("cellplane_outbox_oldest_seconds", "gauge", "oldest_seconds", "How long the first of them has waited."),
    ("cellplane_outbox_max_events", "gauge", "max_events", "Events that may wait."),
    ("cellplane_outbox_dropped", "counter", "dropped", "Events that were deleted for want of room."),
    ("cellplane_outbox_refused_events", "gauge", "refused", "Events that are set aside: the stream never takes them."),
    ("cellplane_relay_leads", "gauge", "has_relay", "Whether a relay works for the cell: 0 or 1."),
    ("cellplane_relay_relayed_events", "counter", "relayed", "Events that were carried to the stream."),
    ("cellplane_relay_failures", "counter", "failures", "How often a relay had to begin anew."),
)
"""Name, kind, attribute of ``OutboxState``, and what it is."""


class OutboxCollector(Collector):
    """Tells an ``OutboxState``; the label ``cell`` is of the registry (``CellRegistry``).

    Args:
        state: asked each time; None where it is not known, then nothing is told.
    """

    def __init__(self, state: Callable[[], OutboxState | None]) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """What is known."""
        found = self._state()
        if found is None:
            return
        for name, kind, attribute, text in _SERIES:
            metric = Metric(name, text, kind)
            metric.add_sample(f"{name}_total" if kind == "counter" else name, {}, float(getattr(found, attribute)))
            yield metric

    def describe(self) -> Iterable[Metric]:
        """Nothing: the database is not asked before somebody wants to know."""
        return ()
