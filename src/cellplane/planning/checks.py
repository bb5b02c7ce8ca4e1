"""Bounds of what can be planned: a value outside of them is refused with the name of its field."""

import math
from fractions import Fraction

from cellplane.errors import ValidationError
from cellplane.model.topology import MAX_CELLS

MAX_SHARD_SIZE = 64
"""Largest shard, or hand of queues: past it nothing is isolated. A table's shards have up to 8 cells."""

MAX_TENANTS = 20_000_000
"""Most tenants of one plan: their shards take some gigabytes beyond it."""

__all__ = ["MAX_CELLS", "MAX_SHARD_SIZE", "MAX_TENANTS", "check_between", "check_positive", "check_whole", "exact"]


def check_whole(field: str, value: int, low: int, high: int) -> None:
    """Raise ValidationError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise ValidationError(field, f"expected {low:,} to {high:,}, found {value:,}")


def check_positive(field: str, value: float) -> None:
    """Raise ValidationError unless the value is a finite number > 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValidationError(field, f"expected a number above 0, found {value:g}")


def check_between(field: str, value: float, low: float, high: float) -> None:
    """Raise ValidationError unless low ≤ value ≤ high; NaN is outside of every range."""
    if not low <= value <= high:
        raise ValidationError(field, f"expected {low:g} to {high:g}, found {value:g}")


def exact(value: float) -> Fraction:
    """The decimal that a person wrote, exactly: 1.1 is 11/10 here, not its nearest binary fraction."""
    return Fraction(str(value))
