"""What the API takes and gives of tenants, as JSON."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import PolicySpec
from cellplane.control.quarantine_schemas import QuarantineView
from cellplane.control.schemas import Changed, LoadSpec, State, Strict
from cellplane.directory import TenantRecord
from cellplane.directory.rows import policy_of, tenant_row
from cellplane.errors import ValidationError
from cellplane.model import Load, TenantState

_LOAD, _POLICY = LoadSpec(), PolicySpec()


class TenantSpec(Strict):
    """A change of a tenant. What is absent stays as it is; nothing at all leaves its place to its pool again."""

    cell: Annotated[str | None, Field(description="The cell to pin it to; null leaves its place to its pool")] = None
    cells: Annotated[
        list[str] | None, Field(description="The cells to assign it to, the preferred first; or `cell`")
    ] = None
    place: Annotated[bool, Field(description="Whether its pool chooses its place anew")] = False
    state: Annotated[State | None, Field(description="Absent: as it is; active for a new tenant")] = None
    pool: Annotated[
        str | None, Field(description="The pool it is in whatever the rules say; null lets them choose")
    ] = None
    tier: str = ""
    jurisdiction: Annotated[str, Field(description="Whose law its data is under; empty where any will do")] = ""
    attributes: Annotated[dict[str, str], Field(description="Whatever else rules go by", default_factory=dict)]
    # Shared by all, as nobody changes them: a copy for each body was a third of an import.
    load: Annotated[LoadSpec, Field(default_factory=lambda: _LOAD)]
    shard_size: Annotated[int | None, Field(description="Its own K; null where it is its pool's")] = None
    policy: Annotated[PolicySpec, Field(default_factory=lambda: _POLICY)]

    @property
    def places_anew(self) -> bool:
        """Whether the tenant's pool chooses its place anew."""
        return self.place or not self.model_fields_set

    def fields(self) -> dict[str, Any]:
        """The attributes of Tenant that this body names.

        Raises:
            ValidationError: it says more than one thing of the tenant's place.
        """
        given = self.model_fields_set
        if ("cell" in given) + ("cells" in given) + self.place > 1:
            raise ValidationError("tenant.cells", "expected one of cell, cells and place")
        found: dict[str, Any] = {
            name: getattr(self, name) for name in given & {"pool", "tier", "jurisdiction", "shard_size"}
        }
        if "cell" in given:
            found["shard"] = () if self.cell is None else (self.cell,)
        if "cells" in given:
            found["shard"] = tuple(self.cells or ())
        if self.state is not None:
            found["state"] = TenantState(self.state)
        if "attributes" in given:
            found["attributes"] = tuple(sorted(self.attributes.items()))
        if "load" in given:
            load = self.load
            found["load"] = Load(load.tenants, load.rps, load.storage_gib)
        if "policy" in given:
            found["policy"] = policy_of(self.policy.model_dump())
        return found

    def path(self, field: str) -> str:
        """What this body calls a field of the model."""
        if not field.startswith("tenant.shard["):
            return {"tenant.shard": "tenant.cells"}.get(field, field)
        return "tenant.cell" if "cell" in self.model_fields_set else field.replace(".shard", ".cells")


class TenantView(BaseModel):
    """A tenant as the directory holds it."""

    id: str
    cell: str | None = Field(description="The preferred cell of those it is assigned to; null when its slot places it")
    cells: list[str] = Field(description="The cells it is assigned to, the preferred first")
    state: str
    pool: str | None = Field(description="The pool it is in whatever the rules say; null where they choose")
    placed_pool: str | None = Field(description="The pool it is in; null as long as there is no fleet")
    tier: str
    jurisdiction: str
    attributes: dict[str, str]
    load: LoadSpec
    shard_size: int | None
    policy: PolicySpec = Field(description="What it says itself")
    version: int = Field(description="The epoch of its last change: its `ETag`")

    @classmethod
    def fields_of(cls, record: TenantRecord) -> dict[str, Any]:
        """The fields of a tenant of the directory."""
        row = tenant_row(record)
        cells = row.pop("shard")
        return {**row, "cell": record.tenant.cell, "cells": cells, "version": record.version}


class TenantChanged(TenantView, Changed):
    """A tenant, from which epoch on it is so, and why it is placed where it is."""

    rule: str | None = Field(description="Name of the rule that chose its pool; null where none did")
    reason: str


class PlacedTenant(TenantView):
    """A tenant, and where the published table sends it."""

    placed: str | None = Field(description="The cell that the published table sends it to; null when refused")
    slot_cell: str | None = Field(
        description="The cell of its slot by that table, also where it is assigned or suspended; null where none is"
    )
    placed_epoch: int | None = Field(
        description="The epoch of that table: before `version`, it does not know this version; null where there is none"
    )
    quarantine: QuarantineView | None = Field(description="Null where it is in none")


class TenantList(BaseModel):
    """One page of tenants."""

    items: list[PlacedTenant]
    next: str | None = Field(description="Ask `after` with this for the next page; null on the last")
