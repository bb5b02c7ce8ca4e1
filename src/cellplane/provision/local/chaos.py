"""Breaks parts of a local fleet on purpose, and mends them."""

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cellplane.errors import ProvisionError
from cellplane.processes import descendants, send_signal, wait_gone
from cellplane.provision.local.desired import Desired, write_desired
from cellplane.provision.local.folder import StateFolder, fleet_runs, read_json
from cellplane.provision.local.gray import GrayFaults, clear_faults, read_faults, write_faults
from cellplane.provision.local.parts import process_from
from cellplane.provision.local.settings import NOT_CELLS

_GONE_SECONDS = 5.0
_POLL_SECONDS = 0.1


def kill(folder: StateFolder, part: str, *, now_ns: int) -> list[int]:
    """Kill a part with SIGKILL and keep it down until it is restored.

    Returns:
        The pids that were killed.

    Raises:
        ProvisionError: no fleet runs here, or it has no such part.
    """
    status = _status(folder, part)
    write_desired(folder, part, Desired(up=False, at_ns=now_ns))
    processes = [process_from(record) for record in status["processes"].values() if record is not None]
    found = [process for process in processes if process is not None]
    below = [child for process in found for child in descendants(process)]
    for process in (*found, *below):
        send_signal(process, signal.SIGKILL)
    for process in (*found, *below):
        if not wait_gone(process, _GONE_SECONDS):
            raise ProvisionError(f"{part}: process {process.pid} does not end")
    return [process.pid for process in found]


def slow(folder: StateFolder, cell: str, *, share: float, delay_seconds: float) -> GrayFaults:
    """Let a cell answer a share of its requests late, beside whatever else it does wrong.

    Args:
        share: 0 to 1.
        delay_seconds: how late.

    Returns:
        All that it does wrong now.

    Raises:
        ProvisionError: no fleet runs here, or it has no such cell, or the cell is down.
    """
    _require_cell_up(folder, cell)
    faults = replace(read_faults(folder, cell), slow_share=share, delay_seconds=delay_seconds)
    write_faults(folder, cell, faults)
    return faults


def errors(folder: StateFolder, cell: str, *, share: float) -> GrayFaults:
    """Let a cell answer a share of its requests with 500; see ``slow``."""
    _require_cell_up(folder, cell)
    faults = replace(read_faults(folder, cell), error_share=share)
    write_faults(folder, cell, faults)
    return faults


def restore(
    folder: StateFolder, part: str, *, now_ns: int, timeout_seconds: float, clock: Callable[[], float] = time.monotonic
) -> float:
    """Start a part again, end whatever it does wrong on purpose, and return the seconds until it is up.

    Raises:
        ProvisionError: no fleet runs here, it has no such part, or the part does not come up.
    """
    _status(folder, part)
    if part in cells(folder):
        clear_faults(folder, part)
    began = clock()
    write_desired(folder, part, Desired(up=True, at_ns=now_ns))
    while clock() < began + timeout_seconds:
        time.sleep(_POLL_SECONDS)
        status = _status(folder, part)
        if status["state"] == "up" and None not in status["processes"].values():
            return clock() - began
    raise ProvisionError(f"{part} was not up in {timeout_seconds:.0f} s: see {folder.root / 'logs'}")


def parts(folder: StateFolder) -> list[str]:
    """The parts that can be broken."""
    return sorted((read_json(folder.status) or {"parts": {}})["parts"])


def cells(folder: StateFolder) -> list[str]:
    """The parts that are cells."""
    return [part for part in parts(folder) if part not in NOT_CELLS]


def _require_cell_up(folder: StateFolder, cell: str) -> None:
    status = _status(folder, cell)
    known = cells(folder)
    if cell not in known:
        raise ProvisionError(f"{cell} is no cell: expected {', '.join(known)}")
    if status["state"] != "up":
        raise ProvisionError(f"{cell} is {status['state']}: start it with `cellplane chaos restore {cell}`")


def _status(folder: StateFolder, part: str) -> dict[str, Any]:
    status = read_json(folder.status)
    if status is None or not fleet_runs(folder):
        raise ProvisionError(
            f"no local fleet runs in {folder.root}: start one with `cellplane demo`, or name its folder with --state"
        )
    found = status["parts"].get(part)
    if found is None:
        raise ProvisionError(f"the fleet has no {part!r}: it has {', '.join(sorted(status['parts']))}")
    if found["state"] == "stopped":
        raise ProvisionError(f"{part} is stopped: start it with `cellplane cell start {part}`")
    value: dict[str, Any] = found
    return value
