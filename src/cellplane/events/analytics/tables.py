"""The tables that events are counted in, the same in DuckDB and in PostgreSQL, and the one transaction of a batch.

**Once.** The ids of a batch are added first; those that were there already add nothing. What the new ones add up to is
added in the same transaction, and only after it was committed is JetStream told: a batch that comes again, in whole or
in part, finds its ids.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from cellplane.events.analytics.facts import DeadLetter, Fact, totals_of
from cellplane.faults import fault_point

WRITTEN = "analytics-written"
"""Fault point: a batch is written, and not committed."""

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS event_facts (
    id varchar PRIMARY KEY, occurred_at timestamp NOT NULL, tenant_id varchar NOT NULL, cell_id varchar NOT NULL,
    type varchar NOT NULL, received_at timestamp NOT NULL
)""",
    "CREATE INDEX IF NOT EXISTS event_facts_by_arrival ON event_facts (received_at)",
    """
CREATE TABLE IF NOT EXISTS event_days (
    day date, tenant_id varchar, cell_id varchar, type varchar, events bigint NOT NULL,
    PRIMARY KEY (day, tenant_id, cell_id, type)
)""",
    """
CREATE TABLE IF NOT EXISTS event_sums (
    day date, tenant_id varchar, cell_id varchar, type varchar, field varchar, total decimal(38, 9) NOT NULL,
    PRIMARY KEY (day, tenant_id, cell_id, type, field)
)""",
    """
CREATE TABLE IF NOT EXISTS event_dead_letters (
    stream_seq bigint PRIMARY KEY, received_at timestamp NOT NULL, subject varchar NOT NULL, reason varchar NOT NULL,
    body varchar NOT NULL
)""",
)

# Placeholders are ?; PostgreSQL's driver has others.
_ADD_FACTS = """
INSERT INTO event_facts (id, occurred_at, tenant_id, cell_id, type, received_at)
SELECT unnest(?::varchar[]), unnest(?::timestamp[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]),
    ?::timestamp
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_ADD_DAYS = """
INSERT INTO event_days (day, tenant_id, cell_id, type, events)
SELECT unnest(?::date[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::bigint[])
ON CONFLICT (day, tenant_id, cell_id, type) DO UPDATE SET events = event_days.events + excluded.events
"""
_ADD_SUMS = """
INSERT INTO event_sums (day, tenant_id, cell_id, type, field, total)
SELECT unnest(?::date[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[]),
    unnest(?::varchar[])::decimal(38, 9)
ON CONFLICT (day, tenant_id, cell_id, type, field) DO UPDATE SET total = event_sums.total + excluded.total
"""
_ADD_DEAD_LETTERS = """
INSERT INTO event_dead_letters (stream_seq, received_at, subject, reason, body)
SELECT unnest(?::bigint[]), ?::timestamp, unnest(?::varchar[]), unnest(?::varchar[]), unnest(?::varchar[])
ON CONFLICT (stream_seq) DO NOTHING
"""
_TRIM_DEAD_LETTERS = """
DELETE FROM event_dead_letters WHERE stream_seq <= (
    SELECT stream_seq FROM event_dead_letters ORDER BY stream_seq DESC LIMIT 1 OFFSET ?::bigint
)
"""
_PRUNE = """
DELETE FROM event_facts WHERE id IN (
    SELECT id FROM event_facts WHERE received_at < ?::timestamp ORDER BY received_at LIMIT ?::bigint
)
"""


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch was.

    Attributes:
        new: events that count.
        duplicates: that were counted before.
        dead: messages that cannot be counted.
    """

    new: int
    duplicates: int
    dead: int


class Store(abc.ABC):
    """A store, open. Used by one thread at a time."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """What its driver raises where it cannot be used now."""

    is_exclusive: ClassVar[bool]
    """Whether nobody can read it while it is open for writing, until it is given back."""

    @abc.abstractmethod
    def run(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with ``?`` for its parameters; its rows, where it has some."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close it."""

    @abc.abstractmethod
    def give_back(self) -> None:
        """Let others read it, until ``take``; without effect on a store that others can read anyway."""

    @abc.abstractmethod
    def take(self) -> None:
        """Have it again.

        Raises:
            StoreLockedError: others have it.
            StoreError: it cannot be opened.
        """

    @abc.abstractmethod
    def ask(self, query: str, max_rows: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Columns and rows of one query that only reads.

        Raises:
            QueryError: it does more, or cannot be answered.
        """

    def create(self) -> None:
        """Make what is not there."""
        for statement in SCHEMA:
            self.run(statement)

    def write(
        self,
        facts: Sequence[Fact],
        dead: Sequence[DeadLetter],
        now: datetime,
        *,
        dead_letters_max: int,
        dead_letter_chars: int,
    ) -> Written:
        """Count a batch, whole or not at all.

        Args:
            facts: in any order; an id that comes twice counts once.
            dead: messages to be kept with their reasons.
            now: UTC, without saying so.
        """
        self.run("BEGIN")
        try:
            by_id = {fact.id: fact for fact in sorted(facts, key=lambda fact: fact.id, reverse=True)}
            unique = [by_id[id_] for id_ in sorted(by_id)]
            new = self._add_facts(unique, now)
            if new:
                self._add_totals(new)
            if dead:
                self._add_dead(dead, now, dead_letters_max, dead_letter_chars)
            fault_point(WRITTEN)
            self.run("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        return Written(len(new), len(facts) - len(new), len(dead))

    def prune(self, now: datetime, horizon_seconds: float, most: int) -> None:
        """Forget the ids of events that came before the horizon, so many at once."""
        self.run(_PRUNE, (now - timedelta(seconds=horizon_seconds), most))

    def _add_facts(self, facts: Sequence[Fact], now: datetime) -> list[Fact]:
        if not facts:
            return []
        columns = zip(*((f.id, f.occurred_at, f.tenant_id, f.cell_id, f.type) for f in facts), strict=True)
        ids = {row[0] for row in self.run(_ADD_FACTS, [*map(list, columns), now])}
        return [fact for fact in facts if fact.id in ids]

    def _add_totals(self, facts: Sequence[Fact]) -> None:
        totals = totals_of(facts)
        days = zip(*((*key, events) for key, events in totals.events.items()), strict=True)
        self.run(_ADD_DAYS, [*map(list, days)])
        if totals.sums:
            sums = zip(*((*key, field, format(sum_, "f")) for (key, field), sum_ in totals.sums.items()), strict=True)
            self.run(_ADD_SUMS, [*map(list, sums)])

    def _add_dead(self, dead: Sequence[DeadLetter], now: datetime, most: int, chars: int) -> None:
        rows = {
            each.message.seq: (
                _storable(each.message.subject, chars),
                _storable(each.reason, chars),
                _storable(each.message.body.decode("utf-8", "backslashreplace"), chars),
            )
            for each in dead
        }
        subjects, reasons, bodies = (list(column) for column in zip(*rows.values(), strict=True))
        self.run(_ADD_DEAD_LETTERS, ([*rows], now, subjects, reasons, bodies))
        self.run(_TRIM_DEAD_LETTERS, (most,))

    def _roll_back(self) -> None:
        """Take back what was begun; where the connection is broken, the server has."""
        try:
            self.run("ROLLBACK")
        except self.failures:
            return


def _storable(text: str, chars: int) -> str:
    """Text as a database takes it, and no more of it than that."""
    return text[:chars].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
