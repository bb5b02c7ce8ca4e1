"""Assignment: the pool and the shard of a tenant that the directory knows, when it is created or placed again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cellplane.errors import PlacementError, ValidationError
from cellplane.model import Cell, Pool, Rule, Tenant, Topology
from cellplane.model.residency import Act, foreign_laws, laws, violations
from cellplane.placement.fitting import EMPTY, CellState, needed, obstacles
from cellplane.placement.least_loaded import least_loaded
from cellplane.placement.member import Member
from cellplane.placement.refusal import CellReason, NoCell
from cellplane.placement.searching import SearchingAssigner
from cellplane.placement.share_guard import check_share
from cellplane.placement.spread import alike

__all__ = ["Assigned", "CellState", "assign"]


@dataclass(frozen=True, slots=True)
class Assigned:
    """Where a tenant is placed.

    Attributes:
        pool: the pool whose cells were taken: the tenant's own, or the one that this overflowed to.
        shard: ids of cells, the preferred first; none where the slot places the tenant.
        rule: name of the rule that chose the tenant's own pool; None where none did.
        reason: one sentence for people: why there.
    """

    pool: str
    shard: tuple[str, ...]
    rule: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A shard in one pool, and how it was found."""

    shard: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """To place a tenant in one pool.

    Attributes:
        tenant: the tenant.
        pool: the pool.
        size: K of this tenant here.
        cells: the pool's, sorted by id.
        states: of cells by id.
        there: shards that limit which are left, by tenant.
    """

    tenant: Tenant
    pool: Pool
    size: int
    cells: tuple[Cell, ...]
    states: Mapping[str, CellState]
    there: Mapping[str, tuple[str, ...]]

    def refuse(self, reason: str, why: Callable[[Cell], str]) -> NoCell:
        return NoCell(reason, tuple(CellReason(cell.id, why(cell)) for cell in self.cells))


def assign(
    tenant: Tenant,
    topology: Topology,
    states: Mapping[str, CellState],
    shards: Mapping[str, Mapping[str, tuple[str, ...]]],
) -> Assigned | NoCell:
    """Place a tenant, or say why it has no place.

    Its pool is what ``Topology.pool_of`` says, or, where that has no room, the pool that it overflows to, and so on. In
    a pool

    - that does not assign, its slot places it. One that comes by overflow, or has a shard size of its own, gets the
      open cells that come first in its own weighted race;
    - that is explicit and has shards of one cell, it gets the least loaded open cell;
    - of which two shards may share only so many cells (``Pool.overlap``), it gets the first open cells of its race that
      keep this.

    A cell is open to it where nothing of ``fitting.obstacles`` is in the way; every cell of its shard has room for all
    of its load. A tenant that needs more than 1/K of a cell is in no shard of K > 1 (``check_share``), and one with a
    jurisdiction in no pool whose slots leave it.

    The answer follows from the arguments alone, on every machine, whatever their order. Nothing is remembered: a tenant
    that left, or is placed again, is released by being in neither ``states`` nor ``shards``.

    Args:
        tenant: who is to be placed; its own shard is ignored.
        topology: valid; its fleet, cells and pools count, its tenants do not.
        states: what each cell holds without this tenant, by cell id; a cell that is missing holds nothing and is
            healthy.
        shards: by pool name, the shards that have cells of the pool, by tenant id. Asked for pools with an ``overlap``
            only; cells of other pools, and this tenant's own shard, do not count.

    Raises:
        ValidationError: a value breaks a rule, at ``tenant`` or ``states``.
    """
    tenant.validate("tenant")
    pools = {pool.name: pool for pool in topology.pools}
    cells = {cell.id: cell for cell in topology.cells}
    first, rule = topology.pool_of(tenant)
    if first not in pools:
        raise ValidationError("tenant.pool", f"no pool is named {first!r}")
    refused: dict[str, NoCell] = {}
    following: str | None = first
    while following is not None:
        pool = pools[following]
        assert pool.name not in refused, "a valid topology has no circle of overflows"
        attempt = _Attempt(
            tenant,
            pool,
            tenant.shard_size or pool.size,
            tuple(cells[cell_id] for cell_id in sorted(pool.cells)),
            states,
            {other: shard for other, shard in shards.get(pool.name, {}).items() if other != tenant.id},
        )
        _check_states(attempt)
        found = _in_pool(attempt, comes_by_overflow=bool(refused))
        if isinstance(found, _Found):
            why = _why(tenant, first, rule) + "".join(f"; {name!r} does not take it" for name in refused)
            overflow = f", so it overflows to {pool.name!r}" if refused else ""
            return Assigned(pool.name, found.shard, rule.name if rule else None, f"{why}{overflow}: {found.how}")
        refused[pool.name] = found
        following = pool.overflow
    return _nowhere(refused)


