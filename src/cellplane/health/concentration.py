"""Concentration: whether one tenant alone makes a cell ill, by what its requests cost and how they end."""

from dataclasses import dataclass
from enum import Enum

from cellplane.model.bounds import MAX_COUNT, check_between, check_rising


class Harm(Enum):
    """What a tenant concentrates; the value is for people and metrics."""

    ERRORS = "errors"
    BUSY_TIME = "busy time"


@dataclass(frozen=True, slots=True)
class TenantUse:
    """What one tenant, or a whole cell, used in a window.

    Attributes:
        tenant: id; empty for the whole cell.
        requests: in the window.
        errors: of them, those answered with 5xx or not at all.
        busy_seconds: sum of the time that its requests were under way in the cell.
    """

    tenant: str
    requests: int
    errors: int
    busy_seconds: float


@dataclass(frozen=True, slots=True)
class CellUse:
    """What a cell was used for in a window.

    Attributes:
        total: of all tenants together.
        tenants: the largest ones, in any order; not all need be there.
        capacity_seconds: busy seconds that the cell has in the window: declared concurrency × its length; None where
            nothing is declared, and busy time then says nothing.
    """

    total: TenantUse
    tenants: tuple[TenantUse, ...]
    capacity_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonSettings:
    """When one tenant is suspected for the sake of a cell's others."""

    errors_share: float = 0.8
    """Share of the cell's errors from which they are one tenant's, more than 0.5: so there is one at most."""

    busy_share: float = 0.6
    """Share of the cell's busy time from which it is one tenant's, more than 0.5."""

    exit_factor: float = 0.8
    """Part of these shares, and of the limits of an ill cell, down to which a suspicion is kept and does not grow, 0
    to 1."""

    ill_error_rate: float = 0.05
    """Error rate from which a cell is ill, 0 to 1. A well cell has no poison tenant, however large a tenant it has."""

    well_error_rate: float = 0.01
    """Error rate up to which the cell would be well without the tenant, 0 to 1."""

    ill_busy_share: float = 0.85
    """Busy time ÷ capacity from which a cell is ill."""

    well_busy_share: float = 0.6
    """Busy time ÷ capacity up to which the cell would be well without the tenant."""

    min_errors: int = 20
    """Errors of the tenant under which they say nothing."""

    min_other_requests: int = 50
    """Requests of the other tenants under which nobody knows whether the cell would be well without this one."""

    windows: int = 5
    """Decisions in a row that must find the same tenant, counted as long as the suspicion is kept."""

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        for field in ("errors_share", "busy_share"):
            check_between(field, getattr(self, field), 0.501, 1)
        check_between("exit_factor", self.exit_factor, 0, 1)
        for low, high, most in (
            ("well_error_rate", "ill_error_rate", 1.0),
            ("well_busy_share", "ill_busy_share", 10.0),
        ):
            for field in (low, high):
                check_between(field, getattr(self, field), 0, most)
            check_rising(low, getattr(self, low), high, getattr(self, high))
        for field in ("min_errors", "min_other_requests", "windows"):
            check_between(field, getattr(self, field), 1, MAX_COUNT)


@dataclass(frozen=True, slots=True)
class Concentration:
    """One tenant makes a cell ill, in figures.

    Attributes:
        tenant: id.
        cell: id.
        harm: what it concentrates.
        share: its part of the cell's errors or busy time, 0 to 1.
        amount: its errors, or busy seconds.
        level: the cell's error rate, or busy time ÷ capacity.
        level_without: the same without the tenant.
    """

    tenant: str
    cell: str
    harm: Harm
    share: float
    amount: float
    level: float
    level_without: float

    @property
    def text(self) -> str:
        """The figures as one sentence for people."""
        if self.harm is Harm.ERRORS:
            return (
                f"{self.share:.0%} of the errors of {self.cell} are tenant {self.tenant}'s ({self.amount:,.0f}): "
                f"{self.level:.1%} of the cell's requests fail, and {self.level_without:.1%} without this tenant"
            )
        return (
            f"{self.share:.0%} of the busy time of {self.cell} is tenant {self.tenant}'s ({self.amount:,.1f} s): "
            f"the cell is used to {self.level:.0%}, and to {self.level_without:.0%} without this tenant"
        )


def concentration(cell: str, use: CellUse, settings: PoisonSettings, *, factor: float = 1.0) -> Concentration | None:
    """The one tenant without which an ill cell would be well, by errors first, then by busy time.

    All must hold: the cell is ill; the tenant's share is as large as set, which is more than half, so that there is one
    at most; it is enough to count; and the others, of whom there are enough to tell, are well.

    Args:
        cell: id.
        use: of the window. A tenant's counts above the cell's, as sketches may give, are taken to be the cell's.
        settings: valid.
        factor: on the shares and the limits of an ill cell, ≤ 1, to ask whether a suspicion is kept.
    """
    return _by_errors(cell, use, settings, factor) or _by_busy_time(cell, use, settings, factor)


def _by_errors(cell: str, use: CellUse, settings: PoisonSettings, factor: float) -> Concentration | None:
    total = use.total
    tenant = min(use.tenants, key=lambda tenant: (-tenant.errors, tenant.tenant), default=None)
    others = total.requests - tenant.requests if tenant else 0
    errors = min(tenant.errors, total.errors) if tenant else 0
    if tenant is None or errors < settings.min_errors or others < settings.min_other_requests:
        return None
    share, level = errors / total.errors, min(1.0, total.errors / total.requests)
    without = min(1.0, (total.errors - errors) / others)
    is_ill = level >= settings.ill_error_rate * factor and without <= settings.well_error_rate
    if not is_ill or share < settings.errors_share * factor:
        return None
    return Concentration(tenant.tenant, cell, Harm.ERRORS, share, errors, level, without)


def _by_busy_time(cell: str, use: CellUse, settings: PoisonSettings, factor: float) -> Concentration | None:
    total = use.total
    tenant = min(use.tenants, key=lambda tenant: (-tenant.busy_seconds, tenant.tenant), default=None)
    others = total.requests - tenant.requests if tenant else 0
    busy_seconds = min(tenant.busy_seconds, total.busy_seconds) if tenant else 0.0
    if tenant is None or use.capacity_seconds is None or busy_seconds <= 0 or others < settings.min_other_requests:
        return None
    share, level = busy_seconds / total.busy_seconds, total.busy_seconds / use.capacity_seconds
    without = (total.busy_seconds - busy_seconds) / use.capacity_seconds
    is_ill = level >= settings.ill_busy_share * factor and without <= settings.well_busy_share
    if not is_ill or share < settings.busy_share * factor:
        return None
    return Concentration(tenant.tenant, cell, Harm.BUSY_TIME, share, busy_seconds, level, without)
