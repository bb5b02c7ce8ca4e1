"""One child process of the supervisor."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cellplane.errors import ProvisionError
from cellplane.processes import ProcessId, descendants, find_process, send_signal, wait_gone

_KILL_WAIT_SECONDS = 5.0
_LOG_TAIL_BYTES = 2000

_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null')
"""Becomes the command, with the same pid and start time, once it reads a line; ends where the writer has died."""


class Child:
    """A command that is started, watched and stopped.

    Args:
        name: what it is called in messages.
        command: program and arguments.
        log_path: where its output goes, appended.
        environment: added to a bare PATH, HOME and locale: nothing else leaks in from the shell.
        stop_signal: what asks it to end.
        record: called when its process is there but has not begun; it writes down what runs, so that a supervisor
            which is killed at any moment leaves nothing that the next one does not find.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        record: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._log_path = log_path
        self._environment = dict(environment or {})
        self._stop_signal = stop_signal
        self._record = record
        self._popen: subprocess.Popen[bytes] | None = None
        self._process: ProcessId | None = None

    @property
    def process(self) -> ProcessId | None:
        """Its process while it runs."""
        return self._process if self.alive() else None

    def alive(self) -> bool:
        """Whether it runs; also collects it when it has ended."""
        return self._popen is not None and self._popen.poll() is None

    def ended_well(self) -> bool:
        """Whether it ran, and ended with 0."""
        return self._popen is not None and self._popen.poll() == 0

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            ProvisionError: no process can be started. Where its program is missing, it ends at once instead.
        """
        if self.alive():
            return
        self._process = None
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        try:
            with self._log_path.open("ab") as log:
                started = self._popen = subprocess.Popen(
                    [*_GATE, self.name, *self._command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    env={**kept, "PYTHONUNBUFFERED": "1", **self._environment},
                    # Its own session: Ctrl-C reaches the supervisor, which stops the parts in order.
                    start_new_session=True,
                )
        except OSError as error:
            raise ProvisionError(f"{self.name} cannot be started: {error}") from error
        assert started.stdin is not None
        try:
            self._process = find_process(started.pid)
            self._record()
            started.stdin.write(b"\n")
        finally:
            # Where it was asked to stop meanwhile, nobody reads: whoever waits for it sees that it has ended.
            with suppress(BrokenPipeError):
                started.stdin.close()

    def require_alive(self) -> None:
        """Raise ProvisionError with the end of its log when it has ended."""
        if not self.alive():
            code = None if self._popen is None else self._popen.returncode
            raise ProvisionError(f"{self.name} ended with {code}; the end of {self._log_path}:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines that it wrote."""
        try:
            return self._log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except FileNotFoundError:
            return ""

    def ask_to_stop(self) -> None:
        """Send it its stop signal."""
        if self._process is not None and self.alive():
            send_signal(self._process, self._stop_signal)

    def wait_stopped(self, timeout_seconds: float) -> None:
        """Wait for its end, then kill it."""
        if self._popen is None or self._process is None:
            return
        try:
            self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            send_signal(self._process, signal.SIGKILL)
            self._popen.wait(_KILL_WAIT_SECONDS)

    def kill(self) -> None:
        """End it at once, with all that it started."""
        if self._popen is not None and self._process is not None and self.alive():
            kill_trees([self._process])
            self._popen.wait(_KILL_WAIT_SECONDS)


def stop_all(children: Sequence[Child], timeout_seconds: float) -> None:
    """Ask all to stop at once, then wait for each."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.wait_stopped(timeout_seconds)


def kill_trees(processes: Sequence[ProcessId]) -> None:
    """End processes and all below them.

    Raises:
        ProvisionError: one does not end.
    """
    # Held first: a parent that is killed while it starts a child would leave one that nobody can find any more.
    for process in processes:
        send_signal(process, signal.SIGSTOP)
    found = [*processes, *(below for process in processes for below in descendants(process))]
    for process in found:
        send_signal(process, signal.SIGKILL)
    for process in found:
        if not wait_gone(process, _KILL_WAIT_SECONDS):
            raise ProvisionError(f"process {process.pid} of an earlier fleet does not end: end it, then start again")
