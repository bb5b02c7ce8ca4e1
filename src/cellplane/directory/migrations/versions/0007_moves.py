"""The moves of tenants, and how far their movers say that they are."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make it so."""
    op.create_table(
        "moves",
        sa.Column("id", Id, primary_key=True),
        sa.Column("number", Number, nullable=False),
        sa.Column("tenant", Id, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("hold_seconds", sa.Float, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("flipped_epoch", Number, nullable=True),
        sa.Column("pause_seconds", sa.Float, nullable=True),
        sa.Column("began", sa.String, nullable=False),
        sa.Column("reached", sa.String, nullable=False),
        sa.Column("ended", sa.String, nullable=True),
        sa.Column("wish", sa.String, nullable=False),
        sa.Column("wish_epoch", Number, nullable=False),
        sa.Column("version", Number, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("moves_by_number", "moves", ["number"])
    living = sa.text("ended IS NULL")
    op.create_index("moves_that_live", "moves", ["tenant"], sqlite_where=living, postgresql_where=living)
    op.create_table(
        "move_reports",
        sa.Column("move", Id, primary_key=True),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("report", Json, nullable=False),
    )
