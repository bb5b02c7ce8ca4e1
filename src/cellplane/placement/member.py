"""A member: what a placement strategy sees of a cell."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellplane.errors import ValidationError
from cellplane.model.key import check_name
from cellplane.model.pool import MAX_SEED, MAX_SHARD_SIZE
from cellplane.model.topology import MAX_CELLS

MILLI = 1000
"""Weights are kept to thousandths, as in the table."""


@dataclass(frozen=True, slots=True)
class Member:
    """One cell of a pool.

    Attributes:
        id: the cell's id.
        weight: its share of slots relative to other members, 0.001 to 100, kept to thousandths.
        zone: where it fails together with others: an availability zone, a region.
    """

    id: str
    weight: float = 1.0
    zone: str = "local"

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.id", self.id)
        # Written so that NaN fails.
        if not 0.001 <= self.weight <= 100:
            raise ValidationError(f"{field}.weight", f"expected 0.001 to 100, found {self.weight}")
        check_name(f"{field}.zone", self.zone)

    @property
    def weight_milli(self) -> int:
        """Its weight in thousandths, 1 to 100,000. Strategies compute with this integer alone."""
        return round(self.weight * MILLI)


def sorted_members(members: Sequence[Member]) -> tuple[Member, ...]:
    """The members by id, checked: results name a member by its index in this order.

    Raises:
        ValidationError: where there are none or too many, a member breaks a rule, or an id stands twice; its path has
            the index in the caller's order.
    """
    if not 1 <= len(members) <= MAX_CELLS:
        raise ValidationError("members", f"expected 1 to {MAX_CELLS} members, found {len(members)}")
    seen: set[str] = set()
    for index, member in enumerate(members):
        member.validate(f"members[{index}]")
        if member.id in seen:
            raise ValidationError(f"members[{index}].id", f"{member.id!r} stands twice")
        seen.add(member.id)
    return tuple(sorted(members, key=lambda member: member.id))


def check_shard_size(field: str, shard_size: int, member_count: int) -> None:
    """Raise ValidationError unless a shard of this many cells can be made of this many members."""
    if not 1 <= shard_size <= MAX_SHARD_SIZE:
        raise ValidationError(field, f"expected 1 to {MAX_SHARD_SIZE}, found {shard_size}")
    if shard_size > member_count:
        raise ValidationError(
            field,
            f"a shard of {shard_size} distinct cells needs as many members, found {member_count}: "
            "lower the shard size, or add cells",
        )


def check_seed(field: str, seed: int) -> None:
    """Raise ValidationError unless the number can seed a hash."""
    if not 0 <= seed <= MAX_SEED:
        raise ValidationError(field, f"expected 0 to 2**64 - 1, found {seed}")
