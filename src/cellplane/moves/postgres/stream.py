"""One direction of a tenant's replication: what is written at one database is applied at the other, in order.

A **mark** is a row that is written at one end and looked for at the other: when it is there, so is all that was
committed before it. Marks prove that a stream works, tell how far behind it is, and say when nothing is under way.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from cellplane.moves.errors import NotInTimeError
from cellplane.moves.postgres.guard import named
from cellplane.moves.settings import MoverSettings
from cellplane.moves.tables import Table

_SENT = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
    pg_wal_lsn_diff(s.confirmed_flush_lsn, '0/0')::bigint, pg_wal_lsn_diff(r.sent_lsn, '0/0')::bigint
FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid WHERE s.slot_name = %s
"""

_RECEIVED = """
SELECT pg_wal_lsn_diff(w.received_lsn, '0/0')::bigint,
    (1000000 * extract(epoch FROM w.last_msg_receipt_time))::bigint, t.apply_error_count
FROM pg_subscription s
LEFT JOIN pg_stat_subscription w ON w.subid = s.oid AND w.worker_type = 'apply'
LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid WHERE s.subname = %s
"""

_WRITING: LiteralString = """
SELECT pid, usename, application_name, datname, state, extract(epoch FROM now() - xact_start)::bigint
FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 3
"""

_PREPARED: LiteralString = """
SELECT gid, database, extract(epoch FROM now() - prepared)::bigint FROM pg_prepared_xacts ORDER BY prepared LIMIT 3
"""


