"""Bounds of what a start-up check looks at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WiringLimits:
    """How far the check goes into what it is shown. Beyond, it says so, and fails."""

    max_depth: int = 4
    """Steps from a thing to what it holds, by attributes and members; 4: a service → its repository → its session
    factory → its engine."""

    max_objects: int = 10_000
    """Objects that are looked at for one thing; 10,000, some milliseconds. More is hardly a repository."""

    max_manifest_bytes: int = 65_536
    """Size of a manifest's file; 64 KiB, hundreds of entries."""

    max_shown: int = 8
    """Allowed places that one message names; 8, a few lines."""
