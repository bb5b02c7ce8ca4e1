"""Every limit of a manifest, and when applying one asks first."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSettings:
    """Bounds of what is read as fleet.yaml. Text beyond them is refused, not cut."""

    max_bytes: int = 8 * 1024 * 1024
    """Largest file, bytes of UTF-8: some 50,000 tenants. More belong into the directory, not into a file."""

    max_documents: int = 100_000
    """Most YAML documents of a file."""

    max_nodes: int = 2_000_000
    """Most values of a file, each alias counted as all that it stands for."""

    max_depth: int = 16
    """Deepest nesting of a value; the deepest field of the format stands at 7."""

    max_problems: int = 100
    """Most problems that are listed; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplySettings:
    """When a change plan is large, and how much of it is listed."""

    threshold_percent: float = 10.0
    """Share of the known tenants whose preferred cell changes, above which somebody has to confirm, percent."""

    max_rows: int = 50
    """Most pairs of cells that a plan lists; the totals count all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LintSettings:
    """From where on a lint rule says something. Rules of thumb, not limits."""

    cell_tenants: int = 10
    """Fewest tenants of a cell in the mean, where the fleet knows all of them: below it, a cell is mostly overhead."""

    hand_cells: int = 30
    """Most cells that a team looks after without automated rollouts and repairs."""

    many_cells: int = 1000
    """Most cells of one fleet: beyond them tables, health checks and rollouts are a subject of their own."""

    same_shard: float = 0.1
    """Largest probability that two tenants have the very same shard, for a pool that is to isolate them."""

    shard_tenants: int = 10
    """Most known tenants of a pool for each different shard that there can be."""

    listed: int = 5
    """Most names that one finding lists; the others are counted."""