@dataclass(slots=True)
class _Coming:
    """Whether something comes, from one look to the next."""

    until: int = 0
    """Where in the log all is that was asked for."""

    furthest: list[int] = field(default_factory=list)
    """How far in the log what is confirmed, sent and received has been."""

    heard: int = 0
    """When the subscriber heard something last."""

    errors: int | None = None
    """How often it had failed at the first look."""

    fails: bool = False
    """Whether it failed since, or nobody applies."""

    def look(self, sent: tuple[Any, ...] | None, received: tuple[Any, ...] | None) -> bool:
        """Whether more has come since the look before.

        What is sent anew behind an error is nothing more, and neither is what is sent behind what was asked for.
        """
        now, confirmed, sent_until = sent or (0, None, None)
        received_until, heard, errors = received or (None, None, None)
        is_first = not self.furthest
        if is_first:
            self.until, self.errors, self.furthest = now, errors, [0, 0, 0]
        self.fails = heard is None or errors != self.errors
        reached = [min(each or 0, self.until) for each in (confirmed, sent_until, received_until)]
        is_more = any(each > before for each, before in zip(reached, self.furthest, strict=True))
        # A long transaction says no other place in the log until it ends.
        is_more = is_more or (not self.fails and heard > self.heard)
        self.furthest = [max(pair) for pair in zip(reached, self.furthest, strict=True)]
        self.heard = max(heard or 0, self.heard)
        return is_more and not is_first


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
        """Keep what is written from now on, until it is taken or the stream is dropped.

        Raises:
            NotInTimeError: a transaction that is under way does not end.
        """
        if not self._is_there(publisher, "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"):
            statement = sql.SQL("SELECT pg_create_logical_replication_slot({}, 'pgoutput')")
            self._slot(publisher, statement.format(sql.Literal(self.name)))

    def begin_with_snapshot(self, slots: psycopg.Connection[Any], told: Callable[[], None] = lambda: None) -> str:
        """As ``begin_here``; returns a snapshot of that moment, which is there as long as nothing else is asked.

        Args:
            slots: a connection for replication to where it is written.
            told: hears that it is waited for; may raise, which ends the wait.

        Raises:
            NotInTimeError: a transaction that is under way does not end.
        """
        statement = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')")
        return str(self._slot(slots, statement.format(sql.Identifier(self.name)), told)[2])

    def _slot(
        self, connection: psycopg.Connection[Any], statement: sql.Composed, told: Callable[[], None] = lambda: None
    ) -> tuple[Any, ...]:
        """Make the slot: its server waits until all transactions have ended that were under way, whoever's."""
        began = self.monotonic()
        with ThreadPoolExecutor(1, thread_name_prefix="slot") as aside:
            made = aside.submit(lambda: connection.execute(statement).fetchone())
            try:
                while not made.done() and self.monotonic() - began <= self.settings.slot_seconds:
                    told()
                    self.pause(self._pause_seconds(self.monotonic() - began))
            finally:
                # More than once: it may not have been asked for yet.
                while not made.done():
                    connection.cancel_safe(timeout=self.settings.connect_seconds)
                    self.pause(self.settings.poll_seconds)
        try:
            row: tuple[Any, ...] | None = made.result()
        except psycopg.errors.QueryCanceled as error:
            raise NotInTimeError(
                f"a replication slot begins when all transactions have ended that were under way, and within "
                f"{self.monotonic() - began:.0f} s these did not: {_under_way(connection)}"
            ) from error
        assert row is not None
        return row

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
        while not self._has_come(subscriber, number):
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

    def keep_up(
        self,
        publisher: psycopg.Connection[Any],
        subscriber: psycopg.Connection[Any],
        told: Callable[[], None] = lambda: None,
    ) -> float:
        """As ``catch_up``, while nobody waits for it: for as long as it is coming.

        Args:
            publisher: where it is written.
            subscriber: where it is to be.
            told: hears that it is waited for; may raise, which ends the wait.

        Raises:
            NotInTimeError: nothing came for a while, or it took too long.
        """
        seconds, has_come = self._approach(publisher, subscriber, self.settings.coming_seconds, told)
        if not has_come:
            raise NotInTimeError(
                f"what was written at the other cell has not all come within {self.settings.coming_seconds:g} s, and "
                f"{self.lag_bytes(publisher)} bytes of its log are left: move the tenant when the cells do less"
            )
        return seconds

    def lag_seconds(self, publisher: psycopg.Connection[Any], subscriber: psycopg.Connection[Any]) -> float:
        """How long what is committed now takes to be at the other end; where it is still coming, how long it was
        waited for.

        Raises:
            NotInTimeError: nothing came for a while.
        """
        return self._approach(publisher, subscriber, self.settings.lag_look_seconds)[0]

    def _approach(
        self,
        publisher: psycopg.Connection[Any],
        subscriber: psycopg.Connection[Any],
        longest_seconds: float,
        told: Callable[[], None] = lambda: None,
    ) -> tuple[float, bool]:
        """Wait for what is committed now, for so long if it is coming; returns how long, and whether all came."""
        number = self.mark(publisher)
        began = looked = moved = self.monotonic()
        coming = _Coming()
        while not self._has_come(subscriber, number):
            now = self.monotonic()
            if now - looked >= self.settings.look_seconds:
                looked = now
                told()
                if coming.look(self._row(publisher, _SENT), self._row(subscriber, _RECEIVED)):
                    moved = now
                if now - began >= longest_seconds and moved > began:
                    return now - began, False
                quiet_seconds = self.settings.wait_seconds if coming.fails else self.settings.quiet_seconds
                if now - moved > quiet_seconds:
                    raise NotInTimeError(
                        f"nothing of what was written at the other cell came for {quiet_seconds:g} s: "
                        f"{self._trouble(subscriber)}"
                    )
            self.pause(self._pause_seconds(now - began))
        return self.monotonic() - began, True

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

    def _pause_seconds(self, waited: float) -> float:
        """Until the next look: the longer it takes, the less a hundredth of a second matters."""
        return min(self.settings.look_seconds, max(self.settings.poll_seconds, waited / 10))

    def _has_come(self, subscriber: psycopg.Connection[Any], number: int) -> bool:
        mark = "SELECT 1 FROM cellplane_moves.marks WHERE stream = %s AND number >= %s"
        return subscriber.execute(mark, (self.name, number)).fetchone() is not None

    def _row(self, connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...] | None:
        return connection.execute(query.encode(), (self.name,)).fetchone()

    def _is_there(self, connection: psycopg.Connection[Any], query: str) -> bool:
        return self._row(connection, query) is not None

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


def _under_way(connection: psycopg.Connection[Any]) -> str:
    """The oldest transactions that write on this server, and how to end them. What they ask for is not told."""
    found = [
        f"process {pid} ({', '.join(filter(None, (user, application, database)))}; {state}) for {seconds} s: "
        f"SELECT pg_terminate_backend({pid}) ends it"
        for pid, user, application, database, state, seconds in connection.execute(_WRITING)
    ]
    found += [
        f"the prepared transaction {name!r} ({database}) for {seconds} s: commit it or roll it back"
        for name, database, seconds in connection.execute(_PREPARED)
    ]
    return "; ".join(found) or "they have ended by now: ask again"
