"""A fleet: one product's cells and its routing policy."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.health import USUAL_HEALTH, Health
from cellplane.model.jwt import JwtProvider, check_providers
from cellplane.model.key import check_name
from cellplane.model.key_source import MAX_KEY_SOURCES, KeySource, KeySourceKind
from cellplane.model.policy import NO_POLICY, FailOpen, Policy
from cellplane.model.quarantine import NO_QUARANTINE, QuarantinePolicy
from cellplane.model.rule import MAX_RULES, Rule

MAX_RETRY_AFTER_SECONDS = 3600
"""Longest Retry-After: a client told to stay away for longer would miss the recovery."""

MAX_ROUTERS = 10_000
"""Most routers that share limits: what is left for one of more is no limit any more."""


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
        key_sources: where a request's partition key stands; the first that has a value counts.
        default_pool: pool of the tenants that nothing else places.
        unknown_tenant: see UnknownTenant.
        missing_key: see MissingKey.
        default_cell: id of the cell that ``default-cell`` means; None where neither policy says so.
        rules: which known tenants are in which pool; the first that matches counts, then ``default_pool``.
        jwt: who signs the tokens whose claims are keys; a token that none of them signed is refused.
        retry_after_seconds: Retry-After of every 503 that a router answers by itself, 0 to 3600.
        policy: what routers do with requests, where neither a pool nor a tenant says otherwise.
        fail_open: which requests ``missing_key`` lets through, unless it rejects them; see FailOpen. It says nothing of
            unknown tenants.
        routers: how many routers share the limits; each enforces so many parts of them.
        health: by what routers judge cells.
        quarantine: what becomes of tenants that make their cell ill for all others.
    """

    name: str
    key_sources: tuple[KeySource, ...] = (KeySource.trusted_header("x-tenant-id"),)
    default_pool: str = "default"
    unknown_tenant: UnknownTenant = UnknownTenant.HASH
    retry_after_seconds: int = 1
    missing_key: MissingKey = MissingKey.REJECT
    default_cell: str | None = None
    rules: tuple[Rule, ...] = ()
    jwt: tuple[JwtProvider, ...] = ()
    policy: Policy = NO_POLICY
    fail_open: FailOpen = FailOpen.READS
    routers: int = 1
    health: Health = USUAL_HEALTH
    quarantine: QuarantinePolicy = NO_QUARANTINE

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
        if not 1 <= len(self.key_sources) <= MAX_KEY_SOURCES:
            raise ValidationError(
                f"{field}.key_sources", f"expected 1 to {MAX_KEY_SOURCES} sources, found {len(self.key_sources)}"
            )
        for place, source in enumerate(self.key_sources):
            source.validate(f"{field}.key_sources[{place}]")
            if source in self.key_sources[:place]:
                raise ValidationError(
                    f"{field}.key_sources[{place}]", f"the {source.kind.value} {source.name!r} stands twice"
                )
        self.validate_jwt(field)
        check_name(f"{field}.default_pool", self.default_pool)
        if self.default_cell is not None:
            check_name(f"{field}.default_cell", self.default_cell)
        if self.has_default_cell != (self.default_cell is not None):
            raise ValidationError(
                f"{field}.default_cell",
                "expected a cell where unknown_tenant or missing_key is default-cell, else none; found "
                f"{self.default_cell}",
            )
        if not 0 <= self.retry_after_seconds <= MAX_RETRY_AFTER_SECONDS:
            raise ValidationError(
                f"{field}.retry_after_seconds",
                f"expected 0 to {MAX_RETRY_AFTER_SECONDS}, found {self.retry_after_seconds}",
            )
        self.policy.validate(f"{field}.policy")
        if not 1 <= self.routers <= MAX_ROUTERS:
            raise ValidationError(f"{field}.routers", f"expected 1 to {MAX_ROUTERS}, found {self.routers}")
        self.health.validate(f"{field}.health")
        self.quarantine.validate(f"{field}.quarantine")
        if len(self.rules) > MAX_RULES:
            raise ValidationError(f"{field}.rules", f"expected at most {MAX_RULES} rules, found {len(self.rules)}")
        names: set[str] = set()
        for place, rule in enumerate(self.rules):
            rule.validate(f"{field}.rules[{place}]")
            if rule.name in names:
                raise ValidationError(f"{field}.rules[{place}].name", f"{rule.name!r} stands twice")
            names.add(rule.name)

    def validate_jwt(self, field: str) -> None:
        """Raise ValidationError with the path of the first field about tokens that breaks a rule."""
        check_providers(f"{field}.jwt", self.jwt)
        for place, source in enumerate(self.key_sources):
            if source.kind is KeySourceKind.JWT_CLAIM and not self.jwt:
                raise ValidationError(
                    f"{field}.key_sources[{place}]",
                    f"nothing verifies the claim {source.name!r}: name its issuer in jwt",
                )
