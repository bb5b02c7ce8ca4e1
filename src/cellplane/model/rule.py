"""A rule: which tenants are in which pool."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from cellplane.errors import ValidationError
from cellplane.model.key import check_name
from cellplane.model.tenant import Tenant, check_attributes

MAX_RULES = 256
"""Most rules of a fleet: each may be asked for each tenant."""

MAX_RULE_VALUES = 64
"""Most tiers, and most jurisdictions, that one rule names."""

MAX_PATTERN_CHARS = 128
"""Longest pattern: that of a key."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A tenant matches when it has one of the tiers, one of the jurisdictions, an id of the pattern and all attributes,
    as far as the rule names any. Rules see the tenants that the directory knows; a router never asks one.

    Attributes:
        name: DNS label, unique in the fleet: what an explanation names.
        pool: the pool of the tenants that match.
        tiers: as in Tenant.tier.
        jurisdictions: as in Tenant.jurisdiction.
        id_pattern: ``*`` stands for any characters, ``?`` for one, ``[ab]`` for one of these; empty for any id.
        attributes: name and value, sorted by name.
    """

    name: str
    pool: str
    tiers: tuple[str, ...] = ()
    jurisdictions: tuple[str, ...] = ()
    id_pattern: str = ""
    attributes: tuple[tuple[str, str], ...] = ()

    def matches(self, tenant: Tenant) -> bool:
        """Whether the tenant is one of those."""
        return (
            (not self.tiers or tenant.tier in self.tiers)
            and (not self.jurisdictions or tenant.jurisdiction in self.jurisdictions)
            and (not self.id_pattern or fnmatchcase(tenant.id, self.id_pattern))
            and (not self.attributes or set(self.attributes) <= set(tenant.attributes))
        )

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        check_name(f"{field}.pool", self.pool)
        for name, values in (("tiers", self.tiers), ("jurisdictions", self.jurisdictions)):
            if len(values) > MAX_RULE_VALUES:
                raise ValidationError(
                    f"{field}.{name}", f"expected at most {MAX_RULE_VALUES} values, found {len(values)}"
                )
            for place, value in enumerate(values):
                check_name(f"{field}.{name}[{place}]", value)
        if len(self.id_pattern) > MAX_PATTERN_CHARS or not self.id_pattern.isascii():
            raise ValidationError(
                f"{field}.id_pattern",
                f"expected at most {MAX_PATTERN_CHARS} ASCII characters, found {self.id_pattern[:80]!r}",
            )
        check_attributes(f"{field}.attributes", self.attributes)
        if not (self.tiers or self.jurisdictions or self.id_pattern or self.attributes):
            raise ValidationError(
                field, "a rule without a condition would match every tenant: use default_pool for that"
            )
