"""How a demo ends, however it ends, and that another can begin."""

import fcntl
import os
import pty
import random
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from e2e.harness import (
    CELLPLANE,
    READY_SECONDS,
    STOP_SECONDS,
    Demo,
    admin_headers,
    eventually,
    exists,
    free_ports,
    leftovers,
    start_demo,
)
from support import plain_http

SEED = 20_241
"""Of the moments at which a start is cut short: the same in every run, so that a failure can be had again."""


def begin_demo(
    state: Path,
    ports: list[int],
    *arguments: str,
    stdio: int = subprocess.DEVNULL,
    prepare: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """Begin a demo in a session of its own, and return once it has its folder."""
    command: list[str | Path] = [CELLPLANE, "demo", "--state", state]
    command += ["--router-port", str(ports[0]), "--control-port", str(ports[1]), *arguments]
    process = subprocess.Popen(
        command,
        stdin=stdio,
        stdout=stdio,
        stderr=stdio,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509
    )
    eventually((state / "status.json").exists, "it begins")
    return process


def seeded_moments(*, until_seconds: float, count: int) -> list[float]:
    draw = random.Random(SEED)
    return sorted(round(draw.uniform(0.0, until_seconds), 2) for _ in range(count))


def assert_nothing_left(demo: Demo, pids: set[int]) -> None:
    assert not [pid for pid in pids if exists(pid)]
    assert leftovers(demo.state) == {}
    assert not (demo.state / "pids.json").exists()
    assert not (demo.state / "lock").exists()
    sockets = [path for path in demo.state.rglob("*") if path.is_socket()]
    assert sockets == []


def test_ctrl_c_stops_everything_and_a_second_demo_finds_its_data(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_demo(state) as demo:
        pids = demo.all_pids()
        demo.run("assign", "tenant-001", "cell-3")
        # As when a terminal and make both pass it on.
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            demo.process.send_signal(number)
            time.sleep(0.05)
        demo.process.wait(STOP_SECONDS)
        assert demo.process.returncode == 0
        assert_nothing_left(demo, pids)
        ports = [demo.router_port, demo.control_port]
    # As in a folder of an earlier release.
    (state / "keys" / "proof-keys").unlink()
    with start_demo(state, ports=ports) as demo:
        assert demo.placed()["tenant-001"] == "cell-3", "what the user changed is kept"
        assert set(demo.served_by()) == set(demo.tenants)


@pytest.mark.long
def test_after_kill_9_of_everything_or_of_the_supervisor_alone_a_demo_starts_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_demo(state) as demo:
        ports = [demo.router_port, demo.control_port]
        for pid in {demo.process.pid, *demo.all_pids()}:
            os.kill(pid, signal.SIGKILL)
        demo.process.wait()
    with start_demo(state, ports=ports) as demo:
        assert demo.served_by() == demo.placed()
        orphans = demo.all_pids()
        demo.process.kill()
        demo.process.wait()
        assert all(map(exists, orphans)), "a fleet outlives its supervisor"
        assert demo.served_by() == demo.placed()
    with start_demo(state, ports=ports) as demo:
        eventually(lambda: not any(map(exists, orphans)), "the second supervisor ended what the first left")
        assert demo.served_by() == demo.placed()


def test_what_is_busy_is_named_with_the_way_out(demo: Demo, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        done = subprocess.run([CELLPLANE, "demo", *arguments], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        return done.stderr

    port = str(demo.router_port)
    other = str(free_ports(1)[0])
    message = refused("--router-port", port, "--control-port", other, "--state", str(tmp_path / "a"))
    assert f"port {port} is busy: choose another with --router-port PORT" in message
    message = refused("--router-port", other, "--control-port", port, "--state", str(tmp_path / "b"))
    assert f"port {port} is busy: choose another with --control-port PORT" in message
    before = sorted(path.name for path in demo.state.iterdir())
    assert "a fleet already runs" in refused("--state", str(demo.state))
    assert sorted(path.name for path in demo.state.iterdir()) == before, "the running fleet's files are left alone"


@pytest.mark.parametrize("seconds", [0.2, 0.8, 1.5])
def test_a_stop_while_it_starts_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    state = tmp_path / "state"
    process = begin_demo(state, free_ports(2))
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    process.wait(STOP_SECONDS)
    assert process.returncode == 0
    assert leftovers(state) == {}


@pytest.mark.long
def test_a_stop_while_it_seeds_holds_its_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ports = free_ports(2)
    process = begin_demo(state, ports, "--tenants", "9999")
    url = f"http://127.0.0.1:{ports[1]}/v1/tenants/tenant-020"

    def seeds() -> bool:
        try:
            headers = admin_headers(state / "control")
            return plain_http.get(url, headers=headers).status_code == 200
        except (httpx2.HTTPError, FileNotFoundError):
            return False

    eventually(seeds, "it seeds", seconds=READY_SECONDS)
    process.send_signal(signal.SIGTERM)
    process.wait(STOP_SECONDS)
    assert process.returncode == 0
    assert leftovers(state) == {}


@pytest.mark.parametrize("seconds", [0.2, 0.8, 1.5])
def test_a_terminal_that_is_closed_while_it_starts_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    state = tmp_path / "state"
    ours, its = pty.openpty()

    def take_terminal() -> None:
        fcntl.ioctl(its, termios.TIOCSCTTY, 0)

    process = begin_demo(state, free_ports(2), stdio=its, prepare=take_terminal)
    os.close(its)
    time.sleep(seconds)
    # The kernel tells the session with SIGHUP, and refuses all further output with EIO.
    os.close(ours)
    process.wait(STOP_SECONDS)
    assert leftovers(state) == {}
    assert process.returncode == 0


@pytest.mark.long
def test_after_kill_9_at_any_moment_of_its_start_a_demo_starts_again(tmp_path: Path) -> None:
    state = tmp_path / "state"
    ports = free_ports(2)
    # Each on an empty folder: a first start, which also runs initdb, has the most moments.
    for seconds in seeded_moments(until_seconds=2.5, count=5):
        process = begin_demo(state, ports)
        time.sleep(seconds)
        process.kill()
        process.wait()
        orphans = set(leftovers(state))
        with start_demo(state, ports=ports) as demo:
            assert not orphans & set(leftovers(state)), f"killed after {seconds} s"
            assert demo.served_by() == demo.placed()
        assert leftovers(state) == {}
        shutil.rmtree(state)


@pytest.mark.long
def test_what_the_user_changed_survives_a_restart_also_a_cell_that_nobody_reaches(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with start_demo(state) as demo:
        ports = [demo.router_port, demo.control_port]
        demo.put("/v1/cells/far", {"address": "127.0.0.1", "port": free_ports(1)[0]})
        demo.put("/v1/fleet", {**demo.get("/v1/fleet"), "retry_after_seconds": 7})
        cells = {cell["id"]: cell for cell in demo.get("/v1/cells")["items"]}
        kept = {name: cells["cell-2"][name] for name in ("address", "port")}
        demo.put("/v1/cells/cell-2", {**kept, "region": "eu", "status": "maintenance"})
    with start_demo(state, ports=ports) as demo:
        assert demo.get("/v1/fleet")["retry_after_seconds"] == 7
        cells = {cell["id"]: cell for cell in demo.get("/v1/cells")["items"]}
        assert (cells["cell-2"]["region"], cells["cell-2"]["status"]) == ("eu", "maintenance")
        assert not cells["far"]["healthy"]
