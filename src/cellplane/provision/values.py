"""What is asked of a provisioner, and what it says is there."""

from dataclasses import dataclass, fields, replace
from enum import Enum

from cellplane.errors import CellTakenError, ValidationError
from cellplane.model.capacity import Capacity
from cellplane.model.key import check_name

MAX_ASK_CHARS = 128
"""Longest id of an ask."""


@dataclass(frozen=True, slots=True)
class CellRequest:
    """A cell that somebody wants to be there.

    Attributes:
        id: DNS label, unique in the fleet; asking twice for one id is asking once.
        region: where it is to run.
        zone: where it fails together with others; empty where nobody says.
        jurisdiction: whose law its data is under.
        capacity: the most that it is to hold; limits on the sum go by it.
        release: what it is to run; empty for whatever the provisioner runs.
        pool: the pool that it is meant for, as a note; joining it is the control plane's business.
        ask_id: names the ask, where somebody wants one cell more and does not care which: no two cells have the same.
            Empty for none.
    """

    id: str
    region: str = "local"
    zone: str = ""
    jurisdiction: str = "none"
    capacity: Capacity = Capacity()
    release: str = ""
    pool: str = ""
    ask_id: str = ""

    def validate(self) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name in ("id", "region", "jurisdiction"):
            check_name(f"cell.{name}", getattr(self, name))
        for name in ("zone", "release", "pool"):
            if getattr(self, name):
                check_name(f"cell.{name}", getattr(self, name))
        self.capacity.validate("cell.capacity")
        if len(self.ask_id) > MAX_ASK_CHARS or not self.ask_id.isprintable():
            raise ValidationError(
                "cell.ask_id",
                f"expected at most {MAX_ASK_CHARS} printable characters, found {self.ask_id[:MAX_ASK_CHARS]!r}",
            )


class InstanceState(Enum):
    """What a cell does, as its provisioner sees it; the value is what the command line shows."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    """Its processes are not there, its data is."""
    FAILED = "failed"
    """It should run and does not; the reason says why."""
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class CellInstance:
    """A cell that is there, or is being made or removed.

    Attributes:
        request: what it was asked for as; its release is what it was last told to run.
        address: IP address or host name of its API; empty as long as there is none.
        port: port of its API; 0 as long as there is none.
        state: see InstanceState.
        reason: why it is in this state, in one sentence; empty where that says itself.
    """

    request: CellRequest
    address: str
    port: int
    state: InstanceState
    reason: str = ""

    @property
    def id(self) -> str:
        """Its id."""
        return self.request.id

    @property
    def release(self) -> str:
        """What it was last told to run."""
        return self.request.release


_SAME = ("region", "zone", "jurisdiction", "capacity")
"""What a cell is for as long as it is there. Its release is changed by ``deploy``, its pool is a note."""


def agreed(known: CellRequest, asked: CellRequest) -> CellRequest:
    """What a cell is that is there already, and is asked for once more.

    Args:
        known: what it was asked for as.
        asked: the new ask, of the same id.

    Raises:
        CellTakenError: it was asked for otherwise, or by another ask.
    """
    assert known.id == asked.id, "two requests of one cell"
    differing = [
        f"{field.name} {getattr(known, field.name)!s}, not {getattr(asked, field.name)!s}"
        for field in fields(CellRequest)
        if field.name in _SAME and getattr(known, field.name) != getattr(asked, field.name)
    ]
    if differing:
        raise CellTakenError(
            f"{known.id} is there with {'; '.join(differing)}: ask for it as it is, choose another id, or destroy it "
            "first"
        )
    if asked.ask_id not in {"", known.ask_id}:
        raise CellTakenError(f"{known.id} is there, and not by the ask {asked.ask_id!r}: choose another id")
    return replace(known, pool=asked.pool or known.pool)
