"""What a move asks of the control plane: whose a tenant is, that its writes wait, and that it is another cell's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from cellplane.client import Client
from cellplane.errors import PreconditionError
from cellplane.moves.errors import ChangedError, MoveError, NotInTimeError


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


class Routes(Protocol):
    """The directory and the routers, as a move sees them. Each change may be asked for again.

    What somebody asked for who died, or was not answered, may be done later, but for a change that came in between:
    each is of the tenant as it was looked at, and ``ChangedError`` is raised where it is not so any more.
    """

    def placed(self, tenant_id: str) -> Placed:
        """Where it is now."""

    def hold_writes(self, tenant_id: str) -> int:
        """Let routers answer its writes with 503 and Retry-After, while reads go on; returns the epoch."""

    def let_writes(self, tenant_id: str) -> int:
        """Take that back, also what was asked for and not yet done; returns the epoch. It always is a change."""

    def assign(self, tenant_id: str, cell: str | None) -> int:
        """Make it a cell's, with its writes, or its slot's where ``cell`` is None; returns the epoch.

        It is checked as every assignment: jurisdiction, the cell's status, its room.
        """

    def wait_until_applied(self, epoch: int, within_seconds: float) -> None:
        """Wait until all routers that are heard from route by this epoch, or a newer one.

        Raises:
            NotInTimeError: one does not.
        """


@dataclass(frozen=True, slots=True)
class ControlPlaneRoutes:
    """By the control plane's API.

    Args:
        client: with a token that may change tenants.
        poll_seconds: between two looks at what routers have applied.
        monotonic: seconds.
        pause: waits so many seconds.
    """

    client: Client
    poll_seconds: float = 0.01
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def placed(self, tenant_id: str) -> Placed:
        """See ``Routes``."""
        tenant = self.client.get(_path(tenant_id))
        by_slot = () if tenant["placed"] is None else (tenant["placed"],)
        return Placed(tuple(tenant["cells"]) or by_slot, bool(tenant["cells"]), tenant["state"], tenant["version"])

    def hold_writes(self, tenant_id: str) -> int:
        """See ``Routes``."""
        return self._put(tenant_id, state="moving")

    def let_writes(self, tenant_id: str) -> int:
        """See ``Routes``."""
        if self.placed(tenant_id).state == "active":
            # What is not changed is of the same version, and a hold that was asked for would still be done.
            self.hold_writes(tenant_id)
        return self._put(tenant_id, state="active")

    def assign(self, tenant_id: str, cell: str | None) -> int:
        """See ``Routes``."""
        return self._put(tenant_id, cell=cell, state="active")

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

    def _put(self, tenant_id: str, **fields: Any) -> int:
        version = self.placed(tenant_id).epoch
        try:
            answer = self.client.put(_path(tenant_id), fields, version=version)
        except PreconditionError as error:
            raise ChangedError(f"{tenant_id} was changed while its move changed it: {error}") from error
        epoch = answer.get("epoch")
        if not isinstance(epoch, int):
            raise MoveError(f"the control plane did not say by which epoch {tenant_id} is changed: {answer}")
        return epoch


def _path(tenant_id: str) -> str:
    return f"/v1/tenants/{quote(tenant_id, safe='')}"
