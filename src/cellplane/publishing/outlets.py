"""Brings each publication to every target, in a thread a target: none waits for another, nor anybody for them."""

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from cellplane.errors import NewerTableError, TargetError
from cellplane.publishing.metrics import PublishingMetrics
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.signer import Signer
from cellplane.publishing.targets import Target
from cellplane.routing import RoutingTable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TargetState:
    """How far a target is.

    Attributes:
        name: what it is called.
        epoch: of the last table that it took; None for none yet.
        failure: why it did not take the one that was offered last; empty where it did.
    """

    name: str
    epoch: int | None = None
    failure: str = ""


class Outlets:
    """The targets of a publisher.

    Args:
        rng: makes the pauses between tries differ.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        signer: Signer,
        metrics: PublishingMetrics,
        settings: PublishingSettings,
        rng: random.Random,
    ) -> None:
        self._settings = settings
        self._outlets = [_Outlet(target, signer, metrics, settings, rng) for target in targets]

    def start(self) -> None:
        """Start the threads."""
        for outlet in self._outlets:
            outlet.start()

    def offer(self, table: RoutingTable) -> None:
        """Have a checked table put to every target. Returns at once; one that was offered before and not begun is let
        go, since it is in this one.
        """
        for outlet in self._outlets:
            outlet.offer(table)

    def states(self) -> list[TargetState]:
        """How far each target is."""
        return [outlet.state for outlet in self._outlets]

    def close(self) -> None:
        """End the threads; a write under way may go on for the rest of the process."""
        for outlet in self._outlets:
            outlet.stop()
        for outlet in self._outlets:
            if outlet.is_alive():
                outlet.join(self._settings.stop_seconds)


class _Outlet(threading.Thread):
    def __init__(
        self,
        target: Target,
        signer: Signer,
        metrics: PublishingMetrics,
        settings: PublishingSettings,
        rng: random.Random,
    ) -> None:
        super().__init__(name=f"publish to {target.name}", daemon=True)
        self._target = target
        self._signer = signer
        self._metrics = metrics
        self._settings = settings
        self._rng = rng
        self._changed = threading.Condition()
        self._offered: RoutingTable | None = None
        self._stopping = False
        self.state = TargetState(target.name)

    def offer(self, table: RoutingTable) -> None:
        with self._changed:
            self._offered = table
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def run(self) -> None:
        failures = 0
        while (table := self._next()) is not None:
            began = time.monotonic()
            try:
                self._target.publish(self._signer.manifest(table), table)
            except NewerTableError as error:
                # Another publisher is ahead: only a newer table can change that.
                self._failed("fenced", table, error)
                failures = 0
            except TargetError as error:
                failures += 1
                self._failed("unwritable", table, error)
            except Exception as error:  # noqa: BLE001  # without this thread nothing gets to the target again
                failures += 1
                self._failed("unwritable", table, error)
            else:
                failures = 0
                self._done(table)
            if failures:
                self._put_back(table)
                self._pause(self._retry_seconds(failures))
            else:
                self._pause(self._target.interval_seconds - (time.monotonic() - began))

    def _next(self) -> RoutingTable | None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._offered is not None)
            table, self._offered = self._offered, None
            return None if self._stopping else table

    def _put_back(self, table: RoutingTable) -> None:
        with self._changed:
            if self._offered is None:
                self._offered = table

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, max(0.0, seconds))

    def _retry_seconds(self, failures: int) -> float:
        doubled: float = self._settings.retry_base_seconds * 2.0 ** min(failures - 1, 16)
        return min(self._settings.retry_cap_seconds, doubled) * self._rng.uniform(0.5, 1.0)

    def _done(self, table: RoutingTable) -> None:
        self._metrics.target_epoch.labels(target=self._target.name).set(table.epoch)
        if self.state.failure:
            log.info("target_back", target=self._target.name, epoch=table.epoch)
        self.state = TargetState(self._target.name, table.epoch)

    def _failed(self, reason: str, table: RoutingTable, error: Exception) -> None:
        self._metrics.target_failures.labels(target=self._target.name, reason=reason).inc()
        text = str(error) or repr(error)
        if text != self.state.failure:
            log.error("target_failed", target=self._target.name, reason=reason, epoch=table.epoch, error=text)
        self.state = replace(self.state, failure=text)
