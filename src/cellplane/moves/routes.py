"""What a move asks of the control plane: whose a tenant is, that its writes wait, and that it is another cell's."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from cellplane.client import Client
from cellplane.errors import ControlPlaneError
from cellplane.moves.errors import ChangedError, MoveError, NotInTimeError
from cellplane.moves.tenants import Tenants

ACTIVE, HELD = "active", "moving"
"""States of a tenant that a move may change: served, and with its writes held. Any other is somebody else's word."""

_OURS = frozenset({ACTIVE, HELD})


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the directory has a tenant."""

    cells: tuple[str, ...]
    """By whom its requests are served, the preferred first."""

    is_assigned: bool
    """Rather than placed by its slot."""

    state: str
    epoch: int
    """Of its last change."""

    slot_cell: str | None = field(default=None, compare=False)
    """The cell that its slot is, whoever has it; None where nobody knows."""

    @property
    def is_ours(self) -> bool:
        """Whether a move may hold its writes, and let them: nobody has said another thing of its state."""
        return self.state in _OURS


class Routes(Protocol):
    """The directory and the routers, as a move sees them. Each change may be asked for again.

    What somebody asked for who died, or was not answered, may be done later, but for a change that came in between:
    each is of the tenant as it was looked at, and ``ChangedError`` is raised where it is not so any more.
    """

    def placed(self, tenant_id: str) -> Placed:
        """Where it is now: never what was so before a change that somebody was answered.

        Raises:
            NotInTimeError: it is its slot's, and no table says yet which cell that is.
        """

    def hold_writes(self, tenant_id: str) -> int:
        """Let routers answer its writes with 503 and Retry-After, while reads go on; returns the epoch.

        Raises:
            MoveError: somebody has suspended it: that is not to be lost.
        """

    def let_writes(self, tenant_id: str) -> int:
        """Take that back, also what was asked for and not yet done; returns the epoch. It always is a change, but where
        somebody has suspended it: then it stays so, and what was asked for before comes too late by that.
        """

    def assign(self, tenant_id: str, cell: str | None, *, taken_from: str, only_held: bool = False) -> int:
        """Make it a cell's, with its writes, or its slot's where ``cell`` is None; returns the epoch. One that is
        suspended stays so.

        It is checked as every assignment: jurisdiction, the cell's status, its room. ``taken_from`` has it until then:
        what somebody else has assigned meanwhile is not taken from there. With ``only_held`` its writes have to be held
        as that is asked for.
        """

    def wait_until_applied(self, epoch: int, within_seconds: float) -> None:
        """Wait until all routers that are heard from route by this epoch, or a newer one.

        Raises:
            NotInTimeError: one does not.
        """


NOWHERE = Placed((), is_assigned=False, state="removed", epoch=0)
"""Where a tenant is that the directory does not have any more."""


def placed_or_removed(routes: Routes, tenant_id: str) -> Placed:
    """As ``Routes.placed``; also of one that somebody has removed."""
    try:
        return routes.placed(tenant_id)
    except ControlPlaneError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return NOWHERE


@dataclass(frozen=True, slots=True)
class ControlPlaneRoutes:
    """By the control plane's API.

    Args:
        client: with a token that may change tenants.
        poll_seconds: between two looks at what routers have applied, or at what is published.
        publish_seconds: longest wait for a table that knows a change.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    client: Client
    poll_seconds: float = 0.01
    publish_seconds: float = 10.0
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def placed(self, tenant_id: str) -> Placed:
        """See ``Routes``."""
        began = self.monotonic()
        while True:
            tenant = self._tenants.get(tenant_id)
            cells, version, state = tuple(tenant["cells"]), tenant["version"], tenant["state"]
            # One that is suspended is placed nowhere, and has its slot.
            slot_cell = tenant.get("slot_cell")
            if cells:
                return Placed(cells, is_assigned=True, state=state, epoch=version, slot_cell=slot_cell)
            # Which cell its slot is, a table says: one that does not know of its last change has it where it was.
            if (tenant["placed_epoch"] or 0) >= version:
                cell = tenant["placed"] or (None if state in _OURS else slot_cell)
                by_slot = () if cell is None else (cell,)
                return Placed(by_slot, is_assigned=False, state=state, epoch=version, slot_cell=slot_cell)
            if self.monotonic() - began > self.publish_seconds:
                raise NotInTimeError(
                    f"no table of epoch {version} is published after {self.publish_seconds} s, and only that says "
                    f"whose {tenant_id} is: `cellplane publish` says what holds it back"
                )
            self.pause(self.poll_seconds)

    def hold_writes(self, tenant_id: str) -> int:
        """See ``Routes``."""
        tenant = self._tenants.get(tenant_id)
        if tenant["state"] not in _OURS:
            raise MoveError(f"{tenant_id} is {tenant['state']}: only an active tenant is moved; make it active first")
        return self._tenants.change(tenant_id, tenant["version"], state=HELD)

    def let_writes(self, tenant_id: str) -> int:
        """See ``Routes``."""
        tenant = self._tenants.get(tenant_id)
        if tenant["state"] == ACTIVE:
            # What is not changed is of the same version, and a hold that was asked for would still be done.
            self._tenants.change(tenant_id, tenant["version"], state=HELD)
            tenant = self._tenants.get(tenant_id)
        if tenant["state"] != HELD:
            version: int = tenant["version"]
            return version
        return self._tenants.change(tenant_id, tenant["version"], state=ACTIVE)

    def assign(self, tenant_id: str, cell: str | None, *, taken_from: str, only_held: bool = False) -> int:
        """See ``Routes``."""
        placed = self.placed(tenant_id)
        if placed.cells != (taken_from,):
            raise ChangedError(f"{tenant_id} was assigned to {' + '.join(placed.cells)} while its move flipped it")
        if only_held and placed.state != HELD:
            raise ChangedError(f"{tenant_id} was made {placed.state} while its writes were held")
        state = ACTIVE if placed.is_ours else placed.state
        return self._tenants.change(tenant_id, placed.epoch, cell=cell, state=state)

    def wait_until_applied(self, epoch: int, within_seconds: float) -> None:
        """See ``Routes``."""
        began = self.monotonic()
        while late := self._late(epoch):
            if self.monotonic() - began > within_seconds:
                raise NotInTimeError(
                    f"the routers {', '.join(late)} do not route by epoch {epoch} after {within_seconds} s: "
                    "`cellplane routers` says why"
                )
            self.pause(self.poll_seconds)

    def _late(self, epoch: int) -> list[str]:
        routers = self.client.list("/v1/routers")["items"]
        return [each["id"] for each in routers if not each["lost"] and each["epoch"] < epoch]

    @property
    def _tenants(self) -> Tenants:
        return Tenants(self.client)
