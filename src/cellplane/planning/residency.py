"""Residency report: for every tenant where it may be, where it is, and whether that holds. Rows are made one at a time,
so that a million tenants need no more memory than one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from cellplane.model import Cell, Policy, Pool, Reads, Tenant, Topology
from cellplane.model.residency import Act, laws, violations
from cellplane.placement import Placed, place, slot_of

MAX_REMEMBERED = 65_536
"""Most different places of tenants whose judgement is kept; beyond it all are judged anew. 200,000 take 171 MiB."""

_NOWHERE = "no cell has it"


@dataclass(frozen=True, slots=True)
class Resident:
    """A tenant, and the pool that it is in.

    Attributes:
        tenant: the tenant.
        pool: name of its pool, the one that it overflowed to if it did; None where nothing places it yet.
        quarantine: id of the cell that its requests are sent to for now; None where it is in no quarantine.
    """

    tenant: Tenant
    pool: str | None
    quarantine: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Where one tenant may be, and is.

    Attributes:
        tenant: id.
        jurisdiction: its own; empty where any will do.
        pool: name of its pool; empty where it has none.
        placed_by: ``assignment``, ``slot`` or ``nothing``.
        cells: where its data is, the preferred first.
        quarantine: the cell that its requests are sent to for now; empty where they are not.
        others: cells that answer for these or see copies of its requests: standby, shadow and canary; sorted.
        may_be: every cell of its pool, of those that this overflows to and of quarantine that its law allows; sorted.
            Where it names no law, that of its cells counts; where it has none of these, any.
        holds: whether all of ``cells``, ``quarantine`` and ``others`` are under its law, and under one.
        why: one sentence for people.
    """

    tenant: str
    jurisdiction: str
    pool: str
    placed_by: str
    cells: tuple[str, ...]
    quarantine: str
    others: tuple[str, ...]
    may_be: tuple[str, ...]
    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a row says of everybody in the same place."""

    cells: tuple[str, ...]
    others: tuple[str, ...]
    may_be: tuple[str, ...]
    holds: bool
    why: str


class ResidencyReport:
    """Judges the tenants of one fleet.

    Args:
        topology: valid; its fleet, cells and pools count, its tenants do not.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._traffic = topology.traffic
        self._cells = {cell.id: cell for cell in topology.cells}
        self._pools = {pool.name: pool for pool in topology.pools}
        self._placed: dict[str, Placed] = {}
        self._known: dict[tuple[object, ...], _Judged] = {}

    def rows(self, residents: Iterable[Resident], jurisdiction: str = "") -> Iterator[Row]:
        """A row for each tenant, in order. What is wrong is a row that says so, not an error.

        Args:
            residents: read once.
            jurisdiction: only those under this law, and those that any cell under it has or serves; empty for all.
        """
        under = {cell.id for cell in self._cells.values() if cell.jurisdiction == jurisdiction}
        for row in self._rows(residents):
            reached = {*row.cells, *row.others, row.quarantine}
            if not jurisdiction or row.jurisdiction == jurisdiction or not under.isdisjoint(reached):
                yield row

    def _rows(self, residents: Iterable[Resident]) -> Iterator[Row]:
        for resident in residents:
            tenant = resident.tenant
            pool = None if resident.pool is None else self._pools.get(resident.pool)
            by_slot = not tenant.shard and pool is not None and pool.has_slots
            shard = self._shard_of(pool, tenant.id) if pool is not None and by_slot else tenant.shard
            judged = self._judged(tenant, shard, pool, resident.quarantine)
            yield Row(
                tenant.id,
                tenant.jurisdiction,
                resident.pool or "",
                "slot" if by_slot else "assignment" if shard else "nothing",
                judged.cells,
                resident.quarantine or "",
                judged.others,
                judged.may_be,
                judged.holds,
                judged.why,
            )

    def _shard_of(self, pool: Pool, tenant_id: str) -> tuple[str, ...]:
        """The shard that a tenant's slot leads to."""
        placed = self._placed.get(pool.name)
        if placed is None:
            placed = self._placed[pool.name] = place(pool, self._cells)
        return tuple(placed.cells[index] for index in placed.shards[slot_of(tenant_id.encode())].tolist())

    def _judged(self, tenant: Tenant, shard: tuple[str, ...], pool: Pool | None, quarantine: str | None) -> _Judged:
        key = (tenant.jurisdiction, shard, None if pool is None else pool.name, tenant.policy, quarantine)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._judge(tenant.jurisdiction, tenant.policy, shard, pool, quarantine)
        return found

    def _judge(
        self, law: str, policy: Policy, shard: tuple[str, ...], pool: Pool | None, quarantine: str | None
    ) -> _Judged:
        others = self._others(policy, pool)
        missing = sorted({*shard, *(each for _, each in others), *filter(None, [quarantine])} - self._cells.keys())
        home = [self._cells[each] for each in shard if each in self._cells]
        wrong = [*violations(Act.ASSIGNMENT, "it", law, home)]
        under = law or (laws(home[:1]) or [""])[0]
        reached = [*others, *([(Act.QUARANTINE, quarantine)] if quarantine is not None else [])]
        for act, cell_id in reached:
            if cell_id in self._cells and (shard or act is Act.QUARANTINE):
                wrong += violations(act, "it", under, (self._cells[cell_id],))
        why = "; ".join([*map(str, wrong), *(f"no cell is named {each!r}" for each in missing)])
        if not why:
            why = f"all under {under}" if home else _NOWHERE
        return _Judged(
            shard,
            tuple(sorted({each for _, each in others})),
            self._may_be(under, pool),
            not wrong and not missing,
            why,
        )

    def _others(self, policy: Policy, pool: Pool | None) -> list[tuple[Act, str]]:
        """Cells beside its own that its requests, or copies of them, may reach."""
        if pool is None:
            return []
        resolved = self._traffic.of_tenant(policy, pool.name)
        standby = resolved.standby if resolved.reads is Reads.STANDBY else None
        canary = None if pool.canary is None else pool.canary.cell
        named = ((Act.STANDBY, standby), (Act.SHADOW, resolved.shadow), (Act.CANARY, canary))
        return [(act, cell_id) for act, cell_id in named if cell_id is not None]

    def _may_be(self, law: str, pool: Pool | None) -> tuple[str, ...]:
        found: dict[str, Cell] = {each: self._cells[each] for each in self._topology.fleet.quarantine.cells}
        while pool is not None:
            found |= {each: self._cells[each] for each in pool.cells}
            pool = None if pool.overflow is None else self._pools[pool.overflow]
        foreign = {each.cell for each in violations(Act.PLACEMENT, "it", law, found.values(), is_shard=False)}
        return tuple(sorted(found.keys() - foreign))


def residents(topology: Topology, quarantined: Mapping[str, str]) -> Iterator[Resident]:
    """The tenants of a topology, each in the pool that rules give it, or the one that it overflowed to: the first on
    that way that has its cells.

    Args:
        topology: valid, with its tenants.
        quarantined: id of the quarantine cell, by tenant.
    """
    pools = {pool.name: (set(pool.cells), pool.overflow) for pool in topology.pools}
    for tenant in topology.tenants:
        first = topology.pool_of(tenant)[0]
        name: str | None = first
        while name is not None and not pools[name][0].issuperset(tenant.shard):
            name = pools[name][1]
        yield Resident(tenant, first if name is None else name, quarantined.get(tenant.id))
