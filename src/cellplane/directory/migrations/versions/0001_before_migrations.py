"""The schema from before there were migrations, as SQLite directories of ``user_version`` 4 have it."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it so."""
    op.create_table(
        "fleet",
        sa.Column("name", Id, primary_key=True),
        sa.Column("key_sources", Json, nullable=False),
        sa.Column("default_pool", sa.String, nullable=False),
        sa.Column("unknown_tenant", sa.String, nullable=False),
        sa.Column("missing_key", sa.String, nullable=False),
        sa.Column("default_cell", sa.String, nullable=True),
        sa.Column("rules", Json, nullable=False),
        sa.Column("retry_after_seconds", sa.Integer, nullable=False),
        sa.Column("jwt", Json, nullable=False),
        sa.Column("policy", Json, nullable=False),
        sa.Column("fail_open", sa.String, nullable=False),
        sa.Column("routers", sa.Integer, nullable=False),
        sa.Column("health", Json, nullable=False),
        sa.Column("quarantine", Json, nullable=False),
    )
    op.create_table(
        "cells",
        sa.Column("id", Id, primary_key=True),
        sa.Column("address", sa.String, nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("region", sa.String, nullable=False),
        sa.Column("zone", sa.String, nullable=False),
        sa.Column("jurisdiction", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("capacity", Json, nullable=False),
        sa.Column("public_url", sa.String, nullable=False),
        sa.Column("maintenance_page", sa.String, nullable=False),
        sa.Column("protocol", sa.String, nullable=False),
    )
    op.create_table(
        "pools",
        sa.Column("name", Id, primary_key=True),
        sa.Column("cells", sa.String, nullable=False),
        sa.Column("strategy", sa.String, nullable=False),
        sa.Column("virtual_nodes", sa.Integer, nullable=False),
        sa.Column("shard_size", sa.Integer, nullable=True),
        sa.Column("seed", sa.String, nullable=False),
        sa.Column("spread", sa.String, nullable=False),
        sa.Column("max_overlap", sa.Integer, nullable=True),
        sa.Column("dedicated", sa.Boolean, nullable=False),
        sa.Column("overflow", sa.String, nullable=True),
        sa.Column("policy", Json, nullable=False),
        sa.Column("canary", Json, nullable=True),
        sa.Column("p99_objective_seconds", sa.Float, nullable=True),
    )
    op.create_table(
        "tenants",
        sa.Column("id", Id, primary_key=True),
        sa.Column("shard", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("pool", sa.String, nullable=True),
        sa.Column("placed_pool", sa.String, nullable=True),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("jurisdiction", sa.String, nullable=False),
        sa.Column("attributes", Json, nullable=False),
        sa.Column("load", Json, nullable=False),
        sa.Column("shard_size", sa.Integer, nullable=True),
        sa.Column("policy", Json, nullable=True),
        sqlite_with_rowid=False,
    )
    op.create_index("tenants_by_placed_pool", "tenants", ["placed_pool", "jurisdiction"])
    _create_index_of_some("tenants_by_pool", "tenants", "pool", where="pool IS NOT NULL")
    op.create_table(
        "assignments",
        sa.Column("cell", Id, primary_key=True),
        sa.Column("tenant", Id, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "quarantines",
        sa.Column("tenant", Id, primary_key=True),
        sa.Column("cell", sa.String, nullable=False),
        sa.Column("since", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("figures", Json, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("ended", sa.String, nullable=True),
        sa.Column("end_reason", sa.String, nullable=False),
        sa.Column("held_until", sa.String, nullable=True),
        sqlite_with_rowid=False,
    )
    _create_index_of_some("quarantines_that_last", "quarantines", "tenant", where="ended IS NULL")
    op.create_table(
        "loads",
        sa.Column("cell", Id, primary_key=True),
        sa.Column("assigned", Number, nullable=False),
        sa.Column("tenants", Number, nullable=False),
        sa.Column("rps_micro", Number, nullable=False),
        sa.Column("storage_gib_micro", Number, nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("epoch", Number, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("before", Json, nullable=True),
        sa.Column("after", Json, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "publications",
        sa.Column("epoch", Number, primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )


def _create_index_of_some(name: str, table: str, column: str, *, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
