"""Capacity and load: what a cell declares it can hold, and what it or a tenant holds or needs."""

from dataclasses import dataclass

from cellplane.errors import ValidationError

MAX_AMOUNT = 1e12
"""Largest amount of anything: a number beyond it is a mistake of its unit."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most that a cell is to hold. None means that nothing is declared: no cap, and nothing to measure against.

    Attributes:
        tenants: tenants, > 0.
        rps: requests per second at peak, > 0.
        storage_gib: stored data in GiB, > 0.
        concurrency: requests under way at once, > 0.
    """

    tenants: int | None = None
    rps: float | None = None
    storage_gib: float | None = None
    concurrency: int | None = None

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name, amount in (
            ("tenants", self.tenants),
            ("rps", self.rps),
            ("storage_gib", self.storage_gib),
            ("concurrency", self.concurrency),
        ):
            # Written so that NaN fails.
            if amount is not None and not 0 < amount <= MAX_AMOUNT:
                raise ValidationError(
                    f"{field}.{name}", f"expected a number > 0 and ≤ {MAX_AMOUNT:g}, or none; found {amount}"
                )


@dataclass(frozen=True, slots=True)
class Load:
    """What a cell holds now, or what a tenant declares to need.

    Attributes:
        tenants: tenants, ≥ 0.
        rps: requests per second at peak, ≥ 0.
        storage_gib: stored data in GiB, ≥ 0.
    """

    tenants: int = 0
    rps: float = 0.0
    storage_gib: float = 0.0

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for name, amount in (("tenants", self.tenants), ("rps", self.rps), ("storage_gib", self.storage_gib)):
            if not 0 <= amount <= MAX_AMOUNT:
                raise ValidationError(f"{field}.{name}", f"expected 0 to {MAX_AMOUNT:g}, found {amount}")

    def __add__(self, other: "Load") -> "Load":
        return Load(self.tenants + other.tenants, self.rps + other.rps, self.storage_gib + other.storage_gib)
