"""Poison: which tenants are kept away for a while, so that one does not take a cell's others with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.health.concentration import CellUse, Concentration, PoisonSettings, concentration

_MAX_DOUBLINGS = 32


class PoisonChange(Enum):
    """What was decided of a tenant; the value is for people and metrics."""

    QUARANTINED = "quarantined"
    LEFT_ALONE = "left alone"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A tenant that a cell suspects.

    Attributes:
        found: the figures, when last found in full.
        windows: decisions that found it in full, since the suspicion began.
        is_left: whether it was said that it is left alone because of the bound.
    """

    found: Concentration
    windows: int
    is_left: bool = False


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A tenant's quarantines.

    Attributes:
        found: the figures for which it was quarantined last.
        since: monotonic seconds of that.
        until: monotonic seconds at which it is released.
        times: how often it was quarantined since that was last forgotten: the exponent of the time, plus 1.
        is_over: whether it is released, and only remembered.
    """

    found: Concentration
    since: float
    until: float
    times: int
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class PoisonState:
    """What a router knows of poison tenants, in all its cells.

    Attributes:
        suspicions: at most one of each cell, by its id.
        quarantines: by tenant, with those that are over and not yet forgotten.
        at: monotonic seconds of the last decision; None before the first.
    """

    suspicions: Mapping[str, Suspicion] = field(default_factory=dict)
    quarantines: Mapping[str, Quarantine] = field(default_factory=dict)
    at: float | None = None

    @property
    def quarantined(self) -> tuple[str, ...]:
        """Ids of the tenants that are in quarantine now, sorted."""
        return tuple(sorted(tenant for tenant, quarantine in self.quarantines.items() if not quarantine.is_over))


@dataclass(frozen=True, slots=True)
class PoisonEvent:
    """A decision about one tenant.

    Attributes:
        tenant: id.
        change: what was decided. LEFT_ALONE: it would be quarantined, but for ``max_quarantined``; said once.
        at: monotonic seconds.
        found: the figures that it was decided by; of a release, those of the quarantine that ends.
        until: monotonic seconds at which the quarantine ends; None for other changes.
    """

    tenant: str
    change: PoisonChange
    at: float
    found: Concentration
    until: float | None = None


def decide(
    state: PoisonState, cells: Mapping[str, CellUse], now: float, settings: PoisonSettings
) -> tuple[PoisonState, tuple[PoisonEvent, ...]]:
    """Release those whose time is over, and quarantine whom some cell has suspected long enough.

    A suspicion grows by one with each decision that finds the same tenant for the same harm in full, stays as it is
    where it is found with the shares and limits × ``exit_factor``, and ends otherwise. When it has grown to
    ``windows``, the tenant is quarantined for ``min(cap, seconds × 2^earlier times)``: everywhere, since a tenant
    that was sent to its next cell would make that one ill. At most ``max_quarantined`` are at once; the largest
    share goes first.

    Args:
        state: as the last decision returned it.
        cells: use of each cell in the last window, by id; a cell that is missing suspects nobody.
        now: monotonic seconds, not before the last decision's.
        settings: valid.

    Returns:
        The next state, and events: releases first, then the rest by share.

    Raises:
        ValidationError: time went back.
    """
    if state.at is not None and not now >= state.at:
        raise ValidationError("now", f"expected {state.at} or later, found {now}")
    quarantines, events = _released(state, now, settings)
    away = {tenant for tenant, quarantine in quarantines.items() if not quarantine.is_over}
    suspicions = {}
    for cell in sorted(cells):
        suspicion = _suspicion(state.suspicions.get(cell), cell, cells[cell], settings)
        # What a tenant did before it was sent away is still in the window.
        if suspicion is not None and suspicion.found.tenant not in away:
            suspicions[cell] = suspicion
    ripe = [cell for cell, suspicion in suspicions.items() if suspicion.windows >= settings.windows]
    for cell in sorted(ripe, key=lambda cell: (-suspicions[cell].found.share, suspicions[cell].found.tenant, cell)):
        suspicion = suspicions[cell]
        found = suspicion.found
        if found.tenant in away:
            del suspicions[cell]
        elif len(away) < settings.max_quarantined:
            del suspicions[cell]
            away.add(found.tenant)
            quarantines[found.tenant] = quarantine = _quarantined(quarantines.get(found.tenant), found, now, settings)
            events.append(PoisonEvent(found.tenant, PoisonChange.QUARANTINED, now, found, quarantine.until))
        elif not suspicion.is_left:
            suspicions[cell] = replace(suspicion, is_left=True)
            events.append(PoisonEvent(found.tenant, PoisonChange.LEFT_ALONE, now, found))
    assert len(away) <= max(settings.max_quarantined, len(state.quarantined)), "no decision exceeds the bound"
    return PoisonState(suspicions, quarantines, now), tuple(events)


def _released(
    state: PoisonState, now: float, settings: PoisonSettings
) -> tuple[dict[str, Quarantine], list[PoisonEvent]]:
    """The quarantines with those whose time is over marked so, and those long over forgotten."""
    kept: dict[str, Quarantine] = {}
    events = []
    for tenant, quarantine in sorted(state.quarantines.items()):
        if quarantine.is_over:
            if now - quarantine.until < settings.forget_seconds:
                kept[tenant] = quarantine
        elif now >= quarantine.until:
            kept[tenant] = replace(quarantine, is_over=True)
            events.append(PoisonEvent(tenant, PoisonChange.RELEASED, now, quarantine.found))
        else:
            kept[tenant] = quarantine
    return kept, events


def _suspicion(before: Suspicion | None, cell: str, use: CellUse, settings: PoisonSettings) -> Suspicion | None:
    """What a cell suspects after one more window."""
    found = concentration(cell, use, settings)
    if found is not None:
        is_same = before is not None and _who(before.found) == _who(found)
        if before is None or not is_same:
            return Suspicion(found, 1)
        return replace(before, found=found, windows=min(before.windows + 1, settings.windows))
    if before is None:
        return None
    kept = concentration(cell, use, settings, factor=settings.exit_factor)
    return before if kept is not None and _who(kept) == _who(before.found) else None


def _who(found: Concentration) -> tuple[str, str]:
    return found.tenant, found.harm.value


def _quarantined(before: Quarantine | None, found: Concentration, now: float, settings: PoisonSettings) -> Quarantine:
    """A quarantine from now on, longer the more there were."""
    times = before.times if before else 0
    seconds = min(settings.quarantine_cap_seconds, settings.quarantine_seconds * 2 ** min(times, _MAX_DOUBLINGS))
    return Quarantine(found, now, now + seconds, times + 1)
