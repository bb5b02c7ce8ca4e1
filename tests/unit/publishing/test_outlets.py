"""Targets that fail, hang or are fenced: none stops another, nor the publisher."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from cellplane.errors import NewerTableError, TargetError
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.metrics import PublishingMetrics
from cellplane.publishing.outlets import Outlets
from cellplane.publishing.settings import PublishingSettings
from cellplane.publishing.signer import Signer
from cellplane.routing import RoutingTable
from unit.publishing.tables import NOW, base_of, key_of


class FakeTarget:
    """Remembers what it took; raises what it is told to.

    Attributes:
        failures: what becomes of the next publications.
        gate: closed, it hangs.
    """

    def __init__(self, name: str, interval_seconds: float = 0.0) -> None:
        self.name = name
        self.interval_seconds = interval_seconds
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Event()
        self.took: list[int] = []

    def publish(self, manifest: Manifest, table: RoutingTable) -> None:
        self.began.set()
        self.gate.wait(60)
        manifest.statement.check_describes(table)
        if self.failures:
            raise self.failures.pop(0)
        self.took.append(table.epoch)


class Running:
    def __init__(self, outlets: Outlets, registry: CollectorRegistry) -> None:
        self.outlets = outlets
        self._registry = registry

    def sample(self, name: str, **labels: str) -> float:
        return self._registry.get_sample_value(name, labels) or 0


@contextmanager
def running(*targets: FakeTarget) -> Iterator[Running]:
    registry = CollectorRegistry()
    settings = PublishingSettings(retry_base_seconds=0.01, retry_cap_seconds=0.05, stop_seconds=5)
    signer = Signer([key_of(1)], lambda: NOW)
    outlets = Outlets(targets, signer, PublishingMetrics(registry), settings, random.Random(1))
    outlets.start()
    try:
        yield Running(outlets, registry)
    finally:
        for target in targets:
            target.gate.set()
        outlets.close()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def test_a_target_that_fails_is_tried_again_and_does_not_stop_another() -> None:
    good, bad = FakeTarget("good"), FakeTarget("bad")
    bad.failures = [TargetError("disk full"), OSError("no such device"), TargetError("disk full")]
    with running(good, bad) as found:
        found.outlets.offer(base_of(3))
        until(lambda: good.took == [3] and bad.took == [3], "both have it")
        until(lambda: found.sample("cellplane_target_epoch", target="bad") == 3, "the metric")
        assert found.sample("cellplane_target_failures_total", target="bad", reason="unwritable") == 3
        assert found.sample("cellplane_target_failures_total", target="good", reason="unwritable") == 0


def test_a_target_that_hangs_holds_nobody_up_and_gets_the_newest_next() -> None:
    good, slow = FakeTarget("good"), FakeTarget("slow")
    slow.gate.clear()
    with running(good, slow) as found:
        found.outlets.offer(base_of(3))
        assert slow.began.wait(60)
        for epoch in (4, 5, 6):
            found.outlets.offer(base_of(epoch))
            until(lambda wanted=epoch: good.took[-1:] == [wanted], f"epoch {epoch}")  # type: ignore[misc]
        slow.gate.set()
        until(lambda: slow.took == [3, 6], "what lay between is in the newest")


def test_after_a_failure_the_newest_is_tried_not_the_one_that_failed() -> None:
    target = FakeTarget("bucket")
    target.failures = [TargetError("unreachable")]
    target.gate.clear()
    with running(target) as found:
        found.outlets.offer(base_of(3))
        assert target.began.wait(60)
        found.outlets.offer(base_of(4))
        target.gate.set()
        until(lambda: target.took == [4], "the newest")


def test_a_fenced_publisher_waits_for_a_newer_table() -> None:
    target = FakeTarget("bucket")
    target.failures = [NewerTableError("another publisher is ahead")]
    with running(target) as found:
        found.outlets.offer(base_of(3))
        until(
            lambda: found.sample("cellplane_target_failures_total", target="bucket", reason="fenced") == 1, "it is told"
        )
        time.sleep(0.1)
        assert target.took == []
        found.outlets.offer(base_of(4))
        until(lambda: target.took == [4], "the newer one")


def test_publications_keep_a_distance_where_the_target_wants_it() -> None:
    target = FakeTarget("bucket", interval_seconds=0.15)
    with running(target) as found:
        began = time.monotonic()
        for epoch in range(1, 9):
            found.outlets.offer(base_of(epoch))
            time.sleep(0.02)
        until(lambda: target.took[-1:] == [8], "the newest comes")
        assert len(target.took) <= 1 + (time.monotonic() - began) / 0.15
