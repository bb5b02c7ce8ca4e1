"""The control plane's disk is full, or its syncs fail: what is there stays, what was acknowledged is never lost, and it
goes on by itself."""

import itertools
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from cellplane.control.settings import DATABASE
from cellplane.publishing.manifest import MANIFEST, Manifest
from cellplane.routing import RoutingTable
from e2e.disks import FULL, UNSYNCED, FailingDisk
from e2e.harness import admin_headers, eventually, free_ports
from support import plain_http
from unit.control.serving import fill

WRITERS = 3
SAYS = {FULL: {(507, "disk-full")}, UNSYNCED: {(503, "outcome-unknown"), (503, "disk-failing")}}


class Control:
    """A control plane whose state, log and target are on one disk."""

    def __init__(self, folder: Path) -> None:
        self.disk = FailingDisk(folder / "disk", folder)
        (folder / "disk").mkdir()
        self.state, self.target = folder / "disk" / "state", folder / "disk" / "target"
        self.log = folder / "disk" / "log"
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(self.state)]
        command += ["--port", str(self.port), "--publish-to", str(self.target)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.disk.environ})
        if wait:
            eventually(self.is_up, "the control plane is up", seconds=30)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def is_up(self) -> bool:
        try:
            return plain_http.get(f"http://127.0.0.1:{self.port}/healthz").status_code == 200
        except httpx2.HTTPError:
            return False

    def client(self) -> httpx2.Client:
        url, headers = f"http://127.0.0.1:{self.port}", admin_headers(self.state)
        return plain_http.client(base_url=url, headers=headers, timeout=30)

    def target_epoch(self) -> int:
        """Of a target whose files are all there, whole."""
        statement = Manifest.parse((self.target / MANIFEST).read_bytes()).statement
        files = [(self.target / part.file_name).read_bytes() for part in statement.parts]
        assert RoutingTable(*files).tag == statement.tag
        return statement.epoch


class Writers:
    """Clients that send each change under a key until it is acknowledged."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        self.acknowledged: dict[str, int] = {}
        self.refused: set[tuple[int, str]] = set()

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Each ends with its last change acknowledged."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def take_more(self, count: int = 10) -> None:
        wanted = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= wanted, "changes are acknowledged")

    def _write(self, number: int) -> None:
        with self._control.client() as client:
            for step in itertools.count():
                if self._stop.is_set():
                    return
                name = f"t-{number}-{step}"
                self.acknowledged[name] = self._until_acknowledged(client, name)

    def _until_acknowledged(self, client: httpx2.Client, name: str) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                body, key = {"cell": "cell-1"}, {"idempotency-key": name}
                answer = client.put(f"/v1/tenants/{name}", json=body, headers=key)
            except httpx2.HTTPError:
                time.sleep(0.05)
                continue
            if answer.status_code == 200:
                return int(answer.json()["epoch"])
            self.refused.add((answer.status_code, answer.json()["code"]))
            time.sleep(0.02)
        raise AssertionError(f"{name} was never taken")


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    control = Control(tmp_path)
    control.start()
    try:
        with control.client() as client:
            fill(client)
        yield control
    finally:
        control.kill()


def assert_degraded(client: httpx2.Client) -> None:
    health = client.get("/healthz").json()
    assert (health["status"], "the disk of the directory" in health["problem"]) == ("degraded", True)
    assert "cellplane_directory_writable 0.0" in client.get("/metrics").text


def assert_well(control: Control, last: int) -> None:
    with control.client() as client:
        eventually(lambda: client.get("/healthz").json()["status"] == "ok", "it is well by itself")
        eventually(lambda: int(client.get("/v1/table").headers["x-cellplane-epoch"]) >= last, "it publishes")
        assert "cellplane_directory_writable 1.0" in client.get("/metrics").text
    eventually(lambda: control.target_epoch() >= last, "the target has it")


def assert_nothing_lost(control: Control, acknowledged: dict[str, int]) -> None:
    """What was acknowledged is there, once, at the epoch that was said."""
    control.kill()
    with closing(sqlite3.connect(control.state / DATABASE)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        logged = database.execute("SELECT id, epoch FROM changes WHERE kind = 'tenant'").fetchall()
        assert database.execute("SELECT max(epoch), count(*) FROM changes").fetchall()[0][0] >= len(logged)
    assert len(logged) == len(dict(logged)), "no change is there twice"
    assert acknowledged.items() <= dict(logged).items()


@pytest.mark.parametrize("trouble", [FULL, UNSYNCED])
def test_a_disk_that_takes_nothing_loses_nothing(control: Control, trouble: str) -> None:
    with control.client() as client, Writers(control) as writers:
        writers.take_more()
        with control.disk.is_now(trouble):
            eventually(lambda: bool(writers.refused), "changes are refused")
            count, table = len(writers.acknowledged), client.get("/v1/table")
            time.sleep(2.0)
            assert len(writers.acknowledged) == count, "what is not on the disk is not acknowledged"
            assert_degraded(client)
            assert client.get("/v1/table").content == table.content, "the table of before goes on"
            assert client.get("/v1/tenants/t-0-0").status_code == 200
            assert control.target_epoch() <= int(table.headers["x-cellplane-epoch"])
        writers.take_more()
    assert writers.refused <= SAYS[trouble]
    assert_well(control, max(writers.acknowledged.values()))
    assert_nothing_lost(control, writers.acknowledged)


@pytest.mark.parametrize("trouble", [FULL, pytest.param(UNSYNCED, marks=pytest.mark.long)])
def test_one_that_is_killed_there_loses_nothing_and_comes_up_by_itself(control: Control, trouble: str) -> None:
    with Writers(control) as writers:
        writers.take_more()
        with control.disk.is_now(trouble):
            eventually(lambda: bool(writers.refused), "changes are refused")
            with control.client() as client:
                before = client.get("/v1/table").headers["x-cellplane-epoch"]
            control.kill()
            control.log = control.state.parent.parent / "log"
            control.start(wait=False)
            eventually(lambda: "directory_not_writable" in control.log.read_text(), "it says so", seconds=30)
            if trouble == UNSYNCED:
                with control.client() as client:
                    assert int(client.get("/v1/table").headers["x-cellplane-epoch"]) >= int(before)
                    assert_degraded(client)
        eventually(control.is_up, "it comes up by itself", seconds=30)
        writers.take_more()
    assert_well(control, max(writers.acknowledged.values()))
    assert_nothing_lost(control, writers.acknowledged)


def test_a_target_that_is_full_keeps_its_table_and_catches_up(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.state, control.log = tmp_path / "state", tmp_path / "log"
    try:
        control.start()
        with control.client() as client:
            before = fill(client)
            eventually((control.target / MANIFEST).exists, "the target has a table")
            eventually(lambda: control.target_epoch() == before, "the target has it")
            with control.disk.is_now(FULL):
                epoch = client.put("/v1/tenants/acme", json={"cell": "cell-1"}).json()["epoch"]
                failures = 'cellplane_target_failures_total{reason="unwritable"'
                eventually(lambda: failures in client.get("/metrics").text, "it is counted")
                assert int(client.get("/v1/table").headers["x-cellplane-epoch"]) == epoch, "routers have it"
                assert control.target_epoch() == before
                assert client.get("/healthz").json()["status"] == "ok", "the directory is well"
            eventually(lambda: control.target_epoch() == epoch, "it catches up by itself", seconds=40)
    finally:
        control.kill()
