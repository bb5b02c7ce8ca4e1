"""Leadership: which one of several control planes publishes, and that what a former one says counts no more.

Where only one process can use the database, it leads as soon as it says so. Of several, a leader has a lease in the
database, by the database's clock, and a **fencing token** that is larger than all before.
Whatever it publishes is written in a transaction that looks whether the token is still the last, and holds it there
until it has ended. So a leader that was stopped, and goes on after another took over, changes nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from cellplane.directory import schema
from cellplane.directory.database import Database
from cellplane.errors import FencedError

_ROW = 1


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads.

    Attributes:
        holder: its name.
        token: its fencing token.
        seconds_left: of its lease, by the database's clock; below zero where that is over.
    """

    holder: str
    token: int
    seconds_left: float


class Leadership:
    """One process' part in who leads.

    Args:
        database: that of the directory.
        holder: this process' name, unlike that of every other.
        lease_seconds: how long a leader leads after it last said so.
        clock: seconds that only grow, also while the process is stopped.
    """

    def __init__(self, database: Database, holder: str, lease_seconds: float, clock: Callable[[], float]) -> None:
        self._database = database
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._token: int | None = None
        self._until = 0.0

    @property
    def leads(self) -> bool:
        """Whether this process may think that it leads; ``require`` knows."""
        return self._token is not None and self._clock() < self._until

    @property
    def token(self) -> int:
        """The fencing token; that of the last time where this process does not lead, 0 for never."""
        return self._token or 0

    def campaign(self) -> bool:
        """Renew the lease, or take it where nobody has it; returns whether this process leads.

        Raises:
            DirectoryError: the database failed; the lease goes on by the clock.
        """
        asked_at = self._clock()
        with self._database.aside() as connection:
            now = self._database.now(connection).timestamp()
            row = _row(connection, for_update=True)
            until = now + self._lease_seconds if self._database.is_shared else math.inf
            if row is None:
                token = 1
                connection.execute(insert(_TABLE).values(id=_ROW, holder=self._holder, token=token, until=until))
            elif row["holder"] == self._holder and row["token"] == self._token:
                token = row["token"]
                connection.execute(update(_TABLE).values(until=until))
            elif row["until"] <= now or not self._database.is_shared:
                token = row["token"] + 1
                connection.execute(update(_TABLE).values(holder=self._holder, token=token, until=until))
            else:
                self._token = None
                return False
        self._token, self._until = token, asked_at + (until - now)
        return True

    def resign(self) -> None:
        """Let another lead at once; nothing where this process does not lead."""
        if self._token is None:
            return
        with self._database.aside() as connection:
            mine = (_TABLE.c.holder == self._holder) & (_TABLE.c.token == self._token)
            connection.execute(update(_TABLE).where(mine).values(until=0.0))
        self._token = None

    def require(self, connection: Connection) -> int:
        """The token, which stays the last until this transaction ends.

        Args:
            connection: inside the transaction that writes.

        Raises:
            FencedError: another process leads, or the lease is over.
        """
        row = _row(connection, for_update=False)
        now = self._database.now(connection).timestamp()
        if row is None or row["holder"] != self._holder or row["token"] != self._token or row["until"] <= now:
            said = "nobody leads" if row is None else f"{row['holder']} has led, with token {row['token']}"
            raise FencedError(f"{self._holder} with token {self._token} does not lead any more: {said}")
        return int(row["token"])


def read_leader(database: Database, connection: Connection) -> Leader | None:
    """Who leads, or led last; None before anybody did."""
    row = connection.execute(select(_TABLE)).mappings().first()
    if row is None:
        return None
    left = row["until"] - database.now(connection).timestamp()
    return Leader(row["holder"], row["token"], left)


def _row(connection: Connection, *, for_update: bool) -> dict[str, Any] | None:
    found = connection.execute(select(_TABLE).with_for_update(read=not for_update)).mappings().first()
    return None if found is None else dict(found)


_TABLE = schema.leadership
