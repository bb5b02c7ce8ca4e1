"""What waits in a cell's outbox, as its relay sees it: in order, until it is published.

**Order.** The relay reads the visible events with the lowest places (``seq``), whatever they are, and deletes exactly
those that JetStream acknowledged. It keeps no cursor: a place that becomes visible late, because its transaction
committed late, is simply among the lowest at the next look. So nothing is passed over. And where the transaction of
event A has committed before event B is added, A has the lower place, and every snapshot that shows B shows A: A is read
first, or is gone already. Transaction ids would not do: one that was given out early can commit late, after it saw what
a later one did; and to wait until all that are older have ended lets one open transaction hold up the whole cell.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg

from cellplane.events.event import WaitingEvent
from cellplane.events.settings import RelaySettings
from cellplane.events.state import RELAY_LOCK, STATE, OutboxState

_COLUMNS = """
SELECT seq, id::text, tenant_id, type, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    epoch::text, data::text
FROM cellplane_outbox
"""
READ = _COLUMNS + "ORDER BY seq LIMIT %s"
READ_BEHIND = _COLUMNS + "WHERE seq <> ALL(%s) ORDER BY seq LIMIT %s"

# Rows that an app is dropping are left to it: to wait for its transaction would hold up all events.
# By their places on disk, which nothing moves: a join goes wrong where statistics are of an empty outbox.
REMOVE = """
WITH mine AS (SELECT ctid FROM cellplane_outbox WHERE seq = ANY(%s) FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM cellplane_outbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM mine)) RETURNING seq),
freed AS (SELECT count(*) AS places, count(*) FILTER (WHERE seq <> ALL(%s)) AS carried FROM gone),
counted AS (UPDATE cellplane_outbox_relay SET relayed = relayed + freed.carried FROM freed)
UPDATE cellplane_outbox_state SET limit_seq = limit_seq + freed.places FROM freed RETURNING freed.places
"""

_REFUSE = """
INSERT INTO cellplane_outbox_refused (seq, id, tenant_id, type, occurred_at, epoch, data, added_at, reason)
SELECT seq, id, tenant_id, type, occurred_at, epoch, data, added_at, %s FROM cellplane_outbox WHERE seq = %s
ON CONFLICT (id) DO NOTHING
"""

_FAIL = "UPDATE cellplane_outbox_relay SET failures = failures + %s"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class Waiting:
    """A relay's connection to the outbox. Every call is bounded in time, and fails with ``psycopg.Error`` or OSError.

    Of a server that hangs, psycopg takes up to ten seconds more to give up what is cancelled, and then its connection.

    Args:
        connection: of its own, which commits each statement by itself.
        settings: of the relay.
    """

    def __init__(self, connection: Connection, settings: RelaySettings) -> None:
        self._connection = connection
        self._settings = settings

    @classmethod
    async def connect(cls, settings: RelaySettings) -> Self:
        """Connect to the cell's database."""
        async with asyncio.timeout(settings.connect_seconds):
            connection = await psycopg.AsyncConnection.connect(
                settings.database_url,
                autocommit=True,
                connect_timeout=max(2, round(settings.connect_seconds)),
                application_name=f"cellplane-relay/{settings.cell_id}",
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            )
        waiting = cls(connection, settings)
        milliseconds = max(1, round(settings.database_seconds * 1000))
        try:
            # A deletion that a crash takes back means one more publication of what is known by its id.
            await waiting._one("SELECT set_config('synchronous_commit', 'off', false)")
            # A table that is empty most of the time has statistics that say so: all rows would be read for a few.
            await waiting._one("SELECT set_config('enable_seqscan', 'off', false)")
            await waiting._one("SELECT set_config('statement_timeout', %s, false)", str(milliseconds))
        except BaseException:
            await waiting.close()
            raise
        return waiting

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection, which also gives up the lock."""
        await self.close()

    async def close(self) -> None:
        """Close the connection; one that hangs is left to the server's time-outs."""
        with suppress(psycopg.Error, OSError, TimeoutError):
            async with asyncio.timeout(self._settings.close_seconds):
                await self._connection.close()

    async def lead(self) -> bool:
        """Try to become the one relay of this outbox, for as long as the connection lives."""
        return bool((await self._one("SELECT pg_try_advisory_lock(%s)", RELAY_LOCK))[0])

    async def read(self, most: int, behind: Sequence[WaitingEvent] = ()) -> list[WaitingEvent]:
        """The events to be published next.

        Args:
            most: of them.
            behind: those that are being published now, which are left out.
        """
        if not behind:
            rows = await self._all(READ, most)
        else:
            async with asyncio.timeout(self._settings.database_seconds):
                # Planned anew each time, with the list as it is: then it is looked up by hash.
                places = [event.seq for event in behind]
                rows = await (await self._connection.execute(READ_BEHIND, (places, most), prepare=False)).fetchall()
        return [
            WaitingEvent(seq, id_, tenant, kind, at, int(epoch), data)
            for seq, id_, tenant, kind, at, epoch, data in rows
        ]

    async def remove(self, published: Sequence[int], refused: Sequence[tuple[int, str]]) -> int:
        """Delete what the stream has, and set aside what it will never take; how many of both are gone."""
        async with asyncio.timeout(self._settings.database_seconds), self._connection.transaction():
            for seq, reason in refused:
                await self._connection.execute(_REFUSE, (reason, seq))
            aside = [seq for seq, _ in refused]
            cursor = await self._connection.execute(REMOVE, ([*published, *aside], aside))
            row = await cursor.fetchone()
        assert row is not None, "the outbox has its state"
        return int(row[0])

    async def measure(self) -> int:
        """Count what waits; an outbox that drops does so now. How many wait."""
        return int((await self._one("SELECT cellplane_outbox_measure()"))[0])

    async def state(self) -> OutboxState:
        """How full the outbox is."""
        return OutboxState.parse((await self._one(STATE))[0])

    async def note_failures(self, count: int) -> None:
        """Add to how often a relay of this cell had to begin anew."""
        async with asyncio.timeout(self._settings.database_seconds):
            await self._connection.execute(_FAIL, (count,))

    async def _all(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        async with asyncio.timeout(self._settings.database_seconds):
            return await (await self._connection.execute(statement, parameters or None)).fetchall()

    async def _one(self, statement: LiteralString, *parameters: object) -> tuple[Any, ...]:
        (row,) = await self._all(statement, *parameters)
        return row
