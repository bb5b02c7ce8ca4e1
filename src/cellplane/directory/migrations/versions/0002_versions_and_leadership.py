"""Versions of resources, reasons of changes, answers to named requests, who leads, and the bytes of publications."""

import sqlalchemy as sa
from alembic import op

from cellplane.directory.columns import Id, Json, Number

revision = "0002"
down_revision = "0001"

CHANGED_TOPOLOGY = "kind IN ('fleet', 'cell', 'pool')"


def upgrade() -> None:
    """Make it so."""
    op.create_index("changes_by_resource", "changes", ["kind", "id", "epoch"])
    for table, kind, key in (
        ("fleet", "fleet", "name"),
        ("cells", "cell", "id"),
        ("pools", "pool", "name"),
        ("tenants", "tenant", "id"),
    ):
        op.add_column(table, sa.Column("version", Number, nullable=False, server_default="0"))
        # The names are those above.
        last = f"SELECT coalesce(max(epoch), 0) FROM changes WHERE kind = '{kind}' AND id = {table}.{key}"  # noqa: S608
        op.execute(f"UPDATE {table} SET version = ({last})")  # noqa: S608
    op.execute("DROP INDEX IF EXISTS tenants_by_policy")
    _create_index_of_some("tenants_by_policy", "tenants", "placed_pool", where="policy IS NOT NULL")
    op.add_column("changes", sa.Column("reason", sa.String, nullable=False, server_default=""))
    op.execute("DROP INDEX IF EXISTS changes_of_the_topology")
    _create_index_of_some("changes_of_the_topology", "changes", "epoch", where=CHANGED_TOPOLOGY)
    op.create_table(
        "answers",
        sa.Column("actor", Id, primary_key=True),
        sa.Column("key", Id, primary_key=True),
        sa.Column("request", sa.String, nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("answers_by_age", "answers", ["at"])
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("token", Number, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "bases",
        sa.Column("sha256", Id, primary_key=True),
        sa.Column("epoch", Number, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.add_column("publications", sa.Column("token", Number, nullable=False, server_default="0"))
    op.add_column("publications", sa.Column("base", sa.String, nullable=True))
    op.add_column("publications", sa.Column("overlay", sa.LargeBinary, nullable=True))
    op.add_column("publications", sa.Column("overlay_tenants", sa.Integer, nullable=False, server_default="0"))
    _create_index_of_some("publications_with_bytes", "publications", "epoch", where="base IS NOT NULL")


def _create_index_of_some(name: str, table: str, column: str, *, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
