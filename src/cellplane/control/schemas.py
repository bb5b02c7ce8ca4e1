"""What the API takes and gives, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT, CanarySpec, PolicySpec, RoutePolicy
from cellplane.control.quarantine_schemas import MAX_SUSPECTS, QuarantineSpec, QuarantineView, Suspect
from cellplane.control.settings import MAX_REASON_CHARS
from cellplane.control.shadow_schemas import ShadowCounts
from cellplane.directory.rows import cell_of, fleet_of, pool_of
from cellplane.model import Cell, Fleet, Pool
from cellplane.model.jwt import CLOCK_SKEW_SECONDS
from cellplane.model.topology import MAX_CELLS
from cellplane.shadow.report import MAX_COUNTED

Status = Literal["provisioning", "active", "locked", "draining", "maintenance", "retired"]
Strategy = Literal["modulo", "ring", "rendezvous", "shuffle", "explicit"]
State = Literal["active", "moving", "suspended"]
HealthStatus = Annotated[
    Literal["ok", "degraded"], Field(description="`degraded`: it gives out tables and answers, and can change nothing")
]
Seconds = Annotated[float, Field(ge=0)]
Epoch = Annotated[int, Field(ge=0, lt=2**64)]
MAX_UNIX_SECONDS = 2**40
"""Latest moment that a router may name: in 36,000 years."""

Count = Annotated[int, Field(ge=0, lt=2**32)]


class Strict(BaseModel):
    """A body: an unknown or mistyped field is an error, not a guess."""

    model_config = STRICT


class KeySourceSpec(Strict):
    """Where in a request its partition key stands."""

    kind: Literal["jwt-claim", "cookie", "header", "subdomain", "path"]
    name: str = Field(description="Of the claim, cookie or header; the domain; or what the path begins with")
    trusted: Annotated[
        bool, Field(description="That a header is set in front of the router, where no client can; a header needs it")
    ] = False


class JwtProviderSpec(Strict):
    """Who signs tokens, and where its public keys are: at a URL, or in a file on each router."""

    name: str
    issuer: str
    audiences: Annotated[list[str], Field(description="One of these is in a token; none: they do not count")] = []
    jwks_url: Annotated[str, Field(description="https, or http on loopback; or `jwks_file`")] = ""
    jwks_file: Annotated[str, Field(description="Absolute path on each router; or `jwks_url`")] = ""
    cookie: Annotated[str, Field(description="A cookie that carries the token, beside `Authorization: Bearer`")] = ""
    clock_skew_seconds: int = CLOCK_SKEW_SECONDS


class RuleSpec(Strict):
    """Which tenants are in which pool: those that meet all conditions that are named."""

    name: str
    pool: str
    tiers: list[str] = []
    jurisdictions: list[str] = []
    id_pattern: Annotated[
        str, Field(description="`*` stands for any characters, `?` for one, `[ab]` for one of these")
    ] = ""
    attributes: dict[str, str] = {}


class FleetSpec(Strict):
    """The fleet's routing policy."""

    name: str
    key_sources: Annotated[list[KeySourceSpec], Field(description="The first that has a value counts")]
    default_pool: str = "default"
    unknown_tenant: Literal["hash", "reject", "default-cell"] = "hash"
    missing_key: Literal["reject", "default-cell", "source-hash"] = "reject"
    default_cell: Annotated[str | None, Field(description="The cell that `default-cell` means")] = None
    rules: Annotated[list[RuleSpec], Field(description="The first that matches counts, then `default_pool`")] = []
    retry_after_seconds: int = 1
    jwt: Annotated[list[JwtProviderSpec], Field(description="Who signs the tokens whose claims are keys")] = []
    policy: PolicySpec = PolicySpec()
    fail_open: Annotated[
        Literal["reads", "all"], Field(description="Which requests `missing_key` lets through, if it does")
    ] = "reads"
    routers: Annotated[int, Field(description="How many routers share the limits")] = 1
    health: Annotated[
        dict[str, dict[str, float]],
        Field(description="Thresholds other than usual, in `score`, `breaker` and `peers`: docs/health.md"),
    ] = {}
    quarantine: QuarantineSpec = QuarantineSpec()

    def to_model(self) -> Fleet:
        """The fleet of this body."""
        return fleet_of(self.model_dump())


