"""Routers that die at the worst moment: what the next agent finds, and what clients get meanwhile."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

import httpx2
import pytest

from cellplane.faults import FAULT_VARIABLE
from cellplane.model import Cell, Fleet, Pool, Tenant, Topology
from cellplane.processes import ProcessId, processes_in
from cellplane.router.envoy.process import envoy_binary
from cellplane.router.tables import StoredTable, TableFolder
from cellplane.routing import RoutingTable
from cellplane.routing.compile import compile_table
from cellplane.routing.encode import encode
from e2e.edge import StubCell, start_edge, stub_cells
from e2e.harness import eventually, free_ports
from support import plain_http
from unit.agent.fake_control import FakeControl, close, fake_control

CELLS = ("cell-1", "cell-2", "cell-3")


def table_of(epoch: int, ports: dict[str, int], pinned: str) -> bytes:
    """A table of these cells with acme pinned to one of them."""
    cells = tuple(Cell(cell, "127.0.0.1", port) for cell, port in sorted(ports.items()))
    topology = Topology(Fleet("shop"), cells, (Pool("default", tuple(ports)),), (Tenant("acme", (pinned,)),))
    return encode(compile_table(topology, epoch))


class RouterProcess:
    """A router as its own command runs it."""

    def __init__(self, folder: Path, control_url: str, *options: str | Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self._options = [*(["--control", control_url] if control_url else []), *map(str, options)]
        self.agent: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cellplane.router", *self._options, "--port", str(self.port)]
        self.agent = subprocess.Popen(
            [*command, "--state", str(self.folder)],
            env={**os.environ, FAULT_VARIABLE: fault},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self.agent

    def served(self) -> tuple[str, str] | None:
        """Cell and epoch that acme's request reached."""
        with suppress(httpx2.HTTPError):
            answer = plain_http.get(f"http://127.0.0.1:{self.port}/", headers={"x-tenant-id": "acme"}, timeout=2)
            if answer.status_code == 200:
                seen = dict(answer.json()["headers"])
                return seen["x-cell-id"], seen["x-cell-epoch"]
        return None

    def envoys(self) -> list[ProcessId]:
        folder = self.folder / "envoy"
        return processes_in(folder, envoy_binary().name) if folder.exists() else []

    def end(self) -> None:
        if self.agent is not None and self.agent.poll() is None:
            self.agent.kill()
            self.agent.wait()
        for envoy in self.envoys():
            os.kill(envoy.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cells() -> Iterator[dict[str, StubCell]]:
    with stub_cells(CELLS) as cells:
        yield cells


@pytest.fixture
def control() -> Iterator[FakeControl]:
    with fake_control() as control:
        yield control


@contextmanager
def serving_router(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell], fault: str = ""
) -> Iterator[RouterProcess]:
    """A router on epoch 1, which sends acme to cell-1."""
    control.publish(table_of(1, {cell: stub.port for cell, stub in cells.items()}, "cell-1"))
    router = RouterProcess(tmp_path / "router", control.url)
    try:
        router.start(fault)
        if not fault.startswith("router.envoy"):
            eventually(lambda: router.served() == ("cell-1", "1"), "the first table serves")
        yield router
    finally:
        router.end()


def publish_second(control: FakeControl, cells: dict[str, StubCell]) -> None:
    control.publish(table_of(2, {cell: stub.port for cell, stub in cells.items()}, "cell-3"))


def test_a_router_that_dies_between_the_switch_and_its_note_does_not_go_back(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells, "router.proxy.switched") as router:
        publish_second(control, cells)
        assert router.agent is not None
        assert router.agent.wait(30) == -signal.SIGKILL
        assert router.served() == ("cell-3", "2"), "Envoy has switched"
        assert TableFolder(router.folder / "tables", 3).live_epoch() == 1, "nobody noted so"
        control.turn(close)
        answers: set[tuple[str, str] | None] = set()
        router.start()
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            answers.add(router.served())
        assert answers == {("cell-3", "2")}
        eventually(lambda: TableFolder(router.folder / "tables", 3).live_epoch() == 2, "now it is noted")


