"""A fleet to break: a real control plane and real routers, each a process, in front of light cells."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from asyncio import run
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Protocol

import httpx2

from cellplane.processes import ProcessId, processes_in, wait_gone
from cellplane.provision.local.load import Load, Sample, Stream
from cellplane.router.envoy.names import ADMIN_SOCKET
from cellplane.router.envoy.process import envoy_binary
from e2e.harness import admin_headers, eventually, free_ports
from support import plain_http

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
MAX_LOAD_SECONDS = 600.0
DRAIN_SECONDS = 5.0
_ASK_LISTENING = b"GET /stats?filter=total_listeners_active HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"
_LISTENING = re.compile(rb"listener_manager\.total_listeners_active: [1-9]")
TESTS = Path(__file__).resolve().parents[1]

Resource = tuple[str, str, Mapping[str, Any]]
"""Kind, name and spec."""


class Child(Protocol):
    """A process that was started, as ``Popen`` has it."""

    def poll(self) -> int | None: ...

    def send_signal(self, number: int) -> None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int: ...


class Proc:
    """A command that can be killed and started again."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self._command = [str(word) for word in command]
        self._log = log
        self._child: Child | None = None

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        self._child = self._spawn()

    def _spawn(self) -> Child:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(TESTS)},
            )

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()


class RouterProc(Proc):
    """A router's agent, with the Envoy that it supervises."""

    def __init__(self, name: str, folder: Path, control_url: str, port: int) -> None:
        self.folder = folder / name
        command: list[str | Path] = [sys.executable, "-m", "cellplane.router", "--id", name, "--control", control_url]
        command += ["--token-file", folder / "control" / "admin-token"]
        command += ["--state", self.folder, "--port", str(port), "--drain-seconds", str(DRAIN_SECONDS)]
        super().__init__(name, command, folder / f"{name}.log")

    def envoys(self) -> list[ProcessId]:
        """Whatever Envoy works in its folder."""
        folder = self.folder / "envoy"
        return processes_in(folder, envoy_binary().name) if folder.exists() else []

    def kill_envoy(self) -> None:
        """Kill its Envoy with SIGKILL, and wait until its port is free of it."""
        for envoy in self.envoys():
            os.kill(envoy.pid, signal.SIGKILL)
            assert wait_gone(envoy, STOP_SECONDS), f"{self.name}: {envoy} does not end"

    def serves(self) -> bool:
        """Whether its Envoy listens, as it says itself: the control plane may be dead."""
        for envoy in self.envoys():
            with suppress(OSError), socket.socket(socket.AF_UNIX) as admin:
                admin.settimeout(STOP_SECONDS)
                admin.connect(f"/proc/{envoy.pid}/cwd/{ADMIN_SOCKET}")
                admin.sendall(_ASK_LISTENING)
                return _LISTENING.search(b"".join(iter(lambda: admin.recv(4096), b""))) is not None
        return False