class CapacitySpec(Strict):
    """The most that a cell is to hold; null where nothing is declared."""

    tenants: int | None = None
    rps: Annotated[float | None, Field(description="Requests per second at peak")] = None
    storage_gib: float | None = None
    concurrency: Annotated[int | None, Field(description="Requests under way at once")] = None


class CellSpec(Strict):
    """A cell's endpoint and place."""

    address: str
    port: int
    region: str = "local"
    zone: Annotated[str, Field(description="Where it fails together with others; empty where nobody says")] = ""
    jurisdiction: str = "none"
    status: Status = "active"
    weight: float = 1.0
    release: Annotated[str, Field(description="What it runs; empty where nobody says")] = ""
    capacity: CapacitySpec = CapacitySpec()
    public_url: Annotated[str, Field(description="Where clients reach it, for redirects; empty where they do not")] = ""
    maintenance_page: Annotated[str, Field(description="What clients are told while it is in maintenance")] = ""
    protocol: Annotated[Literal["http1", "http2"], Field(description="What routers speak to it; gRPC needs http2")] = (
        "http1"
    )

    def to_model(self, cell_id: str) -> Cell:
        """The cell of this body."""
        return cell_of({"id": cell_id, **self.model_dump()})


class StatusSpec(Strict):
    """Another status of a cell."""

    status: Status
    force: Annotated[bool, Field(description="Also where a pool is left without a cell that is active or locked")] = (
        False
    )


class PoolSpec(Strict):
    """A pool's cells and strategy."""

    cells: list[str]
    strategy: Strategy = "ring"
    virtual_nodes: int = 150
    shard_size: Annotated[
        int | None, Field(description="K, the cells of a shard; null for 2 with `shuffle` and 1 else")
    ] = None
    seed: int = 0
    spread: Annotated[
        list[Literal["zone", "region", "release"]], Field(description="Dimensions in which the cells of a shard differ")
    ] = []
    max_overlap: Annotated[
        int | None,
        Field(description="Cells that the shards of two assigned tenants may share; given, tenants are assigned"),
    ] = None
    dedicated: Annotated[bool, Field(description="Whether a cell takes one tenant only")] = False
    overflow: Annotated[str | None, Field(description="The pool that takes new tenants when this one has no room")] = (
        None
    )
    policy: PolicySpec = PolicySpec()
    canary: CanarySpec | None = None
    p99_objective_seconds: Annotated[
        float | None, Field(description="What the p99 of its cells is to be at most; null for the fleet's")
    ] = None

    def to_model(self, name: str) -> Pool:
        """The pool of this body."""
        return pool_of({"name": name, **self.model_dump()})


class LoadSpec(Strict):
    """What a tenant needs at peak; of unknown size where all is 0."""

    tenants: int = 1
    rps: Annotated[float, Field(description="Requests per second at peak")] = 0.0
    storage_gib: float = 0.0


class Changed(BaseModel):
    """The answer to a change."""

    epoch: int = Field(description="The table of this epoch, and every later one, contains the change")


class CellView(BaseModel):
    """A cell, with what routers see of it, and what is assigned to it."""

    id: str
    address: str
    port: int
    region: str
    zone: str
    jurisdiction: str
    status: str
    weight: float
    release: str
    capacity: CapacitySpec
    public_url: str
    maintenance_page: str
    protocol: str
    healthy: bool | None = Field(description="Whether a router can reach it; null when no router has said")
    score: float | None = Field(description="The lowest that a router gives it, 0 to 100; null when none has said")
    breaker: Literal["closed", "open", "half-open"] | None = Field(
        description="Of the router that lets the fewest requests through; null when none has said"
    )
    gray: bool = Field(description="Whether a router finds it worse than its peers")
    pinned_tenants: int = Field(description="Tenants that are assigned to it, alone or among others")
    load: LoadSpec = Field(description="The sum of what those declare")
    version: int = Field(description="The epoch of its last change: its `ETag`")


class CellList(BaseModel):
    """One page of cells."""

    items: list[CellView]
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")


class PoolView(BaseModel):
    """A pool."""

    name: str
    cells: list[str]
    strategy: str
    virtual_nodes: int
    shard_size: int | None
    seed: int
    spread: list[str]
    max_overlap: int | None
    dedicated: bool
    overflow: str | None
    policy: PolicySpec
    canary: CanarySpec | None
    p99_objective_seconds: float | None
    version: int = Field(description="The epoch of its last change: its `ETag`")


