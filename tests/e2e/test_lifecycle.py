"""How a demo ends, however it ends, and that another can begin."""

import os
import signal
import subprocess
import time
from pathlib import Path

from e2e.harness import CELLPLANE, STOP_SECONDS, Demo, eventually, exists, free_ports, start_demo


def leftovers(state: Path) -> list[str]:
    """Processes that name this state folder, or hold it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid() and exists(int(entry.name)):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(state) in command:
                found.append(f"{entry.name}: {command}")
    return found


def assert_nothing_left(demo: Demo, pids: set[int]) -> None:
    assert not [pid for pid in pids if exists(pid)]
    assert leftovers(demo.state) == []
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
    with start_demo(state, ports=ports) as demo:
        assert demo.placed()["tenant-001"] == "cell-3", "what the user changed is kept"
        assert set(demo.served_by()) == set(demo.tenants)


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


def test_a_stop_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    router_port, control_port = free_ports(2)
    process = subprocess.Popen(
        [CELLPLANE, "demo", "--state", state, "--router-port", str(router_port), "--control-port", str(control_port)],
        stdout=subprocess.DEVNULL,
    )
    eventually((state / "status.json").exists, "it begins")
    process.send_signal(signal.SIGTERM)
    process.wait(STOP_SECONDS)
    assert process.returncode == 0
    assert leftovers(state) == []
