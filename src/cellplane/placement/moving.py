"""Whether a tenant may be moved from the cell that serves it to another one, by what a fleet says of both."""

from collections.abc import Sequence
from dataclasses import dataclass

from cellplane.model import Cell, Tenant, TenantState
from cellplane.model.residency import Act, Violation, violations
from cellplane.placement.fitting import CellState, obstacles


@dataclass(frozen=True, slots=True)
class NotMoved:
    """A move that is not made.

    Attributes:
        reason: what is in the way, with what to do.
        violations: of residency; none where something else is in the way.
    """

    reason: str
    violations: tuple[Violation, ...] = ()


def why_not_moved(
    tenant: Tenant,
    serving: Sequence[Cell],
    target: Cell,
    state: CellState,
    *,
    is_away: bool = False,
) -> NotMoved | None:
    """What keeps a tenant from being moved; None where nothing does.

    No move changes the law that a tenant's data are under, also where the tenant names none. The target is one that
    would take the tenant if it were new (``fitting.obstacles``).

    Args:
        tenant: who is to move.
        serving: the cells that serve it, the preferred first.
        target: the cell that is to have it.
        state: of the target, without this tenant.
        is_away: whether it is in quarantine.
    """
    name = f"tenant {tenant.id!r}"
    if len(serving) != 1:
        cells = " + ".join(cell.id for cell in serving) or "no cell"
        return NotMoved(
            f"{name} is served by {cells}: a move is from one cell to another; assign it to one of them first"
        )
    if serving[0].id == target.id:
        return NotMoved(f"{name} is in {target.id!r} already")
    if is_away:
        return NotMoved(f"{name} is in quarantine: release it first, with `cellplane quarantine release {tenant.id}`")
    if tenant.state is not TenantState.ACTIVE:
        return NotMoved(f"{name} is {tenant.state.value}: only an active tenant is moved")
    if found := violations(Act.MOVE, name, tenant.jurisdiction, (serving[0], target)):
        return NotMoved("; ".join(map(str, found)), found)
    if reasons := obstacles(target, state, tenant):
        return NotMoved(f"cell {target.id!r} does not take {name}: it {', and '.join(reasons)}; choose another cell")
    return None
