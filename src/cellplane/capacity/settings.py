"""Every mark, span and limit of capacity."""

from dataclasses import dataclass, field

from cellplane.errors import ValidationError
from cellplane.model import Capacity
from cellplane.model.bounds import check_between, check_rising
from cellplane.model.topology import MAX_CELLS

MAX_SPAN_SECONDS = 31 * 86_400.0
"""Longest span: a month. A number beyond it is a mistake of its unit."""

MAX_DAYS = 36_500.0
"""Longest number of days: a century."""

MAX_POINTS = 1_000
"""Most points of one trend: half a million slopes between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitySettings:
    """By what capacity is judged."""

    lock_at: float = 0.7
    """Utilisation from which on a cell takes no new tenants, 0 to 1: what is left is for those that it has to grow."""

    unlock_at: float = 0.6
    """Utilisation below which it may take some again, below ``lock_at``: between the two nothing changes."""

    unlock_seconds: float = 600.0
    """How long it stays below that without a break, seconds: a quiet minute is no free space."""

    stale_seconds: float = 120.0
    """Age at which what a cell said counts for nothing, seconds: several times what passes between two reports."""

    min_days: float = 3.0
    """Days that samples span before a trend is told: fewer show the time of day."""

    min_samples: int = 12
    """Samples before a trend is told."""

    max_points: int = 300
    """Points that samples are gathered to for a trend, each a median: the slopes between them grow with the square."""

    horizon_days: float = 730.0
    """Days beyond which no number is told: nobody's trend lasts longer."""

    sample_seconds: float = 900.0
    """Span of time of which one sample is kept, seconds."""

    samples_days: float = 30.0
    """How long samples are kept, days: a trend of a month shows what weeks have in common."""

    ask_headroom: float = 0.2
    """Share of a pool's room below which one more cell is asked for, 0 to 1."""

    ask_days: float = 14.0
    """Days left below which one more cell is asked for: time to build one, and to notice that it fails."""

    cool_down_seconds: float = 3_600.0
    """Least time between two requests of one pool, seconds: a cell takes time to be built and to fill."""

    max_cells: int = 100
    """Most cells of the fleet that are asked for, those there counted: a trend gone wrong is not to cost a fortune."""

    max_total: Capacity = field(default_factory=Capacity)
    """Most capacity of all cells together that is asked for; nothing where only their number counts."""

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name, low, high in (
            ("lock_at", 0.01, 1.0),
            ("unlock_at", 0.0, 1.0),
            ("unlock_seconds", 0.0, MAX_SPAN_SECONDS),
            ("stale_seconds", 1.0, MAX_SPAN_SECONDS),
            ("min_days", 0.0, MAX_DAYS),
            ("min_samples", 3, MAX_POINTS),
            ("max_points", 3, MAX_POINTS),
            ("horizon_days", 1.0, MAX_DAYS),
            ("sample_seconds", 1.0, MAX_SPAN_SECONDS),
            ("samples_days", self.min_days, MAX_DAYS),
            ("ask_headroom", 0.0, 1.0),
            ("ask_days", 0.0, MAX_DAYS),
            ("cool_down_seconds", 0.0, MAX_SPAN_SECONDS),
            ("max_cells", 1, MAX_CELLS),
        ):
            check_between(f"{path}.{name}", getattr(self, name), low, high)
        check_rising(f"{path}.unlock_at", self.unlock_at, f"{path}.lock_at", self.lock_at)
        if self.max_points < self.min_samples:
            raise ValidationError(
                f"{path}.max_points", f"expected min_samples, {self.min_samples}, or more; found {self.max_points}"
            )
        self.max_total.validate(f"{path}.max_total")
