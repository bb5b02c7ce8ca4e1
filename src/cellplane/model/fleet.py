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
    DEFAULT_CELL = "default-cell"


class MissingKey(Enum):
    """What happens to a request without a partition key. ``source-hash`` fails open: by the client's address."""

    REJECT = "reject"
    DEFAULT_CELL = "default-cell"
    SOURCE_HASH = "source-hash"


@dataclass(frozen=True, slots=True)
class Fleet:
    """One fleet.

    Attributes:
        name: DNS label.
        key_header: lower-case name of the request header that carries the partition key. A plain header is only as
            trustworthy as whoever can reach the router.
        default_pool: pool of the tenants that nothing else places.
        unknown_tenant: see UnknownTenant.
        missing_key: see MissingKey.
        default_cell: id of the cell that ``default-cell`` means; None where neither policy says so.
        retry_after_seconds: Retry-After of every 503 that a router answers by itself, 0 to 3600.
    """

    name: str
    key_header: str = "x-tenant-id"
    default_pool: str = "default"
    unknown_tenant: UnknownTenant = UnknownTenant.HASH
    retry_after_seconds: int = 1
    missing_key: MissingKey = MissingKey.REJECT
    default_cell: str | None = None

    @property
    def has_default_cell(self) -> bool:
        """Whether some request goes to the default cell."""
        return self.unknown_tenant is UnknownTenant.DEFAULT_CELL or self.missing_key is MissingKey.DEFAULT_CELL

    @property
    def places_by_slot(self) -> bool:
        """Whether some request goes to a slot of the default pool without having a tenant."""
        return self.unknown_tenant is UnknownTenant.HASH or self.missing_key is MissingKey.SOURCE_HASH

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        check_header_name(f"{field}.key_header", self.key_header)
        check_name(f"{field}.default_pool", self.default_pool)
        if self.default_cell is not None:
            check_name(f"{field}.default_cell", self.default_cell)
        if self.has_default_cell != (self.default_cell is not None):
            raise ValidationError(
                f"{field}.default_cell", "expected a cell exactly where unknown_tenant or missing_key is default-cell"
            )
        if not 0 <= self.retry_after_seconds <= MAX_RETRY_AFTER_SECONDS:
            raise ValidationError(
                f"{field}.retry_after_seconds",
                f"expected 0 to {MAX_RETRY_AFTER_SECONDS}, found {self.retry_after_seconds}",
            )
