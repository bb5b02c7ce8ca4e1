"""A pool: the cells that serve one class of tenants, with one placement strategy."""

from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.key import check_name

MAX_VIRTUAL_NODES = 4096
"""Most virtual nodes a cell: more only slow the compiler down."""


class StrategyName(Enum):
    """How a pool's slots are spread over its cells."""

    MODULO = "modulo"
    RING = "ring"


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool.

    Attributes:
        name: DNS label, unique in the fleet.
        cells: ids of its cells, at least one.
        strategy: see StrategyName.
        virtual_nodes: points on the ring for a cell of weight 1. 150 keeps the fullest cell within about
            a quarter of the mean for small fleets.
    """

    name: str
    cells: tuple[str, ...]
    strategy: StrategyName = StrategyName.RING
    virtual_nodes: int = 150

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        if not self.cells:
            raise ValidationError(f"{field}.cells", "a pool needs at least one cell")
        if len(set(self.cells)) != len(self.cells):
            raise ValidationError(f"{field}.cells", "a cell is listed twice")
        if not 1 <= self.virtual_nodes <= MAX_VIRTUAL_NODES:
            raise ValidationError(
                f"{field}.virtual_nodes", f"expected 1 to {MAX_VIRTUAL_NODES}, found {self.virtual_nodes}"
            )
