"""The directory's tables, as the last migration leaves them. ``info["kind"]`` is what the change log calls a table's
resources; ``version`` is the epoch of a resource's last change.
"""

from typing import Any

from sqlalchemy import Boolean, Column, Dialect, Float, Index, Integer, LargeBinary, MetaData, String, Table, text
from sqlalchemy.types import TypeDecorator

from cellplane.directory.columns import Id, Json, Number


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

    impl = Json
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        """What is stored."""
        return value or None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> dict[str, Any]:  # noqa: ARG002
        """What is said."""
        return value or {}


def _part_of_index(name: str, *columns: str, where: str) -> Index:
    """An index of some rows alone."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


metadata = MetaData()

fleet = Table(
    "fleet",
    metadata,
    Column("name", Id, primary_key=True),
    Column("key_sources", Json, nullable=False),
    Column("default_pool", String, nullable=False),
    Column("unknown_tenant", String, nullable=False),
    Column("missing_key", String, nullable=False),
    Column("default_cell", String, nullable=True),
    Column("rules", Json, nullable=False),
    Column("retry_after_seconds", Integer, nullable=False),
    Column("jwt", Json, nullable=False),
    Column("policy", Json, nullable=False),
    Column("fail_open", String, nullable=False),
    Column("routers", Integer, nullable=False),
    Column("health", Json, nullable=False),
    Column("quarantine", Json, nullable=False),
    Column("version", Number, nullable=False),
    info={"kind": "fleet"},
)

cells = Table(
    "cells",
    metadata,
    Column("id", Id, primary_key=True),
    Column("address", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("region", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("jurisdiction", String, nullable=False),
    Column("status", String, nullable=False),
    Column("weight", Float, nullable=False),
    Column("release", String, nullable=False),
    Column("capacity", Json, nullable=False),
    Column("public_url", String, nullable=False),
    Column("maintenance_page", String, nullable=False),
    Column("protocol", String, nullable=False),
    Column("version", Number, nullable=False),
    info={"kind": "cell"},
)

pools = Table(
    "pools",
    metadata,
    Column("name", Id, primary_key=True),
    Column("cells", Names, nullable=False),
    Column("strategy", String, nullable=False),
    Column("virtual_nodes", Integer, nullable=False),
    Column("shard_size", Integer, nullable=True),
    Column("seed", Digits, nullable=False),
    Column("spread", Names, nullable=False),
    Column("max_overlap", Integer, nullable=True),
    Column("dedicated", Boolean, nullable=False),
    Column("overflow", String, nullable=True),
    Column("policy", Json, nullable=False),
    Column("canary", Json, nullable=True),
    Column("p99_objective_seconds", Float, nullable=True),
    Column("version", Number, nullable=False),
    info={"kind": "pool"},
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", Id, primary_key=True),
    Column("shard", Names, nullable=False),
    Column("state", String, nullable=False),
    Column("pool", String, nullable=True),
    Column("placed_pool", String, nullable=True),
    Column("tier", String, nullable=False),
    Column("jurisdiction", String, nullable=False),
    Column("attributes", Json, nullable=False),
    Column("load", Json, nullable=False),
    Column("shard_size", Integer, nullable=True),
    Column("policy", Said, nullable=True),
    Column("version", Number, nullable=False),
    # For what a change of the fleet or of a pool asks: whose tenants are where, and under which jurisdiction.
    Index("tenants_by_placed_pool", "placed_pool", "jurisdiction"),
    _part_of_index("tenants_by_pool", "pool", where="pool IS NOT NULL"),
    _part_of_index("tenants_by_policy", "placed_pool", where="policy IS NOT NULL"),
    sqlite_with_rowid=False,
    info={"kind": "tenant"},
)

assignments = Table(
    "assignments",
    metadata,
    Column("cell", Id, primary_key=True),
    Column("tenant", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""The tenants of each cell: ``tenants.shard``, the other way round."""

