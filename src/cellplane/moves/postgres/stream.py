"""One direction of a tenant's replication: what is written at one database is applied at the other, in order.

A **mark** is a row that is written at one end and looked for at the other: when it is there, so is all that was
committed before it. Marks prove that a stream works, tell how far behind it is, and say when nothing is under way.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from cellplane.moves.errors import NotInTimeError
from cellplane.moves.postgres.guard import named
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Table


@dataclass(frozen=True, slots=True)
class Stream:
    """What is written of a tenant at ``publisher`` goes to ``subscriber``.

    Args:
        name: of publication, slot and subscription: lower case letters, digits and ``_``.
        tenant_id: whose rows.
        settings: times.
        monotonic: seconds, for waits.
        pause: waits so many seconds.
    """

    name: str
    tenant_id: str
    settings: MoverSettings
    monotonic: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def publish(self, publisher: psycopg.Connection[Any], tables: Sequence[Table]) -> None:
        """Make the publication: the tenant's rows of these tables, and the move's marks.

        A TRUNCATE is not told: what applies it knows no row filter, and would empty the table of all tenants.
        """
        if self._is_there(publisher, "SELECT 1 FROM pg_publication WHERE pubname = %s"):
            return
        whose = sql.SQL("{} = {}").format(sql.Identifier(self.settings.tenant_column), sql.Literal(self.tenant_id))
        parts = [sql.SQL("{} WHERE ({})").format(named(table), whose) for table in tables]
        parts.append(sql.SQL("cellplane_moves.marks WHERE (stream = {})").format(sql.Literal(self.name)))
        publisher.execute(
            sql.SQL(
                "CREATE PUBLICATION {} FOR TABLE {} "
                "WITH (publish = 'insert, update, delete', publish_via_partition_root = true)"
            ).format(sql.Identifier(self.name), sql.SQL(", ").join(parts))
        )

    def tell_no_truncate(self, publisher: psycopg.Connection[Any]) -> None:
        """Let a publication that was made by a release before tell none any more either."""
        if self._is_there(publisher, "SELECT 1 FROM pg_publication WHERE pubname = %s AND pubtruncate"):
            publisher.execute(
                sql.SQL("ALTER PUBLICATION {} SET (publish = 'insert, update, delete')").format(
                    sql.Identifier(self.name)
                )
            )

    def begin_here(self, publisher: psycopg.Connection[Any]) -> None:
        """Keep what is written from now on, until it is taken or the stream is dropped."""
        if not self._is_there(publisher, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"):
            publisher.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (self.name,))

    def subscribe(self, subscriber: psycopg.Connection[Any], publisher_conninfo: str) -> None:
        """Apply what is kept there, but for what replication applied there: two directions make no circle."""
        if self._is_there(subscriber, "SELECT 1 FROM pg_subscription WHERE subname = %s"):
            return
        subscriber.execute(
            sql.SQL(
                "CREATE SUBSCRIPTION {name} CONNECTION {conninfo} PUBLICATION {name} WITH "
                "(copy_data = false, create_slot = false, slot_name = {slot}, origin = none, disable_on_error = false)"
            ).format(
                name=sql.Identifier(self.name), conninfo=sql.Literal(publisher_conninfo), slot=sql.Literal(self.name)
            )
        )

    def reconnect(self, subscriber: psycopg.Connection[Any], publisher_conninfo: str) -> None:
        """Let the subscription find its publisher where that is now."""
        row = subscriber.execute("SELECT subconninfo FROM pg_subscription WHERE subname = %s", (self.name,)).fetchone()
        if row is not None and row[0] != publisher_conninfo:
            subscriber.execute(
                sql.SQL("ALTER SUBSCRIPTION {} CONNECTION {}").format(
                    sql.Identifier(self.name), sql.Literal(publisher_conninfo)
                )
            )

    def mark(self, publisher: psycopg.Connection[Any]) -> int:
        """Write the next mark, in the place of those before; returns its number."""
        row = publisher.execute(
            "WITH past AS (DELETE FROM cellplane_moves.marks WHERE stream = %(stream)s RETURNING number) "
            "INSERT INTO cellplane_moves.marks (stream, number) "
            "SELECT %(stream)s, coalesce(max(number), 0) + 1 FROM past RETURNING number",
            {"stream": self.name},
        ).fetchone()
        assert row is not None
        return int(row[0])

    def wait_for(self, subscriber: psycopg.Connection[Any], number: int, within_seconds: float) -> float:
        """Wait until a mark has come, or a later one; returns how long that took, in seconds.

        Raises:
            NotInTimeError: it did not come; says what the subscription is at.
        """
        began = self.monotonic()
        while not subscriber.execute(
            "SELECT 1 FROM cellplane_moves.marks WHERE stream = %s AND number >= %s", (self.name, number)
        ).fetchone():
            if self.monotonic() - began > within_seconds:
                raise NotInTimeError(
                    f"what was written at the other cell did not come within {within_seconds} s: "
                    f"{self._trouble(subscriber)}"
                )
            self.pause(self.settings.poll_seconds)
        return self.monotonic() - began

    def catch_up(
        self, publisher: psycopg.Connection[Any], subscriber: psycopg.Connection[Any], within_seconds: float
    ) -> float:
        """Wait until all that is committed now at the one end is at the other; returns how long that took, in seconds.

        Raises:
            NotInTimeError: it was not.
        """
        return self.wait_for(subscriber, self.mark(publisher), within_seconds)

    def lag_bytes(self, publisher: psycopg.Connection[Any]) -> int | None:
        """Bytes of the log that are not known to be applied; None where there is no slot."""
        row = publisher.execute(
            "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint "
            "FROM pg_replication_slots WHERE slot_name = %s",
            (self.name,),
        ).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def unsubscribe(self, subscriber: psycopg.Connection[Any]) -> None:
        """End the subscription, also where the publisher cannot be reached: its slot is dropped by itself."""
        if not self._is_there(subscriber, "SELECT 1 FROM pg_subscription WHERE subname = %s"):
            return
        name = sql.Identifier(self.name)
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
        subscriber.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))

    def unpublish(self, publisher: psycopg.Connection[Any]) -> None:
        """Drop slot and publication: a slot that is forgotten keeps the log for ever, and fills the disk.

        Raises:
            NotInTimeError: somebody goes on reading the slot.
        """
        began = self.monotonic()
        while self._is_there(publisher, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"):
            try:
                publisher.execute("SELECT pg_drop_replication_slot(%s)", (self.name,))
            except psycopg.errors.ObjectInUse:
                # Its reader was told to end, or died without a word.
                publisher.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                    "WHERE slot_name = %s AND active_pid IS NOT NULL",
                    (self.name,),
                )
                if self.monotonic() - began > self.settings.wait_seconds:
                    raise NotInTimeError(
                        f"the slot {self.name} is still read after {self.settings.wait_seconds} s: end its reader, "
                        "then ask again"
                    ) from None
                self.pause(self.settings.poll_seconds)
        publisher.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.name)))

    def _is_there(self, connection: psycopg.Connection[Any], query: str) -> bool:
        return connection.execute(query.encode(), (self.name,)).fetchone() is not None

    def _trouble(self, subscriber: psycopg.Connection[Any]) -> str:
        row = subscriber.execute(
            "SELECT s.subenabled, w.pid, t.apply_error_count FROM pg_subscription s "
            "LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.worker_type = 'apply' "
            "LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid WHERE s.subname = %s",
            (self.name,),
        ).fetchone()
        if row is None:
            return "there is no subscription; repair the move"
        enabled, pid, errors = row
        if not enabled:
            return "its subscription is disabled; its database's log says why"
        if pid is None:
            return (
                f"nobody applies it, after {errors} errors: the other database cannot be reached, or its log says why"
            )
        return f"it is behind, after {errors} errors; its database's log names them"
