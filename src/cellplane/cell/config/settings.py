"""Every limit and time of configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigLimits:
    """Limits of a cell's configuration."""

    max_bytes: int = 8 * 1024 * 1024
    """Largest document, bytes; 8 MiB, about fifty thousand tenants with a few values of their own."""

    max_decided: int = 100_000
    """Tenants of which a process remembers whether one flag is on; beyond these it begins anew."""

    look_seconds: float = 1.0
    """Between two looks at the file, seconds; one stat(2) each."""

    fetch_seconds: float = 10.0
    """Between two questions to the control plane, seconds; most are answered with 304."""

    fetch_timeout_seconds: float = 5.0
    """Longest that one takes, seconds."""
