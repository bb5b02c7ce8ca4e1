"""Asks the very code that routers run whether they would take a table, before it is published."""

import os
import selectors
import subprocess
import threading
import time
from pathlib import Path

from cellplane.errors import TableCheckError
from cellplane.publishing.metrics import PublishingMetrics
from cellplane.routing import RoutingTable

PROGRAM = Path(__file__).with_name("cellplane-table-check")
"""The checks of the Envoy module as a program: `make setup` builds it, and a wheel has it."""

_MAX_ANSWER_BYTES = 8192


def is_installed(program: Path = PROGRAM) -> bool:
    """Whether the program is there; without it tables are checked by the Python reader alone."""
    return os.access(program, os.X_OK)


class TableCheck:
    """A process that is asked, one table after the other; it keeps the last base open. Safe to share between threads.

    Args:
        folder: for the files that it is shown; created when missing.
        timeout_seconds: after which it is killed.
    """

    def __init__(
        self, folder: Path, metrics: PublishingMetrics, *, timeout_seconds: float, program: Path = PROGRAM
    ) -> None:
        self._folder = folder.absolute()
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._base: Path | None = None
        self._installed = is_installed(program)
        metrics.check_installed.set(int(self._installed))
        self._is_closed = False
        self._lock = threading.Lock()

    def require(self, table: RoutingTable) -> None:
        """Check a table. Blocking.

        Raises:
            TableCheckError: routers would refuse it, or the check died, took too long or could not be made.
        """
        if not self._installed:
            return
        with self._lock:
            if self._is_closed:
                # Of a thread that nobody waits for any more: a process that it starts would outlive all.
                raise TableCheckError(f"the table of epoch {table.epoch} is not checked: the control plane stops")
            self._require(table)

    def close(self) -> None:
        """End the process, and remove its files."""
        self._is_closed = True
        process = self._process
        if process is not None:
            # Whoever waits for its answer waits no longer.
            process.kill()
        with self._lock:
            self._is_closed = True
            self._end()

    def _require(self, table: RoutingTable) -> None:
        try:
            answer = self._ask(table)
        except OSError as error:
            self._metrics.checks_failed.inc()
            # Nobody knows which answer would be the next.
            self._end()
            raise TableCheckError(f"the table of epoch {table.epoch} could not be checked: {error}") from error
        if answer != f"ok {table.epoch}":
            self._metrics.checks_failed.inc()
            if not answer.startswith("refused "):
                self._end()
            raise TableCheckError(f"routers would refuse the table of epoch {table.epoch}: {answer or 'no answer'}")

    def _end(self) -> None:
        process, self._process, self._base = self._process, None, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
        for file in self._folder.glob("checked-*.cpt"):
            file.unlink(missing_ok=True)

    def _ask(self, table: RoutingTable) -> str:
        deadline = time.monotonic() + self._timeout_seconds
        process = self._running()
        line, overlay = str(self._base_file(table)), None
        if table.overlay is not None:
            overlay = self._write(f"checked-overlay-{table.epoch}.cpt", table.overlay.data)
            line += f"\t{overlay}"
        assert process.stdin is not None
        process.stdin.write(f"{line}\n".encode())
        try:
            return self._answer(process, deadline)
        finally:
            if overlay is not None:
                overlay.unlink(missing_ok=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Without a buffer: what one that died has not read is not kept for the end.
            self._process = subprocess.Popen(
                [self._program], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _base_file(self, table: RoutingTable) -> Path:
        path = self._folder / f"checked-{table.sha256}.cpt"
        if path != self._base:
            if self._base is not None:
                self._base.unlink(missing_ok=True)
            self._base = self._write(path.name, table.base.data)
        return path

    def _write(self, name: str, data: memoryview) -> Path:
        """Not durable: nobody needs it after a crash."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return path

    def _answer(self, process: subprocess.Popen[bytes], deadline: float) -> str:
        """The line that it answers; what it said so far where it dies, and an error where it takes too long."""
        assert process.stdout is not None
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not said.endswith(b"\n") and len(said) < _MAX_ANSWER_BYTES:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return f"it took longer than {self._timeout_seconds:g} s"
                piece = os.read(process.stdout.fileno(), _MAX_ANSWER_BYTES)
                if not piece:
                    process.kill()
                    return f"the check ended with {process.wait()}"
                said += piece
        return said.decode(errors="replace").rstrip("\n")
