"""A refusal to place a tenant: why, cell by cell."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CellReason:
    """Why one cell does not take a tenant.

    Attributes:
        cell: its id.
        reason: what is in the way, with the figures.
    """

    cell: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoCell:
    """The tenant is not placed.

    Attributes:
        reason: in one sentence, with what to do.
        cells: every cell that was looked at and does not fit, sorted by id.
    """

    reason: str
    cells: tuple[CellReason, ...]
