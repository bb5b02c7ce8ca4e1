"""Row-level security of PostgreSQL: policies that show a transaction one tenant's rows, as SQL.

They need nothing but a setting of the transaction (``cellplane.data`` sets it), and keep every statement to the tenant,
also those that forget to name it. They are no defence against SQL that a stranger writes: whoever can run any
statement can also change the setting.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cellplane.cell.errors import RowGuardError

TENANT_SETTING = "cellplane.tenant_id"
"""The setting that says whose rows a transaction sees. Where it is missing or empty, there are none."""

TENANT_POLICY = "cellplane_tenant"
WHOLE_CELL_POLICY = "cellplane_whole_cell"

MAX_TABLES = 1_000
"""Most tables of one migration: one that has more is hardly meant."""

ColumnType = Literal["text", "uuid", "bigint", "integer"]
COLUMN_TYPES: tuple[ColumnType, ...] = ("text", "uuid", "bigint", "integer")

_PLAIN_NAME = re.compile(r"[^\W\d]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowSecuritySql:
    """A migration: what puts the policies there, and what takes them away."""

    up: str
    down: str


def rls_sql(
    tables: Sequence[str],
    column: str = "tenant_id",
    *,
    column_type: ColumnType = "text",
    whole_cell_role: str | None = None,
) -> RowSecuritySql:
    """The statements of a migration that puts tables under row-level security, also for their owner.

    Running ``up`` twice is the same as once.

    Args:
        tables: their names, as ``table`` or ``schema.table``; names are quoted, so that upper case is kept.
        column: of each, that holds the tenant's id.
        column_type: of that column: the setting is cast to it, so that its indexes serve.
        whole_cell_role: sees all rows, for work on the whole cell. A role, since a condition in the tenant's policy
            would keep PostgreSQL from using an index. It has to be there, with its rights on the tables.

    Raises:
        RowGuardError: a name cannot be one, a table is named twice, or there is none.
    """
    if not tables or len(tables) > MAX_TABLES:
        raise RowGuardError([f"expected 1–{MAX_TABLES} tables, found {len(tables)}"])
    if len(set(tables)) < len(tables):
        raise RowGuardError([f"expected each table once, found {', '.join(tables)}"])
    if column_type not in COLUMN_TYPES:
        raise RowGuardError([f"expected a column of {', '.join(COLUMN_TYPES)}, found {column_type!r}"])
    tenant = f"(SELECT nullif(current_setting('{TENANT_SETTING}', true), '')::{column_type})"
    is_tenant = f"{quoted(column)} = {tenant}"
    up, down = [], []
    for table in map(qualified, tables):
        up += [
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;",
            f"DROP POLICY IF EXISTS {TENANT_POLICY} ON {table};",
            f"CREATE POLICY {TENANT_POLICY} ON {table} USING ({is_tenant}) WITH CHECK ({is_tenant});",
            f"DROP POLICY IF EXISTS {WHOLE_CELL_POLICY} ON {table};",
        ]
        if whole_cell_role is not None:
            role = quoted(whole_cell_role)
            up.append(f"CREATE POLICY {WHOLE_CELL_POLICY} ON {table} TO {role} USING (true) WITH CHECK (true);")
        down += [
            f"DROP POLICY IF EXISTS {WHOLE_CELL_POLICY} ON {table};",
            f"DROP POLICY IF EXISTS {TENANT_POLICY} ON {table};",
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;",
        ]
    return RowSecuritySql("".join(f"{line}\n" for line in up), "".join(f"{line}\n" for line in down))


def qualified(table: str) -> str:
    """A table's name, with its schema where it has one, as SQL.

    Raises:
        RowGuardError: it cannot be one.
    """
    parts = table.split(".")
    if len(parts) > 2:
        raise RowGuardError([f"expected a table as name or schema.name, found {table[:100]!r}"])
    return ".".join(map(quoted, parts))


def quoted(name: str) -> str:
    """A name as SQL.

    Raises:
        RowGuardError: it is none of ASCII letters, digits and underscores, or longer than PostgreSQL keeps.
    """
    if not _PLAIN_NAME.fullmatch(name) or len(name) > 63:
        raise RowGuardError([f"expected a name of 1–63 letters, digits and underscores, found {name[:100]!r}"])
    return f'"{name}"'
