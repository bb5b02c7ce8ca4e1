"""Quarantine: where a tenant goes that makes its cell ill for all others, for how long, and how many at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cellplane.errors import ValidationError
from cellplane.model.key import check_name

MAX_QUARANTINE_CELLS = 64
"""Most quarantine cells of a fleet: one or two for each jurisdiction."""

MAX_QUARANTINED = 100
"""Most tenants that may be quarantined at once. More poison tenants than a few are an attack, or a release."""

MAX_QUARANTINE_SECONDS = 30 * 86_400
"""Longest quarantine, hold or memory: a month. Whoever is to stay away longer is suspended by a person."""


@dataclass(frozen=True, slots=True)
class QuarantinePolicy:
    """What a fleet says of quarantines.

    Attributes:
        cells: ids of the cells that take them, each those of its own jurisdiction; none: nobody is quarantined. They
            are in no pool, and stand in for no other cell.
        automatic: whether what routers find is enough; else a person decides.
        max_tenants: most tenants in quarantine at once, 1 to MAX_QUARANTINED.
        seconds: how long the first quarantine of a tenant lasts; it doubles with each further one.
        cap_seconds: longest one that nobody ordered by hand.
        forget_seconds: time after a release when earlier quarantines of the tenant are forgotten.
        hold_seconds: time after a release by hand in which no router's finding sends the tenant back.
    """

    cells: tuple[str, ...] = ()
    automatic: bool = True
    max_tenants: int = 3
    seconds: int = 60
    cap_seconds: int = 3_600
    forget_seconds: int = 7_200
    hold_seconds: int = 600

    def validate(self, path: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        if len(self.cells) > MAX_QUARANTINE_CELLS:
            raise ValidationError(
                f"{path}.cells", f"expected at most {MAX_QUARANTINE_CELLS} cells, found {len(self.cells)}"
            )
        for place, cell_id in enumerate(self.cells):
            check_name(f"{path}.cells[{place}]", cell_id)
            if cell_id in self.cells[:place]:
                raise ValidationError(f"{path}.cells[{place}]", f"{cell_id!r} stands twice")
        for name, low, high in (
            ("max_tenants", 1, MAX_QUARANTINED),
            ("seconds", 1, MAX_QUARANTINE_SECONDS),
            ("cap_seconds", 1, MAX_QUARANTINE_SECONDS),
            ("forget_seconds", 0, MAX_QUARANTINE_SECONDS),
            ("hold_seconds", 0, MAX_QUARANTINE_SECONDS),
        ):
            found = getattr(self, name)
            if not low <= found <= high:
                raise ValidationError(f"{path}.{name}", f"expected {low} to {high}, found {found}")


NO_QUARANTINE = QuarantinePolicy()
"""That of a fleet which says nothing: nobody is quarantined."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A tenant's last quarantine. Where the tenant is at home stands elsewhere, and does not change by it.

    Attributes:
        tenant: id; the directory need not list it.
        cell: id of the quarantine cell.
        since: when it began, UTC.
        until: when it ends by itself, UTC.
        reason: why, a sentence for people.
        figures: what a router found, by name; none where a person decided.
        times: how often the tenant was quarantined since that was last forgotten, with this one.
        epoch: of the change that wrote this.
        ended: when it ended, UTC; None while it lasts.
        end_reason: why it ended.
        held_until: until when no finding sends the tenant back, UTC; None where nothing does.
    """

    tenant: str
    cell: str
    since: datetime
    until: datetime
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1
    epoch: int = 0
    ended: datetime | None = None
    end_reason: str = ""
    held_until: datetime | None = None

    @property
    def lasts(self) -> bool:
        """Whether the tenant is away now."""
        return self.ended is None
