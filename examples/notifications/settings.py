"""What this app is told from outside, when it starts and while it runs, and every limit and time that it keeps."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cellplane.cell import CellSettings, InvalidSettingError, MissingSettingsError
from cellplane.cell.data import IdempotencySettings
from cellplane.cell.messaging import MessagingSettings
from cellplane.cell.wiring import CellManifest
from cellplane.events import RelaySettings
from cellplane.events.settings import EVENTS_URL_VARIABLE

PROVIDER_DIR_VARIABLE = "NOTIFICATIONS_PROVIDER_DIR"
FAULT_VARIABLE = "NOTIFICATIONS_FAULT"
FAULTS_FILE_VARIABLE = "NOTIFICATIONS_FAULTS_FILE"
OWNER_URL_VARIABLE = "NOTIFICATIONS_OWNER_URL"
MANIFEST_VARIABLE = "NOTIFICATIONS_MANIFEST"
PROOF_KEYS_VARIABLE = "NOTIFICATIONS_PROOF_KEYS"
MOVES_VARIABLE = "NOTIFICATIONS_MOVES"
CONFIG_VARIABLE = "NOTIFICATIONS_CONFIG"

DELIVERY_SECONDS_FLAG = "delivery-seconds"
"""Flag: answers say of a notification how long its delivery took."""

FLAGS = (DELIVERY_SECONDS_FLAG,)
"""Features that are off until `cellplane flag on` says for whom they are on."""


@dataclass(frozen=True)
class Limits:
    """Bounds that callers see. They are part of the API, so they are not tunable."""

    request_body_max_bytes: int = 64 * 1024
    """Bytes of a request's body; 64 KiB, the largest valid notification, all of it escaped, takes 53."""

    recipient_max_chars: int = 320
    """Characters of ``to``; 320, the longest e-mail address (RFC 3696, erratum 1690)."""

    text_max_chars: int = 4096
    """Characters of ``body``; 4,096, what the common push services take."""

    page_max_items: int = 200
    """Notifications of one page; 200, at most 5 MB of JSON."""

    key_max_chars: int = 255
    """Visible ASCII characters of an ``Idempotency-Key``; 255, as many as the SDK takes."""

    cursor_max_chars: int = 64
    """Characters of a cursor; 64, room over the 49 of one that this app gives."""

    problem_max_errors: int = 10
    """Wrong fields that one refusal names; 10, more would only repeat a hostile body."""

    field_path_max_chars: int = 100
    """Characters of a field's path in a refusal; 100, because unknown names come from the caller."""


_QUEUE = MessagingSettings(
    # Rows keep what cannot be queued at once, so nobody waits for a queue that is away.
    connection_wait_seconds=0.0,
    publish_seconds=1.0,
    connect_seconds=2.0,
    reconnect_min_seconds=0.1,
    reconnect_max_seconds=2.0,
    # As many deliveries at a time as there are database connections.
    lanes=8,
    # A message of a worker that died comes again after that; a provider's hiccup is over after the other.
    ack_seconds=5.0,
    retry_min_seconds=2.0,
    retry_max_seconds=2.0,
    # Far over worker_max_attempts, which the row counts: deliveries that stops and kills cut short are no poison.
    max_deliveries=100,
    # A stop is done within 5 s.
    fetch_seconds=1.0,
    stop_seconds=3.0,
    close_seconds=0.5,
)


