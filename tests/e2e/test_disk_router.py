"""The disk of a router is full, or its syncs fail: its table goes on serving, also after its Envoy or its agent died,
and the next one is taken by itself once the disk takes it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellplane.router.tables import TableFolder
from e2e.disks import FULL, UNSYNCED, FailingDisk
from e2e.edge import StubCell, stub_cells
from e2e.harness import eventually
from e2e.test_router_crashes import CELLS, RouterProcess, table_of
from unit.agent.fake_control import FakeControl, fake_control

FIRST, SECOND = ("cell-1", "1"), ("cell-3", "2")


class Router(RouterProcess):
    """A router whose folder and log are on a disk that can fail."""

    def __init__(self, folder: Path, control: FakeControl, ports: dict[str, int]) -> None:
        (folder / "disk").mkdir()
        super().__init__(folder / "disk" / "router", control.url)
        self.disk = FailingDisk(folder / "disk", folder)
        self.control = control
        self._ports = ports

    def publish(self, epoch: int, pinned: str) -> None:
        self.control.publish(table_of(epoch, self._ports, pinned))

    def start(self, fault: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cellplane.router", *self._options, "--port", str(self.port)]
        with (self.folder.parent / "log").open("ab") as log:
            self.agent = subprocess.Popen(
                [*command, "--state", str(self.folder)], env={**os.environ, **self.disk.environ}, stdout=log, stderr=log
            )
        return self.agent

    def kill_envoy(self) -> None:
        for envoy in self.envoys():
            os.kill(envoy.pid, signal.SIGKILL)

    def kill_agent(self) -> None:
        assert self.agent is not None
        self.agent.kill()
        self.agent.wait()


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


@pytest.fixture
def router(tmp_path: Path, cells: dict[str, StubCell]) -> Iterator[Router]:
    with fake_control() as control:
        router = Router(tmp_path, control, {cell: stub.port for cell, stub in cells.items()})
        router.publish(1, "cell-1")
        try:
            router.start()
            # Its agent says so once it is up: an Envoy that dies before ends it.
            eventually(lambda: router.control.last().get("epoch") == 1, "the first table serves", seconds=60)
            assert router.served() == FIRST
            yield router
        finally:
            router.end()


@contextmanager
def served_without_a_gap(router: Router, allowed: set[tuple[str, str] | None]) -> Iterator[None]:
    """Ask all the time; whatever is answered is one of these."""
    answers: set[tuple[str, str] | None] = set()
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.01):
            answers.add(router.served())

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert answers <= allowed


def said_of_the_disk(router: Router) -> bool:
    rejected = router.control.last().get("rejected") or {}
    return "disk does not take it" in rejected.get("reason", "")


@pytest.mark.parametrize("trouble", [FULL, UNSYNCED])
def test_the_table_of_before_serves_until_the_disk_takes_the_next(router: Router, trouble: str) -> None:
    with served_without_a_gap(router, {FIRST, SECOND}):
        with router.disk.is_now(trouble):
            router.publish(2, "cell-3")
            eventually(lambda: said_of_the_disk(router), "`cellplane routers` says why")
            assert router.served() == FIRST
            folder = router.folder / "tables"
            assert [path.name for path in folder.glob("*.cpt")] == ["table-1.cpt"], "nothing half-written"
            # It tries again and again: what a try writes is there for a moment.
            eventually(lambda: not list(folder.glob(".*")), "nothing is left beside")
        eventually(lambda: router.served() == SECOND, "it takes the next by itself", seconds=30)
    eventually(lambda: router.control.last()["rejected"] is None, "nothing is wrong any more")
    assert TableFolder(router.folder / "tables", 3).live_epoch() == 2


@pytest.mark.parametrize("trouble", [FULL, pytest.param(UNSYNCED, marks=pytest.mark.long)])
def test_an_envoy_that_dies_there_comes_back(router: Router, trouble: str) -> None:
    with router.disk.is_now(trouble):
        (before,) = router.envoys()
        router.kill_envoy()
        eventually(lambda: router.served() == FIRST, "the table of before serves again", seconds=30)
        assert router.envoys() != [before]
        router.publish(2, "cell-3")
        with served_without_a_gap(router, {FIRST}):
            eventually(lambda: said_of_the_disk(router), "the next is not taken yet", seconds=30)
    eventually(lambda: router.served() == SECOND, "it takes the next by itself", seconds=30)


@pytest.mark.parametrize("trouble", [pytest.param(FULL, marks=pytest.mark.long), UNSYNCED])
def test_an_agent_that_dies_there_goes_on(router: Router, trouble: str) -> None:
    with served_without_a_gap(router, {FIRST, SECOND}):
        with router.disk.is_now(trouble):
            router.publish(2, "cell-3")
            eventually(lambda: said_of_the_disk(router), "the next is not taken")
            router.kill_agent()
            router.control.reports.clear()
            router.start()
            eventually(lambda: bool(router.control.reports) and said_of_the_disk(router), "it says so", seconds=30)
            assert router.served() == FIRST
        eventually(lambda: router.served() == SECOND, "it takes the next by itself", seconds=30)


def test_both_that_die_there_come_back_with_what_is_on_the_disk(router: Router) -> None:
    with router.disk.is_now(FULL):
        router.kill_agent()
        router.kill_envoy()
        router.publish(2, "cell-3")
        router.start()
        eventually(lambda: router.served() == FIRST, "from its own disk", seconds=60)
    eventually(lambda: router.served() == SECOND, "it takes the next by itself", seconds=30)
