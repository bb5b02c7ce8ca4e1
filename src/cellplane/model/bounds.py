"""Bounds of what health is judged from: a value outside of them is refused with the name of its field."""

from cellplane.errors import ValidationError

MAX_SECONDS = 86_400.0
"""Longest span, pause or objective: a day. A number beyond it is a mistake of its unit."""

MAX_COUNT = 1_000_000
"""Most of anything that is counted up to: ticks, windows, probes."""


def check_between(field: str, value: float, low: float, high: float) -> None:
    """Raise ValidationError unless low ≤ value ≤ high; NaN is outside of every range."""
    if not low <= value <= high:
        raise ValidationError(field, f"expected {low:g} to {high:g}, found {value:g}")


def check_rising(low_field: str, low: float, high_field: str, high: float) -> None:
    """Raise ValidationError, at the second field, unless low < high."""
    if not low < high:
        raise ValidationError(high_field, f"expected more than {low_field}, which is {low:g}; found {high:g}")
