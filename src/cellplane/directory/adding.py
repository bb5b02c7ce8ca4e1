"""Adds rows by the thousands: what SQLAlchemy does for each value of each row is done once for each column."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table, insert

Convert = Callable[[Any], Any]


class Adding:
    """``INSERT`` of whole rows of a table.

    Args:
        table: all rows that it is ever given have the same columns.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._prepared: dict[str, tuple[str, list[tuple[str, Convert | None]]]] = {}

    def __call__(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add them. Raises IntegrityError where one is there already."""
        if not rows:
            return
        dialect = connection.dialect
        if dialect.name not in self._prepared:
            self._prepared[dialect.name] = self._prepare(dialect, list(rows[0]))
        statement, columns = self._prepared[dialect.name]
        values = [[row[name] if convert is None else convert(row[name]) for name, convert in columns] for row in rows]
        if dialect.positional:
            connection.exec_driver_sql(statement, [tuple(each) for each in values])
        else:
            names = [name for name, _ in columns]
            connection.exec_driver_sql(statement, [dict(zip(names, each, strict=True)) for each in values])

    def _prepare(self, dialect: Dialect, names: list[str]) -> tuple[str, list[tuple[str, Convert | None]]]:
        compiled = insert(self._table).compile(dialect=dialect, column_keys=names)
        types = {name: self._table.columns[name].type.dialect_impl(dialect) for name in names}
        order = list(getattr(compiled, "positiontup", None) or names)
        return str(compiled), [(name, types[name].bind_processor(dialect)) for name in order]
