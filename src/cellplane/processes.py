"""Processes that outlive whoever started them: known by pid and start time, so that no stranger is ever signalled."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_POLL_SECONDS = 0.02


@lru_cache(maxsize=1)
def boot_id() -> str:
    """This run of the kernel (random(4)): pids and start times of another one name other processes."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for as long as this machine runs: a pid alone is used again.

    Attributes:
        pid: process id.
        start_ticks: its start, in clock ticks since boot (proc(5), stat, field 22).
    """

    pid: int
    start_ticks: int


def find_process(pid: int) -> ProcessId | None:
    """The process that has this pid now, or None.

    One that only waits for its parent to collect it (a zombie) is not there; but as long as one of its threads has
    not ended, it still holds its files and ports.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may contain anything; state follows it.
    fields = stat[stat.rindex(")") + 2 :].split()
    threads = int(fields[17])
    if fields[0] in {"Z", "X"} and threads <= 1:
        return None
    return ProcessId(pid, int(fields[19]))


def is_running(process: ProcessId) -> bool:
    """Whether exactly this process is there."""
    return find_process(process.pid) == process


def send_signal(process: ProcessId, number: signal.Signals) -> None:
    """Signal this process if it is still there."""
    if is_running(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def wait_gone(process: ProcessId, timeout_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> bool:
    """Whether the process ended within the time."""
    deadline = clock() + timeout_seconds
    while is_running(process):
        if clock() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def descendants(process: ProcessId) -> list[ProcessId]:
    """The processes below this one, children before their own children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent = int(stat[stat.rindex(")") + 2 :].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: list[ProcessId] = []
    queue = [process.pid]
    while queue:
        for pid in children.get(queue.pop(0), []):
            child = find_process(pid)
            if child is not None:
                found.append(child)
                queue.append(pid)
    return found


def processes_in(folder: Path, program: str) -> list[ProcessId]:
    """The processes of a program, known by its file's name, whose working directory this folder is."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                # A program that was installed anew since runs from a file that is gone: proc(5) marks its name.
                running = (entry / "exe").readlink().name.removesuffix(" (deleted)")
                inside = running == program and (entry / "cwd").samefile(folder)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            process = find_process(int(entry.name)) if inside else None
            if process is not None:
                found.append(process)
    return found
