"""What the apps in cells are told."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make it so."""
    op.create_table(
        "configuration",
        sa.Column("id", Id, primary_key=True),
        sa.Column("said", Json, nullable=False),
        sa.Column("version", Number, nullable=False),
    )