class PoolList(BaseModel):
    """One page of pools."""

    items: list[PoolView]
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")


class RouteView(BaseModel):
    """How the published table routes a request, when every serving cell is healthy."""

    tenant: str | None = Field(description="The key; null for a request that has none")
    source: str | None = Field(description="The client's address of a request that has no key")
    known: bool = Field(description="Whether the directory lists this tenant")
    pool_by: Literal["tenant", "rule", "default", "overflow"] | None = Field(
        description="What chose the pool: the tenant's own, a rule, the default, or the overflow of another pool"
    )
    rule: str | None = Field(description="Name of the rule that matches")
    slot: int | None = Field(description="Of the key, or of the source where that is hashed")
    pool: str | None
    shard: list[str]
    cell: str | None = Field(description="Where the request goes; null when the router refuses it")
    policy: RoutePolicy | None = Field(description="What the table says of it beside; null when the router refuses it")
    canary: bool = Field(description="Whether the cell is the pool's canary")
    canary_cell: str | None = Field(description="The pool's canary, which takes `canary_percent` of its requests")
    canary_percent: float
    quarantine: QuarantineView | None = Field(description="Null where the tenant is in none")
    redirect: str | None = Field(description="The URL that clients are sent to; null when the request is proxied")
    reason: str = Field(description="`assignment`, `slot`, `default`, `source`, or the code of the refusal")
    epoch: int
    text: str = Field(description="The same in a sentence")


class CellHealth(Strict):
    """Hosts of one cell, as a router's proxy counts them."""

    hosts: Count
    healthy_hosts: Count
    score: Annotated[float, Field(ge=0, le=100, description="What its answers are worth, as this router sees them")] = (
        100.0
    )
    breaker: Annotated[
        Literal["closed", "open", "half-open"],
        Field(description="The circuit breaker; an open one lets nothing through"),
    ] = "closed"
    gray: Annotated[bool, Field(description="Whether it is worse than its peers, though its checks may be good")] = (
        False
    )


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
    version: Annotated[str, Field(max_length=40, description="Its agent's release; empty where it does not say")] = ""
    at: Annotated[float | None, Field(ge=0, le=MAX_UNIX_SECONDS, description="Unix seconds by its clock")] = None
    rejected: Rejection | None = None
    cells: Annotated[dict[str, CellHealth], Field(max_length=MAX_CELLS)] = {}
    suspects: Annotated[
        list[Suspect], Field(max_length=MAX_SUSPECTS, description="Tenants that make a cell ill for all others")
    ] = []
    shadows: Annotated[list[ShadowCounts], Field(max_length=MAX_COUNTED)] = []
    waiting_seconds: Annotated[
        float | None,
        Field(ge=0, description="For how long the oldest answer waits for a shadow's; null: it does not say"),
    ] = None


class RouterView(BaseModel):
    """A router and its last report."""

    id: str
    epoch: int
    sha256: str
    proxy: str
    ready: bool
    version: str = Field(description="Its agent's release; empty where it does not say")
    rejected: Rejection | None
    clock_offset_seconds: float | None = Field(
        description="How far its clock is ahead of the control plane's, to some tenths; null where it does not say"
    )
    age_seconds: Seconds
    lost: bool = Field(description="Whether it has been silent for too long")
    behind: int = Field(
        description="Published epoch less its own; negative when the directory was restored from an older copy"
    )


class RouterList(BaseModel):
    """One page of routers, and how far all of them are."""

    published_epoch: int | None
    known: int = Field(description="Routers that report, or did until lately")
    converged: int = Field(description="Those that are not lost and run the published epoch")
    lost: int = Field(description="Those that are silent")
    items: list[RouterView]
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")


class Alive(BaseModel):
    """The control plane's health, to whom it does not know."""

    status: HealthStatus


class Health(BaseModel):
    """The control plane's own health."""

    status: HealthStatus
    epoch: int
    published_epoch: int | None


class DirectoryHealth(Health):
    """The same, and what is wrong."""

    problem: str | None = Field(description="What is wrong and what to do; null where nothing is")


class CellRefusal(BaseModel):
    """Why one cell does not take a tenant."""

    cell: str
    reason: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None
    cells: Annotated[
        list[CellRefusal] | None, Field(description="With `no-cell`: why each cell does not take the tenant")
    ] = None
