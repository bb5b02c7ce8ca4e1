"""What routers say of the comparison of shadows, and what the API gives of it, as JSON."""

from typing import Annotated

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT
from cellplane.model import MAX_KEY_BYTES
from cellplane.model.key import MAX_NAME_CHARS
from cellplane.shadow.comparison import MAX_DIFFERENCES
from cellplane.shadow.redaction import MAX_PATH_CHARS
from cellplane.shadow.report import MAX_SAMPLES_OF_ONE


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


class ShadowCounts(BaseModel):
    """What comparing the answers of a cell and its shadow came to, since the routers' agents began."""

    model_config = STRICT

    cell: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    shadow: Annotated[str, Field(max_length=MAX_NAME_CHARS)]
    match: Annotated[int, Field(ge=0)]
    mismatch: Annotated[int, Field(ge=0)]
    unanswered: Annotated[int, Field(ge=0, description="One of the two gave no whole answer in time")]
    too_large: Annotated[int, Field(ge=0, description="Too large to say whether they differ only in what is ignored")]
    skipped: Annotated[int, Field(ge=0, description="More than the router's agent may compare")]
    samples: Annotated[list[ShadowSample], Field(max_length=MAX_SAMPLES_OF_ONE, description="The last mismatches")]


class ShadowList(BaseModel):
    """All shadows whose answers are compared."""

    items: list[ShadowCounts]
