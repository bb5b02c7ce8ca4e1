"""The directory's tables. ``info["kind"]`` is what the change log calls a table's resources."""

from typing import Any

from sqlalchemy import JSON, Boolean, Column, Dialect, Float, Index, Integer, MetaData, String, Table, text
from sqlalchemy.types import TypeDecorator

SCHEMA_VERSION = 4
"""What ``PRAGMA user_version`` of a database of these tables says; 0 is a database from before versions."""


class Names(TypeDecorator[list[str]]):
    """A list of names as text: names have no spaces, and splitting costs a tenth of parsing JSON."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> str:  # noqa: ARG002
        """The names as text."""
        return " ".join(value or ())

    def process_result_value(self, value: Any | None, dialect: Dialect) -> list[str]:  # noqa: ARG002
        """The names of a text."""
        return str(value or "").split()


class Digits(TypeDecorator[int]):
    """A whole number as text: SQLite's own have 63 bits and a sign."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str:  # noqa: ARG002
        """The number as text."""
        return str(value or 0)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int:  # noqa: ARG002
        """The number of a text."""
        return int(value or 0)


class Said(TypeDecorator[dict[str, Any]]):
    """What a tenant says of a policy, as JSON; NULL where it says nothing, as nearly all: an index then has few."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        """What is stored."""
        return value or None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dict[str, Any]:  # noqa: ARG002
        """What is said."""
        return value or {}


metadata = MetaData()

fleet = Table(
    "fleet",
    metadata,
    Column("name", String, primary_key=True),
    Column("key_sources", JSON, nullable=False),
    Column("default_pool", String, nullable=False),
    Column("unknown_tenant", String, nullable=False),
    Column("missing_key", String, nullable=False),
    Column("default_cell", String, nullable=True),
    Column("rules", JSON, nullable=False),
    Column("retry_after_seconds", Integer, nullable=False),
    Column("jwt", JSON, nullable=False),
    Column("policy", JSON, nullable=False),
    Column("fail_open", String, nullable=False),
    Column("routers", Integer, nullable=False),
    Column("health", JSON, nullable=False),
    Column("quarantine", JSON, nullable=False),
    info={"kind": "fleet"},
)

cells = Table(
    "cells",
    metadata,
    Column("id", String, primary_key=True),
    Column("address", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("region", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("jurisdiction", String, nullable=False),
    Column("status", String, nullable=False),
    Column("weight", Float, nullable=False),
    Column("release", String, nullable=False),
    Column("capacity", JSON, nullable=False),
    Column("public_url", String, nullable=False),
    Column("maintenance_page", String, nullable=False),
    Column("protocol", String, nullable=False),
    info={"kind": "cell"},
)

pools = Table(
    "pools",
    metadata,
    Column("name", String, primary_key=True),
    Column("cells", Names, nullable=False),
    Column("strategy", String, nullable=False),
    Column("virtual_nodes", Integer, nullable=False),
    Column("shard_size", Integer, nullable=True),
    Column("seed", Digits, nullable=False),
    Column("spread", Names, nullable=False),
    Column("max_overlap", Integer, nullable=True),
    Column("dedicated", Boolean, nullable=False),
    Column("overflow", String, nullable=True),
    Column("policy", JSON, nullable=False),
    Column("canary", JSON(none_as_null=True), nullable=True),
    Column("p99_objective_seconds", Float, nullable=True),
    info={"kind": "pool"},
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String, primary_key=True),
    Column("shard", Names, nullable=False),
    Column("state", String, nullable=False),
    Column("pool", String, nullable=True),
    Column("placed_pool", String, nullable=True),
    Column("tier", String, nullable=False),
    Column("jurisdiction", String, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("load", JSON, nullable=False),
    Column("shard_size", Integer, nullable=True),
    Column("policy", Said, nullable=True),
    # For what a change of the fleet or of a pool asks: whose tenants are where, and under which jurisdiction.
    Index("tenants_by_placed_pool", "placed_pool", "jurisdiction"),
    Index("tenants_by_pool", "pool", sqlite_where=text("pool IS NOT NULL")),
    Index("tenants_by_policy", "policy", "placed_pool", sqlite_where=text("policy IS NOT NULL")),
    sqlite_with_rowid=False,
    info={"kind": "tenant"},
)

assignments = Table(
    "assignments",
    metadata,
    Column("cell", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    sqlite_with_rowid=False,
)
"""The tenants of each cell: ``tenants.shard``, the other way round."""

quarantines = Table(
    "quarantines",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("cell", String, nullable=False),
    Column("since", String, nullable=False),
    Column("until", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("figures", JSON, nullable=False),
    Column("times", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("ended", String, nullable=True),
    Column("end_reason", String, nullable=False),
    Column("held_until", String, nullable=True),
    Index("quarantines_that_last", "tenant", sqlite_where=text("ended IS NULL")),
    sqlite_with_rowid=False,
    info={"kind": "quarantine"},
)
"""The last quarantine of each tenant, beside its assignment, until it is forgotten. Times are UTC, ISO 8601."""

loads = Table(
    "loads",
    metadata,
    Column("cell", String, primary_key=True),
    Column("assigned", Integer, nullable=False),
    Column("tenants", Integer, nullable=False),
    Column("rps_micro", Integer, nullable=False),
    Column("storage_gib_micro", Integer, nullable=False),
)
"""A row for each cell: how many tenants are assigned to it, and the sums of what they declare. In millionths, since
integers that are added and taken away again leave nothing behind."""

changes = Table(
    "changes",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=True),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("id", String, nullable=False),
    Column("action", String, nullable=False),
    Column("before", JSON(none_as_null=True), nullable=True),
    Column("after", JSON(none_as_null=True), nullable=True),
    Index("changes_of_the_topology", "epoch", sqlite_where=text("kind NOT IN ('tenant', 'table', 'quarantine')")),
    sqlite_autoincrement=True,
)

publications = Table(
    "publications",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("sha256", String, nullable=False),
    Column("at", String, nullable=False),
)
