"""What the analytics are told, and every limit that they keep."""

import re
from dataclasses import dataclass, field

from cellplane.cell.errors import InvalidSettingError
from cellplane.events.settings import DAY_SECONDS, StreamSettings, check_stream

_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class AnalyticsSettings:
    """The settings of a consumer of all cells' events."""

    events_url: str = field(repr=False)
    """URL of the NATS that has the stream; no default. Not in repr: it may hold a password."""

    store: str = field(repr=False)
    """Path of a DuckDB file, or URL of a PostgreSQL; no default. Not in repr: it may hold a password."""

    stream: StreamSettings = field(default_factory=StreamSettings)
    """The stream, and how it is made where it is not there."""

    consumer: str = "analytics"
    """Name of the durable consumer: where it stopped, the next of this name goes on. Another store needs another."""

    sums: tuple[str, ...] = ()
    """Names of numbers at the top of events' data that are summed up, such as ``bytes``; none."""

    batch_messages: int = 1_000
    """Messages of one transaction at most; 1,000, some 50 ms of work."""

    batch_max_bytes: int = 32 * 1024**2
    """Bytes of messages that are fetched at once; 32 MiB."""

    fetch_seconds: float = 0.5
    """How long a batch that is not full is waited for, in seconds; 0.5, which is the delay of real time."""

    ack_seconds: float = 30.0
    """After this time without an answer a message comes again, in seconds; 30, far over one transaction."""

    horizon_seconds: float = 7 * DAY_SECONDS
    """How long an event's id is known after it came, in seconds; 7 days. The same id later would count again."""

    shares_store: bool = False
    """Whether a DuckDB file is given back between batches, so that others can read it meanwhile; false, which is
    quicker. PostgreSQL has readers beside its writers anyway."""

    share_hold_seconds: float = 1.0
    """How long a shared file is held at most while batch follows batch, in seconds; 1, which a reader may wait."""

    share_pause_seconds: float = 0.05
    """How long it is free then, in seconds; 0.05, two tries of a reader."""

    share_retry_seconds: float = 0.02
    """Between two tries to have it back from its readers, in seconds; 0.02."""

    share_wait_seconds: float = 10.0
    """How long that is tried before it counts as a failure, in seconds; 10. Events wait on the stream."""

    prune_seconds: float = 60.0
    """Between two deletions of ids beyond that, in seconds; 60."""

    prune_rows: int = 50_000
    """Most that one deletes; 50,000, a second of work."""

    max_future_seconds: float = DAY_SECONDS
    """How far in the future an event may have happened, in seconds; 1 day: clocks differ, but not more."""

    dead_letters_max: int = 100_000
    """Messages that could not be counted, kept with their reasons; 100,000, then the oldest go."""

    dead_letter_chars: int = 2_000
    """Characters that are kept of each; 2,000."""

    connect_seconds: float = 5.0
    """Longest connect, in seconds; 5."""

    database_seconds: float = 60.0
    """Longest statement in PostgreSQL, in seconds; 60."""

    ping_seconds: int = 5
    """Between two pings to NATS, in whole seconds; 5, two unanswered mean that it is gone."""

    retry_min_seconds: float = 0.1
    """First delay after a failure, in seconds; 0.1. It doubles, with a random part, and tries never end."""

    retry_max_seconds: float = 5.0
    """Longest delay after a failure, in seconds; 5."""

    close_seconds: float = 1.0
    """How long a connection may take to close, in seconds; 1."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_stream("stream", self.stream.name)
        check_stream("consumer", self.consumer)
        for name in self.sums:
            if _FIELD.fullmatch(name) is None:
                raise InvalidSettingError("sums", f"expected the name of a field, found {name[:63]!r}")
        if not 1 <= self.batch_messages <= 10_000:
            raise InvalidSettingError("batch_messages", f"expected 1 to 10,000, found {self.batch_messages}")


@dataclass(frozen=True)
class QueryLimits:
    """Bounds of what is asked of a store."""

    max_rows: int = 100_000
    """Rows of one answer; 100,000."""

    lock_wait_seconds: float = 10.0
    """How long a DuckDB file is waited for that its consumer has open, in seconds; 10, far more than one that shares it
    has it at a time."""

    lock_retry_seconds: float = 0.02
    """Between two tries to open it, in seconds; 0.02."""

    statement_seconds: float = 60.0
    """Longest query in PostgreSQL, in seconds; 60."""
