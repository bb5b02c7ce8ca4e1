"""What keeps a change from being made: somebody still names what was removed, or a cell's life does not go on so."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select

from cellplane.directory import schema
from cellplane.directory.outline import Outline
from cellplane.directory.snapshot import one
from cellplane.errors import ConflictError
from cellplane.model import CellStatus
from cellplane.model.lifecycle import obstacles

Named = tuple[str, str]
"""Kind and name of a resource."""

Status = tuple[CellStatus, bool]
"""What a cell had before, and whether its new one was forced."""


def require_room(kind: str, count: int, limit: int) -> None:
    """Raise ConflictError where there can be no more of a kind."""
    if count >= limit:
        raise ConflictError(f"there are {count} {kind}s already, as many as a table can hold")


def require_unnamed(outline: Outline, removed: Sequence[Named]) -> None:
    """Raise ConflictError where the fleet or a pool names what was removed."""
    fleet, pools = outline.fleet, outline.pools.values()
    for kind, name in removed:
        if kind == "cell":
            named = [f"pool {pool.name!r}: take it out first" for pool in pools if name in pool.cells]
            if named:
                raise ConflictError(f"cell {name!r} is in {named[0]}")
            if fleet is not None and fleet.default_cell == name:
                raise ConflictError(f"cell {name!r} is the fleet's default: name another default first")
            named = [] if fleet is None or name not in fleet.policy.cells else ["the fleet's policy"]
            named += [f"the policy of pool {pool.name!r}" for pool in pools if name in pool.policy.cells]
            canaries = {pool.canary.cell: pool.name for pool in pools if pool.canary is not None}
            named += [f"the canary of pool {canaries[name]!r}"] if name in canaries else []
            named += [] if fleet is None or name not in fleet.quarantine.cells else ["the fleet's quarantine"]
            if named:
                raise ConflictError(f"cell {name!r} is named by {named[0]}: change that first")
            continue
        if fleet is not None and fleet.default_pool == name:
            raise ConflictError(f"pool {name!r} is the fleet's default: name another default first")
        rules = () if fleet is None else fleet.rules
        named = [f"rule {rule.name!r}" for rule in rules if rule.pool == name]
        named += [f"pool {pool.name!r} as its overflow" for pool in pools if pool.overflow == name]
        if named:
            raise ConflictError(f"pool {name!r} is named by {named[0]}: change that first")


def require_lives(outline: Outline, assigned: Mapping[str, int], statuses: Mapping[str, Status]) -> None:
    """Raise ConflictError where a cell may not have the status that it was given.

    Args:
        assigned: by cell, how many tenants are assigned to it.
        statuses: by cell that was given one, what it had, and whether that was forced.
    """
    cells = outline.cells
    for cell_id, (before, is_forced) in statuses.items():
        if cell_id not in cells:
            continue
        staying = {CellStatus.ACTIVE, CellStatus.LOCKED}
        found = obstacles(
            cell_id,
            before,
            cells[cell_id].status,
            assigned=assigned[cell_id],
            pools=outline.pools,
            stays=frozenset(each.id for each in cells.values() if each.status in staying) - {cell_id},
        )
        for obstacle in found:
            if not (is_forced and obstacle.yields):
                raise ConflictError(f"cell {cell_id!r} is not {cells[cell_id].status.value}: {obstacle.text}")


def require_unused(connection: Connection, removed: Sequence[Named]) -> None:
    """Raise ConflictError where a tenant names what was removed."""
    tenants, assignments = schema.tenants, schema.assignments
    for kind, name in removed:
        if kind == "cell":
            query = select(assignments.c.tenant).where(assignments.c.cell == name).limit(1)
            tenant_id = connection.execute(query).scalar()
            if tenant_id is not None:
                raise ConflictError(
                    f"tenant {tenant_id!r} is assigned to cell {name!r}: assign it to another one first"
                )
            continue
        if kind != "pool":
            continue
        for where in (tenants.c.pool == name, tenants.c.placed_pool == name):
            row = one(connection, tenants, where)
            if row is not None:
                raise ConflictError(f"tenant {row['id']!r} is in pool {name!r}: give it another one first")


def require_joinable(outline: Outline, joined: Mapping[str, Collection[str]]) -> None:
    """Raise ConflictError where a pool was given a cell that serves nobody any more.

    Args:
        joined: by pool, the cells that it was given.
    """
    for name, cells in joined.items():
        if name not in outline.pools:
            continue
        for cell_id in sorted(set(cells).intersection(outline.pools[name].cells)):
            if outline.cells[cell_id].status is CellStatus.RETIRED:
                raise ConflictError(
                    f"pool {name!r} would have {cell_id!r}, a retired cell: activate that first, or leave it out"
                )
