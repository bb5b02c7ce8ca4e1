"""What a provisioner is held to, whatever its cells are made of."""

from dataclasses import dataclass

from cellplane.model.capacity import Capacity

REACH_TIMEOUT_SECONDS = 20.0
"""How long routers may take to reach a new cell, seconds: a table, and two health checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionLimits:
    """The most that a provisioner makes. What is there already is never taken away by a lower limit."""

    max_cells: int = 16
    """Most cells, those that are stopped or failed among them."""

    max_total: Capacity = Capacity()
    """Most capacity that all cells together may declare; none: no limit. Where one is set, every new cell has to
    declare what it holds of it."""
