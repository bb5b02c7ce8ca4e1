"""Every limit and interval of publishing."""

from dataclasses import dataclass

MAX_MANIFEST_BYTES = 4096
"""Largest manifest: with as many signatures as there may be it has under 1.5 kB."""

MAX_SIGNATURES = 8
"""Most signatures of a manifest: a key for each jurisdiction, twice while keys change."""

MAX_KEY_FILE_BYTES = 64 * 1024
"""Largest file of keys."""

MAX_KEYS = 32
"""Most keys of a file."""

MAX_PART_BYTES = 1 << 40
"""Most bytes that a manifest may say that a base or an overlay has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingSettings:
    """Settings of a publisher's targets, and of the check before."""

    kept_bases: int = 3
    """Bases that stay at a target, the newest: a router that read a manifest may still want the one before."""

    kept_overlays: int = 64
    """Overlays that stay at a target, the newest."""

    retry_base_seconds: float = 0.5
    """Longest pause after the first failure of a target, seconds; it doubles with each further one."""

    retry_cap_seconds: float = 30.0
    """Longest pause between tries of a target, seconds: how late it is complete after it is back."""

    s3_interval_seconds: float = 1.0
    """Shortest time between two publications to one bucket, seconds: stores limit how often one object is replaced."""

    s3_connect_seconds: float = 5.0
    """How long a connection to object storage may take, seconds."""

    s3_read_seconds: float = 30.0
    """How long object storage may be silent, seconds."""

    s3_races: int = 4
    """How often a manifest is decided on anew because another publisher wrote one meanwhile."""

    manifest_max_age_seconds: int = 1
    """How long a cache may keep a manifest, seconds; where the origin is down it may give it for a week."""

    stop_seconds: float = 2.0
    """How long a target may take to end when the process is asked to stop, seconds."""

    check_seconds: float = 20.0
    """How long the routers' own validator may take for a table, seconds; one of a million tenants takes 0.1."""
