"""What the API takes and gives of assignments, as JSON."""

from typing import Annotated

from pydantic import BaseModel, Field

from cellplane.control.schemas import Changed, Strict
from cellplane.model.pool import MAX_SHARD_SIZE


class AssignmentSpec(Strict):
    """The cells that a tenant is to have."""

    cells: Annotated[
        list[str], Field(min_length=1, max_length=MAX_SHARD_SIZE, description="Its shard, the preferred cell first")
    ]
    pinned: Annotated[
        bool | None, Field(description="Whether nothing but a person moves it; null leaves what is said of that")
    ] = None


class AssignmentView(BaseModel):
    """Cells that are a tenant's own, and not those of its slot."""

    tenant: str
    cells: list[str] = Field(description="The preferred first")
    pinned: bool = Field(description="Whether nothing but a person moves it: docs/planning.md")
    pool: str | None = Field(description="The pool it is in; null as long as there is no fleet")
    version: int = Field(description="The epoch of the tenant's last change: its `ETag`")


class AssignmentChanged(AssignmentView, Changed):
    """An assignment, and from which epoch on it is so."""


class AssignmentList(BaseModel):
    """One page of assignments."""

    items: list[AssignmentView] = Field(description="Those that are wanted: a page may have few, or none")
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")
