"""What routers report, exchanged by control planes that share a directory: each hears those that ask it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select

from cellplane.directory import schema
from cellplane.directory.database import Database


@dataclass(frozen=True, slots=True)
class SharedReport:
    """A router's report, as another control plane took it.

    Attributes:
        router: its id.
        age_seconds: since it was taken, by the database's clock.
        report: what it said.
    """

    router: str
    age_seconds: float
    report: Mapping[str, Any]


def exchange_reports(
    database: Database, replica: str, taken: Mapping[str, tuple[Mapping[str, Any], float]], keep_seconds: float
) -> list[SharedReport]:
    """Give the reports that were taken here, and get those that others took.

    Does not wait for those that write.

    Args:
        replica: name of this control plane.
        taken: by router, its report, and the seconds since it came.
        keep_seconds: how long a silent router is remembered.
    """
    with database.aside() as connection:
        now = database.now(connection).timestamp()
        gone = (_TABLE.c.at < now - keep_seconds) | _TABLE.c.router.in_(sorted(taken))
        connection.execute(delete(_TABLE).where(gone))
        if taken:
            values = [
                {"router": router, "replica": replica, "at": now - age, "report": report}
                for router, (report, age) in sorted(taken.items())
            ]
            connection.execute(insert(_TABLE), values)
        query = select(_TABLE.c.router, _TABLE.c.at, _TABLE.c.report).where(_TABLE.c.replica != replica)
        return [SharedReport(router, now - at, report) for router, at, report in connection.execute(query)]


_TABLE = schema.router_reports
