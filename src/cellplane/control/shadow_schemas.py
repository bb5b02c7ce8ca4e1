"""What routers say of the comparison of shadows, and what the API gives of it, as JSON."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT
from cellplane.model import MAX_KEY_BYTES
from cellplane.model.key import MAX_NAME_CHARS
from cellplane.shadow.comparison import MAX_DIFFERENCES
from cellplane.shadow.redaction import MAX_PATH_CHARS
from cellplane.shadow.report import MAX_SAMPLES_OF_ONE, MAX_TENANTS_OF_ONE


class AnswerDifference(BaseModel):
    """Where two answers differ; of values the kind and the length."""

    model_config = STRICT

    path: Annotated[str, Field(max_length=MAX_PATH_CHARS)]
    cell: Annotated[str, Field(max_length=MAX_PATH_CHARS)]
    shadow: Annotated[str, Field(max_length=MAX_PATH_CHARS)]


class ShadowSample(BaseModel):
    """A request that a cell and its shadow answered differently; what may be a value in its path is `*`."""

    model_config = STRICT

    at: Annotated[float, Field(description="Unix seconds")]
    tenant: Annotated[str, Field(max_length=MAX_KEY_BYTES)]
    method: Annotated[str, Field(max_length=MAX_PATH_CHARS)]
    path: Annotated[str, Field(max_length=MAX_PATH_CHARS)]
    cell_status: int
    shadow_status: int
    differences: Annotated[list[AnswerDifference], Field(max_length=MAX_DIFFERENCES)]


Count = Annotated[int, Field(ge=0)]
Unanswered = Annotated[Count, Field(description="One of the two gave no whole answer in time")]
TooLarge = Annotated[Count, Field(description="Too large to say whether they differ only in what is ignored")]
Skipped = Annotated[Count, Field(description="More than the router's agent may compare")]


class ShadowTenant(BaseModel):
    """The same of the requests of one tenant, since a router's agent last took it up."""

    model_config = STRICT

    tenant: Annotated[str, Field(max_length=MAX_KEY_BYTES)]
    match: Count
    mismatch: Count
    unanswered: Unanswered
    too_large: TooLarge
    skipped: Skipped


class ShadowCounts(BaseModel):
    """What comparing the answers of a cell and its shadow came to, since the routers' agents began."""

    model_config = STRICT

    cell: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    shadow: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    match: Count
    mismatch: Count
    unanswered: Unanswered
    too_large: TooLarge
    skipped: Skipped
    samples: Annotated[list[ShadowSample], Field(max_length=MAX_SAMPLES_OF_ONE, description="The last mismatches")]
    tenants: Annotated[
        Sequence[ShadowTenant], Field(max_length=MAX_TENANTS_OF_ONE, description="The last tenants")
    ] = []


class ShadowAtRouter(BaseModel):
    """What one router counted of a tenant."""

    router: str
    match: int
    mismatch: int
    unanswered: int
    too_large: int
    skipped: int


class ShadowTenantTotals(ShadowTenant):
    """The same of the requests of one tenant, at all routers."""

    routers: Annotated[
        list[ShadowAtRouter], Field(description="By router, where `tenant` asks for it: each counts anew by itself")
    ] = []


class ShadowTotals(ShadowCounts):
    """What comparing the answers of a cell and its shadow came to at all routers, since their agents began."""

    tenants: Annotated[
        list[ShadowTenantTotals], Field(description=f"The last tenants, up to {MAX_TENANTS_OF_ONE} of each router")
    ]


class ShadowRouter(BaseModel):
    """A router whose counts are in a list."""

    id: str
    at: Annotated[float | None, Field(description="When it counted, Unix seconds by its clock; null: it does not say")]
    age_seconds: Annotated[float, Field(description="For how long it has said nothing")]
    lost: Annotated[bool, Field(description="Whether it has been silent for too long")]
    waiting_seconds: Annotated[
        float | None,
        Field(description="For how long its oldest answer waited for one of a shadow; null: it does not say"),
    ]


class ShadowList(BaseModel):
    """All shadows whose answers are compared."""

    items: list[ShadowTotals]
    routers: Annotated[
        list[ShadowRouter],
        Field(description="Where `tenant` asks for it: all that report, also those that have counted nothing of it"),
    ] = []
