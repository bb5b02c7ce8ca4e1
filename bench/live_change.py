"""One assignment among many tenants, from the request to the control plane until Envoy routes by it."""

import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from cellplane.model import Cell, Fleet, Pool
from e2e.edge import StubCell, stub_cells
from e2e.harness import eventually, free_ports
from support.directory import Directory

CELLS = 16
READY_SECONDS = 120.0
LIVE_SECONDS = 10.0


def measure_live_changes(folder: Path, tenants: int, changes: int, rng: random.Random) -> dict[str, Any]:
    """Milliseconds from ``PUT /v1/tenants/…`` until an answer comes from the new cell, of so many changes."""
    names = [f"cell-{number:02}" for number in range(CELLS)]
    with ExitStack() as stack:
        cells = stack.enter_context(stub_cells(names))
        _fill(folder / "control", tenants, cells)
        control_port, router_port = free_ports(2)
        control, router = f"http://127.0.0.1:{control_port}", f"http://127.0.0.1:{router_port}"
        token_file = folder / "control" / "admin-token"
        began = time.monotonic()
        command = [
            "cellplane.control",
            "--no-guard-rails",
            "--state",
            str(folder / "control"),
            "--port",
            str(control_port),
        ]
        stack.enter_context(_process(command, folder / "control.log"))
        command = ["cellplane.router", "--control", control, "--state", str(folder / "router")]
        command += ["--token-file", str(token_file)]
        stack.enter_context(_process([*command, "--port", str(router_port)], folder / "router.log"))
        client = stack.enter_context(httpx2.Client(trust_env=False, timeout=10))
        eventually(lambda: _answers(client, router), "the router serves", seconds=READY_SECONDS)
        ready_s = time.monotonic() - began
        admin = {"Authorization": f"Bearer {token_file.read_text().strip()}"}
        operator = stack.enter_context(httpx2.Client(base_url=control, headers=admin, trust_env=False, timeout=10))
        live_ms = [
            _change(operator, client, router, f"tenant-{rng.randrange(tenants)}", rng.choice(names))
            for _ in range(changes)
        ]
        metrics = operator.get("/metrics").text
    live_ms.sort()
    return {
        "overlay_changes": changes,
        "overlay_ready_s": round(ready_s, 1),
        "overlay_tenants": int(float(metrics.split("\ncellplane_overlay_tenants ")[1].split()[0])),
        "overlay_live_p50_ms": round(statistics.median(live_ms), 1),
        "overlay_live_p99_ms": round(live_ms[min(len(live_ms) - 1, int(0.99 * len(live_ms)))], 1),
    }


def _change(operator: httpx2.Client, client: httpx2.Client, router: str, tenant: str, cell: str) -> float:
    began = time.monotonic()
    operator.put(f"/v1/tenants/{tenant}", json={"cell": cell}).raise_for_status()
    while client.get(router, headers={"X-Tenant-Id": tenant}).json()["cell"] != cell:
        assert time.monotonic() < began + LIVE_SECONDS, f"{tenant} did not get to {cell}"
    return (time.monotonic() - began) * 1000


def _answers(client: httpx2.Client, router: str) -> bool:
    try:
        return client.get(router, headers={"X-Tenant-Id": "tenant-1"}).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False


def _fill(folder: Path, tenants: int, cells: dict[str, StubCell]) -> None:
    """A directory with so many tenants, each assigned to a cell. Written into its tables: a million by the API take an
    hour, which is not what is measured here.
    """
    path = folder / "directory.sqlite3"
    directory = Directory(path)
    directory.put_fleet(Fleet("bench"), actor="bench")
    for name, cell in cells.items():
        directory.put_cell(Cell(name, "127.0.0.1", cell.port), actor="bench")
    directory.put_pool(Pool("default", tuple(cells)), actor="bench")
    directory.close()
    names = list(cells)
    load = json.dumps({"tenants": 1, "rps": 0.0, "storage_gib": 0.0})
    with sqlite3.connect(path) as database:
        database.executemany(
            "INSERT INTO tenants (id, shard, state, placed_pool, tier, jurisdiction, attributes, load) "
            "VALUES (?, ?, 'active', 'default', '', '', '{}', ?)",
            ((f"tenant-{number}", names[number % CELLS], load) for number in range(tenants)),
        )
        database.executemany(
            "INSERT INTO assignments (cell, tenant) VALUES (?, ?)",
            ((names[number % CELLS], f"tenant-{number}") for number in range(tenants)),
        )
    database.close()


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-m", *command], stdout=output, stderr=output, env=dict(os.environ))
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
