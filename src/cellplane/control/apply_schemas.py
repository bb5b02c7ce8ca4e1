"""What POST /v1/apply takes and gives, as JSON."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cellplane.control.schemas import Strict


class ResourceSpec(Strict):
    """One resource as a manifest has it (docs/fleet.schema.json)."""

    kind: Annotated[str, Field(description="`Fleet`, `Cell`, `Pool` or `Tenant`")]
    name: str
    spec: dict[str, Any]


class ResourceList(BaseModel):
    """The fleet as a manifest has it."""

    items: list[ResourceSpec]
    next: str | None = Field(description="`after` of the next page; null on the last")


class ApplySpec(Strict):
    """Resources that shall be so."""

    resources: list[ResourceSpec]
    prune: Annotated[
        bool, Field(description="Whether what is not among the resources is removed, of kinds that they name")
    ] = False
    base_epoch: Annotated[int | None, Field(description="Refused where the directory is at another epoch")] = None


class ResourceChange(BaseModel):
    """One resource that changes."""

    kind: str
    name: str
    action: Literal["create", "change", "delete"]
    fields: dict[str, tuple[Any, Any]] = Field(description="By the field's name in a manifest: before and after")


class Applied(BaseModel):
    """What an apply changed, or would change."""

    epoch: int = Field(description="Of the directory afterwards; of a dry run, the one to name as its base")
    changes: list[ResourceChange]
    moves: dict[str, Any] = Field(description="Known tenants and slots whose preferred cell, or shard, is another")