class ChaosFleet:
    """The processes of a fleet, and what is asked of it."""

    def __init__(self, folder: Path, cells: Sequence[str], *, routers: int, lanes: int, service_ms: float) -> None:
        ports = free_ports(2 + len(cells))
        self.folder = folder
        self.router_port, self._control_port = ports[:2]
        self.control_url = f"http://{HOST}:{self._control_port}"
        self._http = plain_http.client(base_url=self.control_url, timeout=60)
        self.ports = dict(zip(cells, ports[2:], strict=True))
        python = sys.executable
        command: list[str | Path] = [
            python,
            "-m",
            "cellplane.control",
            "--no-guard-rails",
            "--state",
            folder / "control",
        ]
        command += ["--port", str(self._control_port)]
        self.control = Proc("control", command, folder / "control.log")
        work = ["--lanes", str(lanes), "--service-ms", str(service_ms)]
        self.cells = {}
        for cell, port in self.ports.items():
            command = [python, "-m", "chaos.cell", "--cell", cell, "--port", str(port), "--seed", str(port), *work]
            self.cells[cell] = Proc(cell, command, folder / f"{cell}.log")
        self.routers = [
            RouterProc(f"router-{number}", folder, self.control_url, self.router_port)
            for number in range(1, routers + 1)
        ]

    def start(self, resources: Sequence[Resource]) -> None:
        """Start everything, and wait until every router runs what is published and every cell is healthy."""
        for cell in self.cells.values():
            cell.start()
        self.control.start()
        eventually(lambda: self._answers("/healthz"), "the control plane is up", seconds=START_SECONDS)
        self._post("/v1/apply", {"resources": [_named(*each) for each in resources]})
        for router in self.routers:
            router.start()
        eventually(self._whole, f"the fleet is whole: see {self.folder}", seconds=START_SECONDS)

    def end(self) -> None:
        """End everything that still runs."""
        for router in self.routers:
            router.kill()
            router.kill_envoy()
        for process in (self.control, *self.cells.values()):
            process.kill()
        self._http.close()

    def _whole(self) -> bool:
        try:
            routers = self.get("/v1/routers")["items"]
            cells = self.get("/v1/cells")["items"]
        except httpx2.HTTPError:
            return False
        ready = [router for router in routers if router["ready"] and not router["lost"] and router["behind"] == 0]
        return len(ready) == len(self.routers) and all(cell["healthy"] for cell in cells)

    def get(self, path: str, **params: str | int) -> Any:
        response = self._http.get(path, params=params, headers=admin_headers(self.folder / "control"))
        response.raise_for_status()
        return response.json()

    def _post(self, path: str, body: object) -> None:
        response = self._http.post(path, json=body, headers=admin_headers(self.folder / "control"))
        assert response.status_code == 200, response.text

    def _answers(self, path: str) -> bool:
        with suppress(httpx2.HTTPError, FileNotFoundError):
            self.get(path)
            return True
        return False

    def cell(self, cell: str) -> Any:
        """What the control plane says of a cell."""
        return next(item for item in self.get("/v1/cells")["items"] if item["id"] == cell)

    def gray(self) -> set[str]:
        """Cells that are worse than their peers."""
        return {item["id"] for item in self.get("/v1/cells")["items"] if item["gray"]}

    def shards(self, tenants: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The cells of each tenant, in the order in which they are asked."""
        return {tenant: tuple(self.get("/v1/route", tenant=tenant)["shard"]) for tenant in tenants}

    def act(self, cell: str, *, errors: float = 0.0, slow: float = 0.0, delay: float = 0.0) -> None:
        """Let a cell fail a share of its requests, or answer a share of them so many seconds late."""
        url = f"http://{HOST}:{self.ports[cell]}/act"
        params = {"errors": str(errors), "slow": str(slow), "delay": str(delay)}
        response = plain_http.post(url, params=params, timeout=10)
        assert response.status_code == 204, response.status_code

    @contextmanager
    def load(self, *streams: Stream, seed: int) -> Iterator[list[Sample]]:
        """A load for as long as the block runs. Its samples are complete when the block has ended."""
        load = Load(HOST, self.router_port, streams, seconds=MAX_LOAD_SECONDS, rng=Random(seed))
        thread = threading.Thread(target=lambda: run(load.run()))
        thread.start()
        try:
            yield load.samples
        finally:
            load.stop()
            thread.join()


def _named(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "name": name, "spec": spec}


@contextmanager
def chaos_fleet(
    folder: Path,
    cells: Sequence[str],
    resources: Sequence[Resource],
    *,
    routers: int = 1,
    lanes: int = 64,
    service_ms: float = 2.0,
    cell_specs: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[ChaosFleet]:
    """A running fleet ``shop`` of these cells.

    Args:
        resources: beside the fleet and its cells; a pool ``default`` among them.
        routers: that share one port, as the kernel lets them (SO_REUSEPORT, socket(7)).
        lanes: requests that a cell works on at once.
        service_ms: that each takes.
        cell_specs: more fields of cells, by id.
    """
    fleet = ChaosFleet(folder, cells, routers=routers, lanes=lanes, service_ms=service_ms)
    source = {"kind": "header", "name": "x-tenant-id", "trusted": True}
    own: list[Resource] = [("Fleet", "shop", {"keySources": [source], "defaultPool": "default", "routers": routers})]
    own += [
        ("Cell", cell, {"address": HOST, "port": port, **(cell_specs or {}).get(cell, {})})
        for cell, port in fleet.ports.items()
    ]
    try:
        fleet.start([*own, *resources])
        yield fleet
    finally:
        fleet.end()


def wait_seconds(seconds: float) -> None:
    """Let a load run."""
    time.sleep(seconds)
