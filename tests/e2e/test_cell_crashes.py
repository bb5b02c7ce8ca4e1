"""Whoever dies while a cell comes or goes: afterwards the cell is whole or gone, and asking again completes it."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cellplane.faults import FAULT_VARIABLE
from e2e.harness import CELLPLANE, STOP_SECONDS, Demo, eventually, free_ports, leftovers, start_demo

SEED = 20_242
"""Of the moments at which something is cut short: the same in every run, so that a failure can be had again."""


def ask(demo: Demo, *arguments: str, fault: str = "") -> subprocess.Popen[str]:
    """Begin `cellplane cell …`."""
    environment = {**os.environ, "CELLPLANE_CONTROL_URL": demo.control, "CELLPLANE_STATE": str(demo.state)}
    environment |= {FAULT_VARIABLE: fault} if fault else {}
    return subprocess.Popen(
        [CELLPLANE, "cell", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def listed(demo: Demo) -> dict[str, str]:
    items = json.loads(demo.run("cell", "list", "--json"))["items"]
    return {item["id"]: item["state"] for item in items}


def assert_whole(demo: Demo) -> None:
    """Both cells run, each process once, and what is on the disk is theirs."""
    assert listed(demo) == {"cell-1": "running", "cell-2": "running"}
    assert_nothing_leaks(demo, {"cell-1", "cell-2"})


def assert_gone(demo: Demo) -> None:
    assert listed(demo) == {"cell-1": "running"}
    assert_nothing_leaks(demo, {"cell-1"})


def assert_nothing_leaks(demo: Demo, cells: set[str]) -> None:
    state = demo.state
    assert {path.name for path in (state / "cells").iterdir()} == cells
    endpoints: dict[str, Any] = json.loads((state / "endpoints.json").read_text())
    assert set(endpoints["members"]) == cells
    assert len(endpoints["ports"]) == 2 + 3 * len(cells)
    assert [path.name for path in (state / "wishes").iterdir()] == ["lock"]
    running = demo.pids()["cells"]
    assert set(running) == cells
    known = {pid for part in (demo.pids()["analytics"], *running.values()) for pid in part.values()}
    servers = {pid for pid, command in leftovers(state).items() if "postgres -D" in command or "nats-server" in command}
    assert servers <= known, "no server runs twice, or of a cell that is gone"
    apis = [command for command in leftovers(state).values() if "notifications.api" in command]
    assert len(apis) == len(cells)


@contextmanager
def one_cell_demo(state: Path, ports: list[int], fault: str = "") -> Iterator[Demo]:
    environment = {**os.environ, **({FAULT_VARIABLE: fault} if fault else {})}
    with start_demo(state, "--cells", "1", ports=ports, environment=environment) as demo:
        yield demo


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def assert_dies(demo: Demo, fault: str, *arguments: str) -> None:
    """Ask, and see whoever asks die at a fault point."""
    asked = ask(demo, *arguments, fault=fault)
    said, _ = asked.communicate(timeout=60)
    assert asked.returncode == -signal.SIGKILL, (fault, said)


# Each start recovers from the fault of the one before. A creation passes no fault of a removal, nor the other way.
SUPERVISOR_FAULTS = (
    ("provision.member.noted", "create"),
    ("provision.cell.stopped", "destroy"),
    ("provision.cell.settled", "create"),
    ("provision.folder.aside", "destroy"),
    ("", "create"),
    ("provision.folder.removed", "destroy"),
    ("", "create"),
    ("provision.member.dropped", "destroy"),
)
CALLER_FAULTS = (
    "cell.create.registered",
    "provision.wish.written",
    "cell.create.provisioned",
    "cell.create.activated",
)


@pytest.mark.long
def test_a_supervisor_that_dies_anywhere_finishes_what_it_was_at_when_it_comes_back(state: Path) -> None:
    ports = free_ports(2)
    before = ""
    for fault, verb in SUPERVISOR_FAULTS:
        with one_cell_demo(state, ports, fault) as demo:
            if before:
                assert_finishes(demo, before)
            asked = ask(demo, verb, "cell-2", *(["--force"] if verb == "destroy" else []))
            said, _ = asked.communicate(timeout=60)
            if fault:
                assert demo.process.wait(30) == -signal.SIGKILL, fault
                assert asked.returncode == 1
                assert "is on record, and done when it starts again" in said
            else:
                assert asked.returncode == 0, said
        before = verb
    with one_cell_demo(state, ports) as demo:
        assert_finishes(demo, before)
        assert demo.served_by() == demo.placed()
    assert leftovers(state) == {}


def assert_finishes(demo: Demo, verb: str) -> None:
    """What was asked of the supervisor that died is done by the one after it."""
    if verb == "create":
        eventually(lambda: listed(demo).get("cell-2") == "running", "it is whole")
        assert_whole(demo)
    else:
        eventually(lambda: "cell-2" not in listed(demo), "it is gone")
        assert_gone(demo)


@pytest.mark.long
def test_a_caller_that_dies_anywhere_is_completed_by_the_next(state: Path) -> None:
    with one_cell_demo(state, free_ports(2)) as demo:

        def statuses() -> dict[str, str]:
            return {cell["id"]: cell["status"] for cell in demo.get("/v1/cells")["items"]}

        for fault in CALLER_FAULTS:
            assert_dies(demo, fault, "create", "cell-2", "--pool", "default")
            eventually(lambda: listed(demo).get("cell-2") == "running", f"{fault}: it is made without who asked for it")
            demo.run("cell", "create", "cell-2", "--pool", "default")
            assert statuses() == {"cell-1": "active", "cell-2": "active"}
            assert demo.get("/v1/pools")["items"][0]["cells"] == ["cell-1", "cell-2"]
            assert_whole(demo)
            demo.run("cell", "drain", "cell-2", "--leave-pools")
            demo.run("cell", "retire", "cell-2")
            assert_dies(demo, "cell.destroy.deregistered", "destroy", "cell-2")
            assert statuses() == {"cell-1": "active"}
            demo.run("cell", "destroy", "cell-2")
            assert_gone(demo)


@pytest.mark.long
def test_a_supervisor_that_is_killed_at_any_moment_leaves_a_cell_whole_or_gone(state: Path) -> None:
    draw = random.Random(SEED)
    ports = free_ports(2)
    for _ in range(2):
        with one_cell_demo(state, ports) as demo:
            asked = ask(demo, "create", "cell-2")
            time.sleep(draw.uniform(0.2, 2.0))
            demo.process.kill()
            demo.process.wait()
            asked.communicate(timeout=60)
        with one_cell_demo(state, ports) as demo:
            demo.run("cell", "create", "cell-2")
            assert_whole(demo)
            asked = ask(demo, "destroy", "cell-2", "--force")
            time.sleep(draw.uniform(0.2, 2.0))
            demo.process.kill()
            demo.process.wait()
            asked.communicate(timeout=60)
        with one_cell_demo(state, ports) as demo:
            demo.run("cell", "destroy", "cell-2", "--force")
            assert_gone(demo)
    assert leftovers(state) == {}


@pytest.mark.long
def test_a_fleet_that_is_stopped_comes_back_with_the_cells_that_it_had(state: Path) -> None:
    ports = free_ports(2)
    with one_cell_demo(state, ports) as demo:
        demo.run("cell", "create", "cell-2", "--pool", "default", "--release", "r2")
        demo.run("cell", "create", "cell-3")
        demo.run("cell", "stop", "cell-3")
        placed = demo.placed()
    assert leftovers(state) == {}
    with one_cell_demo(state, ports) as demo:
        assert listed(demo) == {"cell-1": "running", "cell-2": "running", "cell-3": "stopped"}
        assert demo.placed() == placed
        assert demo.served_by() == placed
        assert demo.ask(demo.tenants_of("cell-2")[0]).headers["x-cell-release"] == "r2"
        demo.run("cell", "retire", "cell-3")
        demo.run("cell", "destroy", "cell-3")
        # A cell of the first start goes like any other, and stays away.
        demo.run("cell", "drain", "cell-1", "--leave-pools")
        demo.run("cell", "retire", "cell-1")
        demo.run("cell", "destroy", "cell-1")
    with one_cell_demo(state, ports) as demo:
        assert listed(demo) == {"cell-2": "running"}
        assert set(demo.served_by().values()) == {"cell-2"}


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.4, 1.0])
def test_a_fleet_that_is_stopped_while_a_cell_is_made_leaves_nothing_and_goes_on_later(
    state: Path, seconds: float
) -> None:
    ports = free_ports(2)
    with one_cell_demo(state, ports) as demo:
        asked = ask(demo, "create", "cell-2")
        eventually((state / "cells" / "cell-2").exists, "it is being made")
        time.sleep(seconds)
        demo.process.send_signal(signal.SIGTERM)
        assert demo.process.wait(STOP_SECONDS) == 0
        asked.communicate(timeout=60)
        assert leftovers(state) == {}
    with one_cell_demo(state, ports) as demo:
        eventually(lambda: listed(demo).get("cell-2") == "running", "it is whole")
        assert_whole(demo)
