"""A plan of moves: its settings, its steps in batches, and what it leaves undone."""

from collections.abc import Mapping
from dataclasses import dataclass

from cellplane.planning.checks import check_between, check_positive, check_whole

MAX_MOVES = 100_000
"""Most moves of one plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveSettings:
    """By what moves are planned."""

    over_at: float = 0.8
    """Utilisation above which tenants move away from a cell."""

    lock_at: float = 0.7
    """Utilisation that no cell is filled beyond, and down to which a full one is emptied."""

    max_moves: int = 10_000
    """Most moves of one plan."""

    max_looks: int = 1_000_000
    """Most tenants that one plan looks at."""

    per_cell: int = 2
    """Most moves at once that a cell gives or takes: copying a tenant costs both of them."""

    at_once: int = 8
    """Most moves at once in the whole fleet."""

    gib_per_hour: float = 100.0
    """What all moves together may copy in an hour, GiB."""

    def validate(self) -> None:
        """Raise ValidationError with the name of the first setting that breaks a rule."""
        check_between("over_at", self.over_at, 0.01, 10.0)
        check_between("lock_at", self.lock_at, 0.01, 10.0)
        check_whole("max_moves", self.max_moves, 1, MAX_MOVES)
        check_whole("max_looks", self.max_looks, 1, 100_000_000)
        check_whole("per_cell", self.per_cell, 1, 1_000)
        check_whole("at_once", self.at_once, 1, 10_000)
        check_positive("gib_per_hour", self.gib_per_hour)


@dataclass(frozen=True, slots=True)
class Move:
    """One tenant from one cell to another; the rest of its shard stays.

    Attributes:
        batch: from 1; a batch begins when the one before is done.
        tenant: id.
        source: id of the cell that it leaves.
        target: id of the cell that it goes to.
        shard: ids of its cells afterwards, the preferred first.
        data_bytes: what is copied.
        reason: one sentence for people.
        source_before: utilisation of the source before this move, with those in front of it done; None where the cell
            declares no capacity.
        source_after: after it.
        target_before: likewise.
        target_after: likewise.
    """

    batch: int
    tenant: str
    source: str
    target: str
    shard: tuple[str, ...]
    data_bytes: int
    reason: str
    source_before: float | None
    source_after: float | None
    target_before: float | None
    target_after: float | None


@dataclass(frozen=True, slots=True)
class Stays:
    """Tenants that stay where they should not.

    Attributes:
        cell: id of the cell that they stay in.
        reason: why.
        tenants: how many.
        example: id of the first.
    """

    cell: str
    reason: str
    tenants: int
    example: str


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What to move, in order, and what that comes to.

    Attributes:
        moves: by batch.
        before: utilisation of each cell by id; None where it declares no capacity.
        after: the same when all is done.
        excess_before: the sum over cells and dimensions of what is beyond ``lock_at``; every move of a rebalancing
            makes it smaller, and no move of an evacuation larger in another cell.
        excess_after: the same when all is done.
        stays: whom no move is found for, most tenants first.
        batch_hours: how long each batch takes at ``gib_per_hour``.
        is_cut: whether a bound of the settings ended it, so that another plan would find more.
    """

    moves: tuple[Move, ...]
    before: Mapping[str, float | None]
    after: Mapping[str, float | None]
    excess_before: float
    excess_after: float
    stays: tuple[Stays, ...]
    batch_hours: tuple[float, ...]
    is_cut: bool

    @property
    def data_bytes(self) -> int:
        """What all moves copy."""
        return sum(move.data_bytes for move in self.moves)

    @property
    def hours(self) -> float:
        """How long it takes at the rate of the settings."""
        return sum(self.batch_hours)
