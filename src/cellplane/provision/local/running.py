"""The parts of a fleet that runs: what each is doing, one thing at a time, and the record of it all."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from cellplane.processes import ProcessId, boot_id
from cellplane.provision.local.folder import StateFolder, write_json
from cellplane.provision.local.parts import Part
from cellplane.provision.local.settings import ANALYTICS, MAX_REFUSALS, NOT_CELLS


class RunningParts:
    """Used by the supervisor's thread; ``record`` alone is called by others too.

    Args:
        folder: where the record is kept.
        max_parts: how many of them may be at work at once.
    """

    def __init__(self, folder: StateFolder, max_parts: int) -> None:
        self._folder = folder
        # Replaced as a whole, never changed: other threads read it while they record what runs.
        self._parts: dict[str, Part] = {}
        self._work: dict[str, Future[None]] = {}
        self._states: dict[str, str] = {}
        self._reasons: dict[str, str] = {}
        self._refused: dict[str, dict[str, Any]] = {}
        self._written: dict[str, Any] = {}
        self._writing = threading.Lock()
        self._executor = ThreadPoolExecutor(max_workers=max_parts, thread_name_prefix="part")

    @property
    def parts(self) -> Mapping[str, Part]:
        """All parts by name."""
        return self._parts

    def add(self, part: Part, state: str = "starting") -> None:
        """Take in a part."""
        self._states[part.name] = state
        self._parts = {**self._parts, part.name: part}

    def drop(self, name: str) -> None:
        """Forget a part that is gone."""
        self._parts = {key: part for key, part in self._parts.items() if key != name}
        for known in (self._states, self._reasons, self._work):
            known.pop(name, None)

    def begin(self, name: str, state: str, work: Callable[[], None]) -> None:
        """Let a part do something in a thread of its own; ``state`` is what it is meanwhile."""
        assert not self.busy(name), f"{name} does one thing at a time"
        self.set_state(name, state)
        self._work[name] = self._executor.submit(work)

    def busy(self, name: str) -> bool:
        """Whether it is still at what it began last."""
        return name in self._work and not self._work[name].done()

    def error(self, name: str) -> BaseException | None:
        """How what it did last ended; None where it ended well, or nothing was done yet."""
        return self._work[name].exception() if name in self._work and self._work[name].done() else None

    def state(self, name: str) -> str:
        """What a part is now."""
        return self._states.get(name, "starting")

    def set_state(self, name: str, state: str, reason: str = "") -> None:
        """Say what a part is from now on, and why where that is not plain."""
        self._states[name], self._reasons[name] = state, reason

    def refuse(self, cell_id: str, asked: int, error: Exception) -> None:
        """Leave word for whoever asked that it is not done."""
        kept = list(self._refused.items())[-MAX_REFUSALS + 1 :]
        self._refused = {**dict(kept), cell_id: {"asked": asked, "error": type(error).__name__, "reason": str(error)}}

    def stop(self) -> None:
        """Ask every part to stop, all at once, and wait for them."""
        stops = [threading.Thread(target=part.stop) for part in self._parts.values()]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()

    def close(self) -> None:
        """Wait for all work that began; what did not begin yet never does."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def record(self) -> None:
        """Put on record what runs. Called from several threads: each process is there before it does anything."""
        with self._writing:
            processes = {name: part.processes() for name, part in self._parts.items()}
            parts = {
                name: {
                    "state": self.state(name),
                    "reason": self._reasons.get(name, ""),
                    "processes": {role: _record(process) for role, process in roles.items()},
                }
                for name, roles in processes.items()
            }
            status = {"boot_id": boot_id(), "parts": parts, "refused": self._refused}
            if status != self._written:
                write_json(self._folder.status, status)
                self._written = status
                write_json(self._folder.pids, _pids(processes))


def _record(process: ProcessId | None) -> dict[str, int] | None:
    return None if process is None else {"pid": process.pid, "start_ticks": process.start_ticks}


def _pids(processes: dict[str, dict[str, ProcessId | None]]) -> dict[str, Any]:
    cells: dict[str, dict[str, int | None]] = {}
    pids: dict[str, Any] = {}
    for name, roles in processes.items():
        found = {role: None if process is None else process.pid for role, process in roles.items()}
        if name == ANALYTICS:
            pids[name] = found
        elif name in NOT_CELLS:
            pids.update(found)
        else:
            cells[name] = found
    return {**pids, "cells": cells}