def _in_pool(attempt: _Attempt, *, comes_by_overflow: bool) -> _Found | NoCell:
    """A shard of cells of this pool."""
    tenant, pool, size = attempt.tenant, attempt.pool, attempt.size
    if refusal := _misfit(attempt):
        return refusal
    if not pool.assigns and size == pool.size and not comes_by_overflow:
        found = violations(Act.PLACEMENT, tenant.id, tenant.jurisdiction, attempt.cells, is_shard=False)
        if found:
            foreign = {each.cell: each.cell_law for each in found}
            return attempt.refuse(
                f"its slots lead to cells under {', '.join(foreign_laws(found))}, and the tenant is under "
                f"{tenant.jurisdiction}: "
                f"give it a pool, or a rule for one, whose cells are all under {tenant.jurisdiction}",
                lambda cell: (
                    f"is under {foreign[cell.id]}, not {tenant.jurisdiction}"
                    if cell.id in foreign
                    else f"is under {tenant.jurisdiction}, in a pool whose slots lead elsewhere too"
                ),
            )
        return _Found((), "its slot places it")
    if size == 1 and pool.overlap is None and not pool.has_slots:
        choice = least_loaded(tenant, attempt.cells, attempt.states, is_dedicated=pool.dedicated)
        return choice if isinstance(choice, NoCell) else _Found((choice.cell,), choice.reason)
    return _search(attempt)


def _misfit(attempt: _Attempt) -> NoCell | None:
    """Why no shard of this pool can be the tenant's, whoever else is there; None where one can."""
    tenant, pool, size, cells = attempt.tenant, attempt.pool, attempt.size, attempt.cells
    if pool.dedicated and size > 1:
        return attempt.refuse(
            f"its cells take one tenant each, and the tenant asks for {size} of them: lower its shard size, or give it "
            "another pool",
            lambda _: f"takes one tenant, in no shard of {size}",
        )
    if size > len(cells):
        return attempt.refuse(
            f"the tenant asks for {size} cells, and there are {len(cells)}: lower its shard size, or add cells",
            lambda _: f"is one of {len(cells)}, too few for a shard of {size}",
        )
    if size == 1:
        return None
    if not tenant.jurisdiction and violations(Act.ASSIGNMENT, tenant.id, "", cells):
        return attempt.refuse(
            f"a shard of {size} would cross jurisdictions ({', '.join(laws(cells))}): give the tenant one of them, or "
            "a pool for each",
            lambda cell: f"is under {laws((cell,))[0]}, in one pool with others",
        )
    foreign = {each.cell for each in violations(Act.ASSIGNMENT, tenant.id, tenant.jurisdiction, cells, is_shard=False)}
    mine = {cell.id: cell.capacity for cell in cells if cell.id not in foreign}
    return check_share(needed(tenant), mine, shard_size=size)


def _search(attempt: _Attempt) -> _Found | NoCell:
    """The first open cells of the tenant's own race, spread as the pool says, that share few enough with others."""
    tenant, pool, size, cells = attempt.tenant, attempt.pool, attempt.size, attempt.cells
    closed = {
        cell.id: ", ".join(found)
        for cell in cells
        if (found := obstacles(cell, attempt.states.get(cell.id, EMPTY), tenant, is_dedicated=pool.dedicated))
    }
    usual, overlap, there = size, size - 1, {}
    if pool.overlap is not None:
        usual, overlap = pool.size, pool.overlap
        inside = {cell.id for cell in cells}
        parts = ((other, tuple(cell for cell in shard if cell in inside)) for other, shard in attempt.there.items())
        there = {other: part for other, part in sorted(parts) if part}
    open_count = len(cells) - len(closed)
    if open_count < size:
        return attempt.refuse(
            f"{open_count} of {len(cells)} cells take the tenant, too few for a shard of {size}: add a cell, raise a "
            "capacity, or unlock one",
            lambda cell: closed.get(cell.id, f"is one of {open_count}, too few for a shard of {size}"),
        )
    assigner = SearchingAssigner(
        [Member(cell.id, cell.weight) for cell in cells],
        shard_size=usual,
        max_overlap=overlap,
        seed=pool.seed,
        assigned=there,
        closed=closed,
        alike=alike(cells, pool.spread, size),
    )
    try:
        shard = assigner.assign(tenant.id, shard_size=size)
    except PlacementError as error:
        dimensions = " and ".join(dimension.value for dimension in pool.spread)
        return attempt.refuse(
            str(error)
            if pool.overlap is not None
            else f"no {size} of the {open_count} open cells are spread over {dimensions} as the pool asks: add or "
            "unlock cells where there are fewest, or lower the tenant's shard size",
            lambda cell: closed.get(cell.id, f"takes the tenant, and is in no shard of {size} that is left"),
        )
    sharing = "" if pool.overlap is None else f" that share at most {overlap} with each of {len(there)} other tenants"
    return _Found(shard, f"first of {open_count} open cells in its own race{sharing}")


def _check_states(attempt: _Attempt) -> None:
    for cell in attempt.cells:
        if cell.id in attempt.states:
            attempt.states[cell.id].load.validate(f"states[{cell.id}].load")


def _why(tenant: Tenant, pool: str, rule: Rule | None) -> str:
    if rule is not None:
        return f"rule {rule.name!r} puts it into pool {pool!r}"
    return f"it names pool {pool!r}" if tenant.pool is not None else f"no rule matches, so it is in pool {pool!r}"


def _nowhere(refused: Mapping[str, NoCell]) -> NoCell:
    """One refusal of all pools that were tried, with every reason of every cell."""
    reasons: dict[str, dict[str, None]] = {}
    for refusal in refused.values():
        for one in refusal.cells:
            reasons.setdefault(one.cell, {})[one.reason] = None
    return NoCell(
        "; ".join(f"pool {name!r}: {refusal.reason}" for name, refusal in refused.items()),
        tuple(CellReason(cell, ", ".join(found)) for cell, found in sorted(reasons.items())),
    )
