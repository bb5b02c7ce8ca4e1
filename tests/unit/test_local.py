"""What a local fleet is made of, without starting one."""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cellplane.errors import ProvisionError
from cellplane.processes import ProcessId, boot_id, descendants, find_process, is_running, send_signal, wait_gone
from cellplane.provision.local import ports
from cellplane.provision.local.chaos import kill, restore
from cellplane.provision.local.child import Child
from cellplane.provision.local.folder import FolderLock, StateFolder, fleet_runs, read_json, write_json
from cellplane.provision.local.parts import CellPart, Oversight
from cellplane.provision.local.proof_keys import create_proof_keys
from cellplane.provision.local.settings import LOWEST_PORT, LocalSettings
from cellplane.provision.local.supervisor import reclaim
from cellplane.signed_cookie import new_secret

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


def test_ports_are_none_that_an_outgoing_connection_may_take() -> None:
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    chosen = ports.choose("127.0.0.1", map(str, range(50)), {"0": first, "1": last})
    assert len(set(chosen.values())) == 50
    assert all(port >= LOWEST_PORT and not first <= port <= last for port in chosen.values())


def test_where_every_port_is_for_outgoing_connections_any_is_taken() -> None:
    assert set(ports._candidates(range(30_000, 65_536))) == set(range(LOWEST_PORT, 30_000))
    assert set(ports._candidates(range(1_024, 65_536))) == set(range(LOWEST_PORT, 65_536))


def test_a_port_that_is_meant_for_something_else_is_not_chosen_and_tries_are_bounded() -> None:
    class Stubborn(random.Random):
        def choice(self, seq: object) -> int:  # type: ignore[override]  # the one port that it knows
            return 20_000

    with pytest.raises(ProvisionError, match="no free port for a in 1000 tries"):
        ports.choose("127.0.0.1", ["a"], {"a": 20_000}, avoid={20_000}, draw=Stubborn())


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


def test_a_folder_that_is_given_back_while_others_wait_for_it_has_one_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StateFolder(tmp_path)
    first, second, third = (FolderLock(folder) for _ in range(3))
    first.acquire()
    real_open = os.open

    def open_then_lose(path: Path, *arguments: int) -> int:
        # Between our open and our lock the owner leaves, and a third supervisor comes.
        descriptor = real_open(path, *arguments)
        monkeypatch.setattr(os, "open", real_open)
        first.release()
        third.acquire()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_lose)
    with pytest.raises(ProvisionError, match="already runs"):
        second.acquire()
    assert third.held
    assert not second.held
    third.release()


