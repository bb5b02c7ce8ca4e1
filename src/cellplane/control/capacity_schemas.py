"""What cells report of how full they are, and what the API says of it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cellplane.capacity.metrics import CellMetrics, Resource, Use
from cellplane.control.policy_schemas import STRICT
from cellplane.model.capacity import MAX_AMOUNT

ResourceName = Literal["cpu", "storage", "connections", "rps", "tenants"]
"""Storage is in GiB, CPU a share of all that the cell has."""

Amount = Annotated[float, Field(ge=0, le=MAX_AMOUNT, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0)]


class UseSpec(BaseModel):
    """How much of a resource is in use."""

    model_config = STRICT

    used: Amount
    limit: Annotated[
        float | None,
        Field(gt=0, le=MAX_AMOUNT, allow_inf_nan=False, description="The most that there is; none: as declared"),
    ] = None


class CellReport(BaseModel):
    """What a cell holds of each resource that it knows of: CPU as a share, storage in GiB, else counts."""

    model_config = STRICT

    cpu: UseSpec | None = None
    storage: UseSpec | None = None
    connections: UseSpec | None = None
    rps: UseSpec | None = None
    tenants: UseSpec | None = None

    @classmethod
    def of(cls, metrics: CellMetrics) -> "CellReport":
        """The report of a cell that was asked."""
        uses = {each.value: UseSpec(used=use.used, limit=use.limit) for each, use in metrics.uses.items()}
        return cls(**uses)

    def to_metrics(self, cell: str, at_seconds: float) -> CellMetrics:
        """What it says, and when."""
        said = {resource: getattr(self, resource.value) for resource in Resource}
        uses = {
            resource: Use(use.used, 1.0 if use.limit is None and resource is Resource.CPU else use.limit)
            for resource, use in said.items()
            if use is not None
        }
        return CellMetrics(cell, at_seconds, uses)


class RoomView(BaseModel):
    """What is left of a resource until its cell is locked, in the resource's unit."""

    left: float
    whole: float


class DaysView(BaseModel):
    """When it is used up, by its trend."""

    outlook: Literal["unknown", "full", "days", "later", "never"]
    days: float | None = None
    earliest: float | None = None
    latest: float | None = None


class CellCapacityView(BaseModel):
    """How full a cell is."""

    id: str
    status: str
    utilisation: Annotated[float | None, Field(description="Of the resource that it has least of; null: unknown")]
    resource: ResourceName | None
    rooms: dict[ResourceName, RoomView]
    report_age_seconds: Annotated[float | None, Field(description="Null: nothing is known, or not any more")]
    lock: Annotated[
        Literal["automatic", "locked by hand", "open by hand"],
        Field(description="Who decides whether it is locked: `DELETE /v1/cells/{cell_id}/hold` makes it automatic"),
    ]
    kept_open: Annotated[str, Field(description="Why it is not locked, although it is full; empty where it is not so")]
    days_left: DaysView


class PoolAsk(BaseModel):
    """The last cell that a pool asked for."""

    reason: str
    age_seconds: Share
    cell: str | None
    failure: str
    done: bool


class PoolCapacityView(BaseModel):
    """What is left in a pool."""

    name: str
    cells: int
    open_cells: int
    unknown_cells: int
    headroom: Annotated[float | None, Field(description="Share of its room that is left; null: unknown")]
    resource: ResourceName | None
    days_left: DaysView
    wants: Annotated[str, Field(description="Why it needs one more cell; empty where it does not")]
    kept: Annotated[str, Field(description="What keeps it from getting one; empty where nothing does")]
    ask: PoolAsk | None


class CapacityView(BaseModel):
    """How full the fleet is."""

    lock_at: float
    unlock_at: float
    locks_cells: Annotated[bool, Field(description="Whether cells are locked by what they report")]
    provisions: Annotated[bool, Field(description="Whether cells are made where a pool runs short")]
    pools: list[PoolCapacityView]
    cells: list[CellCapacityView]
    next: str | None = Field(description="Ask `after` with this for the next page of cells; null on the last")
