"""Poison: whom a cell suspects of making it ill for all others, and since when."""

from dataclasses import dataclass, replace

from cellplane.health.concentration import CellUse, Concentration, PoisonSettings, concentration


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A tenant that a cell suspects.

    Attributes:
        found: the figures, when last found in full.
        windows: decisions that found it in full, since the suspicion began.
    """

    found: Concentration
    windows: int


def suspect(before: Suspicion | None, cell: str, use: CellUse, settings: PoisonSettings) -> Suspicion | None:
    """Whom a cell suspects after one more window.

    A suspicion grows by one with each decision that finds the same tenant for the same harm in full, stays as it is
    where it is found with the shares and limits × ``exit_factor``, and ends otherwise. It is ripe when it has grown to
    ``windows``, and does not grow further.

    Args:
        before: as the last decision returned it.
        cell: id.
        use: of the cell in the last window.
        settings: valid.
    """
    found = concentration(cell, use, settings)
    if found is not None:
        if before is None or _who(before.found) != _who(found):
            return Suspicion(found, 1)
        return replace(before, found=found, windows=min(before.windows + 1, settings.windows))
    if before is None:
        return None
    kept = concentration(cell, use, settings, factor=settings.exit_factor)
    return before if kept is not None and _who(kept) == _who(before.found) else None


def is_ripe(suspicion: Suspicion, settings: PoisonSettings) -> bool:
    """Whether the tenant was found often enough to be sent away."""
    return suspicion.windows >= settings.windows


def _who(found: Concentration) -> tuple[str, str]:
    return found.tenant, found.harm.value
