"""A pool: the cells that serve one class of tenants, with one placement strategy."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from cellplane.errors import ValidationError
from cellplane.model.bounds import MAX_SECONDS
from cellplane.model.cell import Dimension
from cellplane.model.health import MIN_OBJECTIVE_SECONDS
from cellplane.model.key import check_name
from cellplane.model.policy import NO_POLICY, Canary, Policy

MAX_SHARD_SIZE = 8
"""Most cells of a shard: its places in the table (``docs/table-format.md``)."""

MAX_SEED = 2**64 - 1
"""Largest seed of a shuffle: what xxh64 takes."""

MAX_VIRTUAL_NODES = 4096
"""Most virtual nodes a cell: more only slow the compiler down."""

MAX_RING_POINTS = 1_000_000
"""Most points on one pool's ring: the compiler makes and sorts them all, a second or two for a million."""


class StrategyName(Enum):
    """How a pool's slots are spread over its cells; ``explicit`` has none, and every tenant is assigned."""

    MODULO = "modulo"
    RING = "ring"
    RENDEZVOUS = "rendezvous"
    SHUFFLE = "shuffle"
    EXPLICIT = "explicit"


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool.

    Attributes:
        name: DNS label, unique in the fleet.
        cells: ids of its cells, at least one.
        strategy: see StrategyName.
        virtual_nodes: points on the ring for a cell of weight 1. 150 keeps the fullest cell within about
            a quarter of the mean for small fleets.
        shard_size: K, the cells of a shard, 1 to MAX_SHARD_SIZE; None for 2 with ``shuffle`` and 1 else.
        seed: another one gives other, independent shards; for ``shuffle`` and ``explicit``.
        spread: dimensions in which the cells of a shard differ, for ``shuffle``: one limits how many may be alike
            (zones), several make a lattice.
        max_overlap: cells that the shards of two assigned tenants may share, 0 to K - 1, for ``shuffle`` and
            ``explicit``. Where it is given, tenants that the directory knows are assigned by search; so they are with
            ``explicit`` and K > 1, where it is K - 1 unless given: no two tenants have the same cells.
        dedicated: whether a cell takes one tenant only, for ``explicit``; such a cell is in no pool that is not
            dedicated.
        overflow: the pool whose cells take new tenants when this one has no room, for ``explicit``.
        policy: what routers do with its tenants' requests, where a tenant does not say otherwise.
        canary: a cell that takes a part of its tenants' requests; None for none.
        p99_objective_seconds: what the p99 of its cells is to be at most, > 0; None where it is the fleet's. A cell of
            two pools has the lower.
    """

    name: str
    cells: tuple[str, ...]
    strategy: StrategyName = StrategyName.RING
    virtual_nodes: int = 150
    shard_size: int | None = None
    seed: int = 0
    spread: tuple[Dimension, ...] = ()
    max_overlap: int | None = None
    dedicated: bool = False
    overflow: str | None = None
    policy: Policy = NO_POLICY
    canary: Canary | None = None
    p99_objective_seconds: float | None = None

    @property
    def size(self) -> int:
        """K: the cells of each of its shards, unless a tenant has a size of its own."""
        if self.shard_size is not None:
            return self.shard_size
        return 2 if self.strategy is StrategyName.SHUFFLE else 1

    @property
    def has_slots(self) -> bool:
        """Whether a slot places tenants, known or not."""
        return self.strategy is not StrategyName.EXPLICIT

    @property
    def assigns(self) -> bool:
        """Whether each tenant that the directory knows gets a shard of its own."""
        return self.strategy is StrategyName.EXPLICIT or self.max_overlap is not None

    @property
    def overlap(self) -> int | None:
        """The most cells that the shards of two assigned tenants share; None where nothing limits it."""
        if self.max_overlap is None and self.strategy is StrategyName.EXPLICIT and self.size > 1:
            return self.size - 1
        return self.max_overlap

    def validate(self, field: str) -> None:
        """Raise ValidationError with the path of the first field that breaks a rule."""
        check_name(f"{field}.name", self.name)
        if not self.cells:
            raise ValidationError(f"{field}.cells", "a pool needs at least one cell")
        seen: set[str] = set()
        for place, cell_id in enumerate(self.cells):
            check_name(f"{field}.cells[{place}]", cell_id)
            if cell_id in seen:
                raise ValidationError(f"{field}.cells[{place}]", f"{cell_id!r} stands twice")
            seen.add(cell_id)
        if not 1 <= self.virtual_nodes <= MAX_VIRTUAL_NODES:
            raise ValidationError(
                f"{field}.virtual_nodes", f"expected 1 to {MAX_VIRTUAL_NODES}, found {self.virtual_nodes}"
            )
        self._validate_shards(field)
        self._validate_options(field)

    def _validate_shards(self, field: str) -> None:
        if not 1 <= self.size <= MAX_SHARD_SIZE:
            raise ValidationError(f"{field}.shard_size", f"expected 1 to {MAX_SHARD_SIZE}, found {self.size}")
        if self.size > len(self.cells):
            raise ValidationError(
                f"{field}.shard_size",
                f"a shard of {self.size} distinct cells needs as many in the pool, found {len(self.cells)}: "
                "lower the shard size, or add cells",
            )
        if self.max_overlap is not None and not 0 <= self.max_overlap < self.size:
            raise ValidationError(f"{field}.max_overlap", f"expected 0 to {self.size - 1}, found {self.max_overlap}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValidationError(f"{field}.seed", f"expected 0 to 2**64 - 1, found {self.seed}")
        if len(set(self.spread)) != len(self.spread):
            listed = ", ".join(dimension.value for dimension in self.spread)
            raise ValidationError(f"{field}.spread", f"expected each dimension once, found {listed}")

    def _validate_options(self, field: str) -> None:
        shuffle, explicit = self.strategy is StrategyName.SHUFFLE, self.strategy is StrategyName.EXPLICIT
        for name, given, meant in (
            ("seed", self.seed != 0, shuffle or explicit),
            ("spread", bool(self.spread), shuffle),
            ("max_overlap", self.max_overlap is not None, shuffle or explicit),
            ("dedicated", self.dedicated, explicit),
            ("overflow", self.overflow is not None, explicit),
        ):
            if given and not meant:
                raise ValidationError(f"{field}.{name}", f"means nothing to the strategy {self.strategy.value}")
        if self.dedicated and self.size != 1:
            raise ValidationError(
                f"{field}.dedicated", f"a cell of one tenant is in no shard of several cells, found {self.size}"
            )
        if self.overflow is not None:
            check_name(f"{field}.overflow", self.overflow)
        self.policy.validate(f"{field}.policy")
        if self.canary is not None:
            self.canary.validate(f"{field}.canary")
        objective = self.p99_objective_seconds
        if objective is not None and not MIN_OBJECTIVE_SECONDS <= objective <= MAX_SECONDS:
            raise ValidationError(
                f"{field}.p99_objective_seconds",
                f"expected {MIN_OBJECTIVE_SECONDS:g} to {MAX_SECONDS:g}, found {objective:g}",
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
