"""Every limit of the directory's database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Settings of one process' access to the directory's database."""

    readers: int = 8
    """Most connections that read at once."""

    sqlite_cache_kib: int = 16 * 1024
    """Pages of a SQLite directory that each connection keeps in memory, KiB: imports come to indexes at random."""

    busy_timeout_ms: int = 5_000
    """How long a transaction waits for the one that writes before it gives up, milliseconds: for one of this process
    first, then for one of another."""

    changes_together: int = 64
    """Most requests that share a commit."""

    idle_transaction_ms: int = 5_000
    """How long a transaction may do nothing before PostgreSQL ends it, milliseconds: what a stopped process holds."""

    long_transaction_ms: int = 60_000
    """The same of one that reads all tenants or changes many: a table is compiled while it reads."""

    aside_timeout_ms: int = 2_000
    """How long a word on who leads, or on what routers say, may take, milliseconds."""

    connect_timeout_seconds: int = 5
    """How long a connection to PostgreSQL may take, seconds."""

    keepalive_seconds: int = 2
    """Silence after which a connection to PostgreSQL is asked whether it lives, and between two such questions."""

    lost_connection_ms: int = 6_000
    """How long what was sent to PostgreSQL may stay without receipt before the connection counts as lost."""

    lease_seconds: float = 5.0
    """How long a publisher leads after it last said so, seconds."""

    answers_kept_seconds: int = 86_400
    """How long an ``Idempotency-Key`` is remembered, seconds."""

    publications_kept: int = 3
    """Of how many of the last publications the bytes are kept."""
