"""Sizing: how many cells a workload needs, and which constraint says so."""

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import ceil

from cellplane.errors import ValidationError
from cellplane.planning.checks import MAX_CELLS, check_between, check_positive, check_whole, exact

DEFAULT_HEADROOM = 1.5
"""Cells beyond what the peak fills, as a factor: one can drain during a deployment while the others stay under their
ceiling. Rule of thumb from “Cell-Based Architecture: Limit Blast Radius at Scale” (2026)."""

LARGEST_TENANT_FACTOR = 5
"""A cell's ceiling as a multiple of its largest tenant, to begin with. Rule of thumb from the same text."""

MANY_CELLS = 200
"""Cells of a region past which most teams lose the overview. Rule of thumb from the same text."""


class Constraint(Enum):
    """What may bind the number of cells; the value is its field in the report."""

    RPS = "rps"
    STORAGE = "storage"
    TENANTS = "tenants"


@dataclass(frozen=True, slots=True)
class Workload:
    """What the fleet has to carry, and what one cell holds.

    Attributes:
        peak_rps: requests a second of all tenants at the peak, > 0.
        cell_rps: ceiling of one cell in requests a second, > 0: measured by a load test, not hoped for.
        headroom: factor on the cells that each constraint needs, 1 to 10.
        storage_gib: data of all tenants in GiB; None where storage does not matter.
        cell_storage_gib: data that one cell holds; given where storage_gib is.
        tenants: number of tenants; None where it is not known.
        cell_tenants: most tenants of one cell, such as schemas of a database; None where nothing limits them.
        largest_rps: peak of the largest tenant in requests a second; None where it is not known.
        largest_storage_gib: data of the largest tenant; None where it is not known.
        shard_size: cells that serve each tenant, ≥ 1.
    """

    peak_rps: float
    cell_rps: float
    headroom: float = DEFAULT_HEADROOM
    storage_gib: float | None = None
    cell_storage_gib: float | None = None
    tenants: int | None = None
    cell_tenants: int | None = None
    largest_rps: float | None = None
    largest_storage_gib: float | None = None
    shard_size: int = 1

    def validate(self) -> None:
        """Raise ValidationError naming the first field that breaks a rule."""
        for field in ("peak_rps", "cell_rps", "storage_gib", "cell_storage_gib", "largest_rps", "largest_storage_gib"):
            value = getattr(self, field)
            if value is not None:
                check_positive(field, value)
        check_between("headroom", self.headroom, 1, 10)
        for field, low in (("tenants", 1), ("cell_tenants", 1), ("shard_size", 1)):
            if getattr(self, field) is not None:
                check_whole(field, getattr(self, field), low, 10**12)
        if (self.storage_gib or self.largest_storage_gib) and not self.cell_storage_gib:
            raise ValidationError(
                "cell_storage_gib", "expected what one cell holds, since the data of tenants is given"
            )
        if self.cell_tenants and not self.tenants:
            raise ValidationError("tenants", "expected the number of tenants, since a cell's limit of them is given")
        if self.largest_rps and self.largest_rps > self.peak_rps:
            raise ValidationError("largest_rps", "the largest tenant alone has more than the peak of all")


