"""Tokens of callers, the audit of their calls, and for whom a change was made."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make it so."""
    op.add_column("changes", sa.Column("on_behalf_of", sa.String, nullable=False, server_default=""))
    op.create_table(
        "tokens",
        sa.Column("id", Id, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=True),
        sa.Column("permissions", Json, nullable=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("expires_at", sa.String, nullable=False),
        sa.Column("revoked_at", sa.String, nullable=True),
        sa.Column("last_used_at", sa.String, nullable=True),
    )
    op.create_table(
        "audit",
        sa.Column("id", Number, primary_key=True, autoincrement=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("caller", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("epoch", Number, nullable=True),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_age", "audit", ["at"])
