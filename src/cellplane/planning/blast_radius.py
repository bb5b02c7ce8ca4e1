"""Blast radius: whom a failure of cells takes down, whom it degrades, and whether the survivors hold the load."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

import numpy as np
import numpy.typing as npt

from cellplane.errors import ValidationError
from cellplane.planning.placement import NO_CELL, Indexes, Loads, Placement

MAX_FAILURES = 50_000
"""Most failures of one question: every pair of 316 cells."""


class LoadSplit(Enum):
    """Which cells of a shard its load is on.

    FIRST is what the routers do: all requests go to the first cell of the shard that is up. EVEN is a shard whose cells
    share the requests equally.
    """

    FIRST = "first"
    EVEN = "even"


@dataclass(frozen=True, slots=True)
class Overload:
    """A survivor that took load and does not hold it.

    Attributes:
        cell: its id.
        rps: requests a second after the failure.
        before_rps: requests a second before it.
        capacity_rps: what it holds.
    """

    cell: str
    rps: float
    before_rps: float
    capacity_rps: float


@dataclass(frozen=True, slots=True)
class Impact:
    """What one failure does.

    Attributes:
        failed: ids of the cells that fail together, in the order of the placement.
        tenants_down: tenants whose whole shard failed.
        tenants_degraded: tenants with a failed cell in their shard, and another that is up.
        rps_down: requests a second that nobody serves any more.
        rps_moved: requests a second that survivors take over.
        overloaded: the survivors that took load and are now above their capacity.
        holds: whether all survivors that took load hold it; None where no overload is certain, but a capacity unknown.
    """

    failed: tuple[str, ...]
    tenants_down: int
    tenants_degraded: int
    rps_down: float
    rps_moved: float
    overloaded: tuple[Overload, ...]
    holds: bool | None


class Exposure:
    """A placement summed up by shard, so that a failure costs the shards of the failed cells, not the tenants.

    Args:
        placement: the fleet, planned or real.
        split: which cells of a shard its load is on.
    """

    def __init__(self, placement: Placement, split: LoadSplit = LoadSplit.FIRST) -> None:
        self.placement = placement
        self.split = split
        cells, shards = len(placement.cells), len(placement.shards)
        self._index = {cell.id: place for place, cell in enumerate(placement.cells)}
        self._capacity_rps: Loads = np.array([cell.capacity_rps for cell in placement.cells])
        self._shard_tenants = np.bincount(placement.tenant_shard, minlength=shards)
        self._shard_rps: Loads = _summed(placement.tenant_shard, placement.tenant_rps, shards)
        used = placement.shards != NO_CELL
        rows, places = np.nonzero(used)
        members = placement.shards[rows, places]
        by_cell = np.argsort(members, kind="stable")
        self._rows_by_cell: Indexes = rows[by_cell].astype(np.int64)
        self._starts: Indexes = np.searchsorted(members[by_cell], np.arange(cells + 1)).astype(np.int64)
        self.cell_rps: Loads = self._load(placement.shards, used, self._shard_rps)
        """Requests a second of each cell while all are up, shape (cells,)."""

    @property
    def tenants(self) -> int:
        """Tenants of the placement."""
        return len(self.placement.tenant_shard)

    @property
    def rps(self) -> float:
        """Requests a second of all tenants together."""
        return float(self._shard_rps.sum())

    def overloaded_before(self) -> tuple[str, ...]:
        """Ids of the cells that are above their capacity while all are up."""
        return tuple(self.placement.cells[place].id for place in np.flatnonzero(self.cell_rps > self._capacity_rps))

    def fail(self, cell_ids: Iterable[str]) -> Impact:
        """Fail these cells together.

        Raises:
            ValidationError: naming ``fail``, where a cell is unknown or none is named.
        """
        failed = set()
        for cell_id in cell_ids:
            if cell_id not in self._index:
                known = ", ".join(list(self._index)[:5])
                raise ValidationError("fail", f"no cell is named {cell_id!r}; there are {known} …")
            failed.add(self._index[cell_id])
        if not failed:
            raise ValidationError("fail", "expected at least one cell")
        return self._fail(sorted(failed))

    def fail_each(self) -> tuple[Impact, ...]:
        """Fail every single cell, one after the other."""
        return tuple(self._all_sets(1))

    def fail_pairs(self) -> tuple[Impact, ...]:
        """Fail every pair of cells."""
        return tuple(self._all_sets(2))

    def _all_sets(self, size: int) -> Iterator[Impact]:
        cells = len(self.placement.cells)
        count = cells if size == 1 else cells * (cells - 1) // 2
        if count > MAX_FAILURES and size > 1:
            raise ValidationError("all_pairs", f"{cells} cells have {count:,} pairs, more than {MAX_FAILURES:,}")
        for failed in combinations(range(cells), size):
            yield self._fail(failed)

    def _fail(self, failed: Iterable[int]) -> Impact:
        places = list(failed)
        touched = self._rows_by_cell[self._starts[places[0]] : self._starts[places[0] + 1]]
        if len(places) > 1:
            parts = [self._rows_by_cell[self._starts[place] : self._starts[place + 1]] for place in places]
            touched = np.unique(np.concatenate(parts))
        shards = self.placement.shards[touched]
        used = shards != NO_CELL
        up = used.copy()
        for place in places:
            up &= shards != place
        alive = up.any(axis=1)
        tenants, rps = self._shard_tenants[touched], self._shard_rps[touched]
        took = self._load(shards, up, rps) - self._load(shards, used, rps)
        took[places] = 0
        after_rps = self.cell_rps + took
        # A shard's own share of rounding is no load: a survivor took something where it is above noise.
        takers = took > self.rps * 1e-12
        overloaded = np.flatnonzero(takers & (after_rps > self._capacity_rps))
        known = np.isfinite(self._capacity_rps[takers]).all()
        return Impact(
            failed=tuple(self.placement.cells[place].id for place in places),
            tenants_down=int(tenants[~alive].sum()),
            tenants_degraded=int(tenants[alive].sum()),
            rps_down=float(rps[~alive].sum()),
            rps_moved=float(took[takers].sum()),
            overloaded=tuple(
                Overload(
                    cell=self.placement.cells[place].id,
                    rps=float(after_rps[place]),
                    before_rps=float(self.cell_rps[place]),
                    capacity_rps=float(self._capacity_rps[place]),
                )
                for place in overloaded
            ),
            holds=False if len(overloaded) else True if known else None,
        )

    def _load(self, shards: Indexes, up: npt.NDArray[np.bool_], rps: Loads) -> Loads:
        """Requests a second of each cell, shape (cells,), where these members of the shards are up."""
        cells = len(self.placement.cells)
        if self.split is LoadSplit.FIRST:
            alive = up.any(axis=1)
            first = shards[np.arange(len(shards)), up.argmax(axis=1)]
            return _summed(first[alive], rps[alive], cells)
        per_member = np.broadcast_to((rps / np.maximum(up.sum(axis=1), 1))[:, None], shards.shape)
        return _summed(shards[up], per_member[up], cells)


def _summed(indexes: Indexes, values: Loads, count: int) -> Loads:
    """Sum of the values of each index, shape (count,)."""
    return np.bincount(indexes, weights=values, minlength=count).astype(np.float64, copy=False)
