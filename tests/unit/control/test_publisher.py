"""The publisher alone: a failure leaves the current table, is counted, and is tried again."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from cellplane.control import publisher as module
from cellplane.control.distribution import Distribution
from cellplane.control.metrics import Metrics
from cellplane.control.publication import Publication, compile_publication
from cellplane.control.publisher import Publisher
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError, DirectoryError, ValidationError
from cellplane.model import Cell, Fleet, Pool, Tenant
from support.directory import Directory
from unit.control.serving import leading


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    directory = Directory(location)
    directory.put_fleet(Fleet("shop"), actor="test")
    directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test")
    directory.put_pool(Pool("default", ("cell-1",)), actor="test")
    yield directory
    directory.close()


class Running:
    """A publisher at work in the test's own loop."""

    def __init__(self, directory: Directory, **overrides: Any) -> None:
        quick: dict[str, Any] = {"debounce_seconds": 0.001, "retry_seconds": 0.01, **overrides}
        self._state = TemporaryDirectory()
        settings = ControlSettings(state_dir=Path(self._state.name), port=1, **quick)
        self.metrics = Metrics()
        self.distribution = Distribution(settings, self.metrics)
        leadership = directory.leadership("test", time.monotonic)
        self.publisher = Publisher(directory, leadership, settings, self.metrics, self.distribution)
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.publisher.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.distribution.close()
        self._state.cleanup()

    def sample(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0

    def epoch(self) -> int:
        return 0 if self.publisher.current is None else self.publisher.current.epoch

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        assert self.task is not None
        for _ in range(12_000):
            if condition():
                return
            assert not self.task.done(), f"the publisher ended before: {what}"
            await asyncio.sleep(0.005)
        raise AssertionError(f"not within 60 s: {what}")


def failing(times: int, error: Exception) -> Callable[..., Publication | None]:
    left = times

    def compile_or_fail(*arguments: Any) -> Publication | None:
        nonlocal left
        if left:
            left -= 1
            raise error
        return compile_publication(*arguments)

    return compile_or_fail


def test_a_failure_leaves_the_current_table_is_counted_and_is_retried(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with Running(directory) as running:
            await running.until(lambda: running.epoch() == 3, "the first table")
            before = running.publisher.current
            monkeypatch.setattr(module, "compile_publication", failing(3, ValidationError("cells", "too many")))
            directory.put_tenant(Tenant("acme", ("cell-1",)), actor="test")
            running.publisher.notify()
            await running.until(lambda: running.sample("cellplane_publish_failures_total") >= 1, "a failure")
            assert running.publisher.current is before
            assert running.sample("cellplane_published_epoch") == 3
            await running.until(lambda: running.epoch() == 4, "the retry")
            assert running.sample("cellplane_publish_failures_total") == 3
            assert running.sample("cellplane_publish_seconds_count") == 2
            assert running.publisher.current is not None
            assert running.sample("cellplane_table_bytes") == len(running.publisher.current.base.data)
            assert running.sample("cellplane_overlay_tenants") == 1
            assert running.sample("cellplane_published_base_epoch") == 3

    asyncio.run(scenario())


def test_a_directory_that_cannot_be_read_is_tried_again(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = True

    def unreadable() -> int:
        if broken:
            raise DirectoryError("the disk is gone")
        return Directory.epoch(directory)

    async def scenario() -> None:
        nonlocal broken
        monkeypatch.setattr(directory, "epoch", unreadable)
        monkeypatch.setattr(module, "compile_publication", failing(2, DirectoryError("the disk is gone")))
        async with Running(directory) as running:
            await running.until(lambda: running.sample("cellplane_publish_failures_total") >= 1, "a failure")
            broken = False
            await running.until(lambda: running.epoch() == 3, "the table, once the directory is back")

    asyncio.run(scenario())


def test_an_unforeseen_error_does_not_end_publishing(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(module, "compile_publication", failing(1, MemoryError()))
        async with Running(directory) as running:
            await running.until(lambda: running.epoch() == 3, "the table")

    asyncio.run(scenario())


def test_an_epoch_that_is_current_is_not_published_twice(directory: Directory) -> None:
    async def scenario() -> None:
        async with Running(directory) as running:
            await running.until(lambda: running.epoch() == 3, "the first table")
            before = running.publisher.current
            running.publisher.notify()
            await asyncio.sleep(0.05)
            assert running.publisher.current is before
            assert running.sample("cellplane_publish_seconds_count") == 1

    asyncio.run(scenario())


def test_waiting_ends_at_once_with_another_tag_and_in_time_with_the_same(directory: Directory) -> None:
    async def scenario() -> None:
        async with Running(directory) as running:
            publisher = running.publisher
            await publisher.wait_for_other(None, 5)
            first = publisher.require_current()
            assert first.epoch == 3
            await asyncio.wait_for(publisher.wait_for_other('"other"', 100), 50)
            await publisher.wait_for_other(first.etag, 0.02)
            assert publisher.current is first
            waiting = [asyncio.create_task(publisher.wait_for_other(first.etag, 100)) for _ in range(50)]
            await asyncio.sleep(0)
            directory.put_tenant(Tenant("acme", ("cell-1",)), actor="test")
            publisher.notify()
            await asyncio.wait_for(asyncio.gather(*waiting), 50)
            assert publisher.require_current().epoch == 4

    asyncio.run(scenario())


def test_what_no_table_can_hold_is_a_known_error(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite3")
    try:
        directory.put_fleet(Fleet("shop", default_pool="nope"), actor="test")
        directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test")
        directory.put_pool(Pool("default", ("cell-1",)), actor="test")
        with pytest.raises(CellplaneError, match=r"fleet\.default_pool"):
            compile_publication(directory, leading(directory), None, None)
    finally:
        directory.close()


def test_one_epoch_compiles_to_the_same_bytes(directory: Directory) -> None:
    first, second = (compile_publication(directory, leading(directory), None, None) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.parts() == second.parts()