quarantines = Table(
    "quarantines",
    metadata,
    Column("tenant", Id, primary_key=True),
    Column("cell", String, nullable=False),
    Column("since", String, nullable=False),
    Column("until", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("figures", Json, nullable=False),
    Column("times", Integer, nullable=False),
    Column("epoch", Number, nullable=False),
    Column("ended", String, nullable=True),
    Column("end_reason", String, nullable=False),
    Column("held_until", String, nullable=True),
    _part_of_index("quarantines_that_last", "tenant", where="ended IS NULL"),
    sqlite_with_rowid=False,
    info={"kind": "quarantine"},
)
"""The last quarantine of each tenant, beside its assignment, until it is forgotten. Times are UTC, ISO 8601."""

configuration = Table(
    "configuration",
    metadata,
    Column("id", Id, primary_key=True),
    Column("said", Json, nullable=False),
    Column("version", Number, nullable=False),
    info={"kind": "config"},
)
"""What the apps in cells are told: a setting (``model.configuration.Setting``), or ``flag/NAME``, a row."""

moves = Table(
    "moves",
    metadata,
    Column("id", Id, primary_key=True),
    Column("number", Number, nullable=False),
    Column("tenant", Id, nullable=False),
    Column("source", String, nullable=False),
    Column("target", String, nullable=False),
    Column("hold_seconds", Float, nullable=False),
    Column("phase", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("flipped_epoch", Number, nullable=True),
    Column("pause_seconds", Float, nullable=True),
    Column("began", String, nullable=False),
    Column("reached", String, nullable=False),
    Column("ended", String, nullable=True),
    Column("wish", String, nullable=False),
    Column("wish_epoch", Number, nullable=False),
    Column("version", Number, nullable=False),
    Index("moves_by_number", "number"),
    _part_of_index("moves_that_live", "tenant", where="ended IS NULL"),
    sqlite_with_rowid=False,
    info={"kind": "move"},
)
"""The moves of tenants, as their movers report them, until they are forgotten; ``number`` is the epoch of the entry by
which one began to be known. Times are UTC, ISO 8601. In the log their id is the tenant's."""

loads = Table(
    "loads",
    metadata,
    Column("cell", Id, primary_key=True),
    Column("assigned", Number, nullable=False),
    Column("tenants", Number, nullable=False),
    Column("rps_micro", Number, nullable=False),
    Column("storage_gib_micro", Number, nullable=False),
)
"""A row for each cell: how many tenants are assigned to it, and the sums of what they declare. In millionths, since
integers that are added and taken away again leave nothing behind."""

CHANGED_TOPOLOGY = "kind IN ('fleet', 'cell', 'pool')"
"""Changes of what is not about single tenants. Queries say it in these words, or SQLite does not use the index."""

changes = Table(
    "changes",
    metadata,
    Column("epoch", Number, primary_key=True, autoincrement=True),
    Column("at", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("on_behalf_of", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("id", Id, nullable=False),
    Column("action", String, nullable=False),
    Column("before", Json, nullable=True),
    Column("after", Json, nullable=True),
    _part_of_index("changes_of_the_topology", "epoch", where=CHANGED_TOPOLOGY),
    Index("changes_by_resource", "kind", "id", "epoch"),
    sqlite_autoincrement=True,
)
"""The append-only log: who, when, why, what, before and after. An entry's number is the epoch."""

answers = Table(
    "answers",
    metadata,
    Column("actor", Id, primary_key=True),
    Column("key", Id, primary_key=True),
    Column("request", String, nullable=False),
    Column("answer", Json, nullable=False),
    Column("at", String, nullable=False),
    Index("answers_by_age", "at"),
    sqlite_with_rowid=False,
)
"""What was answered to a change that named an ``Idempotency-Key``, in the transaction that made it."""

leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String, nullable=False),
    Column("token", Number, nullable=False),
    Column("until", Float, nullable=False),
)
"""One row: who publishes, by which fencing token, until when in seconds of the database's clock."""

bases = Table(
    "bases",
    metadata,
    Column("sha256", Id, primary_key=True),
    Column("epoch", Number, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
"""Bytes of the bases that the last publications stand on."""

publications = Table(
    "publications",
    metadata,
    Column("epoch", Number, primary_key=True, autoincrement=False),
    Column("sha256", String, nullable=False),
    Column("at", String, nullable=False),
    Column("token", Number, nullable=False),
    Column("base", String, nullable=True),
    Column("overlay", LargeBinary, nullable=True),
    Column("overlay_tenants", Integer, nullable=False),
    _part_of_index("publications_with_bytes", "epoch", where="base IS NOT NULL"),
)
"""Every table that was published, by its checksum (that of its overlay, where it has one). Only the last have their
bytes here: ``base`` names one of ``bases``.
"""

tokens = Table(
    "tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("subject", String, nullable=True),
    Column("permissions", Json, nullable=True),
    Column("digest", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("expires_at", String, nullable=False),
    Column("revoked_at", String, nullable=True),
    Column("last_used_at", String, nullable=True),
)
"""Who may call. Of a token's secret only the SHA-256 is here. Times are UTC, ISO 8601."""

audit = Table(
    "audit",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("at", String, nullable=False),
    Column("caller", String, nullable=False),
    Column("role", String, nullable=False),
    Column("source", String, nullable=False),
    Column("method", String, nullable=False),
    Column("path", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("epoch", Number, nullable=True),
    Index("audit_by_age", "at"),
    sqlite_autoincrement=True,
)
"""Calls that changed something, each in the transaction of its change, and calls that were refused."""


def _reports(name: str, whose: str) -> Table:
    return Table(
        name,
        metadata,
        Column(whose, Id, primary_key=True),
        Column("replica", String, nullable=False),
        Column("at", Float, nullable=False),
        Column("report", Json, nullable=False),
    )


router_reports = _reports("router_reports", "router")
"""The last report of each router, and which of several control planes took it; ``at`` is of the database's clock."""

cell_reports = _reports("cell_reports", "cell")
"""The last report of each cell, likewise."""

move_reports = _reports("move_reports", "move")
"""The last word of each mover on how far its move is, likewise."""

cell_locks = Table(
    "cell_locks",
    metadata,
    Column("cell", Id, primary_key=True),
    Column("is_locked", Boolean, nullable=False),
    Column("hold", String, nullable=False),
    Column("low_since", Float, nullable=True),
)
"""What was decided of each cell's lock, and what people ordered (``capacity.locks``); seconds of the database's clock.
"""

capacity_samples = Table(
    "capacity_samples",
    metadata,
    Column("kind", Id, primary_key=True),
    Column("name", Id, primary_key=True),
    Column("at", Number, primary_key=True, autoincrement=False),
    Column("share", Float, nullable=False),
)
"""How full cells and pools were; ``at`` is where a span of time begins, Unix seconds, and the last sample of a span
stays."""

cell_asks = Table(
    "cell_asks",
    metadata,
    Column("pool", Id, primary_key=True),
    Column("ask", String, nullable=False),
    Column("at", Float, nullable=False),
    Column("reason", String, nullable=False),
    Column("cell", String, nullable=True),
    Column("failure", String, nullable=False),
    Column("done_at", Float, nullable=True),
)
"""The last cell that each pool asked a provisioner for; seconds of the database's clock."""
