"""A control plane in a process of its own, and a directory for it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from e2e.harness import admin_headers, free_ports

CELLS = tuple(f"cell-{number:02}" for number in range(16))
START_SECONDS = 60.0
STOP_SECONDS = 10.0
ESTABLISHED = "01"


class ControlPlane:
    """One on SQLite, on loopback; it can be stopped and started anew on the same port."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "control"
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "control.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(self.state)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen([*command, "--port", str(self.port)], stdout=output, stderr=output)
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if (
                    httpx2.get(f"{self.url}/healthz", trust_env=False, timeout=START_SECONDS).status_code
                    == httpx2.codes.OK
                ):
                    return
            except httpx2.HTTPError:
                pass
            if self._process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the control plane does not start: see {self._log}\n{self._log.read_text()[-2000:]}")
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it."""
        if self._process is None:
            return
        os.kill(self._process.pid, how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def client(self) -> httpx2.Client:
        """Talks to it as its admin."""
        return httpx2.Client(base_url=self.url, headers=self.admin(), trust_env=False, timeout=60)

    def admin(self) -> dict[str, str]:
        """The header of its admin."""
        return admin_headers(self.state)

    def connections(self) -> int:
        """How many it has."""
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        local = f":{self.port:04X}"
        return sum(1 for line in lines if line.split()[1].endswith(local) and line.split()[3] == ESTABLISHED)

    def rss_mib(self) -> tuple[float, float]:
        """Its resident memory now, and the most that it was since it started."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        fields = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE))
        return int(fields["VmRSS"]) / 1024, int(fields["VmHWM"]) / 1024


def describe(client: httpx2.Client) -> None:
    """Give it a fleet of 16 cells and one pool."""
    source = {"kind": "header", "name": "x-tenant-id", "trusted": True}
    client.put("/v1/fleet", json={"name": "bench", "key_sources": [source]}).raise_for_status()
    for number, cell in enumerate(CELLS):
        client.put(f"/v1/cells/{cell}", json={"address": "127.0.0.1", "port": 9000 + number}).raise_for_status()
    client.put("/v1/pools/default", json={"cells": list(CELLS)}).raise_for_status()
