"""A running `cellplane demo`, started by its own command, and what tests and benchmarks ask of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from cellplane.provision.local import ports as port_choice
from support import plain_http

CELLPLANE = Path(sys.executable).with_name("cellplane")
READY_SECONDS = 120.0
"""Far more than the few that are measured: on a machine that is busy, noise alone does not break it."""

HEALTH_TIMEOUT = "5"
"""Seconds: a cell is down that refuses, not one that waits for a core."""

STOP_SECONDS = 10.0
"""What is promised of a stop."""

TENANTS = 12


def eventually(condition: Callable[[], bool], what: str, *, seconds: float = 30.0) -> float:
    """Wait until something is so, and return how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def free_ports(count: int) -> list[int]:
    """Ports that no outgoing connection takes before they are used."""
    return list(port_choice.choose("127.0.0.1", [str(number) for number in range(count)], {}).values())


def admin_headers(control_state: Path) -> dict[str, str]:
    """What says that the admin of a control plane asks, by the file in its state folder."""
    return {"Authorization": f"Bearer {(control_state / 'admin-token').read_text().strip()}"}


def exists(pid: int) -> bool:
    """Whether a process is there and not merely waiting to be collected."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat[stat.rindex(")") + 2] not in "ZX"


def leftovers(folder: Path) -> dict[int, str]:
    """Processes, with their commands, that name this folder in their command or environment, or are in it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and exists(int(entry.name)):
            try:
                command, environment = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
                cwd = (entry / "cwd").readlink()
            except OSError:
                continue
            if str(folder).encode() in command + b"\0" + environment or cwd.is_relative_to(folder):
                found[int(entry.name)] = command.replace(bytes(1), b" ").decode(errors="replace")
    return found


