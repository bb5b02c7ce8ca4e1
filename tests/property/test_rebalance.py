"""Invariants of plans of moves, over fleets that nobody chose."""

from collections import Counter
from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from cellplane.model import (
    Capacity,
    Cell,
    CellStatus,
    Fleet,
    Load,
    Pool,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
)
from cellplane.model.residency import Act, violations
from cellplane.placement.fitting import needed
from cellplane.planning.loaded import load_fleet
from cellplane.planning.move_plan import MovePlan, MoveSettings
from cellplane.planning.rebalance import evacuate, rebalance
from cellplane.planning.residency import residents
from support.depth import examples

MOSTLY_ACTIVE = [*[CellStatus.ACTIVE] * 8, *CellStatus]
SETTINGS = MoveSettings(per_cell=2, at_once=3, gib_per_hour=5)
CLOSE = 1e-9


@st.composite
def fleets(draw: st.DrawFn) -> Topology:
    """Two pools of one law or two, with one cell a shard or two, and tenants that fill some of the cells."""
    laws = draw(st.sampled_from([("eu",), ("eu", "us")]))
    cells = tuple(
        Cell(
            f"cell-{number}",
            "h",
            1,
            jurisdiction=laws[number % len(laws)],
            status=draw(st.sampled_from(MOSTLY_ACTIVE)),
            capacity=Capacity(
                draw(st.one_of(st.none(), st.integers(5, 30))),
                draw(st.one_of(st.none(), st.integers(20, 120).map(float))),
                draw(st.one_of(st.none(), st.integers(20, 120).map(float))),
            ),
        )
        for number in range(8)
    )
    pools = []
    for name, members in (("one", cells[::2]), ("two", cells[1::2])):
        size = draw(st.integers(1, 2))
        strategy = draw(st.sampled_from([StrategyName.EXPLICIT, StrategyName.RENDEZVOUS]))
        pools.append(Pool(name, tuple(cell.id for cell in members), strategy, shard_size=size))
    tenants = []
    taken = set()
    for number in range(draw(st.integers(0, 40))):
        pool = draw(st.sampled_from(pools))
        shard = tuple(draw(st.permutations(pool.cells))[: pool.size])
        if draw(st.booleans()) and pool.has_slots:
            shard = ()
        elif pool.size > 1 and pool.overlap is not None and frozenset(shard) in taken:
            continue
        taken.add(frozenset(shard))
        law = cells[int(pool.cells[0][5:])].jurisdiction
        tenants.append(
            Tenant(
                f"tenant-{number}",
                shard,
                draw(st.sampled_from([*[TenantState.ACTIVE] * 9, TenantState.MOVING])),
                pool=pool.name,
                jurisdiction=draw(st.sampled_from(["", law])),
                attributes=draw(st.sampled_from([(), (), (("pinned", "true"),), (("pinned", "false"),)])),
                load=Load(
                    draw(st.integers(0, 3)), draw(st.integers(0, 30).map(float)), draw(st.integers(0, 30).map(float))
                ),
            )
        )
    fleet = Fleet("shop", default_pool="one", unknown_tenant=UnknownTenant.REJECT)
    topology = Topology(fleet, cells, tuple(pools), tuple(tenants))
    topology.validate()
    return topology


def used(topology: Topology, shards: dict[str, tuple[str, ...]]) -> dict[str, list[float]]:
    """Utilisation of each cell in each dimension that it declares."""
    held: dict[str, Load] = {cell.id: Load() for cell in topology.cells}
    for tenant in topology.tenants:
        for cell in shards.get(tenant.id, ()):
            held[cell] += needed(tenant)
    return {
        cell.id: [
            amount / limit
            for amount, limit in (
                (held[cell.id].tenants, cell.capacity.tenants),
                (held[cell.id].rps, cell.capacity.rps),
                (held[cell.id].storage_gib, cell.capacity.storage_gib),
            )
            if limit is not None
        ]
        for cell in topology.cells
    }


def beyond(shares: dict[str, list[float]]) -> float:
    return sum(max(0.0, share - SETTINGS.lock_at) for each in shares.values() for share in each)


def shards_of(topology: Topology) -> dict[str, tuple[str, ...]]:
    ids = [cell.id for cell in topology.cells]
    fleet = load_fleet(topology, residents(topology, {}))
    return {
        tenant.id: tuple(ids[cell] for cell in row if cell >= 0)
        for tenant, row in zip(fleet.tenants, fleet.shards.tolist(), strict=True)
    }


