"""What is attacked: routers as their own command runs them, a control plane that gives each its table, and cells."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2

from cellplane.processes import ProcessId, processes_in
from cellplane.router.envoy.process import envoy_binary
from e2e.harness import eventually, free_ports
from fuzz.cell import MAX_VIOLATIONS
from fuzz.corpus import Corpus
from fuzz.fleet import CELLS, TENANTS, VARIANTS
from support import plain_http
from unit.agent.fake_control import fake_control

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
TESTS = Path(__file__).resolve().parents[1]


class Router:
    """A router of its own command: an agent and its Envoy."""

    def __init__(
        self, folder: Path, control_url: str, cookie_keys: Path, *, workers: int = 1, token_file: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.port, self.metrics_port = free_ports(2)
        self.log_path = folder / "agent.log"
        self._log: IO[bytes] = self.log_path.open("ab")
        ports = ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        more = ["--cookie-keys", str(cookie_keys), "--workers", str(workers)]
        more += [] if token_file is None else ["--token-file", str(token_file)]
        command = [sys.executable, "-m", "cellplane.router", "--control", control_url, *ports, *more]
        self._agent = subprocess.Popen(
            [*command, "--state", str(folder / "router")], stdout=self._log, stderr=self._log
        )
        self._envoys: list[ProcessId] = []

    def wait_until_ready(self, is_ready: Callable[[], bool]) -> None:
        """Wait until it has reported that it serves; from now on its Envoy may not change."""
        eventually(is_ready, "the router is ready", seconds=READY_SECONDS)
        self._envoys = self._found()

    def _found(self) -> list[ProcessId]:
        return processes_in(self._folder / "router" / "envoy", envoy_binary().name)

    def faults(self) -> list[str]:
        """What must not have happened to its processes."""
        found = []
        if self._agent.poll() is not None:
            found.append(f"the agent ended with {self._agent.returncode}")
        if len(self._envoys) != 1 or self._found() != self._envoys:
            found.append(f"Envoy was {self._envoys}, and is {self._found()}")
        restarts = self.metric("cellplane_agent_proxy_restarts_total")
        if restarts != 0:
            found.append(f"Envoy was started again {restarts:g} times")
        return found

    def metric(self, name: str, label: str = "") -> float:
        """The sum of a metric of the agent, of all labels or of those with this text in them."""
        # Of the one name: all of Envoy's would cost the router a second.
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        response = plain_http.get(url, params={"name[]": name}, timeout=10)
        lines = response.raise_for_status().text.splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{")) and label in line
        )

    def end(self) -> None:
        """Stop it, and its Envoy."""
        self._agent.terminate()
        try:
            self._agent.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()
            for envoy in self._found():
                os.kill(envoy.pid, 9)
        self._log.close()


class CellProcess:
    """A cell as a process of its own."""

    def __init__(self, folder: Path, cell: str, port: int, table: Path) -> None:
        self.cell = cell
        self.requests = 0
        self.violations_path = folder / f"{cell}.violations"
        arguments = ["--cell", cell, "--port", str(port), "--table", str(table)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.cell", *arguments, "--violations", str(self.violations_path)],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", f"{cell} does not start"

    def violations(self) -> list[dict[str, Any]]:
        """What must not have come to it, so far."""
        if not self.violations_path.exists():
            return []
        return [json.loads(line) for line in self.violations_path.read_text().splitlines()[:MAX_VIOLATIONS]]

    def end(self) -> None:
        """End it, and note how many requests it had, without health checks."""
        self._process.terminate()
        said, _ = self._process.communicate(timeout=STOP_SECONDS)
        self.requests = int(json.loads(said)["requests"]) if said else 0


@dataclass
class Town:
    """All of it."""

    folder: Path
    corpus: Corpus
    cells: list[CellProcess]
    routers: dict[str, Router]

    @property
    def ports(self) -> dict[str, int]:
        """Of the routers, by variant."""
        return {name: router.port for name, router in self.routers.items()}

    def violations(self) -> list[dict[str, Any]]:
        """What must not have come to a cell."""
        return [violation for cell in self.cells for violation in cell.violations()]

    def faults(self) -> list[str]:
        """What must not have happened to routers."""
        return [f"{name}: {fault}" for name, router in self.routers.items() for fault in router.faults()]


@contextmanager
def town(folder: Path, corpus: Corpus, *, workers: int = 1) -> Iterator[Town]:
    """Run a router of each variant, and the cells; each router has answered for every tenant when this begins."""
    jwks, cookie_keys = folder / "jwks.json", folder / "cookie-keys"
    jwks.write_text(corpus.jwks)
    cookie_keys.write_text(corpus.keyring_text)
    ports = dict(zip(CELLS, free_ports(len(CELLS)), strict=True))
    tables = {variant.name: variant.table(ports, jwks) for variant in VARIANTS}
    known = folder / "table.cpt"
    # The one by which everybody has a cell: where the others send somebody, it is the same.
    known.write_bytes(tables["wary"])
    with ExitStack() as stack:
        cells = []
        for cell, port in ports.items():
            cells.append(CellProcess(folder, cell, port, known))
            stack.callback(cells[-1].end)
        routers: dict[str, Router] = {}
        for variant in VARIANTS:
            control = stack.enter_context(fake_control())
            control.publish(tables[variant.name])
            routers[variant.name] = Router(folder / variant.name, control.url, cookie_keys, workers=workers)
            stack.callback(routers[variant.name].end)
            routers[variant.name].wait_until_ready(lambda: bool(control.last().get("ready")))  # noqa: B023
        for router in routers.values():
            for tenant in TENANTS:
                eventually(lambda: _serves(router, tenant), f"{tenant} is served", seconds=READY_SECONDS)  # noqa: B023
        found = Town(folder, corpus, cells, routers)
        yield found


def _serves(router: Router, tenant: str) -> bool:
    """Whether a tenant's request reaches a cell; cells take no notice of it but by what is wrong with it."""
    headers = {"host": f"{tenant}.shop.example", "x-fuzz": f"0.probe.{tenant}"}
    try:
        response = plain_http.get(f"http://127.0.0.1:{router.port}/x", headers=headers, timeout=10)
    except httpx2.HTTPError:
        return False
    return response.status_code == 200
