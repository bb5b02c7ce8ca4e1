"""A control plane and a router as their own commands run them, in front of acting cells, under load."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from cellplane.processes import processes_in
from cellplane.router.envoy.process import envoy_binary
from e2e.acting_cell import ActingCell
from e2e.harness import Answer, admin_headers, eventually, free_ports
from support import plain_http

START_SECONDS = 60.0
LIVE_SECONDS = 30.0


@dataclass
class Site:
    """Running processes; their folders outlive each of them."""

    folder: Path
    cells: Mapping[str, ActingCell]
    control_port: int = 0
    router_port: int = 0
    _control: subprocess.Popen[bytes] | None = None
    _router: subprocess.Popen[bytes] | None = None
    logs: Path = field(init=False)

    def __post_init__(self) -> None:
        self.control_port, self.router_port = free_ports(2)
        self.logs = self.folder / "logs"
        self.logs.mkdir(parents=True)

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    def start_control(self) -> None:
        command = [
            "cellplane.control",
            "--no-guard-rails",
            "--state",
            str(self.folder / "control"),
            "--port",
            str(self.control_port),
        ]
        self._control = self._start(command, "control")
        eventually(lambda: self._says_epoch(0), "the control plane answers", seconds=START_SECONDS)

    def kill_control(self) -> None:
        assert self._control is not None
        self._control.kill()
        self._control.wait()

    def start_router(self) -> None:
        command = ["cellplane.router", "--control", self.control, "--state", str(self.folder / "router")]
        command += ["--token-file", str(self.folder / "control" / "admin-token")]
        self._router = self._start([*command, "--port", str(self.router_port)], "router")

    def end(self) -> None:
        for process in (self._router, self._control):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        envoy = self.folder / "router" / "envoy"
        for left in processes_in(envoy, envoy_binary().name) if envoy.exists() else []:
            os.kill(left.pid, signal.SIGKILL)

    def ask(self, method: str, path: str, body: object = None, **params: str | float) -> Any:
        """Ask the control plane for what it must not refuse."""
        answer = plain_http.request(
            method,
            f"{self.control}{path}",
            json=body,
            params=params or None,
            headers=admin_headers(self.folder / "control"),
            timeout=10,
        )
        assert answer.is_success, answer.text
        return answer.json()

    def apply(self, *resources: tuple[str, str, Mapping[str, Any]]) -> None:
        """Apply resources, each its kind, name and spec, and wait until the router runs them."""
        named = [{"kind": kind, "name": name, "spec": spec} for kind, name, spec in resources]
        self.wait_live(self.ask("POST", "/v1/apply", {"resources": named})["epoch"])

    def wait_live(self, epoch: int) -> None:
        eventually(lambda: self._says_epoch(epoch), f"epoch {epoch} is live", seconds=LIVE_SECONDS)

    def _says_epoch(self, epoch: int) -> bool:
        try:
            if epoch == 0:
                return bool(self.ask("GET", "/healthz"))
            routers = self.ask("GET", "/v1/routers")["items"]
        except (httpx2.TransportError, AssertionError, FileNotFoundError):
            return False
        return any(router["ready"] and router["epoch"] >= epoch for router in routers)

    def _start(self, command: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log)

    def send(self, tenant: str) -> tuple[int, str]:
        """Status of a tenant's request, and the cell that answered."""
        answer = plain_http.get(f"http://127.0.0.1:{self.router_port}/x", headers={"x-tenant-id": tenant}, timeout=30)
        return answer.status_code, answer.headers.get("x-cell-id", "")

    @contextmanager
    def load(self, rps: Mapping[str, float], *, at_once: Mapping[str, int] | None = None) -> Iterator[list[Answer]]:
        """So many requests a second of each tenant, for as long as the block runs; without an answer status is 0.

        Args:
            at_once: clients of a tenant that send so many a second each; one where it is not named.
        """
        answers: list[Answer] = []
        stop = threading.Event()

        def run(tenant: str, pause_seconds: float) -> None:
            with plain_http.client(timeout=30) as client:
                while not stop.wait(pause_seconds):
                    status, cell = 0, ""
                    try:
                        answer = client.get(f"http://127.0.0.1:{self.router_port}/x", headers={"x-tenant-id": tenant})
                        status, cell = answer.status_code, answer.headers.get("x-cell-id", "")
                    except httpx2.HTTPError:
                        pass
                    answers.append(Answer(time.monotonic(), tenant, status, cell))

        threads = [
            threading.Thread(target=run, args=(tenant, 1 / rate))
            for tenant, rate in rps.items()
            for _ in range((at_once or {}).get(tenant, 1))
        ]
        for thread in threads:
            thread.start()
        try:
            yield answers
        finally:
            stop.set()
            for thread in threads:
                thread.join()