def kill_leftovers(folder: Path) -> None:
    """End what a failed test left: it would take the machine's time from every test behind it."""
    for pid in leftovers(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@dataclass
class Answer:
    """One answer of the router to a load: when, whose, what; of a problem, which."""

    at: float
    tenant: str
    status: int
    cell: str
    problem: str = ""


@dataclass
class Demo:
    """A running `cellplane demo`."""

    state: Path
    router_port: int
    control_port: int
    process: subprocess.Popen[str]
    output: list[str] = field(default_factory=list)
    ready_seconds: float = 0.0

    @property
    def router(self) -> str:
        return f"http://127.0.0.1:{self.router_port}"

    @property
    def control(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    @property
    def tenants(self) -> list[str]:
        return [f"tenant-{number:03}" for number in range(1, TENANTS + 1)]

    @property
    def headers(self) -> dict[str, str]:
        """What says that the fleet's admin asks."""
        return admin_headers(self.state / "control")

    def pids(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.state / "pids.json").read_text())
        return value

    def all_pids(self) -> set[int]:
        pids = self.pids()
        flat = [pids["control"], pids["agent"], pids["envoy"]]
        flat += [pid for part in (pids["analytics"], *pids["cells"].values()) for pid in part.values()]
        return {pid for pid in flat if pid is not None}

    @property
    def environment(self) -> dict[str, str]:
        """In which `cellplane …` is about this fleet."""
        return {**os.environ, "CELLPLANE_CONTROL_URL": self.control, "CELLPLANE_STATE": str(self.state)}

    def run(self, *arguments: str, ok: bool = True) -> str:
        """Run `cellplane …` against this fleet, and return what it printed."""
        done = subprocess.run(
            [CELLPLANE, *arguments], capture_output=True, text=True, env=self.environment, timeout=90, check=False
        )
        assert (done.returncode == 0) is ok, f"cellplane {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def get(self, path: str, **params: str | int) -> Any:
        response = plain_http.get(f"{self.control}{path}", params=params, headers=self.headers, timeout=30)
        response.raise_for_status()
        return response.json()

    def put(self, path: str, body: dict[str, Any]) -> Any:
        response = plain_http.put(f"{self.control}{path}", json=body, headers=self.headers, timeout=30)
        response.raise_for_status()
        return response.json()

    def ask(self, tenant: str, path: str = "/notifications?limit=1", **options: Any) -> httpx2.Response:
        """One request of a tenant through the router."""
        return plain_http.get(f"{self.router}{path}", headers={"X-Tenant-Id": tenant}, timeout=30, **options)

    def placed(self) -> dict[str, str]:
        """Where the control plane says each tenant is."""
        return {item["id"]: item["placed"] for item in self.get("/v1/tenants", limit=100)["items"]}

    def served_by(self) -> dict[str, str]:
        """The cell that answers each tenant, through the router."""
        found = {}
        for tenant in self.tenants:
            response = self.ask(tenant)
            assert response.status_code == 200, (tenant, response.status_code, response.text)
            found[tenant] = response.headers["x-cell-id"]
        return found

    def tenants_of(self, cell: str) -> list[str]:
        return [tenant for tenant, placed in self.placed().items() if placed == cell]

    def whole(self) -> bool:
        """Whether every part is there, every cell healthy, and the router up to date."""
        try:
            pids = self.all_pids()
            cells = self.get("/v1/cells")["items"]
            routers = self.get("/v1/routers")["items"]
            # What a router said last may be of before its Envoy died.
            socket.create_connection(("127.0.0.1", self.router_port), timeout=30).close()
        except (httpx2.HTTPError, OSError, ValueError):
            return False
        return (
            len(pids) == 3 + 2 + 4 * len(cells)
            and all(map(exists, pids))
            and all(cell["healthy"] for cell in cells)
            and any(router["ready"] and not router["lost"] and not router["behind"] for router in routers)
            and (self.state / "analytics.duckdb").exists()
        )

    @contextmanager
    def load(self, tenants: list[str], *, requests_per_second: float = 100.0) -> Iterator[list[Answer]]:
        """Requests of these tenants in turn, for as long as the block runs; a connection error has status 0."""
        answers: list[Answer] = []
        stop = threading.Event()

        def run() -> None:
            number = 0
            with plain_http.client(timeout=30) as client:
                while not stop.wait(1 / requests_per_second):
                    tenant = tenants[number % len(tenants)]
                    number += 1
                    at = time.monotonic()
                    try:
                        response = client.get(f"{self.router}/notifications?limit=1", headers={"X-Tenant-Id": tenant})
                        cell = response.headers.get("x-cell-id", "")
                        problem = "" if response.status_code == 200 else response.text
                        answers.append(Answer(at, tenant, response.status_code, cell, problem))
                    except httpx2.HTTPError:
                        answers.append(Answer(at, tenant, 0, ""))

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield answers
        finally:
            stop.set()
            thread.join()


@contextmanager
def start_demo(
    state: Path,
    *extra: str,
    command: Path = CELLPLANE,
    ports: list[int] | None = None,
    environment: dict[str, str] | None = None,
) -> Iterator[Demo]:
    """Run `cellplane demo` until it is ready; stop it at the end if it still runs."""
    router_port, control_port = ports or free_ports(2)
    arguments = ["--router-port", str(router_port), "--control-port", str(control_port), "--state", str(state)]
    began = time.monotonic()
    process = subprocess.Popen(
        [command, "demo", *arguments, "--health-timeout", HEALTH_TIMEOUT, "--tenants", str(TENANTS), *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=state.parent,
    )
    demo = Demo(state, router_port, control_port, process)
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            demo.output.append(line.rstrip("\n"))
            if line.startswith("ready"):
                demo.ready_seconds = time.monotonic() - began
                ready.set()
        ready.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        ready.wait(READY_SECONDS)
        assert demo.ready_seconds, "\n".join(["the demo did not get ready:", *demo.output, _logs(state)])
        yield demo
    finally:
        try:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(2 * STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kill_leftovers(state)
            raise
        finally:
            reader.join()
            assert process.stdout is not None
            process.stdout.close()


def _logs(state: Path) -> str:
    return "\n".join(f"--- {path.name}\n{path.read_text()[-1500:]}" for path in sorted((state / "logs").glob("*.log")))
