"""What the API takes and gives of quarantines, as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT
from cellplane.directory.rows import quarantine_row
from cellplane.model import Quarantine
from cellplane.model.key import MAX_KEY_BYTES, MAX_NAME_CHARS
from cellplane.model.quarantine import MAX_QUARANTINE_SECONDS

MAX_WHY_CHARS = 500
"""Longest reason that a person gives."""

MAX_SUSPECTS = 100
"""Most suspects in one router's report: each cell has one at most, and the largest are said first."""

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Why = Annotated[str, Field(min_length=1, max_length=MAX_WHY_CHARS)]


class QuarantineSpec(BaseModel):
    """Where tenants go that make their cell ill for all others, for how long, and how many at once."""

    model_config = STRICT

    cells: Annotated[
        list[str], Field(description="They take tenants of their own jurisdiction; none: nobody goes")
    ] = []
    automatic: Annotated[bool, Field(description="Whether what routers find is enough")] = True
    max_tenants: Annotated[int, Field(description="Most tenants in quarantine at once")] = 3
    seconds: Annotated[int, Field(description="How long a tenant's first one lasts; it doubles with each further")] = 60
    cap_seconds: Annotated[int, Field(description="Longest, however often it doubles")] = 3_600
    forget_seconds: Annotated[int, Field(description="Time after a release when earlier ones are forgotten")] = 7_200
    hold_seconds: Annotated[
        int, Field(description="Time after a release by hand in which no finding sends the tenant back")
    ] = 600


class Suspect(BaseModel):
    """A tenant that makes a cell ill for all others, as one router counts."""

    model_config = STRICT

    tenant: Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES)]
    cell: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS)]
    harm: Annotated[Literal["errors", "busy time"], Field(description="What it concentrates")]
    share: Annotated[Share, Field(description="Its part of the cell's errors or busy time")]
    amount: Annotated[Amount, Field(description="Its errors, or busy seconds, in the router's window")]
    level: Annotated[Amount, Field(description="Error rate of the cell, or busy time ÷ capacity")]
    level_without: Annotated[Amount, Field(description="The same without the tenant")]
    epoch: Annotated[
        int, Field(ge=0, lt=2**64, description="Of the table that was live when what counts for this began")
    ]


class QuarantineOrder(BaseModel):
    """A person wants a tenant in quarantine."""

    model_config = STRICT

    seconds: Annotated[
        float | None,
        Field(gt=0, le=MAX_QUARANTINE_SECONDS, description="How long; null for as long as the fleet says"),
    ] = None
    reason: Annotated[Why, Field(description="Why")] = "by hand"
    cell: Annotated[str | None, Field(description="The quarantine cell; null for any of its jurisdiction")] = None


class QuarantineView(BaseModel):
    """A tenant's quarantine."""

    tenant: str
    cell: str = Field(description="The quarantine cell")
    since: str = Field(description="UTC, ISO 8601, as all times here")
    until: str = Field(description="When it ends by itself")
    reason: str
    figures: dict[str, Any] = Field(description="What a router found: as of `Suspect`; none where a person decided")
    times: int = Field(description="How often the tenant was quarantined since that was last forgotten")
    epoch: int = Field(description="Of its last change")
    ended: str | None = Field(description="Null while it lasts")
    end_reason: str
    held_until: str | None = Field(description="Until when no finding sends the tenant back")

    @classmethod
    def of(cls, quarantine: Quarantine) -> "QuarantineView":
        """That of a quarantine of the directory."""
        return cls(**quarantine_row(quarantine))


class LeftAloneView(BaseModel):
    """A tenant that routers find poisonous, and that is not quarantined."""

    tenant: str
    cell: str = Field(description="The cell that it makes ill")
    by: str = Field(description="`no-cell`, `bound`, `held`, `by-hand`, `state` or `unknown`")
    reason: str = Field(description="What keeps it there, with what to do")
    found: str = Field(description="What the router found, in a sentence")


class QuarantineList(BaseModel):
    """Who is in quarantine, who is held out of it after a release by hand, and who is left alone."""

    max_tenants: int
    cells: list[str]
    automatic: bool
    items: list[QuarantineView]
    held: list[QuarantineView]
    left_alone: list[LeftAloneView]
