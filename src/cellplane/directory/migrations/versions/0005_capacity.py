"""What cells report, whether they are locked, how full they were, and which were asked for."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make it so."""
    op.create_table(
        "cell_reports",
        sa.Column("cell", Id, primary_key=True),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("report", Json, nullable=False),
    )
    op.create_table(
        "cell_locks",
        sa.Column("cell", Id, primary_key=True),
        sa.Column("is_locked", sa.Boolean, nullable=False),
        sa.Column("hold", sa.String, nullable=False),
        sa.Column("low_since", sa.Float, nullable=True),
    )
    op.create_table(
        "capacity_samples",
        sa.Column("kind", Id, primary_key=True),
        sa.Column("name", Id, primary_key=True),
        sa.Column("at", Number, primary_key=True, autoincrement=False),
        sa.Column("share", sa.Float, nullable=False),
    )
    op.create_table(
        "cell_asks",
        sa.Column("pool", Id, primary_key=True),
        sa.Column("ask", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("cell", sa.String, nullable=True),
        sa.Column("failure", sa.String, nullable=False),
        sa.Column("done_at", sa.Float, nullable=True),
    )
