"""What a local fleet is made of, without starting one."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cellplane.errors import ProvisionError
from cellplane.processes import ProcessId, descendants, find_process, is_running, send_signal, wait_gone
from cellplane.provision.local import ports
from cellplane.provision.local.chaos import kill, restore
from cellplane.provision.local.child import Child
from cellplane.provision.local.folder import FolderLock, StateFolder, fleet_runs, read_json

SLEEP = "import time; time.sleep(60)"


def test_a_busy_port_is_named_with_the_option_that_chooses_another() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(ProvisionError, match=f"port {port} is busy: choose another with --router-port PORT"):
            ports.require_free("127.0.0.1", {"--router-port": port})


def test_two_options_with_one_port_are_refused() -> None:
    chosen = ports.choose("127.0.0.1", ["a"], {})["a"]
    with pytest.raises(ProvisionError, match="must be different"):
        ports.require_free("127.0.0.1", {"--router-port": chosen, "--control-port": chosen})


def test_remembered_ports_are_kept_where_they_are_free() -> None:
    first = ports.choose("127.0.0.1", ["a", "b"], {})
    assert len(set(first.values())) == 2
    assert ports.choose("127.0.0.1", ["a", "b"], first) == first
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", first["a"]))
        busy.listen()
        again = ports.choose("127.0.0.1", ["a", "b"], first)
    assert again["a"] != first["a"]
    assert again["b"] == first["b"]


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    first, second = FolderLock(folder), FolderLock(folder)
    first.acquire()
    assert fleet_runs(folder)
    with pytest.raises(ProvisionError, match="already runs"):
        second.acquire()
    first.release()
    assert not fleet_runs(folder)
    second.acquire()
    second.release()


def test_chaos_needs_a_fleet(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="no local fleet runs"):
        kill(StateFolder(tmp_path), "cell-1", now_ns=1)
    with pytest.raises(ProvisionError, match="no local fleet runs"):
        restore(StateFolder(tmp_path), "cell-1", now_ns=1, timeout_seconds=1)


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(ProvisionError, match=r"status\.json is not JSON"):
        read_json(tmp_path / "status.json")


def test_a_process_is_known_by_its_start_too() -> None:
    child = subprocess.Popen([sys.executable, "-c", SLEEP])
    process = find_process(child.pid)
    assert process is not None
    stranger = ProcessId(process.pid, process.start_ticks + 1)
    assert is_running(process)
    assert not is_running(stranger)
    send_signal(stranger, signal.SIGKILL)
    assert is_running(process)
    send_signal(process, signal.SIGKILL)
    assert wait_gone(process, 5)
    child.wait()
    assert find_process(child.pid) is None


def test_descendants_are_found() -> None:
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    parent = subprocess.Popen([sys.executable, "-c", script])
    process = find_process(parent.pid)
    assert process is not None
    below: list[ProcessId] = []
    while not below:
        below = descendants(process)
    for each in (process, *below):
        send_signal(each, signal.SIGKILL)
    parent.wait()
    assert wait_gone(below[0], 5)


def test_a_child_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child(
        "the app", [sys.executable, "-c", "print('no database'); raise SystemExit(3)"], log_path=tmp_path / "log"
    )
    child.start()
    while child.alive():
        pass
    with pytest.raises(ProvisionError, match=r"the app ended with 3.*\n.*no database"):
        child.require_alive()


def test_a_child_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    child = Child("the app", [sys.executable, "-c", script], log_path=tmp_path / "log")
    child.start()
    while "deaf" not in child.log_tail():
        child.require_alive()
    child.ask_to_stop()
    child.wait_stopped(0.2)
    assert not child.alive()
