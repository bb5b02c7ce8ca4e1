"""Brings a local fleet up, keeps its router up, obeys `cellplane chaos` and `cell`, and takes everything down again."""

import threading
import time
from typing import Any, Protocol

from cellplane.client import Client
from cellplane.credentials import local_admin_token
from cellplane.errors import CellplaneError
from cellplane.processes import boot_id
from cellplane.provision.local import ports as port_choice
from cellplane.provision.local.analytics import AnalyticsPart
from cellplane.provision.local.child import kill_trees
from cellplane.provision.local.configs import CellConfigs
from cellplane.provision.local.desired import Desired, clear_desired, read_desired
from cellplane.provision.local.folder import FolderLock, StateFolder, read_json
from cellplane.provision.local.gray import clear_faults
from cellplane.provision.local.keeper import CellKeeper
from cellplane.provision.local.parts import ROUTER_ID, CellPart, ControlPart, Oversight, Part, RouterPart, process_from
from cellplane.provision.local.proof_keys import create_proof_keys
from cellplane.provision.local.register import register, wait_converged
from cellplane.provision.local.roster import Member, Roster
from cellplane.provision.local.router_token import renew_router_token
from cellplane.provision.local.running import RunningParts
from cellplane.provision.local.settings import ANALYTICS, LocalSettings
from cellplane.provision.local.signing import create_signing_key
from cellplane.provision.local.stopped import StoppedError


