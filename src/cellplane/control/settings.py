"""Every limit and interval of the control plane."""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from cellplane.capacity.settings import CapacitySettings
from cellplane.control.access.settings import AccessSettings
from cellplane.publishing.guard_rails import GuardRails

DATABASE = "directory.sqlite3"
"""Name of the directory's file in the state folder, where it is on SQLite."""

MAX_ACTOR_CHARS = 64
"""Longest name of who makes a change."""

MAX_CHANGE_REASON_CHARS = 500
"""Longest reason of a change."""

MAX_IDEMPOTENCY_KEY_CHARS = 255
"""Longest name of a request that may come twice."""

READ_THREADS = 2
"""Requests that read one cell or one tenant of a file at once; others wait for these. More threads take each other's
time: with 8 a quarter fewer are answered."""

SHARED_READ_THREADS = 8
"""The same of a database elsewhere, for which threads wait: as many as may read it (``DatabaseSettings.readers``)."""

WRITE_THREADS = 32
"""Requests that change something, or wait for those that do, at once; others wait for these."""

PIECE_BYTES = 256 * 1024
"""Bytes of a table that are handed to one connection at once."""

MAX_REASON_CHARS = 2000
"""Longest reason for a rejected table in a router's report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """Where what becomes of moves is told, for other systems."""

    url: str = field(repr=False)
    """URL of a NATS with JetStream, outside of all cells. Not in repr: it may hold a password."""

    stream: str = "CONTROL"
    """Name of the stream, which is made where it is not there, with the subjects `control.>`."""

    max_bytes: int = 1024**3
    """Bytes that it holds where it is made here; then what is oldest goes."""

    max_age_seconds: float = 7 * 86_400.0
    """How long it keeps an event, seconds: a stream that is empty gets those of as long ago."""

    duplicate_window_seconds: float = 120.0
    """How long it knows an event by its id, seconds."""

    replicas: int = 1
    """Servers that keep a copy of it where it is made here."""

    connect_seconds: float = 5.0
    """Longest connect, with the look at the stream, seconds."""

    ack_seconds: float = 5.0
    """Longest wait until an event is stored, seconds; then the bridge begins anew, behind the last that is."""

    ping_seconds: int = 5
    """Between two pings, whole seconds: two unanswered mean that the server is gone."""

    close_seconds: float = 1.0
    """How long a connection may take to close, seconds."""

    retry_seconds: float = 1.0
    """Pause after a failure, and between looks whether this process leads, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """Settings of one control plane process."""

    state_dir: Path
    """Folder of what this process keeps; also of the directory, unless that is on PostgreSQL."""

    port: int
    """TCP port of the API."""

    database_url: str | None = None
    """URL of the PostgreSQL that several control planes share (``postgresql://user:password@host:port/database``);
    None for a SQLite file in the state folder."""

    name: str = ""
    """Name of this control plane among several; by default its host, port and process."""

    host: str = "127.0.0.1"
    """Address of the API. Another than loopback needs TLS: tokens must not cross a wire that others can read."""

    allow_plain_http: bool = False
    """Whether another address than loopback may be served without TLS, where something in front speaks it."""

    tls_certificate: Path | None = None
    """PEM file of the API's certificate, with its chain; followed when it changes. None: no TLS."""

    tls_key: Path | None = None
    """PEM file of its private key."""

    tls_client_ca: Path | None = None
    """PEM file of the authorities whose certificates clients must show; None: clients need none."""

    tls_watch_seconds: float = 5.0
    """Time between looks whether the certificate's files have changed, seconds."""

    access: AccessSettings = field(default_factory=AccessSettings)
    """Who may call, and how often."""

    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Host headers that are answered: a web page that resolves its own name to loopback is not."""

    signing_keys: tuple[Path, ...] = ()
    """Files of the private keys that sign tables, one a jurisdiction; none: tables are not signed."""

    publish_to: tuple[str, ...] = ()
    """Where tables are put beside the API: folders, and ``s3://bucket/prefix?endpoint=…&region=…``."""

    guard_rails: GuardRails | None = field(default_factory=GuardRails)
    """How much a table may do unasked; None: whatever the directory says is published."""

    max_body_bytes: int = 8 * 1024 * 1024
    """Largest request body, bytes: a router's report on as many cells as a table can hold."""

    max_wait_seconds: float = 30.0
    """Longest that a table request may wait for a new epoch, seconds: below the idle time-outs of proxies."""

    debounce_seconds: float = 0.02
    """How long the publisher gathers further changes before it compiles, seconds: a burst becomes one epoch."""

    debounce_share: float = 2.0
    """How long the publisher pauses after a publication, in times that it took: what is left to changes themselves."""

    max_debounce_seconds: float = 0.1
    """Longest such pause, seconds."""

    quiet_seconds: float = 60.0
    """How long changes may wait to be published of which it was said that more follow at once, seconds."""

    max_export_tenants: int = 50_000
    """Most tenants on a page of an export."""

    fold_tenants: int = 2_000
    """Tenants of an overlay beyond which a new base is made in the background."""

    fold_changes: int = 20_000
    """Changes since a base beyond which a new one is made, also of few tenants: each publication reads them all."""

    campaign_seconds: float = 1.0
    """Time between words on who leads, seconds: several in a lease (``DatabaseSettings.lease_seconds``)."""

    exchange_seconds: float = 1.0
    """Time between exchanges of what routers report, where control planes share a directory, seconds."""

    follow_seconds: float = 0.1
    """Time between looks at what other control planes change and publish, where they share a directory, seconds."""

    retry_seconds: float = 1.0
    """Pause after a failed publication before the next try, seconds."""

    retry_after_seconds: int = 1
    """Retry-After of a 503, seconds."""

    max_watchers: int = 200
    """Most clients that watch changes at once."""

    watch_heartbeat_seconds: float = 15.0
    """Longest silence towards a client that watches, seconds: below the idle time-outs of proxies."""

    watch_follow_seconds: float = 0.2
    """Time between looks for what other control planes changed, for a client that watches, seconds."""

    watch_page_size: int = 500
    """Changes that are read at once for a client that watches."""

    max_residency_reports: int = 4
    """Most residency reports that are made or wait to be read at once: each has a file of its size."""

    residency_send_seconds: float = 300.0
    """Longest that sending such a report takes, seconds; then the answer breaks off."""

    page_size: int = 100
    """Tenants on a page of a list, when the caller names no limit."""

    max_page_size: int = 1000
    """Most tenants on a page of a list."""

    max_read_tenants: int = 10_000
    """Most tenants that are read for a page of assignments, where few of them have one."""

    max_connections: int = 10_000
    """Most connections at once; further ones get a 503. A router has two: one waits for tables, one reports."""

    max_routers: int = 10_000
    """Most routers in the registry; more than that is a client gone wrong."""

    router_stale_seconds: float = 5.0
    """Silence after which a router counts as lost, seconds: several of its report intervals."""

    router_forget_seconds: float = 3600.0
    """Silence after which a router leaves the registry, seconds."""

    quarantine_interval_seconds: float = 0.5
    """Longest time between looks whether a quarantine is over, seconds; what routers find is looked at at once."""

    capacity: CapacitySettings = field(default_factory=CapacitySettings)
    """When cells are locked, and more of them wanted."""

    capacity_seconds: float = 10.0
    """Time between looks at how full cells are, seconds."""

    locks_cells: bool = True
    """Whether cells are locked and unlocked by what they report."""

    scrapes_cells: bool = False
    """Whether the ``/metrics`` of cells that do not report by themselves are asked for."""

    scrape_timeout_seconds: float = 2.0
    """Longest that such an answer takes, seconds."""

    scrapes_at_once: int = 16
    """Cells that are asked at once."""

    cell_forget_seconds: float = 3600.0
    """Silence after which what a cell reported is forgotten, seconds."""

    bridge: BridgeSettings | None = None
    """Where what becomes of moves is told beside the API; None: nowhere."""

    move_forget_seconds: float = 3600.0
    """Silence after which what a mover said of a move is forgotten, seconds; what the move reached is kept."""

    move_look_seconds: float = 2.0
    """Time between looks at moves for the metrics, seconds."""

    provisioner: str = ""
    """What makes cells where a pool runs short: ``local:FOLDER`` of a local fleet, or ``package.module:factory``, which
    is called without arguments and returns a ``Provisioner``. Empty: people do."""

    reach_timeout_seconds: float = 30.0
    """How long routers may take to reach a cell that was made, before its ask has failed, seconds."""

    reach_poll_seconds: float = 0.2
    """Time between looks whether they do, seconds."""

    max_suspects: int = 1_000
    """Most tenants that routers find poisonous at one time; further ones are not heard."""

    left_alone_forget_seconds: float = 60.0
    """Time after which a suspect that is left alone is told of anew, where no router spoke of it meanwhile, seconds."""

    shutdown_seconds: int = 2
    """How long open requests may take to end when the process is asked to stop, seconds."""

    @property
    def location(self) -> Path | str:
        """Where the directory is."""
        return self.state_dir / DATABASE if self.database_url is None else self.database_url

    @property
    def holder(self) -> str:
        """The name under which this process leads, unlike that of any other."""
        return f"{self.name or socket.gethostname()}:{self.port}:{os.getpid()}"
