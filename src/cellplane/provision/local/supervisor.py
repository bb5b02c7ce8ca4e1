"""Brings a local fleet up, keeps its router up, obeys `cellplane chaos`, and takes everything down again."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from cellplane.client import Client
from cellplane.credentials import local_admin_token
from cellplane.errors import CellplaneError, ProvisionError
from cellplane.processes import ProcessId, boot_id
from cellplane.provision.local import ports as port_choice
from cellplane.provision.local.child import kill_trees
from cellplane.provision.local.desired import Desired, clear_desired, read_desired
from cellplane.provision.local.folder import FolderLock, StateFolder, read_json, write_json
from cellplane.provision.local.gray import clear_faults
from cellplane.provision.local.parts import ROUTER_ID, CellPart, ControlPart, Oversight, Part, RouterPart, process_from
from cellplane.provision.local.register import register, wait_converged
from cellplane.provision.local.router_token import renew_router_token
from cellplane.provision.local.settings import LocalSettings


class Observer(Protocol):
    """Whoever shows what happens. Called from several threads."""

    def starting(self, part: str) -> None:
        """A part begins to start."""

    def up(self, part: str, seconds: float) -> None:
        """A part is up, so long after it began."""

    def died(self, part: str, roles: list[str], *, restarts: bool) -> None:
        """Processes of a part ended without having been asked to."""

    def failed(self, part: str, error: str) -> None:
        """A part could not be started."""


class StoppedError(Exception):
    """The fleet was asked to stop while it started."""


class Supervisor:
    """One local fleet, from start to stop. Used by one thread, which is not the one that sets ``stopping``.

    Args:
        stopping: set by whoever wants the fleet to stop.
    """

    def __init__(self, settings: LocalSettings, observer: Observer, stopping: threading.Event) -> None:
        self._settings = settings
        self._observer = observer
        self._stopping = stopping
        self._folder = StateFolder(settings.state_dir.absolute())
        self._lock = FolderLock(self._folder)
        self._parts: dict[str, Part] = {}
        self._obeyed: dict[str, Desired] = {}
        self._starts: dict[str, Future[None]] = {}
        self._states: dict[str, str] = {}
        self._written: dict[str, Any] = {}
        self._writing = threading.Lock()
        self._executor = ThreadPoolExecutor(max_workers=settings.cells + 2, thread_name_prefix="start")

    @property
    def router_url(self) -> str:
        """Where clients go."""
        return f"http://{self._settings.host}:{self._settings.router_port}"

    @property
    def control_url(self) -> str:
        """Where the control plane answers."""
        return f"http://{self._settings.host}:{self._settings.control_port}"

    def start(self) -> None:
        """Start everything, and return when every tenant can be served.

        Raises:
            ProvisionError: a part does not come up, a port is busy, or the folder is in use.
            StoppedError: the fleet was asked to stop meanwhile.
        """
        self._folder.create()
        self._lock.acquire()
        reclaim(self._folder)
        clear_desired(self._folder)
        port_choice.require_free(
            self._settings.host,
            {"--router-port": self._settings.router_port, "--control-port": self._settings.control_port},
        )
        cell_ids = [f"cell-{number}" for number in range(1, self._settings.cells + 1)]
        for cell_id in cell_ids:
            clear_faults(self._folder, cell_id)
        ports = self._choose_ports(cell_ids)
        oversight = Oversight(record=self._write_status, give_up=self._require_wanted)
        control = ControlPart(self._settings, self._folder, oversight)
        router = RouterPart(self._settings, self._folder, ports, oversight)
        cells = [CellPart(cell_id, self._settings, self._folder, ports, oversight) for cell_id in cell_ids]
        parts: list[Part] = [control, *cells, router]
        self._parts = {part.name: part for part in parts}
        self._write_status()
        for cell in cells:
            self._begin(cell)
        self._begin(control)
        self._await(["control"])
        token = local_admin_token(self.control_url, self._folder.root)
        with Client(self.control_url, "local-fleet", token) as client:
            renew_router_token(client, ROUTER_ID, self._folder.router_token)
            register(client, self._settings, cell_ids, ports, self._give_up)
            self._begin(router)
            self._await([*cell_ids, "router"])
            wait_converged(client, self._settings, cell_ids, self._give_up)
        self._write_status()

    def watch(self) -> None:
        """Keep the fleet as it should be, until asked to stop."""
        while not self._stopping.wait(self._settings.watch_interval_seconds):
            for part in self._parts.values():
                self._reconcile(part)
            self._write_status()

    def stop(self) -> None:
        """Stop everything and leave nothing behind but data and logs."""
        if not self._lock.held:
            # The folder is another supervisor's: nothing in it is ours to remove.
            return
        # Whatever still starts, as where another part failed, waits no longer.
        self._stopping.set()
        # Twice: a part that was about to start a process while the first round went by is met by the second.
        self._stop_parts()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._stop_parts()
        self._folder.pids.unlink(missing_ok=True)
        self._folder.status.unlink(missing_ok=True)
        clear_desired(self._folder)
        self._lock.release()

    def _stop_parts(self) -> None:
        stops = [threading.Thread(target=part.stop) for part in self._parts.values()]
        for stop in stops:
            stop.start()
        for stop in stops:
            stop.join()

    def _choose_ports(self, cell_ids: list[str]) -> dict[str, int]:
        known = read_json(self._folder.endpoints) or {}
        if known.get("cells", self._settings.cells) != self._settings.cells:
            raise ProvisionError(
                f"{self._folder.root} holds a fleet of {known['cells']} cells: "
                f"use --cells {known['cells']}, or another folder with --state"
            )
        names = ["router.metrics"]
        names += [f"{cell_id}.{role}" for cell_id in cell_ids for role in ("api", "postgres", "nats")]
        named = {self._settings.router_port, self._settings.control_port}
        ports = port_choice.choose(self._settings.host, names, known.get("ports", {}), avoid=named)
        endpoints = {
            "router": self.router_url,
            "control": self.control_url,
            "cells": self._settings.cells,
            "ports": ports,
        }
        write_json(self._folder.endpoints, endpoints)
        return ports

    def _begin(self, part: Part) -> None:
        self._states[part.name] = "starting"
        self._observer.starting(part.name)
        self._starts[part.name] = self._executor.submit(self._start_part, part)

    def _start_part(self, part: Part) -> None:
        began = time.monotonic()
        part.start()
        self._observer.up(part.name, time.monotonic() - began)

    def _await(self, names: list[str]) -> None:
        """Wait until these parts are up; where any part fails, fail at once with its reason."""
        while not all(self._starts[name].done() for name in names):
            self._give_up()
            time.sleep(self._settings.probe_interval_seconds)
        self._give_up()
        for name in names:
            self._starts[name].result()
            self._states[name] = "up"
        self._write_status()

    def _require_wanted(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _give_up(self) -> None:
        self._require_wanted()
        for start in self._starts.values():
            if start.done():
                start.result()

    def _reconcile(self, part: Part) -> None:
        desired = read_desired(self._folder, part.name)
        start = self._starts[part.name]
        if not start.done():
            return
        dead = [role for role, process in part.processes().items() if process is None]
        if desired != self._obeyed.get(part.name, Desired()):
            self._obeyed[part.name] = desired
            if desired.up:
                self._begin(part)
            else:
                self._states[part.name] = "down"
            return
        if self._states[part.name] == "down":
            return
        error = start.exception()
        if error is not None and self._states[part.name] == "starting":
            if not isinstance(error, CellplaneError):
                raise error
            self._states[part.name] = "dead"
            self._observer.failed(part.name, str(error))
        elif self._states[part.name] == "starting":
            self._states[part.name] = "up"
        elif self._states[part.name] == "up" and dead:
            self._states[part.name] = "dead"
            self._observer.died(part.name, dead, restarts=part.restarts)
        if self._states[part.name] == "dead" and part.restarts and "agent" in dead:
            time.sleep(self._settings.restart_pause_seconds)
            self._begin(part)
        elif self._states[part.name] == "dead" and not dead:
            self._states[part.name] = "up"

    def _write_status(self) -> None:
        """Put on record what runs. Called from several threads: each process is there before it does anything."""
        with self._writing:
            self._write_status_alone()

    def _write_status_alone(self) -> None:
        processes = {name: part.processes() for name, part in self._parts.items()}
        status = {
            name: {
                "state": self._states.get(name, "starting"),
                "processes": {role: _record(process) for role, process in roles.items()},
            }
            for name, roles in processes.items()
        }
        if status == self._written:
            return
        write_json(self._folder.status, {"boot_id": boot_id(), "parts": status})
        self._written = status
        write_json(self._folder.pids, _pids(processes))


def reclaim(folder: StateFolder) -> None:
    """End what an earlier supervisor left running when it was killed; known by boot, pid and start time."""
    envoy_path = folder.router / "envoy" / "process.json"
    status, envoy = read_json(folder.status), read_json(envoy_path)
    # Without a status the last fleet was stopped; with one of another boot, its pids are strangers'. Envoy's record
    # names no boot: it was written while that status was there.
    if status is not None and status.get("boot_id") == boot_id():
        records = [*_status_records(status), *([] if envoy is None else [envoy])]
        kill_trees([process for record in records if (process := process_from(record)) is not None])
    # The status last, so that whoever is killed here leaves it to be read again.
    envoy_path.unlink(missing_ok=True)
    folder.status.unlink(missing_ok=True)


def _status_records(status: dict[str, Any]) -> list[dict[str, int]]:
    parts = status.get("parts", {}).values()
    return [record for part in parts for record in part["processes"].values() if record is not None]


def _record(process: ProcessId | None) -> dict[str, int] | None:
    return None if process is None else {"pid": process.pid, "start_ticks": process.start_ticks}


def _pids(processes: dict[str, dict[str, ProcessId | None]]) -> dict[str, Any]:
    cells: dict[str, dict[str, int | None]] = {}
    pids: dict[str, Any] = {}
    for name, roles in processes.items():
        found = {role: None if process is None else process.pid for role, process in roles.items()}
        if name in {"control", "router"}:
            pids.update(found)
        else:
            cells[name] = found
    return {**pids, "cells": cells}
