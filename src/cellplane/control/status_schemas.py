"""What a control plane says of itself, as JSON."""

from typing import Literal

from pydantic import BaseModel, Field


class LeaderView(BaseModel):
    """The control plane that publishes, of several."""

    holder: str = Field(description="Its name, port and process")
    token: int = Field(description="Its fencing token: it grows each time that another one leads, or begins to")
    seconds_left: float | None = Field(
        description="Of its lease, below 0 where that is over; null where only one can use the directory"
    )


class SigningKeyView(BaseModel):
    """A key that signs tables, without its secret."""

    id: str
    jurisdiction: str = Field(description="Empty: of all")
    not_after: str | None = Field(description="UTC, ISO 8601; null where it has no end")
    expired: bool


class TargetView(BaseModel):
    """Where tables are put beside the API."""

    name: str
    epoch: int | None = Field(description="Of the last table that it took of this process; null for none yet")
    failure: str = Field(description="Why it did not take the one that was offered last; empty where it did")


class ControlStatus(BaseModel):
    """One control plane: its release, clocks, directory, and what becomes of its tables. Times are UTC, ISO 8601."""

    version: str
    table_format: str = Field(description="Major and minor version of the tables that it publishes")
    store: Literal["sqlite", "postgresql"]
    schema_revision: str | None = Field(description="The last migration that the directory has had")
    schema_expected: str = Field(description="The last that this release knows")
    now: str = Field(description="By this machine's clock")
    database_now: str = Field(description="By the directory's")
    leads: bool = Field(description="Whether this control plane publishes")
    leader: LeaderView | None = Field(description="Null before any did")
    signing_keys: list[SigningKeyView]
    targets: list[TargetView] = Field(description="Of this process: only the one that leads puts tables there")
    table_check_installed: bool
    guard_rails: bool
    tls: bool = Field(description="Whether the API speaks it itself")
    free_bytes: int = Field(description="On the file system of its state folder")
