"""What routers, cells and movers report, exchanged by control planes that share a directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Table, delete, insert, select

from cellplane.directory import schema
from cellplane.directory.database import Database


class Reporter(Enum):
    """Who reports; the value names the column of its id."""

    ROUTER = "router"
    CELL = "cell"
    MOVE = "move"

    @property
    def table(self) -> Table:
        """Where its reports are exchanged."""
        return _TABLES[self]


@dataclass(frozen=True, slots=True)
class SharedReport:
    """A report, as another control plane took it.

    Attributes:
        id: of the router, cell or move.
        age_seconds: since it was taken, by the database's clock.
        report: what it said.
    """

    id: str
    age_seconds: float
    report: Mapping[str, Any]


def exchange_reports(
    database: Database,
    reporter: Reporter,
    replica: str,
    taken: Mapping[str, tuple[Mapping[str, Any], float]],
    keep_seconds: float,
) -> list[SharedReport]:
    """Give the reports that were taken here, and get those that others took.

    Does not wait for those that write.

    Args:
        replica: name of this control plane.
        taken: by id, the report, and the seconds since it came.
        keep_seconds: how long somebody silent is remembered.
    """
    table = reporter.table
    id_column = table.c[reporter.value]
    with database.aside() as connection:
        now = database.now(connection).timestamp()
        gone = (table.c.at < now - keep_seconds) | id_column.in_(sorted(taken))
        connection.execute(delete(table).where(gone))
        if taken:
            values = [
                {reporter.value: name, "replica": replica, "at": now - age, "report": report}
                for name, (report, age) in sorted(taken.items())
            ]
            connection.execute(insert(table), values)
        query = select(id_column, table.c.at, table.c.report).where(table.c.replica != replica)
        return [SharedReport(name, now - at, report) for name, at, report in connection.execute(query)]


_TABLES = {
    Reporter.ROUTER: schema.router_reports,
    Reporter.CELL: schema.cell_reports,
    Reporter.MOVE: schema.move_reports,
}
