"""A placement: which shard serves each tenant, as arrays that a million tenants fit into."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from cellplane.errors import ValidationError
from cellplane.model.residency import Act, violations
from cellplane.placement.laws import crossing
from cellplane.planning.checks import MAX_CELLS, MAX_SHARD_SIZE, MAX_TENANTS, check_whole

Indexes: TypeAlias = npt.NDArray[np.int64]
Loads: TypeAlias = npt.NDArray[np.float64]

NO_CELL = -1
"""Fills the places of a shard behind its last cell."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell as planning sees it.

    Attributes:
        id: unique in the placement.
        capacity_rps: requests a second that it holds, > 0; infinite where it is not known.
        jurisdiction: whose law its data is under; a shard never leaves it.
    """

    id: str
    capacity_rps: float = math.inf
    jurisdiction: str = "none"


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Cells, shards, and the tenants on them.

    Attributes:
        cells: at least one, ids unique.
        shards: shape (shards, K), indexes into ``cells``, the preferred cell first, NO_CELL behind the last one.
        tenant_shard: shape (tenants,), indexes into ``shards``.
        tenant_rps: shape (tenants,), requests a second of each, ≥ 0; 1 for all where loads are not known.

    Raises:
        ValidationError: naming the field that breaks a rule.
    """

    cells: tuple[PlannedCell, ...]
    shards: Indexes
    tenant_shard: Indexes
    tenant_rps: Loads

    def __post_init__(self) -> None:
        check_whole("cells", len(self.cells), 1, MAX_CELLS)
        _check_cells(self.cells)
        check_assignments("shards", self.shards, len(self.cells))
        _check_jurisdictions(self.cells, self.shards)
        if self.tenant_shard.ndim != 1 or self.tenant_shard.shape != self.tenant_rps.shape:
            raise ValidationError(
                "tenant_rps",
                f"expected one load for each tenant, found {self.tenant_rps.shape} for {self.tenant_shard.shape}",
            )
        check_whole("tenant_shard", len(self.tenant_shard), 0, MAX_TENANTS)
        if len(self.tenant_shard) and not 0 <= self.tenant_shard.min() <= self.tenant_shard.max() < len(self.shards):
            raise ValidationError("tenant_shard", f"a tenant's shard is none of the {len(self.shards)} shards")
        if not (np.isfinite(self.tenant_rps).all() and (self.tenant_rps >= 0).all()):
            raise ValidationError("tenant_rps", "a tenant's load is negative or no number")


def check_assignments(field: str, shards: Indexes, cells: int) -> None:
    """Raise ValidationError unless each row is one or more different cells, then NO_CELL.

    Args:
        field: what the error names.
        shards: shape (shards or tenants, K).
        cells: how many cells there are to name.
    """
    if shards.ndim != 2 or not 1 <= shards.shape[1] <= MAX_SHARD_SIZE:
        raise ValidationError(field, f"expected rows of 1 to {MAX_SHARD_SIZE} cells, found shape {shards.shape}")
    if not len(shards):
        return
    if shards.min() < NO_CELL or shards.max() >= cells:
        raise ValidationError(field, f"expected cells 0 to {cells - 1} or {NO_CELL}")
    used = shards != NO_CELL
    if not used[:, 0].all() or (used[:, 1:] & ~used[:, :-1]).any():
        raise ValidationError(field, f"a row has no cell, or a cell behind {NO_CELL}")
    in_order = np.sort(shards, axis=1)
    if ((in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != NO_CELL)).any():
        raise ValidationError(field, "a row names a cell twice")


def merge_equal(rows: Indexes, cells: int) -> tuple[Indexes, Indexes]:
    """The different rows, and for each given row its index among them.

    Args:
        rows: shape (rows, K), cells or NO_CELL.
        cells: how many cells there are.

    Returns:
        Arrays of shape (different rows, K) and (rows,).
    """
    _, first, inverse = np.unique(row_codes(rows, cells), return_index=True, return_inverse=True)
    return rows[first], inverse.astype(np.int64)


def row_codes(rows: Indexes, cells: int) -> Indexes:
    """A number for each row, equal for equal rows and different for different ones; shape (rows,)."""
    base = cells + 1
    limit = np.iinfo(np.int64).max // base - base
    codes: Indexes = np.zeros(len(rows), dtype=np.int64)
    largest = 0
    for place in range(rows.shape[1]):
        if largest > limit:
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
            largest = len(rows)
        codes = codes * base + (rows[:, place] + 1)
        largest = largest * base + base
    return codes


def _check_cells(cells: Sequence[PlannedCell]) -> None:
    seen: set[str] = set()
    for place, cell in enumerate(cells):
        if cell.id in seen:
            raise ValidationError(f"cells[{place}].id", f"{cell.id!r} stands twice")
        seen.add(cell.id)
        if not cell.capacity_rps > 0:
            raise ValidationError(f"cells[{place}].capacity_rps", f"expected more than 0, found {cell.capacity_rps:g}")


def _check_jurisdictions(cells: Sequence[PlannedCell], shards: Indexes) -> None:
    rows = crossing(cells, shards, NO_CELL)
    if len(rows):
        shard = [cells[cell] for cell in shards[rows[0]].tolist() if cell != NO_CELL]
        found = violations(Act.PLACEMENT, "a tenant", "", shard)[0]
        raise ValidationError(
            f"shards[{rows[0]}]",
            f"{shard[0].id!r} is in {found.law!r} and {found.cell!r} in {found.cell_law!r}: "
            "a shard never leaves its jurisdiction",
        )
