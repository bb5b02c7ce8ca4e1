"""What a cell holds of each resource, and how full that makes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model import Capacity
from cellplane.model.capacity import MAX_AMOUNT

GIB = 2.0**30
"""Bytes."""


class Resource(Enum):
    """What a cell can run out of; the value is for people and metrics."""

    CPU = "cpu"
    STORAGE = "storage"
    CONNECTIONS = "connections"
    RPS = "rps"
    TENANTS = "tenants"


@dataclass(frozen=True, slots=True)
class Use:
    """How much of a resource is in use.

    Attributes:
        used: ≥ 0, in the resource's unit: CPU as a share of all of it, storage in GiB, requests a second, else counts.
        limit: the most that there is, > 0; None where nobody says.
    """

    used: float
    limit: float | None = None

    @property
    def share(self) -> float | None:
        """Used ÷ limit, from 0, above 1 where more is in use than there is to be; None without a limit."""
        return None if self.limit is None else self.used / self.limit

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        # Written so that NaN fails.
        if not 0 <= self.used <= MAX_AMOUNT:
            raise ValidationError(f"{path}.used", f"expected 0 to {MAX_AMOUNT:g}, found {self.used}")
        if self.limit is not None and not 0 < self.limit <= MAX_AMOUNT:
            raise ValidationError(f"{path}.limit", f"expected a number > 0 and ≤ {MAX_AMOUNT:g}, found {self.limit}")


@dataclass(frozen=True, slots=True)
class CellMetrics:
    """What one cell said of itself.

    Attributes:
        cell: its id.
        at_seconds: when, Unix time.
        uses: of each resource that it spoke of.
    """

    cell: str
    at_seconds: float
    uses: Mapping[Resource, Use] = field(default_factory=dict)

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        for resource, use in self.uses.items():
            use.validate(f"{path}.{resource.value}")


@dataclass(frozen=True, slots=True)
class Utilisation:
    """How full a cell is: as full as the resource that it has least of.

    Attributes:
        share: from 0; 1 is full.
        resource: which.
    """

    share: float
    resource: Resource


def within(metrics: CellMetrics, capacity: Capacity) -> CellMetrics:
    """The metrics against what the cell is declared to hold: of two limits the lower counts."""
    declared = {
        Resource.RPS: capacity.rps,
        Resource.STORAGE: capacity.storage_gib,
        Resource.TENANTS: capacity.tenants,
    }
    uses = {}
    for resource, use in metrics.uses.items():
        limits = [limit for limit in (use.limit, declared.get(resource)) if limit is not None]
        uses[resource] = replace(use, limit=min(limits, default=None))
    return replace(metrics, uses=uses)


def utilisation(metrics: CellMetrics) -> Utilisation | None:
    """How full the cell is; None where no resource that it spoke of has a limit."""
    shares = [(use.share, resource) for resource, use in metrics.uses.items() if use.share is not None]
    if not shares:
        return None
    share, resource = max(shares, key=lambda each: (each[0], each[1].value))
    return Utilisation(share, resource)


def is_stale(metrics: CellMetrics, now_seconds: float, stale_seconds: float) -> bool:
    """Whether the metrics are too old to count. Those from a clock that is ahead count as new."""
    return now_seconds - metrics.at_seconds >= stale_seconds
