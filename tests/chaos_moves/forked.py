"""Processes that are forked from one that has loaded what they run: to start Python anew takes seconds, each time."""

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from chaos.fleet import Proc, RouterProc

LOADED = ("__main__", "chaos_moves.run", "chaos_moves.mover", "cellplane.control.__main__", "cellplane.router.__main__")
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(LOADED))


def forked(work: Callable[..., None], *args: Any) -> ForkServerProcess:
    """Run a function of a module in a process of its own, which ends with this one at the latest."""
    process = _context.Process(target=work, args=args, daemon=True)
    process.start()
    return process


def say_to(log: Path) -> None:
    """Let what this process says go to a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())


def _run(words: Sequence[str], log: Path) -> None:
    """What ``python -m`` does with these words, for a module of a click command."""
    say_to(log)
    importlib.import_module(f"{words[0]}.__main__").main(list(words[1:]), prog_name=words[0])


class _Child:
    """A forked process, as ``Popen`` has it."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode


class ForkedProc(Proc):
    """A process that is forked, where its command is one of ``python -m``."""

    def _spawn(self) -> _Child:
        _, option, *words = self._command
        assert option == "-m"
        return _Child(forked(_run, words, self._log))


class ForkedRouter(ForkedProc, RouterProc):
    """A router's agent that is forked."""
