"""The provisioner of a local fleet: writes wishes, and waits until its supervisor has done them.

It runs in any process: the command line's, or a control plane's. The supervisor is the one that starts and ends.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cellplane.errors import CellTakenError, LimitReachedError, ProvisionError, ValidationError
from cellplane.faults import fault_point
from cellplane.model import CellStatus
from cellplane.model.key import check_name
from cellplane.provision.local.folder import StateFolder, fleet_runs, read_json
from cellplane.provision.local.roster import Member, members_of
from cellplane.provision.local.settings import ASK_POLL_SECONDS, ASK_TIMEOUT_SECONDS, NOT_CELLS
from cellplane.provision.local.wishes import Wish, read_wish, read_wishes, wishes_locked, write_wish
from cellplane.provision.provisioner import require_destroyable
from cellplane.provision.values import CellInstance, CellRequest, InstanceState, agreed

_STATES = {
    "starting": InstanceState.STARTING,
    "up": InstanceState.RUNNING,
    "dead": InstanceState.FAILED,
    "down": InstanceState.FAILED,
    "stopping": InstanceState.STOPPING,
    "stopped": InstanceState.STOPPED,
    "removing": InstanceState.REMOVING,
}
_ERRORS = {error.__name__: error for error in (CellTakenError, LimitReachedError)}


class LocalProvisioner:
    """A ``Provisioner`` of the fleet that runs in a state folder.

    Args:
        folder: of the fleet.
        status_of: what the control plane has a cell as; None where it does not know it.
        timeout_seconds: how long anything may take.
        clock: monotonic seconds.
        now_ns: numbers wishes: nanoseconds since the epoch.
    """

    def __init__(
        self,
        folder: StateFolder,
        status_of: Callable[[str], CellStatus | None],
        *,
        timeout_seconds: float = ASK_TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._status_of = status_of
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._now_ns = now_ns

    def create(self, request: CellRequest) -> CellInstance:
        """See Provisioner."""
        request.validate()
        if request.id in NOT_CELLS:
            raise ValidationError("cell.id", f"{request.id!r} is another part of a local fleet: choose another id")

        def wish(known: Wish | None) -> Wish:
            if known is not None:
                return replace(known, request=agreed(known.request, request), running=True)
            if request.ask_id:
                for other in self._wanted().values():
                    if other.request.ask_id == request.ask_id:
                        raise CellTakenError(f"{other.cell_id} is what {request.ask_id!r} asked for: describe it")
            return Wish(request)

        return self._ask(request.id, wish, InstanceState.RUNNING)

    def destroy(self, cell_id: str, *, force: bool = False) -> None:
        """See Provisioner."""
        check_name("cell.id", cell_id)
        if cell_id not in self._wanted():
            return
        if not force:
            require_destroyable(cell_id, self._status_of(cell_id))
        self._require_fleet()
        with wishes_locked(self._folder):
            known = self._wanted().get(cell_id)
            if known is None:
                return
            if known.present:
                known = self._write(replace(known, present=False))
        self._wait(known)
        left = self.describe(cell_id)
        if left is not None:
            raise ProvisionError(f"{cell_id} is {left.state.value}, not removed: {left.reason or 'look at its logs'}")

    def start(self, cell_id: str) -> CellInstance:
        """See Provisioner."""
        return self._ask(cell_id, lambda known: replace(_there(cell_id, known), running=True), InstanceState.RUNNING)

    def stop(self, cell_id: str) -> CellInstance:
        """See Provisioner."""
        return self._ask(cell_id, lambda known: replace(_there(cell_id, known), running=False), InstanceState.STOPPED)

    def deploy(self, cell_id: str, release: str) -> CellInstance:
        """See Provisioner."""
        check_name("cell.release", release)

        def wish(known: Wish | None) -> Wish:
            there = _there(cell_id, known)
            return replace(there, request=replace(there.request, release=release))

        return self._ask(cell_id, wish, None)

    def describe(self, cell_id: str) -> CellInstance | None:
        """See Provisioner."""
        return next((each for each in self.describe_all() if each.id == cell_id), None)

    def describe_all(self) -> tuple[CellInstance, ...]:
        """See Provisioner."""
        # Wishes first: one that is done between two looks is in the roster by then.
        wishes = {wish.cell_id: wish for wish in read_wishes(self._folder)}
        endpoints = read_json(self._folder.endpoints) or {}
        members = members_of(endpoints) or {}
        status = (read_json(self._folder.status) or {}).get("parts", {}) if fleet_runs(self._folder) else None
        ids = sorted({*members, *(wish.cell_id for wish in wishes.values() if wish.present)})
        return tuple(
            _instance(cell_id, wishes.get(cell_id), members.get(cell_id), endpoints, status) for cell_id in ids
        )

    def _wanted(self) -> dict[str, Wish]:
        """What every cell is to be: what was asked last, or else what the roster has."""
        members = members_of(read_json(self._folder.endpoints) or {}) or {}
        found = {cell_id: Wish(member.request, running=member.running) for cell_id, member in members.items()}
        return {**found, **{wish.cell_id: wish for wish in read_wishes(self._folder)}}

    def _ask(self, cell_id: str, change: Callable[[Wish | None], Wish], expected: InstanceState | None) -> CellInstance:
        """Wish, wait, and say what came of it. ``expected`` is None where the cell goes on as it was: up or stopped."""
        self._require_fleet()
        with wishes_locked(self._folder):
            known = self._wanted().get(cell_id)
            if known is not None and not known.present:
                raise ProvisionError(f"{cell_id} is being removed: wait until it is gone, then ask again")
            wish = self._write(change(known))
        self._wait(wish)
        found = self.describe(cell_id)
        if found is None:
            raise ProvisionError(f"{cell_id} was removed meanwhile: ask again")
        if expected is None:
            expected = InstanceState.RUNNING if wish.running else InstanceState.STOPPED
        if found.state is not expected:
            why = found.reason or "it was asked for otherwise meanwhile"
            raise ProvisionError(
                f"{cell_id} is {found.state.value}, not {expected.value}: {why}; its logs are in "
                f"{self._folder.log(cell_id).parent}"
            )
        return found

    def _write(self, wish: Wish) -> Wish:
        """Put a wish into the folder, numbered; only with the lock."""
        before = read_wish(self._folder, wish.cell_id)
        wish = replace(wish, asked=max(self._now_ns(), 0 if before is None else before.asked + 1))
        write_wish(self._folder, wish)
        fault_point("provision.wish.written")
        return wish

    def _wait(self, wish: Wish) -> None:
        """Wait until nothing is asked of this cell any more.

        Raises:
            ProvisionError: the wish was refused, is not done in time, or nobody is there to do it.
        """
        deadline = self._clock() + self._timeout_seconds
        while read_wish(self._folder, wish.cell_id) is not None:
            if self._clock() > deadline:
                raise ProvisionError(
                    f"{wish.cell_id} is not done in {self._timeout_seconds:.0f} s, and goes on: see "
                    f"`cellplane cell describe {wish.cell_id}`, and {self._folder.log(wish.cell_id).parent}"
                )
            if not fleet_runs(self._folder):
                raise ProvisionError(
                    f"the fleet in {self._folder.root} ended while {wish.cell_id} was under way: what was asked is on "
                    "record, and done when it starts again"
                )
            time.sleep(ASK_POLL_SECONDS)
        refused = (read_json(self._folder.status) or {}).get("refused", {}).get(wish.cell_id)
        if refused is not None and refused["asked"] == wish.asked:
            raise _ERRORS.get(refused["error"], ProvisionError)(refused["reason"])

    def _require_fleet(self) -> None:
        if not fleet_runs(self._folder):
            raise ProvisionError(
                f"no local fleet runs in {self._folder.root}: start one with `cellplane demo`, or name its folder with "
                "--state"
            )


def _there(cell_id: str, known: Wish | None) -> Wish:
    if known is None:
        raise ProvisionError(f"there is no {cell_id}: `cellplane cell create {cell_id}` makes it")
    return known


def _instance(
    cell_id: str,
    wish: Wish | None,
    member: Member | None,
    endpoints: Mapping[str, Any],
    status: Mapping[str, Any] | None,
) -> CellInstance:
    """What is known of a cell.

    Args:
        status: the parts of the running fleet; None where none runs.
    """
    source = member if wish is None else wish
    assert source is not None, "a cell is on the roster, or wished for"
    known = source.request
    port = endpoints.get("ports", {}).get(f"{cell_id}.api", 0) if member is not None else 0
    address = endpoints["host"] if member is not None else ""
    if status is None:
        return CellInstance(known, address, port, InstanceState.STOPPED, "its fleet does not run")
    part = status.get(cell_id, {"state": "starting", "reason": ""})
    state = _STATES[part["state"]]
    if wish is not None:
        state = _under_way(wish, state)
    return CellInstance(known, address, port, state, part["reason"] if state is _STATES[part["state"]] else "")


def _under_way(wish: Wish, state: InstanceState) -> InstanceState:
    """What a cell is of which something is asked that is not done yet."""
    if not wish.present:
        return InstanceState.REMOVING
    if not wish.running:
        return InstanceState.STOPPED if state is InstanceState.STOPPED else InstanceState.STOPPING
    return InstanceState.STARTING
