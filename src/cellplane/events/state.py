"""How full an outbox is, and what its relays did: one statement, which whoever may read the cell's database can ask."""

import json
from dataclasses import dataclass
from typing import Self

# Any constant will do, as long as all relays of a cell use the same and nobody else does.
RELAY_LOCK = 0x63656C6C_72656C61

# All of it is a look at an index or at one row: nothing is counted, however much waits.
STATE = f"""
WITH first AS (SELECT seq, added_at FROM cellplane_outbox ORDER BY seq LIMIT 1),
used AS (
    SELECT greatest(0, max_events - (limit_seq - cellplane_outbox_last())) AS places, max_events, when_full, dropped
    FROM cellplane_outbox_state
)
SELECT CAST(json_build_object(
    'places', places,
    'waiting', coalesce((SELECT least(places, cellplane_outbox_last() - seq + 1) FROM first), 0),
    'oldest_seconds', coalesce((SELECT greatest(0, extract(epoch FROM now() - added_at)) FROM first), 0),
    'max_events', max_events,
    'when_full', when_full,
    'dropped', dropped + (SELECT coalesce(sum(events), 0) FROM cellplane_outbox_dropped),
    'refused', (SELECT count(*) FROM cellplane_outbox_refused),
    'has_relay', EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = {RELAY_LOCK >> 32} AND objid = {RELAY_LOCK & 0xFFFFFFFF}
            AND objsubid = 1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ),
    'relayed', relayed,
    'failures', failures
) AS text)
FROM used, cellplane_outbox_relay
"""  # noqa: S608  # of constants
"""Gives what ``OutboxState.parse`` reads."""


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How full a cell's outbox is, and what became of its events, whichever relay carried them."""

    waiting: int = 0
    """Events that wait, 0 where none does; what transactions took back behind the first of them counts, too."""

    oldest_seconds: float = 0.0
    """How long the first of them has waited, in seconds; 0 where none waits."""

    places: int = 0
    """Places in use: as many as wait, and those that transactions took back since the last count."""

    max_events: int = 0
    """Places that there are."""

    when_full: str = ""
    """What happens to one event more."""

    dropped: int = 0
    """Events that were deleted for want of room, ever."""

    refused: int = 0
    """Events that the stream will never take, and that are kept beside the outbox."""

    has_relay: bool = False
    """Whether a relay works for the cell now."""

    relayed: int = 0
    """Events that were carried, ever."""

    failures: int = 0
    """How often a relay had to begin anew, ever. What fails is noted by the next try that reaches the database."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the answer to ``STATE``."""
        return cls(**json.loads(text))
