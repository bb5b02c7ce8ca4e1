"""What the API says of what was, as JSON."""

from typing import Any

from pydantic import BaseModel, Field


class ChangeView(BaseModel):
    """One entry of the change log."""

    epoch: int = Field(description="Its number; the table of this epoch, and every later one, contains it")
    at: str = Field(description="UTC, ISO 8601")
    actor: str = Field(description="Who did it: the name that the control plane knows them by")
    on_behalf_of: str = Field(description="For whom, as the actor said; nobody checked it")
    reason: str = Field(description="Why, as the actor said; empty where they did not")
    kind: str = Field(description="`fleet`, `cell`, `pool`, `tenant`, `quarantine` or `table`")
    id: str
    action: str = Field(description="`put`, `delete`, `republish` or `allow`")
    before: dict[str, Any] | None = Field(description="Null where it was created")
    after: dict[str, Any] | None = Field(description="Null where it was removed")


class ChangeList(BaseModel):
    """One page of the change log."""

    items: list[ChangeView]
    next: int | None = Field(description="`after`, or `before`, of the next page; null on the last")


class EpochView(BaseModel):
    """A table that was published."""

    epoch: int
    at: str
    sha256: str = Field(description="Of its overlay; of its base where it has none")
    token: int = Field(description="Fencing token of the control plane that published it")
    base_sha256: str | None = Field(description="Null where its bytes are not kept any more")
    overlay_tenants: int


class EpochList(BaseModel):
    """One page of the published tables, the last first."""

    items: list[EpochView]
    next: int | None = Field(description="`before` of the next page; null on the last")
