"""A tenant: the unit that is routed."""

from dataclasses import dataclass
from enum import Enum

from cellplane.model.key import check_key, check_name


class TenantState(Enum):
    """What routers do with a tenant's requests; the value is what the API shows."""

    ACTIVE = "active"
    MOVING = "moving"
    SUSPENDED = "suspended"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant.

    Attributes:
        id: its partition key, unique in the fleet; case counts.
        cell: the cell it is pinned to, or None where its slot places it.
        state: see TenantState.
    """

    id: str
    cell: str | None = None
    state: TenantState = TenantState.ACTIVE

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_key(f"{field}.id", self.id)
        if self.cell is not None:
            check_name(f"{field}.cell", self.cell)
