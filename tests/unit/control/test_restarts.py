"""The control plane as a process: killed with -9 between changes, no acknowledged one is lost."""

import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from cellplane.control.access.settings import ADMIN_TOKEN
from cellplane.control.settings import ControlSettings
from support import plain_http
from unit.control.serving import as_holder, eventually, fill, published

START_SECONDS = 60.0
ROUNDS = 3


class Process:
    """`python -m cellplane.control` on a folder."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.token = ""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "cellplane.control",
            "--no-guard-rails",
            "--state",
            str(state),
            "--port",
            str(self.port),
        ]
        with (state / "control.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.http = plain_http.client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        try:
            eventually(self._answers, "the process answers", seconds=START_SECONDS)
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, "the process ended before it answered"
        try:
            if self.http.get("/healthz").status_code != 200:
                return False
        except httpx2.TransportError:
            return False
        self.token = (self._state / ADMIN_TOKEN).read_text().strip()
        self.http.headers.update(as_holder(self.token))
        return True

    def end(self, number: signal.Signals) -> int:
        os.kill(self.process.pid, number)
        self.http.close()
        return self.process.wait(START_SECONDS)


def put_until_it_dies(port: int, token: str, names: list[str], acknowledged: dict[str, int]) -> None:
    url = f"http://127.0.0.1:{port}"
    with plain_http.client(base_url=url, timeout=30, headers=as_holder(token)) as http:
        for name in names:
            try:
                response = http.put(f"/v1/tenants/{name}", json={"cell": "cell-1"})
            except httpx2.TransportError:
                return
            acknowledged[name] = response.json()["epoch"]


@pytest.mark.long
def test_no_acknowledged_change_is_lost_to_kill_9(tmp_path: Path) -> None:
    rng = random.Random(7)
    acknowledged: dict[str, int] = {}
    highest = 0
    for round_number in range(ROUNDS):
        control = Process(tmp_path)
        if round_number == 0:
            fill(control.http)
        table = published(control.http, max([highest, *acknowledged.values()]))
        assert table.epoch >= highest
        assert all(table.find(name.encode()) is not None for name in acknowledged)
        highest = table.epoch
        before = len(acknowledged)
        enough = before + rng.randrange(5, 40)
        writers = [
            threading.Thread(
                target=put_until_it_dies,
                args=(
                    control.port,
                    control.token,
                    [f"t-{round_number}-{writer}-{n}" for n in range(1000)],
                    acknowledged,
                ),
            )
            for writer in range(2)
        ]
        for each in writers:
            each.start()
        try:
            eventually(lambda enough=enough: len(acknowledged) >= enough, "some changes are acknowledged")  # type: ignore[misc]
        finally:
            control.end(signal.SIGKILL)
            for each in writers:
                each.join(START_SECONDS)
    control = Process(tmp_path)
    try:
        last = max(acknowledged.values())
        table = published(control.http, last)
        assert all(table.find(name.encode()) is not None for name in acknowledged)
        epochs = sorted(acknowledged.values())
        assert len(set(epochs)) == len(epochs)
        assert control.http.put("/v1/tenants/after", json={"cell": "cell-2"}).json()["epoch"] > last
    finally:
        assert control.end(signal.SIGTERM) in {0, -signal.SIGTERM}


@pytest.mark.long
def test_one_epoch_has_one_content_over_kill_9(tmp_path: Path) -> None:
    contents: dict[str, bytes] = {}
    highest = 0
    for round_number in range(4):
        control = Process(tmp_path)
        try:
            if round_number == 0:
                fill(control.http)
            if round_number < 2:
                control.http.put("/v1/tenants/acme", json={"cell": f"cell-{round_number + 1}"}).raise_for_status()
            epoch = control.http.get("/healthz").json()["epoch"]
            published(control.http, epoch)
            answer = control.http.get("/v1/table")
            found = int(answer.headers["x-cellplane-epoch"])
            assert found >= highest
            highest = found
            assert contents.setdefault(answer.headers["x-cellplane-epoch"], answer.content) == answer.content
        finally:
            control.end(signal.SIGKILL)
    # The last two rounds changed nothing: the third had to publish a base, the fourth published the same.
    assert len(contents) < 4


def test_a_waiting_router_does_not_keep_the_process_from_stopping(tmp_path: Path) -> None:
    control = Process(tmp_path)
    fill(control.http)
    tag = control.http.get("/v1/table").headers["etag"]
    ended: list[str] = []

    def wait() -> None:
        url = f"http://127.0.0.1:{control.port}/v1/table?wait=25"
        try:
            response = plain_http.get(url, headers={**as_holder(control.token), "if-none-match": tag}, timeout=40)
            ended.append(str(response.status_code))
        except httpx2.TransportError:
            ended.append("cut")

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.3)
    assert waiter.is_alive()
    control.process.terminate()
    control.http.close()
    assert control.process.wait(18) in {0, -signal.SIGTERM}
    waiter.join(60)
    assert len(ended) == 1


def test_a_control_plane_may_open_a_file_for_each_router(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, hard), hard))
    try:
        control = Process(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        found = resource.prlimit(control.process.pid, resource.RLIMIT_NOFILE)
        assert found[0] >= min(hard, ControlSettings(state_dir=tmp_path, port=1).max_connections)
    finally:
        control.end(signal.SIGKILL)
