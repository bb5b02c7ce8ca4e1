"""What the API says of what was, as JSON."""

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, Field

from cellplane.control.apply_schemas import ResourceChange
from cellplane.control.schemas import Strict
from cellplane.directory import Change
from cellplane.directory.moving import KIND as MOVE


class ChangeView(BaseModel):
    """One entry of the change log."""

    epoch: int = Field(description="Its number; the table of this epoch, and every later one, contains it")
    at: str = Field(description="UTC, ISO 8601")
    actor: str = Field(description="Who did it: the name that the control plane knows them by")
    on_behalf_of: str = Field(description="For whom, as the actor said; nobody checked it")
    reason: str = Field(description="Why, as the actor said; empty where they did not")
    event: str = Field(
        description="What happened, by which others react: `tenant.move.flipped`, say, of a move, else kind and action"
    )
    kind: str = Field(description="`fleet`, `cell`, `pool`, `tenant`, `quarantine`, `move`, `config` or `table`")
    id: str = Field(description="Of a quarantine and of a move it is the tenant's")
    action: str = Field(
        description="`put`, `delete`, `republish` or `allow`; of a move the phase that it reached, or `wish`"
    )
    before: dict[str, Any] | None = Field(description="Null where it was created")
    after: dict[str, Any] | None = Field(description="Null where it was removed")

    @classmethod
    def of(cls, change: Change) -> "ChangeView":
        """That of an entry of the log."""
        return cls(event=event_of(change), **asdict(change))


class ChangeList(BaseModel):
    """One page of the change log."""

    items: list[ChangeView]
    next: int | None = Field(description="`after`, or `before`, of the next page; null on the last")


class Difference(BaseModel):
    """What differs between two epochs, from the one to the other."""

    before: int = Field(description="The one epoch")
    after: int = Field(description="The other")
    changes: list[ResourceChange]
    moves: dict[str, Any] = Field(description="Known tenants and slots whose preferred cell, or shard, is another")


class RollbackSpec(Strict):
    """The epoch that the fleet shall be as of again."""

    epoch: Annotated[int, Field(ge=1, lt=2**63)]
    base_epoch: Annotated[int | None, Field(description="Refused where the directory is at another epoch")] = None


class TenantAtEpoch(BaseModel):
    """Who served a tenant when a table was published."""

    tenant: str
    epoch: int
    cells: list[str] = Field(description="The preferred first; none where nobody did")
    state: str | None = Field(description="Null where the directory did not list it")


class EpochView(BaseModel):
    """A table that was published."""

    epoch: int
    at: str
    sha256: str = Field(description="Of its overlay; of its base where it has none")
    token: int = Field(description="Fencing token of the control plane that published it")
    base_sha256: str | None = Field(description="Null where its bytes are not kept any more")
    overlay_tenants: int


class RailView(BaseModel):
    """A guard rail that a table would break."""

    rail: str
    found: int = Field(description="Tenants or slots that it concerns")
    of: int = Field(description="How many there are of these")
    text: str = Field(description="What would happen, and what to do")


class HeldView(BaseModel):
    """A table that waits for somebody to allow it."""

    epoch: int
    violations: list[RailView]


class AllowSpec(Strict):
    """What somebody allows."""

    epoch: Annotated[int, Field(ge=1, lt=2**63, description="Of the directory, as it was looked at")]


class EpochList(BaseModel):
    """One page of the published tables, the last first."""

    held: HeldView | None = Field(description="What is not published yet; null where all is, or another one leads")

    items: list[EpochView]
    next: int | None = Field(description="`before` of the next page; null on the last")


def event_of(change: Change) -> str:
    """What an entry of the log is called towards other systems."""
    return f"tenant.move.{change.action}" if change.kind == MOVE else f"{change.kind}.{change.action}"