def test_both_dead_in_that_moment_come_back_with_what_was_switched_to(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells, "router.proxy.switched") as router:
        publish_second(control, cells)
        assert router.agent is not None
        router.agent.wait(30)
        for envoy in router.envoys():
            os.kill(envoy.pid, signal.SIGKILL)
        control.turn(close)
        router.start()
        eventually(lambda: router.served() is not None, "it serves again")
        assert router.served() == ("cell-3", "2")


def test_a_table_that_was_stored_and_never_switched_to_is_not_what_a_restart_serves(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells) as router:
        router.end()
        publish_second(control, cells)
        router.start("router.table.stored")
        assert router.agent is not None
        assert router.agent.wait(30) == -signal.SIGKILL
        control.turn(close)
        router.start()
        eventually(lambda: router.served() == ("cell-1", "1"), "it serves the table that was live")


def test_a_stray_envoy_is_ended_before_another_shares_its_port(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells, "router.envoy.started") as router:
        assert router.agent is not None
        assert router.agent.wait(30) == -signal.SIGKILL
        (stray,) = router.envoys()
        router.start()
        eventually(lambda: stray not in router.envoys(), "the stray is ended")
        eventually(lambda: router.served() == ("cell-1", "1"), "another serves")
        assert len(router.envoys()) == 1


def test_an_envoy_whose_stop_was_cut_short_is_not_taken_over(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells) as router:
        (drained,) = router.envoys()
        assert router.agent is not None
        router.agent.send_signal(signal.SIGTERM)
        time.sleep(0.25)
        router.agent.kill()
        router.agent.wait()
        router.start()
        eventually(lambda: drained not in router.envoys(), "the half-stopped one is ended")
        eventually(lambda: router.served() == ("cell-1", "1"), "clients are served again")


def test_a_second_signal_does_not_cut_a_stop_short(
    tmp_path: Path, control: FakeControl, cells: dict[str, StubCell]
) -> None:
    with serving_router(tmp_path, control, cells) as router:
        assert router.agent is not None
        for _ in range(3):
            router.agent.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert router.agent.wait(30) == 0
        assert router.envoys() == []


def test_a_cell_that_leaves_serves_until_its_tenants_are_routed_elsewhere(
    tmp_path: Path, cells: dict[str, StubCell]
) -> None:
    with free_but_silent_port() as silent:
        ports = {cell: stub.port for cell, stub in cells.items()}
        folder = tmp_path / "tables"
        folder.mkdir()
        first = stored(folder, table_of(1, ports, "cell-3"))
        # cell-3 leaves; cell-4 comes and never answers, so that Envoy waits for it before it takes the routes.
        del ports["cell-3"]
        second = stored(folder, table_of(2, {**ports, "cell-4": silent}, "cell-1"))
        with start_edge(tmp_path / "router", first, health_timeout_seconds=1.0) as edge:
            answers: list[tuple[int, str | None]] = []
            done = threading.Event()

            def load() -> None:
                while not done.is_set():
                    answer = edge.ask([("x-tenant-id", "acme")])
                    status = 0 if answer is None else answer.status
                    answers.append((status, answer.json()["cell"] if answer and status == 200 else None))

            thread = threading.Thread(target=load)
            thread.start()
            eventually(lambda: bool(answers), "the load has begun")
            edge.apply(second)
            applied = len(answers)
            eventually(lambda: len(answers) > applied + 1, "it goes on")
            done.set()
            thread.join()
            assert {status for status, _ in answers} == {200}
            assert [cell for cell, _ in groupby(cell for _, cell in answers)] == ["cell-3", "cell-1"]
            state = edge.runner.run(edge.engine.state())
            assert set(state.cells) == {"cell-1", "cell-2", "cell-4"}


def stored(folder: Path, data: bytes) -> StoredTable:
    table = RoutingTable(data)
    path = folder / f"table-{table.epoch}.cpt"
    path.write_bytes(data)
    return StoredTable(table, path)


@contextmanager
def free_but_silent_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]