def check(topology: Topology, plan: MovePlan, *, may_go: set[str]) -> dict[str, tuple[str, ...]]:
    """What holds for every plan; returns where all are afterwards."""
    cells = {cell.id: cell for cell in topology.cells}
    pools = {pool.name: pool for pool in topology.pools}
    tenants = {tenant.id: tenant for tenant in topology.tenants}
    shards = shards_of(topology)
    sources = {move.source for move in plan.moves}
    assert [move.batch for move in plan.moves] == sorted(move.batch for move in plan.moves)
    assert len({move.tenant for move in plan.moves}) == len(plan.moves)
    for move in plan.moves:
        tenant, target = tenants[move.tenant], cells[move.target]
        assert move.tenant in may_go
        assert tenant.state is TenantState.ACTIVE
        assert move.source in shards[move.tenant]
        assert move.target not in shards[move.tenant]
        assert move.target not in sources
        assert move.target in pools[tenant.pool or ""].cells
        assert target.status is CellStatus.ACTIVE
        home = cells[shards[move.tenant][0]]
        assert not violations(Act.MOVE, tenant.id, tenant.jurisdiction, (home, target))
        shards[move.tenant] = tuple(move.target if cell == move.source else cell for cell in shards[move.tenant])
        assert move.shard == shards[move.tenant]
        assert all(share <= SETTINGS.lock_at + CLOSE for share in used(topology, shards)[move.target])
    at_once = Counter((move.batch, cell) for move in plan.moves for cell in (move.source, move.target))
    assert max(at_once.values(), default=0) <= SETTINGS.per_cell
    assert max(Counter(move.batch for move in plan.moves).values(), default=0) <= SETTINGS.at_once
    assert len(plan.batch_hours) == len({move.batch for move in plan.moves})
    for cell, shares in used(topology, shards).items():
        told = plan.after[cell]
        assert (told is None) == (not shares)
        assert told is None or abs(told - max(shares)) < CLOSE
    # What it becomes is a fleet again: no shard crosses a law, none is out of its pool.
    replace(
        topology, tenants=tuple(replace(each, shard=shards.get(each.id, each.shard)) for each in topology.tenants)
    ).validate()
    return shards


def pinned(tenant: Tenant, pool: Pool) -> bool:
    said = dict(tenant.attributes).get("pinned")
    return said == "true" or (said is None and bool(tenant.shard) and pool.has_slots)


@settings(max_examples=examples(50), deadline=None)
@given(fleets())
def test_every_move_of_a_rebalancing_improves_the_balance(topology: Topology) -> None:
    plan = rebalance(load_fleet(topology, residents(topology, {})), SETTINGS)
    pools = {pool.name: pool for pool in topology.pools}
    free = {each.id for each in topology.tenants if not pinned(each, pools[each.pool or ""])}
    check(topology, plan, may_go=free)
    event(f"{min(len(plan.moves), 3)} moves or more")
    shards = shards_of(topology)
    before = used(topology, shards)
    assert {move.source for move in plan.moves} <= {
        cell for cell, shares in before.items() if max(shares, default=0) > SETTINGS.over_at
    }
    last = beyond(before)
    assert abs(plan.excess_before - last) < CLOSE
    for move in plan.moves:
        shards[move.tenant] = move.shard
        now = beyond(used(topology, shards))
        assert now < last
        last = now
    assert abs(plan.excess_after - last) < CLOSE


@settings(max_examples=examples(33), deadline=None)
@given(fleets(), st.integers(0, 7), st.booleans())
def test_an_evacuation_takes_everybody_away_or_says_who_stays(
    topology: Topology, number: int, override_pins: bool
) -> None:
    cell = f"cell-{number}"
    plan = evacuate(load_fleet(topology, residents(topology, {})), cell, SETTINGS, override_pins=override_pins)
    pools = {pool.name: pool for pool in topology.pools}
    free = {each.id for each in topology.tenants if override_pins or not pinned(each, pools[each.pool or ""])}
    shards = check(topology, plan, may_go=free)
    assert {move.source for move in plan.moves} <= {cell}
    left = [name for name, shard in shards.items() if cell in shard]
    assert len(left) == sum(each.tenants for each in plan.stays)
    assert all(each.cell == cell for each in plan.stays)
    event(f"{min(len(plan.moves), 3)} moves or more, {'some stay' if left else 'nobody stays'}")


@given(fleets())
def test_a_plan_follows_from_the_fleet_alone(topology: Topology) -> None:
    fleet = load_fleet(topology, residents(topology, {}))
    assert rebalance(fleet, SETTINGS) == rebalance(fleet, SETTINGS)
