"""A tenant: the unit that is routed."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.capacity import Load
from cellplane.model.key import check_key, check_name
from cellplane.model.policy import NO_POLICY, Policy
from cellplane.model.pool import MAX_SHARD_SIZE

MAX_ATTRIBUTES = 32
"""Most attributes of a tenant: they are for rules, not for data."""

MAX_ATTRIBUTE_CHARS = 128
"""Longest value of an attribute."""


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
        shard: the cells it is assigned to, the preferred first; none where its slot places it.
        state: see TenantState.
        pool: the pool it is in whatever the rules say; None where they choose.
        tier: its class, such as ``enterprise``; empty where nobody says.
        jurisdiction: whose law its data is under: it is never placed under another; empty where any will do.
        attributes: whatever else rules go by, name and value, sorted by name.
        load: what it needs at peak; of unknown size where all is 0.
        shard_size: its own K, where it is not its pool's.
        policy: what routers do with its requests, where its pool says otherwise.
    """

    id: str
    shard: tuple[str, ...] = ()
    state: TenantState = TenantState.ACTIVE
    pool: str | None = None
    tier: str = ""
    jurisdiction: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    load: Load = Load(tenants=1)
    shard_size: int | None = None
    policy: Policy = NO_POLICY

    @property
    def cell(self) -> str | None:
        """The preferred cell of those it is assigned to."""
        return self.shard[0] if self.shard else None

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_key(f"{field}.id", self.id)
        for place, cell in enumerate(self.shard):
            check_name(f"{field}.shard[{place}]", cell)
        if len(self.shard) > MAX_SHARD_SIZE or len(set(self.shard)) != len(self.shard):
            raise ValidationError(
                f"{field}.shard", f"expected at most {MAX_SHARD_SIZE} distinct cells, found {', '.join(self.shard)}"
            )
        if self.pool is not None:
            check_name(f"{field}.pool", self.pool)
        for name, value in (("tier", self.tier), ("jurisdiction", self.jurisdiction)):
            if value:
                check_name(f"{field}.{name}", value)
        if self.attributes:
            check_attributes(f"{field}.attributes", self.attributes)
        self.load.validate(f"{field}.load")
        if self.policy is not NO_POLICY:
            self.policy.validate(f"{field}.policy")
        if self.shard_size is not None and not 1 <= self.shard_size <= MAX_SHARD_SIZE:
            raise ValidationError(f"{field}.shard_size", f"expected 1 to {MAX_SHARD_SIZE}, found {self.shard_size}")


def check_attributes(field: str, attributes: Sequence[tuple[str, str]]) -> None:
    """Raise ValidationError unless these are attributes: names in order, none twice, printable values."""
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValidationError(field, f"expected at most {MAX_ATTRIBUTES}, found {len(attributes)}")
    names = [name for name, _ in attributes]
    if names != sorted(set(names)):
        raise ValidationError(field, f"expected names in order, none twice; found {', '.join(names)[:200]}")
    for name, value in attributes:
        check_name(f"{field}.{name}", name)
        if not 1 <= len(value) <= MAX_ATTRIBUTE_CHARS or not value.isprintable():
            raise ValidationError(
                f"{field}.{name}", f"expected 1 to {MAX_ATTRIBUTE_CHARS} printable characters, found {value[:40]!r}"
            )