_KEYS = IdempotencySettings(
    # Less than a statement may take, so that a repetition learns what it waits for.
    wait_seconds=1.0,
    # By one sweep: more than a cell takes in a second.
    max_forgotten=5_000,
)


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What `cellplane config set` says of the fleet, a pool, a cell or a tenant, while the processes run."""

    page_items: int = 50
    """Notifications of one page when the caller does not say; 50, a screen or two. 1 to 200."""

    def __post_init__(self) -> None:
        """Refuse what no caller could ask for: then the document before stays in force."""
        if not 1 <= self.page_items <= Limits.page_max_items:
            raise ValueError(f"page_items: expected 1 to {Limits.page_max_items}, found {self.page_items}")


@dataclass(frozen=True)
class Settings:
    """The processes' settings. ``NOTIFICATIONS_<NAME>`` in the environment sets a number."""

    cell: CellSettings
    """Which cell this is, where its database and its queue are; from ``CELLPLANE_*``."""

    provider_dir: Path
    """Folder of the simulated providers' files, ``NOTIFICATIONS_PROVIDER_DIR``; no default, it is outside the cell."""

    owner_url: str = dataclasses.field(repr=False)
    """URL of the same database for its owner, who makes tables and roles at a start, ``NOTIFICATIONS_OWNER_URL``; no
    default: the role of ``CELLPLANE_DATABASE_URL`` must own nothing. Not in repr: it may hold a password."""

    manifest: Path | None = None
    """File that says what is this cell's, ``NOTIFICATIONS_MANIFEST``; none: what ``CELLPLANE_*`` names is."""

    proof_keys: Path | None = None
    """File of the keys by which requests of routers are known, ``NOTIFICATIONS_PROOF_KEYS``; none: all are believed."""

    moves: Path | None = None
    """File that says which tenants moved, ``NOTIFICATIONS_MOVES``; none: every tenant that a router sends is ours."""

    config: Path = Path("config.json")
    """File of the settings and flags that change while it runs, ``NOTIFICATIONS_CONFIG``; ``config.json``. Where it is
    not there, all that is said of them is their defaults."""

    relay: RelaySettings | None = None
    """How events leave the cell, where ``CELLPLANE_EVENTS_URL`` names the NATS that takes them; none: none are told."""

    fault: str = ""
    """Name of the fault point where this process kills itself, ``NOTIFICATIONS_FAULT``; empty: none. For tests."""

    faults_file: Path | None = None
    """File by which the API is made to fail while it is there (``faulty.py``), ``NOTIFICATIONS_FAULTS_FILE``; none: it
    cannot be. For trials: the local fleet names one."""

    outbox_max_events: int = 1_000_000
    """Events that wait to leave the cell, then changes that have one to tell get a 503; 1,000,000, about 0.5 GB."""

    relay_restart_seconds: float = 5.0
    """Delay before the relay runs again after an error that nobody foresaw, in seconds; 5. It retries all others."""

    database_pool_max: int = 8
    """Connections to PostgreSQL of one process; 8, two processes stay far below the demo's 60."""

    database_waiting_max: int = 128
    """Requests that wait for a connection, the others get a 503 at once; 128, well under a second of work."""

    database_acquire_seconds: float = 1.0
    """Longest wait for a connection, in seconds; 1, then the caller is better served by a 503."""

    database_operation_seconds: float = 3.0
    """Longest database operation with its wait, in seconds; 3, also when the server hangs instead of dying."""

    database_statement_seconds: float = 2.0
    """Longest statement before the server itself ends it, in seconds; 2, less than the operation around it."""

    database_connect_seconds: int = 2
    """Longest connect, in whole seconds; 2, the least that libpq takes."""

    database_reconnect_seconds: float = 3.0
    """Tries of one lost connection, in seconds; 3, then the next use begins anew; no delay exceeds 2."""

    database_start_seconds: float = 30.0
    """How long a start waits for the database, in seconds; 30, a PostgreSQL that recovers from a crash."""

    database_start_retry_seconds: float = 0.2
    """Delay between two tries at the start, in seconds; 0.2, cheap and hardly felt."""

    keys: IdempotencySettings = _KEYS
    """Bounds of idempotency keys."""

    queue: MessagingSettings = _QUEUE
    """Times and limits of the queue; ``NOTIFICATIONS_QUEUE_<NAME>`` sets one."""

    worker_max_attempts: int = 10
    """Attempts before a notification is marked failed; 10, about 20 s of a failing provider."""

    sweep_every_seconds: float = 1.0
    """Between two looks for rows that are in no queue, in seconds; 1, one indexed query."""

    sweep_after_seconds: float = 5.0
    """Age at which a queued row counts as lost to the queue, in seconds; 5, as long as a message may be in work."""

    sweep_max_rows: int = 500
    """Rows that one sweep puts back; 500, well within its second."""

    sweep_backlog_max: int = 100
    """Waiting messages above which no row is swept; 100, a busy queue is not a lossy one."""

    provider_lock_seconds: float = 2.0
    """Longest wait for another worker at the same provider file, in seconds; 2, a write takes milliseconds."""

    provider_remembered_ids: int = 200_000
    """Notification ids that a channel's file is remembered by; 200,000, about 40 MB a channel."""

    health_seconds: float = 0.7
    """Longest health check, in seconds; 0.7, under the 0.8 that a router is promised."""

    load_every_seconds: float = 1.0
    """Between two looks at the queue's lag, in seconds; 1, as often as routers judge, and one indexed query."""

    retry_after_seconds: int = 1
    """``Retry-After`` of every 503, in whole seconds; 1, recovery is a matter of seconds."""

    keep_alive_seconds: int = 330
    """Idle time before the API closes a connection, in seconds; over the router's 300, because it must close first."""

    stop_seconds: int = 3
    """How long a stop waits for work at hand, in whole seconds; 3, so that SIGTERM is done within 5."""

    close_seconds: float = 0.5
    """How long a stop waits for each connection to close, in seconds; 0.5, the rest of those 5."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings of this process.

        Args:
            environ: usually ``os.environ``.

        Raises:
            MissingSettingsError: what no default can replace is missing.
            InvalidSettingError: a number is not one, or not positive.
        """
        cell = CellSettings.from_env(environ)
        missing = [name for name in (PROVIDER_DIR_VARIABLE, OWNER_URL_VARIABLE) if not environ.get(name)]
        if missing:
            raise MissingSettingsError(missing)
        settings = cls(
            cell=cell,
            provider_dir=Path(environ[PROVIDER_DIR_VARIABLE]),
            owner_url=environ[OWNER_URL_VARIABLE],
            manifest=_path(environ, MANIFEST_VARIABLE),
            proof_keys=_path(environ, PROOF_KEYS_VARIABLE),
            moves=_path(environ, MOVES_VARIABLE),
            config=Path(environ.get(CONFIG_VARIABLE) or cls.config),
            relay=RelaySettings.from_env(environ) if environ.get(EVENTS_URL_VARIABLE) else None,
            fault=environ.get(FAULT_VARIABLE, ""),
            faults_file=_path(environ, FAULTS_FILE_VARIABLE),
        )
        queue = dataclasses.replace(settings.queue, **_numbers(MessagingSettings, "NOTIFICATIONS_QUEUE_", environ))
        return dataclasses.replace(settings, queue=queue, **_numbers(cls, "NOTIFICATIONS_", environ))

    def what_is_ours(self) -> CellManifest:
        """The cell's manifest.

        Raises:
            InvalidManifestError: the file cannot be read, or is another cell's.
        """
        if self.manifest is None:
            return CellManifest.of_settings(self.cell)
        return CellManifest.load(self.manifest, cell_id=self.cell.cell_id)


def _numbers(kind: type[Settings] | type[MessagingSettings], prefix: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of such settings that the environment sets."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = prefix + field.name.upper()
        if field.type in (int, float) and name in environ:
            found[field.name] = _positive(name, environ[name], field.type)
    return found


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    return Path(environ[name]) if environ.get(name) else None


def _positive(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        value = kind(text)
    except ValueError:
        value = kind(0)
    if not 0 < value <= 1e9:
        noun = "a whole number" if kind is int else "a number"
        raise InvalidSettingError(name, f"expected {noun} over 0 and up to 1e9, found {text[:40]!r}")
    return value
