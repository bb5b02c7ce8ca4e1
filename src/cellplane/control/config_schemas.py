"""What the API takes and gives of configuration, as JSON."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from cellplane.control.policy_schemas import STRICT
from cellplane.directory.records import ConfigRow
from cellplane.model.configuration import FlagRollout

Scalar = bool | int | float | str | None


class SettingSpec(BaseModel):
    """What a setting says."""

    model_config = STRICT

    value: Annotated[
        Scalar | list[Scalar],
        Field(description="Of the type that the app declares; cells go on with what they have where it is of another"),
    ]


class SettingView(SettingSpec):
    """A setting."""

    id: str = Field(description="`fleet/NAME`, `pool/POOL/NAME`, `cell/CELL/NAME` or `tenant/TENANT/NAME`")
    version: int = Field(description="The epoch of its last change")

    @classmethod
    def of(cls, row: ConfigRow) -> "SettingView":
        """As the directory has it."""
        return cls(id=row.id, value=row.said["value"], version=row.version)


class SettingList(BaseModel):
    """One page of settings."""

    items: list[SettingView]
    next: str | None


class FlagSpec(BaseModel):
    """For whom a flag is on: nobody, as long as nothing is said."""

    model_config = STRICT

    everywhere: Annotated[bool, Field(description="For all tenants of all cells")] = False
    cells: Annotated[list[str], Field(description="For all tenants of these cells")] = []
    percent: Annotated[
        float,
        Field(
            ge=0, le=100, allow_inf_nan=False, description="For this share of all tenants, in whatever cell they are"
        ),
    ] = 0.0
    tenants: Annotated[dict[str, bool], Field(description="On or off for these, whatever else is said")] = {}

    def to_model(self) -> FlagRollout:
        """The rollout.

        Raises:
            ValidationError: with the path of the first field that breaks a rule.
        """
        found = FlagRollout(
            everywhere=self.everywhere, cells=tuple(self.cells), percent=self.percent, tenants=self.tenants
        )
        found.validate("flag")
        return found


class FlagView(FlagSpec):
    """A flag."""

    name: str
    version: int = Field(description="The epoch of its last change")

    @classmethod
    def of(cls, row: ConfigRow) -> "FlagView":
        """As the directory has it."""
        return cls(name=row.id.partition("/")[2], version=row.version, **row.said)


class FlagList(BaseModel):
    """One page of flags."""

    items: list[FlagView]
    next: str | None


class CellConfig(BaseModel):
    """All that the apps of one cell are told, as `cellplane.cell.config` reads it."""

    version: int = Field(description="Of the format: 1")
    revision: int = Field(description="Grows with each change")
    cell: str
    layers: dict[str, dict[str, Any]] = Field(
        description="Settings by layer: `fleet`, `pool`, `cell`; a later one wins"
    )
    tenants: dict[str, dict[str, Any]] = Field(description="Settings of tenants that may be in the cell by their law")
    flags: dict[str, FlagSpec]
