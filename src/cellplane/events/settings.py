"""What an outbox, its relay and the stream outside are told, and every limit that they keep."""

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cellplane.cell.errors import InvalidSettingError, MissingSettingsError
from cellplane.cell.settings import CELL_ID_VARIABLE, DATABASE_URL_VARIABLE, check_cell_id

EVENTS_URL_VARIABLE = "CELLPLANE_EVENTS_URL"
STREAM_VARIABLE = "CELLPLANE_EVENTS_STREAM"
DEFAULT_STREAM = "EVENTS"
DAY_SECONDS = 86_400.0


class WhenFull(enum.StrEnum):
    """What happens to an event that the outbox has no room for."""

    REFUSE = "refuse"
    """It is not added, and the app is told: nothing is lost, and the app waits."""

    DROP_OLDEST = "drop-oldest"
    """It is added, and the oldest that wait are deleted, and counted: the app never waits."""


@dataclass(frozen=True)
class EventLimits:
    """Bounds of an event. They are part of what is on the stream, so they are not tunable."""

    type_max_chars: int = 100
    """Characters of an event's type; 100, because it is part of a subject."""

    tenant_max_chars: int = 128
    """Characters of a tenant's id; 128, as in the routing headers."""

    data_max_bytes: int = 64 * 1024
    """Bytes of an event's data as JSON; 64 KiB, far under the 1 MiB that NATS takes of a message by default."""

    add_max_events: int = 1_000
    """Events that are added by one call; 1,000, one statement."""


@dataclass(frozen=True)
class OutboxSettings:
    """How much waits in a cell's outbox. Stored in it by ``create_outbox``, so all processes of the cell go by it."""

    max_events: int = 1_000_000
    """Events that wait at most; 1,000,000, about 1 GB of 600 bytes each. What open transactions add comes on top."""

    when_full: WhenFull = WhenFull.REFUSE
    """What becomes of one more: ``refuse``, the default, tells the app; ``drop-oldest`` deletes the oldest."""

    trim_every: int = 1_000
    """With ``drop-oldest``: how many may be added over the limit before an app's own transaction drops as many, where
    no relay does; 1,000, counting a million takes 0.1 s."""

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for name in ("max_events", "trim_every"):
            if not 1 <= getattr(self, name) <= 10**12:
                raise InvalidSettingError(name, f"expected 1 to 10^12, found {getattr(self, name)}")


@dataclass(frozen=True)
class StreamSettings:
    """The stream outside of all cells. Whoever runs it creates it, not the cells."""

    name: str = DEFAULT_STREAM
    """Its name; ``EVENTS``."""

    max_bytes: int = 10 * 1024**3
    """Bytes that it holds; 10 GiB. When it is full it refuses, and events wait in the cells."""

    max_age_seconds: float = 7 * DAY_SECONDS
    """How long it keeps an event, in seconds; 7 days: a consumer that is away for longer misses events."""

    duplicate_window_seconds: float = 120.0
    """How long it knows an event by its id, in seconds; 120, NATS' default. Later ones are the consumers' to find."""

    replicas: int = 1
    """Servers that keep a copy; 1. Three in a cluster: then an acknowledged event survives the loss of a server."""


