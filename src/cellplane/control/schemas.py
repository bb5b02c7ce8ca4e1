"""What the API takes and gives, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cellplane.control.settings import MAX_REASON_CHARS
from cellplane.model import Cell, CellStatus, Fleet, Pool, StrategyName, TenantState, UnknownTenant
from cellplane.model.topology import MAX_CELLS

Seconds = Annotated[float, Field(ge=0)]
Epoch = Annotated[int, Field(ge=0, lt=2**64)]
Count = Annotated[int, Field(ge=0, lt=2**32)]


class Strict(BaseModel):
    """A body: an unknown or mistyped field is an error, not a guess."""

    model_config = ConfigDict(extra="forbid", strict=True)


class FleetSpec(Strict):
    """The fleet's routing policy."""

    name: str
    key_header: str = "x-tenant-id"
    default_pool: str = "default"
    unknown_tenant: Literal["hash", "reject"] = "hash"
    retry_after_seconds: int = 1

    def to_model(self) -> Fleet:
        """The fleet of this body."""
        return Fleet(**{**self.model_dump(), "unknown_tenant": UnknownTenant(self.unknown_tenant)})


class CellSpec(Strict):
    """A cell's endpoint and place."""

    address: str
    port: int
    region: str = "local"
    jurisdiction: str = "none"
    status: Literal["provisioning", "active", "locked", "draining", "maintenance", "retired"] = "active"
    weight: float = 1.0

    def to_model(self, cell_id: str) -> Cell:
        """The cell of this body."""
        return Cell(id=cell_id, **{**self.model_dump(), "status": CellStatus(self.status)})


class PoolSpec(Strict):
    """A pool's cells and strategy."""

    cells: list[str]
    strategy: Literal["modulo", "ring"] = "ring"
    virtual_nodes: int = 150

    def to_model(self, name: str) -> Pool:
        """The pool of this body."""
        return Pool(name, tuple(self.cells), StrategyName(self.strategy), self.virtual_nodes)


class TenantSpec(Strict):
    """A tenant: pinned to a cell, or, without one, placed by its slot."""

    cell: str | None = None
    state: Annotated[
        Literal["active", "suspended"] | None, Field(description="Absent: as it is; active for a new tenant")
    ] = None

    def tenant_state(self) -> TenantState | None:
        """The state of this body, None where it names none."""
        return None if self.state is None else TenantState(self.state)


class Changed(BaseModel):
    """The answer to a change."""

    epoch: int = Field(description="The table of this epoch, and every later one, contains the change")


class CellView(BaseModel):
    """A cell, with what routers see of it."""

    id: str
    address: str
    port: int
    region: str
    jurisdiction: str
    status: str
    weight: float
    healthy: bool | None = Field(description="Whether a router can reach it; null when no router has said")
    pinned_tenants: int


class CellList(BaseModel):
    """All cells."""

    items: list[CellView]


class PoolView(BaseModel):
    """A pool."""

    name: str
    cells: list[str]
    strategy: str
    virtual_nodes: int


class PoolList(BaseModel):
    """All pools."""

    items: list[PoolView]


class TenantView(BaseModel):
    """A tenant as the directory holds it."""

    id: str
    cell: str | None = Field(description="The cell it is pinned to; null when its slot places it")
    state: str


class TenantChanged(TenantView, Changed):
    """A tenant, and from which epoch on it is so."""


class PlacedTenant(TenantView):
    """A tenant, and where the published table sends it."""

    placed: str | None = Field(description="The cell that the published table sends it to; null when refused")


class TenantList(BaseModel):
    """One page of tenants."""

    items: list[PlacedTenant]
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")


class RouteView(BaseModel):
    """How the published table routes a key, when every serving cell is healthy."""

    tenant: str
    known: bool = Field(description="Whether the directory lists this tenant")
    slot: int
    pool: str | None
    shard: list[str]
    cell: str | None = Field(description="Where the request goes; null when the router refuses it")
    reason: str = Field(description="`assignment`, `slot`, or the code of the refusal")
    epoch: int
    text: str = Field(description="The same in a sentence")


class CellHealth(Strict):
    """Hosts of one cell, as a router's proxy counts them."""

    hosts: Count
    healthy_hosts: Count


class Rejection(Strict):
    """A table that the router could not take."""

    epoch: Epoch
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARS)]


class RouterReport(Strict):
    """What a router says about itself."""

    epoch: Epoch
    sha256: Annotated[str, Field(max_length=64)]
    proxy: Annotated[str, Field(max_length=200)]
    ready: bool
    rejected: Rejection | None = None
    cells: Annotated[dict[str, CellHealth], Field(max_length=MAX_CELLS)] = {}


class RouterView(BaseModel):
    """A router and its last report."""

    id: str
    epoch: int
    sha256: str
    proxy: str
    ready: bool
    rejected: Rejection | None
    age_seconds: Seconds
    lost: bool = Field(description="Whether it has been silent for too long")
    behind: int = Field(
        description="Published epoch less its own; negative when the directory was restored from an older copy"
    )


class RouterList(BaseModel):
    """All routers that report here."""

    published_epoch: int | None
    items: list[RouterView]


class Health(BaseModel):
    """The control plane's own health."""

    status: Literal["ok"]
    epoch: int
    published_epoch: int | None


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
