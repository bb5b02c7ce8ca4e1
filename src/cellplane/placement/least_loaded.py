"""Least loaded: where a new tenant of an explicit pool goes, or why nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellplane.errors import ValidationError
from cellplane.model import Capacity, Cell, CellStatus, Load
from cellplane.placement.refusal import CellReason, NoCell


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cell as it is now.

    Attributes:
        cell: the cell.
        capacity: the most that it is to hold.
        load: what it holds.
        is_healthy: whether it can be reached and says that it works.
    """

    cell: Cell
    capacity: Capacity
    load: Load
    is_healthy: bool = True


@dataclass(frozen=True, slots=True)
class CellChoice:
    """A cell for the tenant.

    Attributes:
        cell: its id.
        utilisation: with the tenant in it: the largest of its declared dimensions, 0 to 1; None where it declares none.
        reason: why this one.
    """

    cell: str
    utilisation: float | None
    reason: str


def least_loaded(
    candidates: Sequence[Candidate], needed: Load, *, jurisdiction: str | None = None
) -> CellChoice | NoCell:
    """Choose the cell that is least loaded with the new tenant in it.

    A cell fits when it is active and healthy, under the tenant's jurisdiction, and holds the tenant within every
    declared capacity. Of those that fit, the one whose largest utilisation (load with the tenant / capacity) is least;
    among equals the one with the fewest tenants, then the first by id. A cell that declares no capacity is chosen only
    where no other fits, since nothing says how full it is.

    Division of floating-point numbers is correctly rounded (IEEE 754), so that the order is equal on every machine.

    Args:
        candidates: the pool's cells, ids unique.
        needed: what the tenant declares; counts as one tenant at least.
        jurisdiction: the tenant's, or None where it may be anywhere.

    Raises:
        ValidationError: with the path of the first field that breaks a rule.
    """
    needed.validate("needed")
    needed = Load(max(1, needed.tenants), needed.rps, needed.storage_gib)
    _check(candidates)
    reasons: list[CellReason] = []
    fitting: list[tuple[bool, float, int, str]] = []
    for candidate in sorted(candidates, key=lambda candidate: candidate.cell.id):
        cell = candidate.cell
        if obstacles := _obstacles(candidate, needed, jurisdiction):
            reasons.append(CellReason(cell.id, ", ".join(obstacles)))
        else:
            parts = [with_tenant / limit for _, with_tenant, limit in _declared(candidate, needed)]
            fitting.append((not parts, max(parts, default=0.0), candidate.load.tenants, cell.id))
    if not fitting:
        return NoCell(
            f"none of {len(candidates)} cells takes the tenant: add a cell, raise a capacity, or unlock one",
            tuple(reasons),
        )
    undeclared, utilisation, tenants, cell_id = min(fitting)
    among = f"of {len(fitting)} cells that fit, {len(reasons)} do not"
    if undeclared:
        return CellChoice(cell_id, None, f"fewest tenants ({tenants}) {among}; none of them declares a capacity")
    return CellChoice(cell_id, utilisation, f"least loaded ({utilisation:.1%} with the tenant) {among}")


def _obstacles(candidate: Candidate, needed: Load, jurisdiction: str | None) -> list[str]:
    """Everything that keeps the tenant out of the cell."""
    cell = candidate.cell
    found = []
    if cell.status is not CellStatus.ACTIVE:
        found.append(f"is {cell.status.value}")
    if not candidate.is_healthy:
        found.append("is not healthy")
    if jurisdiction is not None and cell.jurisdiction != jurisdiction:
        found.append(f"is under {cell.jurisdiction}, not {jurisdiction}")
    found += [
        f"would hold {with_tenant:g} of {limit:g} {unit}"
        for unit, with_tenant, limit in _declared(candidate, needed)
        if with_tenant > limit
    ]
    return found


def _declared(candidate: Candidate, needed: Load) -> list[tuple[str, float, float]]:
    """(unit, load with the tenant, capacity) of each dimension that the cell declares."""
    capacity, total = candidate.capacity, candidate.load + needed
    dimensions = (
        ("tenants", total.tenants, capacity.tenants),
        ("rps", total.rps, capacity.rps),
        ("GiB", total.storage_gib, capacity.storage_gib),
    )
    return [(unit, amount, limit) for unit, amount, limit in dimensions if limit is not None]


def _check(candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise ValidationError("candidates", "expected at least one cell")
    seen: set[str] = set()
    for index, candidate in enumerate(candidates):
        field = f"candidates[{index}]"
        candidate.cell.validate(f"{field}.cell")
        candidate.capacity.validate(f"{field}.capacity")
        candidate.load.validate(f"{field}.load")
        if candidate.cell.id in seen:
            raise ValidationError(f"{field}.cell.id", f"{candidate.cell.id!r} stands twice")
        seen.add(candidate.cell.id)