@dataclass(frozen=True)
class RelaySettings:
    """The relay's settings. Each number has its variable: ``batch_events`` that of ``CELLPLANE_EVENTS_URL``, with
    ``BATCH_EVENTS`` in the place of ``URL``.
    """

    cell_id: str
    """The cell whose events these are, ``CELLPLANE_CELL_ID``; no default."""

    database_url: str = field(repr=False)
    """URL of the cell's PostgreSQL, ``CELLPLANE_DATABASE_URL``; no default. Directly, not by way of a pooler that
    shares sessions: a lock of the session says which relay works. Not in repr: it holds a password."""

    events_url: str = field(repr=False)
    """URL of the NATS that has the stream, outside of the cell, ``CELLPLANE_EVENTS_URL``; no default. Not in repr."""

    stream: str = DEFAULT_STREAM
    """Name of the stream, ``CELLPLANE_EVENTS_STREAM``; ``EVENTS``."""

    batch_events: int = 1_000
    """Events that are read, published and deleted together; 1,000, the most that JetStream takes as one: each batch
    costs it some 20 ms on a disk, whatever is in it."""

    poll_seconds: float = 0.1
    """Between two looks at an outbox that is empty, in seconds; 0.1, one look at an index."""

    lock_seconds: float = 1.0
    """Between two tries to become the one relay of the cell, in seconds; 1, the time until another takes over."""

    measure_seconds: float = 10.0
    """Between two counts of what waits, in seconds; 10. An outbox that is nearly full is counted, not estimated."""

    measure_above: float = 0.5
    """Part of the outbox that has to be in use for that; 0.5, as nothing depends on it before."""

    connect_seconds: float = 5.0
    """Longest connect, to the database or to NATS, in seconds; 5, a slow link's handshake."""

    database_seconds: float = 30.0
    """Longest statement on the outbox, in seconds; 30, after that the connection is given up."""

    ack_seconds: float = 5.0
    """Longest wait for JetStream's acknowledgement, in seconds; 5. Without it the events are published again."""

    ping_seconds: int = 5
    """Between two pings to NATS, in whole seconds; 5, two unanswered mean that it is gone."""

    window_events: int = 256
    """Publishes that wait for their own acknowledgement where no batch can be stored as one; 256, one a tenant."""

    retry_min_seconds: float = 0.1
    """First delay after a failure, in seconds; 0.1. It doubles, with a random part, and tries never end."""

    retry_max_seconds: float = 5.0
    """Longest delay after a failure, in seconds; 5, the time until events go on after days without a link."""

    close_seconds: float = 1.0
    """How long a connection may take to close, in seconds; 1, then it is left alone."""

    status_seconds: float = 30.0
    """Between two lines of the process's log that tell its status, in seconds; 30."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_cell_id("cell_id", self.cell_id)
        check_stream("stream", self.stream)
        if not 1 <= self.batch_events <= 1_000:
            raise InvalidSettingError("batch_events", f"expected 1 to 1,000, found {self.batch_events}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings of this process.

        Raises:
            MissingSettingsError: names all variables that are missing or empty.
            InvalidSettingError: one cannot be used.
        """
        names = (CELL_ID_VARIABLE, DATABASE_URL_VARIABLE, EVENTS_URL_VARIABLE)
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise MissingSettingsError(missing)
        cell_id, database_url, events_url = (environ[name] for name in names)
        check_cell_id(CELL_ID_VARIABLE, cell_id)
        stream = environ.get(STREAM_VARIABLE) or DEFAULT_STREAM
        check_stream(STREAM_VARIABLE, stream)
        return cls(cell_id, database_url, events_url, stream, **numbers_of(cls, environ))


def numbers_of(settings: type[Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of a settings dataclass that the environment names.

    Raises:
        InvalidSettingError: one is no number, or not positive.
    """
    found: dict[str, Any] = {}
    prefix = EVENTS_URL_VARIABLE.removesuffix("URL")
    for each in dataclasses.fields(settings):
        name = prefix + each.name.upper()
        if each.type in (int, float) and environ.get(name):
            found[each.name] = _positive(name, environ[name], each.type)
    return found


def check_stream(name: str, stream: str) -> None:
    """Check that this can name a stream or a consumer of JetStream.

    Raises:
        InvalidSettingError: says so under ``name``.
    """
    plain = stream.replace("-", "").replace("_", "")
    if not (1 <= len(stream) <= 100 and plain.isascii() and plain.isalnum()):
        raise InvalidSettingError(name, f"expected 1–100 letters, digits, - and _; found {stream[:100]!r}")


def _positive(name: str, text: str, kind: Any) -> int | float:
    try:
        value: int | float = kind(text)
    except ValueError:
        value = 0
    if not 0 < value <= 1e9:
        noun = "a whole number" if kind is int else "a number"
        raise InvalidSettingError(name, f"expected {noun} over 0 and up to 1e9, found {text[:40]!r}")
    return value
