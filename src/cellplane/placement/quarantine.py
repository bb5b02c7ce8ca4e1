"""Who is quarantined, in which cell and until when: a decision over the whole fleet."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from cellplane.model import Cell, Quarantine, QuarantinePolicy
from cellplane.model.residency import Act, violations

_MAX_DOUBLINGS = 32


class LeftAloneBy(Enum):
    """Why a tenant is not quarantined; the value is for people and metrics."""

    NO_CELL = "no-cell"
    BOUND = "bound"
    HELD = "held"
    BY_HAND = "by-hand"
    STATE = "state"
    UNKNOWN = "unknown"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A tenant that is not quarantined.

    Attributes:
        by: what keeps it where it is.
        text: the same as a sentence, with what to do about it.
    """

    by: LeftAloneBy
    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody wants a tenant away.

    Attributes:
        tenant: id.
        reason: why, a sentence for people.
        figures: what a router found, by name.
        seen_epoch: of the table by which a router routed the oldest request that counts for what it found; None where
            a person asks.
        seconds: how long; None for as long as the policy says.
        cell: id of the quarantine cell; None for any of the tenant's jurisdiction.
    """

    tenant: str
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    seen_epoch: int | None = None
    seconds: float | None = None
    cell: str | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether a router asks."""
        return self.seen_epoch is not None


def quarantine(
    asked: Asked,
    policy: QuarantinePolicy,
    cells: Mapping[str, Cell],
    law: str,
    *,
    known: Mapping[str, Quarantine],
    now: datetime,
) -> Quarantine | LeftAlone:
    """Decide what becomes of a tenant that somebody wants away.

    It goes to the quarantine cell of its jurisdiction that serves and has the fewest tenants in quarantine, for
    ``min(cap, seconds × 2^earlier times)``. At most ``max_tenants`` are away at once in the whole fleet. What a router
    finds does not count against a policy that leaves it to people, within the hold of a release by hand, and where it
    was found before the tenant's last quarantine was over.

    Args:
        asked: who, and why.
        policy: of the fleet.
        cells: of the fleet, by id; the policy's are among them.
        law: the jurisdiction under which the tenant is at home.
        known: quarantines by tenant, with those that are over and not forgotten.
        now: UTC.

    Returns:
        The quarantine, the same as before where it lasts and a router asks again; or why there is none.
    """
    before = known.get(asked.tenant)
    if before is not None and before.lasts and asked.is_automatic:
        return before
    refusal = _refused(asked, policy, before, now)
    if refusal is not None:
        return refusal
    away = [each for each in known.values() if each.lasts and each.tenant != asked.tenant]
    counts = {cell_id: sum(each.cell == cell_id for each in away) for cell_id in policy.cells}
    able = [
        each
        for each in policy.cells
        if cells[each].status.serves and not violations(Act.QUARANTINE, asked.tenant, law, (cells[each],))
    ]
    if asked.cell is not None:
        able = [cell_id for cell_id in able if cell_id == asked.cell]
    if not able:
        wanted = "" if asked.cell is None else f" {asked.cell!r}"
        return LeftAlone(
            LeftAloneBy.NO_CELL,
            f"the fleet has no quarantine cell{wanted} under {law} that serves: name one in the fleet's quarantine",
        )
    if len(away) >= policy.max_tenants:
        return LeftAlone(
            LeftAloneBy.BOUND,
            f"{len(away)} tenants are in quarantine, as many as may be at once: more poison tenants than that are "
            "another trouble; release one, or raise maxTenants",
        )
    cell = min(able, key=lambda cell_id: (counts[cell_id], policy.cells.index(cell_id)))
    since, times = now, 1
    if before is not None and before.lasts:
        since, times = before.since, before.times
        cell = before.cell if before.cell in able else cell
    elif before is not None and before.ended is not None:
        is_remembered = now - before.ended < timedelta(seconds=policy.forget_seconds)
        times = before.times + 1 if is_remembered else 1
    seconds: float = min(policy.cap_seconds, policy.seconds * 2 ** min(times - 1, _MAX_DOUBLINGS))
    until = now + timedelta(seconds=seconds if asked.seconds is None else asked.seconds)
    return Quarantine(asked.tenant, cell, since, until, asked.reason, asked.figures, times)


def _refused(asked: Asked, policy: QuarantinePolicy, before: Quarantine | None, now: datetime) -> LeftAlone | None:
    """Why a router's finding does not count; None where it does, or a person asks."""
    if asked.seen_epoch is None:
        return None
    if not policy.automatic and policy.cells:
        return LeftAlone(
            LeftAloneBy.BY_HAND, "the fleet quarantines nobody by itself: cellplane quarantine add does so by hand"
        )
    if before is None:
        return None
    if before.held_until is not None and now < before.held_until:
        return LeftAlone(
            LeftAloneBy.HELD, f"it was released by hand, and is not sent back before {before.held_until:%H:%M:%S} UTC"
        )
    if asked.seen_epoch < before.epoch:
        return LeftAlone(
            LeftAloneBy.STALE,
            f"it was found by epoch {asked.seen_epoch}, before its quarantine ended at {before.epoch}",
        )
    return None


def released(before: Quarantine, reason: str, now: datetime, hold_seconds: float = 0.0) -> Quarantine:
    """The quarantine, over.

    Args:
        hold_seconds: for how long no router's finding sends the tenant back.
    """
    held_until = now + timedelta(seconds=hold_seconds) if hold_seconds else None
    return replace(before, ended=now, end_reason=reason, held_until=held_until)


def is_forgotten(known: Quarantine, policy: QuarantinePolicy, now: datetime) -> bool:
    """Whether a quarantine counts for nothing any more."""
    if known.ended is None or (known.held_until is not None and now < known.held_until):
        return False
    return now - known.ended >= timedelta(seconds=policy.forget_seconds)
