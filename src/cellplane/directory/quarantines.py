"""Quarantines, read from the store."""

from sqlalchemy import Connection, select

from cellplane.directory import rows, schema
from cellplane.model import Quarantine


def read_quarantines(connection: Connection, *, only_lasting: bool = False) -> dict[str, Quarantine]:
    """The last quarantine of each tenant that is remembered, by tenant; or of those alone that are away now."""
    table = schema.quarantines
    query = select(table).order_by(table.c.tenant)
    if only_lasting:
        query = query.where(table.c.ended.is_(None))
    return {row["tenant"]: rows.quarantine_of(dict(row)) for row in connection.execute(query).mappings()}
