"""A fleet: one product's cells and its routing policy."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.key import check_header_name, check_name

MAX_RETRY_AFTER_SECONDS = 3600
"""Longest Retry-After: a client told to stay away for longer would miss the recovery."""


class UnknownTenant(Enum):
    """What happens to a key that the directory does not know."""

    HASH = "hash"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Fleet:
    """One fleet.

    Attributes:
        name: DNS label.
        key_header: lower-case name of the request header that carries the partition key. A plain header is only as
            trustworthy as whoever can reach the router.
        default_pool: pool of the tenants that nothing else places.
        unknown_tenant: see UnknownTenant.
        retry_after_seconds: Retry-After of every 503 that a router answers by itself, 0 to 3600.
    """

    name: str
    key_header: str = "x-tenant-id"
    default_pool: str = "default"
    unknown_tenant: UnknownTenant = UnknownTenant.HASH
    retry_after_seconds: int = 1

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        check_header_name(f"{field}.key_header", self.key_header)
        check_name(f"{field}.default_pool", self.default_pool)
        if not 0 <= self.retry_after_seconds <= MAX_RETRY_AFTER_SECONDS:
            raise ValidationError(
                f"{field}.retry_after_seconds",
                f"expected 0 to {MAX_RETRY_AFTER_SECONDS}, found {self.retry_after_seconds}",
            )