def test_a_look_at_a_folder_does_not_keep_a_supervisor_from_it(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    lock = FolderLock(folder)
    looking = os.open(folder.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)
    end_of_look = threading.Timer(0.1, os.close, [looking])
    end_of_look.start()
    lock.acquire()
    end_of_look.join()
    assert fleet_runs(folder)
    lock.release()


def test_looks_at_a_folder_never_stop_a_supervisor(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            fleet_runs(folder)

    looks = threading.Thread(target=look)
    looks.start()
    try:
        for _ in range(200):
            lock = FolderLock(folder)
            lock.acquire()
            lock.release()
    finally:
        done.set()
        looks.join()


def test_proof_keys_are_made_once_and_those_that_were_added_stay(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    create_proof_keys(folder)
    first = folder.proof_keys.read_text()
    assert folder.proof_keys.stat().st_mode & 0o777 == 0o600
    folder.proof_keys.write_text(f"key-2 {new_secret()}\n{first}")
    rotated = folder.proof_keys.read_text()
    create_proof_keys(folder)
    assert folder.proof_keys.read_text() == rotated
    folder.proof_keys.write_text("key-1 short\n")
    with pytest.raises(ProvisionError, match=r"\(proof keys, line 1: .*\): mend it, or remove it for a new key"):
        create_proof_keys(folder)


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


def test_a_child_whose_supervisor_dies_before_it_is_on_record_never_begins(tmp_path: Path) -> None:
    mark, pid_file = tmp_path / "mark", tmp_path / "pid"
    script = """
import os, pathlib, signal, sys
from cellplane.provision.local.child import Child

mark, pid_file, log = map(pathlib.Path, sys.argv[1:])

def die() -> None:
    pid_file.write_text(str(child._popen.pid))
    os.kill(os.getpid(), signal.SIGKILL)

child = Child("the app", ["/usr/bin/touch", mark], log_path=log, record=die)
child.start()
"""
    done = subprocess.run([sys.executable, "-c", script, mark, pid_file, tmp_path / "log"], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    orphan = find_process(int(pid_file.read_text()))
    assert orphan is None or wait_gone(orphan, 5)
    assert not mark.exists()


def test_a_child_is_on_record_before_it_begins(tmp_path: Path) -> None:
    seen: list[tuple[ProcessId | None, bool]] = []
    mark = tmp_path / "mark"

    def record() -> None:
        time.sleep(0.1)
        seen.append((child.process, mark.exists()))

    child = Child("the app", ["/usr/bin/touch", mark], log_path=tmp_path / "log", record=record)
    child.start()
    while child.alive():
        pass
    assert child.ended_well()
    assert mark.exists()
    ((process, begun),) = seen
    assert process is not None
    assert not begun


def test_a_record_that_cannot_be_written_lets_nothing_begin(tmp_path: Path) -> None:
    def record() -> None:
        raise OSError("no space left")

    mark = tmp_path / "mark"
    child = Child("the app", ["/usr/bin/touch", mark], log_path=tmp_path / "log", record=record)
    with pytest.raises(OSError, match="no space"):
        child.start()
    while child.alive():
        pass
    assert not mark.exists()


@contextmanager
def program(path: Path, *, folder: Path) -> Iterator[ProcessId]:
    """A process that runs for a minute from a file of this name, in this folder."""
    shutil.copy("/bin/sleep", path)
    child = subprocess.Popen([path, "60"], cwd=folder)
    process = find_process(child.pid)
    assert process is not None
    while Path(f"/proc/{child.pid}/exe").readlink() != path:
        time.sleep(0.001)
    try:
        yield process
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("boot", ["this", "another", None])
def test_only_what_this_boot_recorded_is_ended(tmp_path: Path, boot: str | None) -> None:
    folder = StateFolder(tmp_path)
    folder.create()
    envoy_path = folder.router / "envoy" / "process.json"
    envoy_path.parent.mkdir(parents=True)
    with program(tmp_path / "app", folder=tmp_path) as app, program(tmp_path / "envoy", folder=tmp_path) as envoy:
        record = {"pid": app.pid, "start_ticks": app.start_ticks}
        status: dict[str, object] = {"parts": {"cell-1": {"state": "up", "processes": {"api": record, "nats": None}}}}
        if boot is not None:
            status["boot_id"] = boot_id() if boot == "this" else "11111111-2222-3333-4444-555555555555"
        write_json(folder.status, status)
        write_json(envoy_path, {"pid": envoy.pid, "start_ticks": envoy.start_ticks, "bootstrap_sha256": ""})
        reclaim(folder)
        assert [is_running(app), is_running(envoy)] == [boot != "this"] * 2
        assert not folder.status.exists()
        assert not envoy_path.exists()


def test_an_earlier_postgresql_in_a_cells_folder_is_ended_and_no_stranger(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    named = dict.fromkeys(("analytics.nats", *(f"cell-1.{role}" for role in ("api", "postgres", "nats"))), 20000)
    oversight = Oversight(record=lambda: None, give_up=lambda: None)
    cell = CellPart("cell-1", LocalSettings(state_dir=folder.root), folder, named, oversight)
    data = folder.cell("cell-1") / "postgres"
    data.mkdir(parents=True)
    lock = data / "postmaster.pid"
    lock.write_text(json.dumps(os.getpid()))
    with (
        program(tmp_path / "postgres", folder=data) as left,
        program(tmp_path / "shell", folder=data) as shell,
    ):
        cell._forget_killed_postmaster()
        assert not is_running(left)
        assert is_running(shell), "somebody looks around in the folder"
        assert not lock.exists()
