"""Whether a cell takes one more tenant: what it holds now, and everything that is in the way."""

from dataclasses import dataclass

from cellplane.model import Cell, CellStatus, Load, Tenant
from cellplane.model.residency import Act, violations


@dataclass(frozen=True, slots=True)
class CellState:
    """A cell as it is now.

    Attributes:
        load: what it holds.
        is_healthy: whether it can be reached and says that it works.
    """

    load: Load
    is_healthy: bool = True


EMPTY = CellState(Load())
"""The state of a cell of which nothing is known: it holds nothing, and is healthy."""


def needed(tenant: Tenant) -> Load:
    """What the tenant takes of each cell of its shard: all that it declares, since any may get all its requests.

    It counts as one tenant at least.
    """
    return Load(max(1, tenant.load.tenants), tenant.load.rps, tenant.load.storage_gib)


def obstacles(cell: Cell, state: CellState, tenant: Tenant, *, is_dedicated: bool = False) -> list[str]:
    """Everything that keeps the tenant out of the cell; nothing where it fits.

    It fits where the cell is active and healthy, under the tenant's jurisdiction, and holds the tenant within every
    declared capacity.

    Args:
        cell: the cell.
        state: of the cell, without this tenant.
        tenant: who is to be placed.
        is_dedicated: whether the cell takes one tenant only.
    """
    found = []
    if cell.status is not CellStatus.ACTIVE:
        found.append(f"is {cell.status.value}")
    if not state.is_healthy:
        found.append("is not healthy")
    foreign = violations(Act.ASSIGNMENT, tenant.id, tenant.jurisdiction, (cell,))
    found += [f"is under {each.cell_law}, not {each.law}" for each in foreign]
    if is_dedicated and state.load.tenants:
        found.append("is dedicated, and has its tenant")
    found += [
        f"would hold {with_tenant:g} of {limit:g} {unit}"
        for unit, with_tenant, limit in _declared(cell, state, tenant)
        if with_tenant > limit
    ]
    return found


def utilisation(cell: Cell, state: CellState, tenant: Tenant) -> float | None:
    """With the tenant in the cell: the largest of its declared dimensions, 0 to 1; None where it declares none.

    Division of floating-point numbers is correctly rounded (IEEE 754), so that it is equal on every machine.
    """
    return max((amount / limit for _, amount, limit in _declared(cell, state, tenant)), default=None)


def _declared(cell: Cell, state: CellState, tenant: Tenant) -> list[tuple[str, float, float]]:
    """(unit, load with the tenant, capacity) of each dimension that the cell declares."""
    capacity, total = cell.capacity, state.load + needed(tenant)
    dimensions = (
        ("tenants", total.tenants, capacity.tenants),
        ("rps", total.rps, capacity.rps),
        ("GiB", total.storage_gib, capacity.storage_gib),
    )
    return [(unit, amount, limit) for unit, amount, limit in dimensions if limit is not None]
