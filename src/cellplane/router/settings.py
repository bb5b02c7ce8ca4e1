"""Every limit and interval of a router."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """Settings of one router: its agent and the Envoy that it supervises."""

    router_id: str
    """Name under which it reports; a DNS label."""

    control_url: str
    """Base URL of the control plane; empty: there is none, and tables come from the sources alone."""

    state_dir: Path
    """Folder of the tables, of Envoy's configuration and of its log. Private to this router."""

    port: int
    """TCP port on which clients are served."""

    host: str = "127.0.0.1"
    """Address on which clients are served."""

    sources: tuple[str, ...] = ()
    """Folders and base URLs of targets, asked in this order where the control plane cannot be reached."""

    trust: tuple[Path, ...] = ()
    """Files of the public keys whose signatures count; none: tables are taken unsigned."""

    fleet: str = ""
    """Fleet whose tables are taken; empty: any."""

    workers: int = 1
    """Envoy's worker threads."""

    token_file: Path | None = None
    """File of the token with which it asks the control plane, read again when it changes; None: it has none."""

    control_ca: Path | None = None
    """PEM file of the authorities that vouch for the control plane; None: those of the system."""

    control_cert: Path | None = None
    """PEM file of the certificate that it shows to the control plane; None: it shows none."""

    control_key: Path | None = None
    """PEM file of its private key."""

    cookie_keys: Path | None = None
    """File of the keys of signed routing cookies (``cellplane.signed_cookie``); None where there are none."""

    proof_keys: Path | None = None
    """File of the keys by which cells know that a router sent a request (``cellplane.cell.proof``); None: no proofs."""

    tls_certificate: Path | None = None
    """PEM file of the certificate, with its chain, that clients are shown; followed when it changes. None: clients are
    served without TLS."""

    tls_key: Path | None = None
    """PEM file of its private key."""

    access_log: Path | None = None
    """File of one JSON line a request; None: none is written."""

    access_log_share: float = 1.0
    """Share of the requests below 400 that have a line, 0 to 1; all others have one."""

    access_log_flush_seconds: float = 1.0
    """How long a line may wait until it is written, seconds."""

    max_access_log_bytes: int = 256 * 1024 * 1024
    """Size at which the file is moved aside, to ``….1``, and a new one begun, bytes."""

    poll_wait_seconds: float = 25.0
    """How long one request for a new table waits at the control plane, seconds."""

    fetch_timeout_seconds: float = 10.0
    """How long the control plane may be silent beyond the wait, seconds."""

    transfer_timeout_seconds: float = 60.0
    """How long a whole table may take to arrive, beyond the wait, seconds."""

    poll_interval_seconds: float = 0.5
    """Shortest time between two requests for a table of which the first brought nothing new, seconds."""

    source_interval_seconds: float = 5.0
    """Time between looks at the sources where there is no control plane, seconds; up to half of it more or less."""

    retry_base_seconds: float = 0.2
    """Longest pause after the first failed fetch, seconds; it doubles with each further one."""

    retry_cap_seconds: float = 5.0
    """Longest pause between fetches, seconds: how late a router notices that the control plane is back."""

    max_table_bytes: int = 256 * 1024 * 1024
    """Largest table that is taken, bytes: six times that of a million tenants."""

    kept_tables: int = 3
    """Tables kept on disk: the live one and those before it."""

    report_interval_seconds: float = 1.0
    """Time between reports to the control plane, seconds."""

    report_timeout_seconds: float = 2.0
    """How long one report may take, seconds."""

    refused_retry_seconds: float = 60.0
    """After which a table that the proxy refused is tried again, seconds: the reason may have been a passing one."""

    max_reason_chars: int = 2000
    """How much of a proxy's reason for a refusal is reported, characters."""

    apply_timeout_seconds: float = 10.0
    """How long Envoy may take to take a table or refuse it, seconds. A table for a million tenants takes under one."""

    admin_poll_seconds: float = 0.01
    """Time between looks at Envoy's admin interface while a change is under way, seconds."""

    admin_timeout_seconds: float = 2.0
    """How long Envoy's admin interface may take to answer, seconds."""

    start_timeout_seconds: float = 20.0
    """How long Envoy may take from its start until it is live, seconds."""

    hung_seconds: float = 15.0
    """Silence of Envoy's admin interface after which Envoy is killed and started again, seconds."""

    watch_interval_seconds: float = 0.2
    """Time between looks whether Envoy is still there, seconds."""

    restart_pause_seconds: float = 0.5
    """Pause before Envoy is started again after it died, seconds."""

    refetch_seconds: float = 2.0
    """How long a request whose cell says that it is another's waits for the table that says so, seconds."""

    max_refetches: int = 64
    """Most requests that wait so; further ones get the cell's answer."""

    max_compared: int = 128
    """Most copies under way whose answers are compared; a request beyond them is not copied."""

    compare_wait_seconds: float = 20.0
    """How long one answer waits for the other with which it is compared, seconds: longer than a cell may take."""

    max_waiting_answers: int = 256
    """Most answers that wait so."""

    compare_share: float = 0.1
    """Part of the agent's time that comparing may take; what is beyond it is counted as skipped."""

    compare_burst_seconds: float = 0.1
    """Time that it may take at once, seconds."""

    judge_interval_seconds: float = 1.0
    """Time between looks at what the proxy counts of each cell, seconds."""

    max_suspects: int = 100
    """Most tenants that make a cell ill for all others and are reported, those with the largest share first."""

    local_files_seconds: float = 1.0
    """Time between looks whether the files of keys have changed, seconds."""

    token_cache_size: int = 1000
    """Verified tokens that each worker remembers, of each issuer."""

    jwks_timeout_seconds: float = 5.0
    """How long a server of an issuer's keys may take, seconds."""

    jwks_refresh_seconds: float = 60.0
    """After how long an issuer's keys are fetched again, seconds."""

    jwks_retry_seconds: float = 5.0
    """After how long they are tried again where that failed, seconds."""

    ca_file: Path = Path("/etc/ssl/certs/ca-certificates.crt")
    """The authorities that vouch for the servers of issuers' keys."""

    drain_seconds: float = 0.5
    """How long Envoy waits, after it was asked to stop, for clients whose requests are under way or whose connections
    are open, seconds. It takes no new ones meanwhile."""

    stop_timeout_seconds: float = 2.0
    """How long Envoy may take to stop before it is killed, seconds."""

    retry_after_seconds: int = 1
    """Retry-After of the 503 and 504 that Envoy answers by itself, seconds; the fleet sets that of the others."""

    health_interval_seconds: float = 0.5
    """Time between Envoy's health checks of a cell, seconds."""

    health_timeout_seconds: float = 0.4
    """How long a cell may take to answer a health check, seconds."""

    health_path: str = "/healthz"
    """What Envoy asks a cell for; 200 means healthy."""

    unhealthy_threshold: int = 2
    """Timeouts in a row after which a cell counts as down. An answer other than 200 counts at once."""

    connection_failures: int = 3
    """Requests in a row that a cell did not take, after which it gets none until it passes a health check."""

    ejection_seconds: float = 30.0
    """Longest time that it gets none where health checks do not bring it back before, seconds."""

    reserved_share: float = 0.1
    """Share of a cell's requests under way that is kept for those of high priority, 0 to 1."""

    connect_timeout_seconds: float = 1.0
    """How long a connection to a cell may take, seconds."""

    request_timeout_seconds: float = 15.0
    """How long a cell may take to answer a request, seconds; 0 is without limit."""

    max_cell_connections: int = 1024
    """Most connections to one cell."""

    max_cell_requests: int = 1024
    """Most requests under way at one cell, and as many waiting for a connection."""

    max_client_connections: int = 10_000
    """Most connections of clients; further ones are refused."""

    max_kept_bytes: int = 64 * 1024 * 1024
    """Most that Envoy keeps of cells' answers for policies with ``reads: cache``, bytes: a quarter is for those that
    are still coming, and one tenant has a sixty-fourth of the rest. 0: nothing is kept."""

    max_heap_bytes: int = 1024 * 1024 * 1024
    """Envoy's heap at 98 % of which it refuses new requests, bytes."""

    max_header_kib: int = 60
    """Largest request header block, KiB."""

    max_header_count: int = 100
    """Most request headers."""

    connection_buffer_bytes: int = 32 * 1024
    """Buffer of one connection, bytes; beyond it the peer is slowed down."""

    idle_timeout_seconds: float = 300.0
    """Silence after which a connection, of a client or to a cell, or a stream is closed, seconds."""

    header_timeout_seconds: float = 10.0
    """How long a client may take to send its headers, seconds."""

    client_timeout_seconds: float = 300.0
    """How long a client may take to send a whole request, seconds."""
