"""What routers report, where several control planes share a directory."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make it so."""
    op.create_table(
        "router_reports",
        sa.Column("router", Id, primary_key=True),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("report", Json, nullable=False),
    )
