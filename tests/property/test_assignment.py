"""Invariants of assignment, over fleets and histories of tenants that nobody chose."""

from dataclasses import dataclass, field, replace
from itertools import combinations

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cellplane.model import (
    Capacity,
    Cell,
    CellStatus,
    Dimension,
    Fleet,
    Load,
    Pool,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
)
from cellplane.placement import Assigned, CellState, NoCell, assign
from cellplane.placement.fitting import needed
from cellplane.placement.spread import alike
from support.depth import examples

EXPLICIT, SHUFFLE, RENDEZVOUS = StrategyName.EXPLICIT, StrategyName.SHUFFLE, StrategyName.RENDEZVOUS
NAMES = ("one", "two", "three", "own")

amounts = st.integers(0, 30).map(float)
limits = st.one_of(st.none(), st.integers(10, 90).map(float))
tenants = st.builds(
    Tenant,
    st.integers(0, 9).map(lambda number: f"tenant-{number}"),
    pool=st.sampled_from(NAMES),
    jurisdiction=st.sampled_from(["", "", "eu", "us"]),
    load=st.builds(Load, st.integers(0, 2), amounts, amounts),
    shard_size=st.one_of(st.none(), st.none(), st.integers(1, 3)),
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Three pools, some overflowing to the next, and a dedicated one; each pool from the cells of one law or all."""
    laws = draw(st.sampled_from([("eu",), ("eu", "us"), ("eu", "eu", "us")]))
    cells = tuple(
        Cell(
            f"cell-{number}",
            "h",
            1,
            jurisdiction=laws[number % len(laws)],
            status=draw(st.sampled_from([*[CellStatus.ACTIVE] * 15, *CellStatus])),
            weight=draw(st.sampled_from([1.0, 0.5, 3.0])),
            zone=f"zone-{number // 2 % 2}",
            release=f"r{number // 4}",
            capacity=Capacity(draw(st.one_of(st.none(), st.integers(1, 6))), draw(limits), draw(limits)),
        )
        for number in range(10)
    )
    shared, own = cells[:8], cells[8:]
    pools = [draw(pools_of(name, shared)) for name in NAMES[:3]]
    pools.append(Pool("own", tuple(cell.id for cell in own), EXPLICIT, dedicated=True))
    for place, following in enumerate(NAMES[1:]):
        if pools[place].strategy is EXPLICIT and draw(st.booleans()):
            pools[place] = replace(pools[place], overflow=following)
    if draw(st.booleans()) and pools[0].strategy is not EXPLICIT:
        pools[3] = replace(pools[3], overflow="one")
    made = Topology(Fleet("shop", default_pool="one", unknown_tenant=UnknownTenant.REJECT), cells, tuple(pools))
    made.validate()
    return made


@st.composite
def pools_of(draw: st.DrawFn, name: str, cells: tuple[Cell, ...]) -> Pool:
    """A pool of some of these cells, of one law unless its shards have one cell."""
    strategy = draw(st.sampled_from([EXPLICIT, EXPLICIT, SHUFFLE, SHUFFLE, RENDEZVOUS]))
    size = draw(st.integers(1, 3 if strategy is not RENDEZVOUS else 2))
    law = draw(st.sampled_from(sorted({cell.jurisdiction for cell in cells})))
    among = [cell.id for cell in cells if cell.jurisdiction == law or (size == 1 and draw(st.booleans()))]
    # Eight cells under three laws in turn leave two at least of each.
    size = min(size, len(among))
    return Pool(
        name,
        tuple(among),
        strategy,
        shard_size=size,
        seed=0 if strategy is RENDEZVOUS else draw(st.integers(0, 9)),
        spread=draw(st.sampled_from([(), (Dimension.ZONE,), tuple(Dimension)[::2]])) if strategy is SHUFFLE else (),
        max_overlap=None if strategy is RENDEZVOUS else draw(st.one_of(st.none(), st.integers(0, size - 1))),
    )


@dataclass
class Directory:
    """Who is where: what the answers are remembered in."""

    topology: Topology
    ill: frozenset[str]
    there: dict[str, tuple[Tenant, Assigned]] = field(default_factory=dict)

    def states(self) -> dict[str, CellState]:
        states = {cell: CellState(Load(), is_healthy=False) for cell in self.ill}
        for tenant, answer in self.there.values():
            for cell in answer.shard:
                before = states.get(cell, CellState(Load()))
                states[cell] = replace(before, load=before.load + needed(tenant))
        return states

    def shards(self) -> dict[str, dict[str, tuple[str, ...]]]:
        shards: dict[str, dict[str, tuple[str, ...]]] = {}
        for tenant, answer in self.there.values():
            shards.setdefault(answer.pool, {})[tenant.id] = answer.shard
        return shards

    def pools(self, tenant: Tenant) -> list[Pool]:
        """The tenant's pool, and those that it overflows to."""
        pools = {pool.name: pool for pool in self.topology.pools}
        way = [pools[self.topology.pool_of(tenant)[0]]]
        while (following := way[-1].overflow) is not None:
            way.append(pools[following])
        return way


class Places:
    """What a tenant may have in one pool, said as plainly as the rules are.

    Args:
        directory: without the tenant.
        pool: the pool.
        tenant: the tenant.
        comes_by_overflow: whether the pool is not the tenant's own.
    """

    def __init__(self, directory: Directory, pool: Pool, tenant: Tenant, *, comes_by_overflow: bool) -> None:
        cells = [cell for cell in directory.topology.cells if cell.id in pool.cells]
        states = directory.states()
        size = tenant.shard_size or pool.size
        laws = {cell.jurisdiction for cell in cells}
        mine = [cell for cell in cells if tenant.jurisdiction in {"", cell.jurisdiction}]
        too_large = size > 1 and any(
            limit is not None and amount * size > limit
            for cell in mine
            for amount, limit in (
                (tenant.load.rps, cell.capacity.rps),
                (tenant.load.storage_gib, cell.capacity.storage_gib),
            )
        )
        by_slot = not pool.assigns and size == pool.size and not comes_by_overflow
        stays = not tenant.jurisdiction or laws == {tenant.jurisdiction}
        self.is_its_slot_allowed = by_slot and not too_large and stays
        may = (
            not by_slot
            and not too_large
            and not (size > 1 and (pool.dedicated or (len(laws) > 1 and not tenant.jurisdiction)))
        )
        opened = [cell.id for cell in mine if self._is_open(cell, states.get(cell.id, CellState(Load())), pool, tenant)]
        groups = alike(cells, pool.spread, size)
        others = [{*shard} for shard in directory.shards().get(pool.name, {}).values()]
        self.shards = {
            frozenset(shard)
            for shard in (combinations(opened, size) if may else ())
            if all(len({*shard} & {*group.cells}) <= group.most for group in groups)
            and (pool.overlap is None or all(len({*shard} & other) <= pool.overlap for other in others))
        }

    @staticmethod
    def _is_open(cell: Cell, state: CellState, pool: Pool, tenant: Tenant) -> bool:
        total = state.load + needed(tenant)
        pairs = (
            (total.tenants, cell.capacity.tenants),
            (total.rps, cell.capacity.rps),
            (total.storage_gib, cell.capacity.storage_gib),
        )
        return (
            cell.status is CellStatus.ACTIVE
            and state.is_healthy
            and not (pool.dedicated and state.load.tenants)
            and all(limit is None or amount <= limit for amount, limit in pairs)
        )


@settings(max_examples=examples(100), deadline=None)
@given(
    topologies(),
    st.frozensets(st.integers(0, 9).map(lambda number: f"cell-{number}"), max_size=2),
    st.lists(tenants, min_size=1, max_size=14),
)
def test_no_history_puts_a_tenant_where_it_must_not_be_or_refuses_one_that_has_a_place(
    topology: Topology, ill: frozenset[str], history: list[Tenant]
) -> None:
    directory = Directory(topology, ill)
    for tenant in history:
        directory.there.pop(tenant.id, None)
        states, shards = directory.states(), directory.shards()
        answer = assign(tenant, topology, states, shards)
        turned = replace(topology, cells=topology.cells[::-1], pools=topology.pools[::-1])
        assert answer == assign(tenant, turned, dict(reversed(states.items())), dict(reversed(shards.items())))
        for tried, pool in enumerate(directory.pools(tenant)):
            places = Places(directory, pool, tenant, comes_by_overflow=tried > 0)
            if isinstance(answer, Assigned) and answer.pool == pool.name:
                if answer.shard:
                    assert frozenset(answer.shard) in places.shards
                    assert len(set(answer.shard)) == len(answer.shard)
                else:
                    assert places.is_its_slot_allowed
                event(f"{pool.strategy.value}, {'shard' if answer.shard else 'slot'}, {'overflow' if tried else 'own'}")
                directory.there[tenant.id] = tenant, answer
                break
            assert not places.is_its_slot_allowed
            assert not places.shards
        else:
            assert isinstance(answer, NoCell)
            event("no cell")
            assert answer.cells
    own = {cell for pool in topology.pools if pool.dedicated for cell in pool.cells}
    for cell in own:
        assert sum(cell in answer.shard for _, answer in directory.there.values()) <= 1


seeds = st.integers(0, 2**64 - 1)


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(3, 12), st.integers(1, 3), seeds, st.sampled_from([(), (Dimension.ZONE,)]), st.data())
def test_one_cell_more_or_less_or_of_another_weight_changes_one_member_of_a_shard_of_its_own(
    count: int, size: int, seed: int, spread: tuple[Dimension, ...], data: st.DataObject
) -> None:
    cells = [
        Cell(f"cell-{number}", "h", 1, zone=f"zone-{number % 3}", weight=data.draw(st.sampled_from([1.0, 0.2, 7.5])))
        for number in range(count + 1)
    ]
    last = cells[-1]
    # The zones stay, whoever leaves.
    changed = data.draw(st.sampled_from([cells[:-1], [*cells[:-1], replace(last, weight=last.weight * 3)]]))

    def shard(of: list[Cell]) -> set[str]:
        names = tuple(cell.id for cell in of)
        pool = Pool("p", names, SHUFFLE, shard_size=3, seed=seed, spread=spread)
        size_of_its_own = size if size != 3 else 2
        answer = assign(
            Tenant("acme", shard_size=size_of_its_own),
            Topology(Fleet("shop", default_pool="p"), tuple(of), (pool,)),
            {},
            {},
        )
        assert isinstance(answer, Assigned)
        assert len(set(answer.shard)) == size_of_its_own
        return set(answer.shard)

    old, new = shard(changed), shard(cells)
    assert old == new or (len(old - new) == len(new - old) == 1 and last.id in old ^ new)