@dataclass(frozen=True, slots=True)
class Need:
    """What one constraint asks for.

    Attributes:
        constraint: which.
        demand: of all tenants, in the constraint's unit.
        ceiling: of one cell, in the same unit.
        full_cells: cells that the demand fills: ceil(demand / ceiling).
        cells: with headroom: ceil(full_cells × headroom).
        utilisation: demand ÷ (chosen number of cells × ceiling), 0 to 1.
    """

    constraint: Constraint
    demand: float
    ceiling: float
    full_cells: int
    cells: int
    utilisation: float


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many cells, and why.

    Attributes:
        cells: the largest of what the constraints need, and at least the shard size.
        needs: each constraint that was given.
        binding: the constraint that needs the most cells; the first in the order of Constraint where several do.
        fits: whether the largest tenant fits; None where its size was not given.
        survives_one: whether the others hold the peak with one cell down, spread evenly.
        findings: what to look at before building it, in sentences.
    """

    cells: int
    needs: tuple[Need, ...]
    binding: Constraint
    fits: bool | None
    survives_one: bool
    findings: tuple[str, ...]

    @property
    def blast_radius(self) -> float:
        """Share of tenants on one cell, spread evenly, with one cell a tenant: 1 / cells."""
        return 1 / self.cells


def size(workload: Workload) -> Sizing:
    """Number of cells for a workload.

    ``ceil(ceil(demand / ceiling) × headroom)`` for each constraint, in exact arithmetic; the largest binds.

    Raises:
        ValidationError: naming the field that breaks a rule, or ``cell_rps`` where a fleet cannot have so many cells.
    """
    workload.validate()
    headroom = exact(workload.headroom)
    demands = [
        (constraint, exact(demand), exact(ceiling))
        for constraint, demand, ceiling in (
            (Constraint.RPS, workload.peak_rps, workload.cell_rps),
            (Constraint.STORAGE, workload.storage_gib, workload.cell_storage_gib),
            (Constraint.TENANTS, workload.tenants, workload.cell_tenants),
        )
        if demand is not None and ceiling is not None
    ]
    counts = [ceil(ceil(demand / ceiling) * headroom) for _, demand, ceiling in demands]
    cells = max(*counts, workload.shard_size)
    binding = demands[counts.index(max(counts))][0]
    if cells > MAX_CELLS:
        raise ValidationError(
            _CEILINGS[binding], f"{cells:,} cells would be needed, a fleet has at most {MAX_CELLS:,}: grow the cell"
        )
    fits = _fits(workload)
    survives_one = all(demand <= ceiling * (cells - 1) for constraint, demand, ceiling in demands)
    return Sizing(
        cells=cells,
        needs=tuple(
            Need(
                constraint=constraint,
                demand=float(demand),
                ceiling=float(ceiling),
                full_cells=ceil(demand / ceiling),
                cells=count,
                utilisation=float(demand / (ceiling * cells)),
            )
            for (constraint, demand, ceiling), count in zip(demands, counts, strict=True)
        ),
        binding=binding,
        fits=fits,
        survives_one=survives_one,
        findings=tuple(_findings(workload, cells, survives_one=survives_one)),
    )


_CEILINGS = {
    Constraint.RPS: "cell_rps",
    Constraint.STORAGE: "cell_storage_gib",
    Constraint.TENANTS: "cell_tenants",
}
"""The field that holds each constraint's ceiling."""


def _largest_share(workload: Workload) -> Fraction | None:
    """The largest tenant's share of a cell: of its request rate or of its storage, whichever is more."""
    shares = []
    if workload.largest_rps is not None:
        shares.append(exact(workload.largest_rps) / exact(workload.cell_rps))
    if workload.largest_storage_gib is not None and workload.cell_storage_gib is not None:
        shares.append(exact(workload.largest_storage_gib) / exact(workload.cell_storage_gib))
    return max(shares, default=None)


def _fits(workload: Workload) -> bool | None:
    share = _largest_share(workload)
    return None if share is None else share <= Fraction(1, workload.shard_size)


def _findings(workload: Workload, cells: int, *, survives_one: bool) -> list[str]:
    found = []
    share = _largest_share(workload)
    if share is not None and share > 1:
        found.append(
            f"The largest tenant does not fit one cell: it needs {float(share):.2f} of a cell's ceiling. "
            "Grow the cell, or split the tenant by a finer partition key."
        )
    elif share is not None and share > Fraction(1, workload.shard_size):
        found.append(
            f"The largest tenant takes {float(share):.0%} of a cell, more than 1/{workload.shard_size}: with shards of "
            f"{workload.shard_size} it can fill every cell of its shard. Cap its rate, or give it a cell of its own."
        )
    elif share is not None and share * LARGEST_TENANT_FACTOR > 1:
        found.append(
            f"The largest tenant takes {float(share):.0%} of a cell. As a rule of thumb a cell holds "
            f"{LARGEST_TENANT_FACTOR} times its largest tenant."
        )
    if not survives_one:
        found.append("With one cell down the others do not hold the peak: raise the headroom.")
    if cells < 3:
        found.append(f"{cells} cell{'s' if cells > 1 else ''}: the smallest fleet that isolates much has 3.")
    if cells > MANY_CELLS:
        found.append(f"More than {MANY_CELLS} cells are hard to operate: grow the cell first.")
    return found
