"""How full a cell is, gathered from its pools, its database and its queue, in the form that the control plane reads."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

from prometheus_client import Metric
from prometheus_client.registry import Collector

from cellplane.cell.capacity import CellUse
from cellplane.cell.load import CellLoad

_log = logging.getLogger("cellplane.cell")

LOOK_SECONDS = 5.0
"""Between two looks: control planes ask each ten seconds."""


class UseWatch:
    """Asks now and then, in a thread of its own, so that whoever wants to know waits for nothing.

    A question that fails leaves out what it would have said, and is told of once.

    Args:
        ask: each gives the part of a ``CellUse`` that it knows, and may wait; of two that know the same the later
            counts.
        queue_lag: seconds for which the oldest job has waited; for routers.
        pools: SQLAlchemy engines, synchronous or not, and pools of psycopg.
    """

    def __init__(
        self,
        *ask: Callable[[], CellUse],
        queue_lag: Callable[[], float] | None = None,
        pools: Iterable[object] = (),
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._ask = ask
        self._ask_queue_lag = queue_lag
        self._pools = tuple(pools)
        self._look_seconds = look_seconds
        self._use = CellUse()
        self._queue_lag: float | None = None
        self._failing: set[str] = set()
        self._stopped = threading.Event()

    def use(self) -> CellUse:
        """What was known at the last look: for ``CapacityReporter`` and /metrics."""
        return self._use

    def load(self) -> CellLoad:
        """What routers are told (``CellMiddleware``)."""
        return CellLoad(self._queue_lag, pool_use(self._pools))

    def look(self) -> None:
        """Ask all, now."""
        found = CellUse()
        for number, ask in enumerate(self._ask):
            part = self._answer(f"use {number}", ask)
            if part is not None:
                found = merged(found, part)
        self._use = found
        if self._ask_queue_lag is not None:
            self._queue_lag = self._answer("queue lag", self._ask_queue_lag)

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="cell-use", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _answer(self, name: str, ask: Callable[[], Any]) -> Any:
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001  # a cell serves on, whatever is not known of it
            if name not in self._failing:
                _log.warning("not known: %s: %s", name, str(error) or repr(error))
            self._failing.add(name)
            return None
        self._failing.discard(name)
        return found

    def _run(self) -> None:
        while True:
            self.look()
            if self._stopped.wait(self._look_seconds):
                return


class UseCollector(Collector):
    """Tells a ``CellUse`` in /metrics, under the names that a control plane which asks cells reads.

    Args:
        use: asked each time; it must not wait.
    """

    def __init__(self, use: Callable[[], CellUse]) -> None:
        self._use = use

    def collect(self) -> Iterable[Metric]:
        """What is known, as gauges."""
        found = self._use()
        for name, amount in found.known().items():
            metric = Metric(f"cellplane_cell_{name}", f"See CellUse.{name}.", "gauge")
            metric.add_sample(metric.name, {}, amount)
            yield metric

    def describe(self) -> Iterable[Metric]:
        """Nothing: what is known may change."""
        return ()


class CpuRatio:
    """Share of the processors given to this cell that this process used since it was last asked, for ``CellUse``.

    Args:
        processors: that the cell has; those of its container, not of its machine.
        clock: monotonic seconds.
        used: seconds of processor time of this process.
    """

    def __init__(
        self,
        processors: float,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        self._processors = processors
        self._clock = clock
        self._used = used
        self._last = (clock(), used())

    def __call__(self) -> CellUse:
        """The share since the last call."""
        at, used = self._clock(), self._used()
        passed, spent = at - self._last[0], used - self._last[1]
        self._last = (at, used)
        return CellUse(cpu_ratio=min(1.0, max(0.0, spent / (passed * self._processors)))) if passed > 0 else CellUse()


def merged(first: CellUse, second: CellUse) -> CellUse:
    """What either says; the second where both do."""
    said = {field.name: getattr(second, field.name) for field in fields(second)}
    return replace(first, **{name: amount for name, amount in said.items() if amount is not None})


def pool_use(pools: Iterable[object]) -> float | None:
    """Connections in use and waited for ÷ all that there may be, of the fullest pool; None where none says."""
    shares = [share for pool in pools if (share := _share(pool)) is not None]
    return max(shares, default=None)


def _share(pool: Any) -> float | None:
    if callable(getattr(pool, "get_stats", None)):  # psycopg_pool
        stats = pool.get_stats()
        most = stats.get("pool_max", 0)
        used = stats.get("pool_size", 0) - stats.get("pool_available", 0) + stats.get("requests_waiting", 0)
        return used / most if most else None
    queue = getattr(getattr(pool, "sync_engine", pool), "pool", None)  # SQLAlchemy
    if queue is None or not hasattr(queue, "checkedout"):
        return None
    most = queue.size() + max(0, getattr(queue, "_max_overflow", 0))
    return queue.checkedout() / most if most else None
