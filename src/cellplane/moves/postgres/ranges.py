"""Goes through one tenant's rows in the order of their key, a bounded number at a time.

Whatever the planner thinks: the statistics of a table that a tenant has just come to, or left, are of another time, and
by them it would rather look at all rows for each that is looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cellplane.moves.differences import Key
from cellplane.moves.postgres.guard import named
from cellplane.moves.tables import Table

BY_INDEX: tuple[LiteralString, ...] = ("SET enable_seqscan = off", "SET enable_sort = off")
"""What a session is set to that goes through ranges: where there is an index, it gives them, in their order."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """A tenant's rows of one table.

    Args:
        table: which.
        tenant_column: name of the column that says whose a row is.
        tenant_id: whose.
    """

    table: Table
    tenant_column: str
    tenant_id: str

    def of(self, connection: psycopg.Connection[Any], rows: int) -> Iterator[tuple[Key | None, Key | None]]:
        """Ranges of so many rows: behind the first key, up to and with the second; keys without the tenant's column.

        The last one has fewer, or none. The next is looked for only when it is asked for.
        """
        order = self.table.order_within(self.tenant_column)
        # By the table's columns, and not by the texts of the same names: those have no index, and another order.
        keys = sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(name)) for name in order)
        texts = sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(name)) for name in order)
        after: Key | None = None
        while order:
            statement = sql.SQL("SELECT {} FROM {} AS t WHERE {} ORDER BY {} OFFSET {} LIMIT 1").format(
                texts, named(self.table), self.where(after, None), keys, sql.Literal(rows - 1)
            )
            row = connection.execute(statement).fetchone()
            if row is None:
                break
            yield after, tuple(row)
            after = tuple(row)
        yield after, None

    def where(self, after: Key | None, until: Key | None) -> sql.Composed:
        """The condition of one of them."""
        order = self.table.order_within(self.tenant_column)
        keys = sql.SQL(", ").join(sql.Identifier(name) for name in order)
        parts = [sql.SQL("{} = {}").format(sql.Identifier(self.tenant_column), sql.Literal(self.tenant_id))]
        for sign, key in ((">", after), ("<=", until)):
            if key is not None:
                values = sql.SQL(", ").join(
                    sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(type_of(self.table, name)))
                    for name, value in zip(order, key, strict=True)
                )
                parts.append(sql.SQL("({}) " + sign + " ({})").format(keys, values))
        return sql.SQL(" AND ").join(parts)


def type_of(table: Table, name: str) -> LiteralString:
    """A column's type, as part of a statement."""
    column = table.column(name)
    assert column is not None
    return as_literal(column.type)


def as_literal(kind: str) -> LiteralString:
    """A type as format_type wrote it: it is the catalog's, not a caller's."""
    return kind
