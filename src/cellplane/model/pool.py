"""A pool: the cells that serve one class of tenants, with one placement strategy."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.key import check_name

MAX_VIRTUAL_NODES = 4096
"""Most virtual nodes a cell: more only slow the compiler down."""


MAX_RING_POINTS = 1_000_000
"""Most points on one pool's ring: the compiler makes and sorts them all, a second or two for a million."""


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
        for place, cell_id in enumerate(self.cells):
            check_name(f"{field}.cells[{place}]", cell_id)
        if len(set(self.cells)) != len(self.cells):
            raise ValidationError(f"{field}.cells", "a cell is listed twice")
        if not 1 <= self.virtual_nodes <= MAX_VIRTUAL_NODES:
            raise ValidationError(
                f"{field}.virtual_nodes", f"expected 1 to {MAX_VIRTUAL_NODES}, found {self.virtual_nodes}"
            )

    def validate_ring(self, field: str, weights: Iterable[float]) -> None:
        """Raise ValidationError, with this path, where the ring of cells with these weights has too many points."""
        points = sum(ring_points(self.virtual_nodes, weight) for weight in weights)
        if self.strategy is StrategyName.RING and points > MAX_RING_POINTS:
            raise ValidationError(
                field,
                f"the ring of pool {self.name!r} would have {points} points, more than {MAX_RING_POINTS}: "
                "lower its virtual nodes, or the weights of its cells",
            )


def ring_points(virtual_nodes: int, weight: float) -> int:
    """Points on the ring of a cell of this weight, at least one."""
    return max(1, round(virtual_nodes * weight))
