"""The control plane dies by `kill -9` at every named point between a change and its published table, many times."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from cellplane.control.settings import DATABASE
from cellplane.faults import FAULT_VARIABLE
from chaos.report import Report, Scale
from e2e.harness import admin_headers, eventually, free_ports
from support import plain_http
from support.directory import Directory

NAME = "control-plane-cut-short"
FULL = Scale(seed=1, rps=0.0, seconds=20.0)
"""``seconds`` is how often it dies at each point."""

POINTS = (
    "change.begun",
    "change.written",
    "change.committed",
    "publication.compiled",
    "publication.written",
    "publication.committed",
)
CELLS = ("cell-1", "cell-2")
WRITERS = 3
MAX_PASSES = 25
"""A process dies when it comes to its point for the first to the so-manieth time."""

DEATH_SECONDS = 60.0
START_SECONDS = 60.0
ASK_SECONDS = 10.0
RETRY_SECONDS = 0.02


@dataclass
class Found:
    """What clients were told, and what was wrong with what is there."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    pending: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    last_epoch: int = 0
    last_published: int = 0


class Control:
    """A control plane that is started again and again."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "control"
        (self.port,) = free_ports(1)
        self._log = folder / "control.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> None:
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(self.state)]
        environment = {**os.environ, **({FAULT_VARIABLE: fault} if fault else {})}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port)], env=environment, stdout=log, stderr=log
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return plain_http.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            json=body,
            headers={**admin_headers(self.state), **named},
            timeout=ASK_SECONDS,
        )

    def is_up(self) -> bool:
        try:
            return self.ask("GET", "/v1/cells").status_code == 200
        except (httpx2.HTTPError, FileNotFoundError):
            return False

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()


def run(folder: Path, scale: Scale, points: Sequence[str] = POINTS) -> Report:
    """Run it: clients send each change under a key until it is acknowledged, over as many deaths as that takes."""
    report = Report(NAME, scale)
    found, deaths = Found(), Counter[str]()
    control = Control(folder)
    rng = random.Random(scale.seed)
    try:
        _fill(control)
        control.end()
        plan = [point for point in points for _ in range(int(scale.seconds))]
        rng.shuffle(plan)
        for number, point in enumerate(plan):
            control.start(f"{point}:{rng.randint(1, MAX_PASSES)}")
            deaths[point] += _write_until_it_dies(control, found, scale.seed * 10_000 + number)
            _check(control, found)
        control.start()
        eventually(control.is_up, "it comes up after all that", seconds=START_SECONDS)
        for tenant, body in found.pending.items():
            answer = control.ask("PUT", f"/v1/tenants/{tenant}", body, Idempotency_Key=tenant)
            found.acknowledged[tenant] = answer.json()["epoch"]
        found.pending.clear()
        last = max(found.acknowledged.values())
        eventually(lambda: _published(control) >= last, "all is published", seconds=START_SECONDS)
    finally:
        control.end()
    _check(control, found)
    report.figures |= {
        "deaths": dict(sorted(deaths.items())),
        "acknowledged": len(found.acknowledged),
        "epochs": found.last_epoch,
    }
    report.hold("points_where_it_never_died", sum(deaths[point] < int(scale.seconds) for point in points))
    for figure in ("lost", "doubled", "half_changes", "epochs_that_do_not_grow", "publications_that_go_back"):
        report.hold(figure, found.wrong[figure])
    return report


def _fill(control: Control) -> None:
    control.start()
    eventually(control.is_up, "the control plane is up", seconds=START_SECONDS)
    sources = [{"kind": "header", "name": "x-tenant-id", "trusted": True}]
    for path, body in (
        ("/v1/fleet", {"name": "shop", "key_sources": sources}),
        *((f"/v1/cells/{cell}", {"address": "127.0.0.1", "port": 9000}) for cell in CELLS),
        ("/v1/pools/default", {"cells": list(CELLS)}),
    ):
        control.ask("PUT", path, body).raise_for_status()


def _published(control: Control) -> int:
    return int(control.ask("GET", "/v1/table").headers.get("x-cellplane-epoch", 0))


def _write_until_it_dies(control: Control, found: Found, seed: int) -> int:
    """Send changes until nobody is there to take them; 1 where it died by itself."""
    assert control.process is not None
    again = list(found.pending.items())
    lock = threading.Lock()

    def write(number: int) -> None:
        rng = random.Random(seed * 10 + number)
        step = 0
        while control.is_running:
            with lock:
                tenant, body = again.pop() if again else ("", {})
            if not tenant:
                tenant, body = f"t-{seed}-{number}-{step}", {"cell": rng.choice(CELLS)}
                step += 1
            with lock:
                found.pending[tenant] = body
            try:
                answer = control.ask("PUT", f"/v1/tenants/{tenant}", body, Idempotency_Key=tenant)
            except (httpx2.HTTPError, FileNotFoundError):
                # Not up yet, or dead: under the same key it is asked again.
                with lock:
                    again.append((tenant, body))
                time.sleep(RETRY_SECONDS)
                continue
            assert answer.status_code == 200, answer.text
            with lock:
                found.acknowledged[tenant] = answer.json()["epoch"]
                del found.pending[tenant]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        control.process.wait(DEATH_SECONDS)
    except subprocess.TimeoutExpired:
        control.process.kill()
    for thread in threads:
        thread.join()
    return int(control.process.wait() == -signal.SIGKILL)


def _check(control: Control, found: Found) -> None:
    """Look at what the dead one left, against what was acknowledged."""
    directory = Directory(control.state / DATABASE)
    try:
        with directory.snapshot() as snapshot:
            last = snapshot.epoch()
            stored = {record.tenant.id: record for record in snapshot.all_tenants()}
            assigned = snapshot.assigned_tenants()
            epochs = snapshot.epochs(limit=10**9)
            log = snapshot.changes(limit=10**9)
        with directory.past(last) as past:
            told = {record.tenant.id: record for record in past.tenants()}
    finally:
        directory.close()
    numbers = [change.epoch for change in log]
    changed = Counter(change.id for change in log if change.kind == "tenant")
    first = {change.id: change.epoch for change in reversed(log) if change.kind == "tenant"}
    lost = [tenant for tenant, epoch in found.acknowledged.items() if first.get(tenant) != epoch]
    counted = Counter(cell for record in stored.values() for cell in record.tenant.shard)
    published = [each.epoch for each in epochs]
    tokens = [each.token for each in epochs]
    found.wrong["lost"] += len(lost)
    found.wrong["doubled"] += sum(count > 1 for count in changed.values())
    found.wrong["half_changes"] += int(stored != told) + int(any(assigned[cell] != counted[cell] for cell in CELLS))
    found.wrong["epochs_that_do_not_grow"] += int(
        numbers != list(range(1, last + 1)) or last < max(found.acknowledged.values(), default=0)
    )
    found.wrong["publications_that_go_back"] += int(
        published != sorted(set(published), reverse=True)
        or tokens != sorted(tokens, reverse=True)
        or max(published, default=0) < found.last_published
        or last < found.last_epoch
    )
    found.last_epoch, found.last_published = last, max(published, default=0)
