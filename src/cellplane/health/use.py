"""Use: what a cell was used for in the last seconds, by whom, from counters that only grow."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cellplane.errors import ValidationError
from cellplane.health.concentration import CellUse, TenantUse


@dataclass(frozen=True, slots=True)
class _Sample:
    """The counters at a moment, in monotonic seconds, and the epoch of the table by which requests went then."""

    at: float
    epoch: int
    total: TenantUse
    tenants: Mapping[str, TenantUse]


@dataclass(frozen=True, slots=True)
class UseWindow:
    """The last seconds of one cell's counters by tenant. A frozen value: ``observe`` returns the next one.

    Attributes:
        span_seconds: how far back it reaches.
        samples: the oldest first; the first is where the span begins.
    """

    span_seconds: float
    samples: tuple[_Sample, ...] = ()

    def observe(self, total: TenantUse, tenants: Mapping[str, TenantUse], now: float, epoch: int) -> "UseWindow":
        """The window with one more sample.

        Args:
            total: what the whole cell was used for since counting began.
            tenants: the same of its largest tenants, by id. One that comes was counted from 0 on when it came.
            now: monotonic seconds, later than the last sample's.
            epoch: of the table by which requests go now.

        Raises:
            ValidationError: time went back.
        """
        if self.samples and not now > self.samples[-1].at:
            raise ValidationError("now", f"expected later than {self.samples[-1].at}, found {now}")
        kept = (*self.samples, _Sample(now, epoch, total, tenants))
        begin = now - self.span_seconds
        first = next(place for place, after in enumerate((*kept[1:], None)) if after is None or after.at > begin)
        return replace(self, samples=kept[first:])

    @property
    def epoch(self) -> int:
        """Of the table that was live when the window began; 0 without samples."""
        return self.samples[0].epoch if self.samples else 0

    def use(self, concurrency: int | None) -> CellUse:
        """What happened in the window; nothing before the second sample.

        Args:
            concurrency: requests that the cell takes at once; None where nobody declares it.
        """
        if len(self.samples) < 2:
            return CellUse(TenantUse("", 0, 0, 0.0), ())
        first, last = self.samples[0], self.samples[-1]
        tenants = tuple(_gain(first.tenants.get(tenant), after) for tenant, after in last.tenants.items())
        capacity = None if concurrency is None else concurrency * (last.at - first.at)
        return CellUse(_gain(first.total, last.total), tenants, capacity)


def _gain(before: TenantUse | None, after: TenantUse) -> TenantUse:
    """What was counted between two readings; all of the second where counting began anew."""
    if before is None or after.requests < before.requests or after.errors < before.errors:
        return after
    return TenantUse(
        after.tenant,
        after.requests - before.requests,
        after.errors - before.errors,
        max(0.0, after.busy_seconds - before.busy_seconds),
    )
