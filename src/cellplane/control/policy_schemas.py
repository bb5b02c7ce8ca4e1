"""What the API takes and gives of policies, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", strict=True)
"""Of a body: an unknown or mistyped field is an error, not a guess."""


class CompareSpec(BaseModel):
    """Of which requests the answers of cell and shadow are compared."""

    model_config = STRICT

    percent: Annotated[float, Field(description="0 to 100, with two decimals at most")]
    ignore: Annotated[
        list[str], Field(description="Paths of values in JSON answers that may differ, such as `/items/*/id`")
    ] = []


class PolicySpec(BaseModel):
    """What routers do with requests beyond finding their cell; null where nothing is said here.

    A tenant's counts before its pool's, that before the fleet's, that before the defaults.
    """

    model_config = STRICT

    writes: Annotated[
        Literal["shard", "fail"] | None,
        Field(description="What a request that writes gets when its first cell is down; `shard` by default"),
    ] = None
    reads: Annotated[
        Literal["shard", "standby", "cache", "fail"] | None,
        Field(description="What a request that reads gets when its first cell is down; `shard` by default"),
    ] = None
    standby: Annotated[str | None, Field(description="The cell that `standby` means")] = None
    cache_seconds: Annotated[
        int | None, Field(description="How old an answer of `cache` may be, seconds; 3600 by default")
    ] = None
    balance: Annotated[
        Literal["preferred", "round-robin", "least-loaded"] | None,
        Field(description="How requests spread over the cells of a shard; `preferred` by default"),
    ] = None
    mode: Annotated[
        Literal["proxy", "redirect"] | None,
        Field(description="`redirect` sends clients to the cell's public URL; `proxy` by default"),
    ] = None
    rps: Annotated[float | None, Field(description="Requests per second of one tenant")] = None
    burst_seconds: Annotated[
        float | None, Field(description="How many seconds' worth of them may come at once; 1 by default")
    ] = None
    priority: Annotated[
        Literal["normal", "high"] | None, Field(description="`high` is shed last; `normal` by default")
    ] = None
    shadow: Annotated[str | None, Field(description="A cell that gets a copy of each request")] = None
    copies: Annotated[
        Literal["all", "reads"] | None,
        Field(description="Which requests it gets a copy of; `reads` leaves out those that write; `all` by default"),
    ] = None
    compare: Annotated[
        CompareSpec | None, Field(description="Of which requests its answer is compared with the cell's")
    ] = None


class CanarySpec(BaseModel):
    """A cell that takes a part of a pool's requests."""

    model_config = STRICT

    cell: str
    percent: Annotated[float, Field(description="0 to 100, with two decimals at most")]
    by: Annotated[
        Literal["tenant", "request"], Field(description="Always the same tenants, or any requests, by chance")
    ] = "tenant"


class RoutePolicy(BaseModel):
    """A policy as the table has it: merged, and with one router's part of the limits."""

    writes: str
    reads: str
    standby: str | None
    cache_seconds: int | None
    balance: str
    mode: str
    priority: str
    shadow: str | None
    copies: str
    compare: CompareSpec | None
    rps: float | None = Field(description="Requests per second of the tenant, at one router; null where none is said")
    burst_seconds: float