class Observer(Protocol):
    """Whoever shows what happens. Called from several threads."""

    def starting(self, part: str) -> None:
        """A part begins to start."""

    def up(self, part: str, seconds: float) -> None:
        """A part is up, so long after it began."""

    def died(self, part: str, roles: list[str], *, restarts: bool) -> None:
        """Processes of a part ended without having been asked to."""

    def failed(self, part: str, error: str) -> None:
        """A part could not be started, or something else asked of it was not done."""

    def ended(self, part: str, how: str) -> None:
        """A part was ended on purpose."""


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
        # Each part at once, and one more for whoever waits.
        self._running = RunningParts(self._folder, max(settings.limits.max_cells, settings.cells) + 3)
        self._obeyed: dict[str, Desired] = {}
        self._keeper: CellKeeper | None = None
        self._configs: CellConfigs | None = None

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
        roster = Roster(self._settings, self._folder)
        keeper = self._keeper = self._make_keeper(roster)
        keeper.settle()
        for cell_id in roster.members:
            clear_faults(self._folder, cell_id)
        roster.choose_ports()
        create_signing_key(self._folder)
        create_proof_keys(self._folder)
        control = ControlPart(self._settings, self._folder, self._oversight)
        router = RouterPart(self._settings, self._folder, roster.ports, self._oversight)
        analytics = AnalyticsPart(self._settings, self._folder, roster.ports, self._oversight)
        self._running.add(control)
        cells = keeper.add_members()
        self._running.add(router)
        self._running.add(analytics)
        self._running.record()
        first: list[Part] = [*cells, control]
        for part in first:
            self._begin(part)
        self._await(["control"])
        cell_ids = [cell.name for cell in cells]
        token = local_admin_token(self.control_url, self._folder.root)
        with Client(self.control_url, "local-fleet", token) as client:
            renew_router_token(client, ROUTER_ID, self._folder.router_token)
            register(client, self._settings, list(roster.members), roster.ports, self._give_up)
            self._configs = CellConfigs(self._settings, self._folder, self.control_url, lambda: roster.members)
            self._configs.start()
            self._begin(router)
            self._await([*cell_ids, "router"])
            wait_converged(client, self._settings, cell_ids, self._give_up)
        self._running.record()

    def watch(self) -> None:
        """Keep the fleet as it should be, until asked to stop."""
        assert self._keeper is not None, "a fleet is watched once it has started"
        # Not before: no tenant needs it to be served.
        self._begin(self._running.parts[ANALYTICS])
        while not self._stopping.wait(self._settings.watch_interval_seconds):
            self._keeper.follow()
            for part in self._running.parts.values():
                if not self._keeper.has_work(part.name):
                    self._reconcile(part)
            self._obeyed = {name: desired for name, desired in self._obeyed.items() if name in self._running.parts}
            self._running.record()

    def stop(self) -> None:
        """Stop everything and leave nothing behind but data and logs."""
        if not self._lock.held:
            # The folder is another supervisor's: nothing in it is ours to remove.
            return
        # Whatever still starts, as where another part failed, waits no longer.
        self._stopping.set()
        if self._configs is not None:
            self._configs.stop()
        # Twice: a part that was about to start a process while the first round went by is met by the second.
        self._running.stop()
        self._running.close()
        self._running.stop()
        self._folder.pids.unlink(missing_ok=True)
        self._folder.status.unlink(missing_ok=True)
        clear_desired(self._folder)
        self._lock.release()

    @property
    def _oversight(self) -> Oversight:
        return Oversight(record=self._running.record, give_up=self._require_wanted)

    def _make_keeper(self, roster: Roster) -> CellKeeper:
        def make(member: Member) -> CellPart:
            request = member.request
            return CellPart(
                request.id, self._settings, self._folder, roster.ports, self._oversight, release=request.release
            )

        def start(cell: CellPart) -> None:
            self._observer.starting(cell.name)
            self._start_part(cell)

        return CellKeeper(
            self._settings,
            self._folder,
            roster,
            self._running,
            make=make,
            start=start,
            observer=self._observer,
        )

    def _begin(self, part: Part) -> None:
        self._observer.starting(part.name)
        self._running.begin(part.name, "starting", lambda: self._start_part(part))

    def _start_part(self, part: Part) -> None:
        began = time.monotonic()
        part.start()
        self._observer.up(part.name, time.monotonic() - began)

    def _await(self, names: list[str]) -> None:
        """Wait until these parts are up; where any part fails, fail at once with its reason."""
        while any(self._running.busy(name) for name in names):
            self._give_up()
            time.sleep(self._settings.probe_interval_seconds)
        self._give_up()
        for name in names:
            self._running.set_state(name, "up")
        self._running.record()

    def _require_wanted(self) -> None:
        if self._stopping.is_set():
            raise StoppedError

    def _give_up(self) -> None:
        self._require_wanted()
        for name in self._running.parts:
            error = self._running.error(name)
            if error is not None:
                raise error

    def _reconcile(self, part: Part) -> None:
        if self._running.busy(part.name):
            return
        desired = read_desired(self._folder, part.name)
        asked = desired != self._obeyed.get(part.name, Desired())
        self._obeyed[part.name] = desired
        state = self._running.state(part.name)
        if state == "stopped":
            # By whoever provisions it: breaking it and mending it waits until it runs again.
            return
        dead = [role for role, process in part.processes().items() if process is None]
        if asked and desired.up:
            self._begin(part)
        elif asked:
            self._running.set_state(part.name, "down", "it was killed by `cellplane chaos kill`")
        elif state != "down":
            self._note(part, state, dead)

    def _note(self, part: Part, state: str, dead: list[str]) -> None:
        """Say what a part is that nobody asks anything of, and start it again where it has to be."""
        error = self._running.error(part.name)
        if state == "starting" and error is not None:
            if not isinstance(error, CellplaneError):
                raise error
            state = self._note_dead(part, str(error))
            self._observer.failed(part.name, str(error))
        elif state == "starting":
            self._running.set_state(part.name, "up")
        elif state == "up" and dead:
            state = self._note_dead(part, f"{', '.join(dead)} died")
            self._observer.died(part.name, dead, restarts=part.restarts)
        if state == "dead" and part.restarts and "agent" in dead:
            time.sleep(self._settings.restart_pause_seconds)
            self._begin(part)
        elif state == "dead" and not dead:
            self._running.set_state(part.name, "up")

    def _note_dead(self, part: Part, reason: str) -> str:
        self._running.set_state(part.name, "dead", reason)
        return "dead"


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
