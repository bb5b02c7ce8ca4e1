"""Whom a change moves: counted with arrays, and again one by one."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from cellplane.errors import ValidationError
from cellplane.manifest.membership import pool_names
from cellplane.manifest.moves import Flow, Moves, count_moves, known_tenants, moves
from cellplane.model import (
    Cell,
    CellStatus,
    Dimension,
    Fleet,
    MissingKey,
    Pool,
    Rule,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
)
from cellplane.placement import SLOT_COUNT, place, slot_of
from unit.manifest.building import cells, names

SIX = cells(6)
TENANTS = tuple(Tenant(f"tenant-{number}") for number in range(500))
NOW = Topology(Fleet("shop"), SIX, (Pool("default", names(SIX[:5]), StrategyName.RENDEZVOUS),), TENANTS)


def with_pool(topology: Topology, **fields: object) -> Topology:
    first, *others = topology.pools
    return replace(topology, pools=(replace(first, **fields), *others))  # type: ignore[arg-type]  # fields of a pool


def shard(topology: Topology, tenant: Tenant) -> tuple[str, ...]:
    """Where one tenant is, said plainly."""
    if tenant.shard:
        return tenant.shard
    pool = next(pool for pool in topology.pools if pool.name == topology.pool_of(tenant)[0])
    if not pool.has_slots:
        return ()
    placed = place(pool, {cell.id: cell for cell in topology.cells})
    return tuple(placed.cells[index] for index in placed.shards[slot_of(tenant.id.encode())])


def test_nothing_moves_where_nothing_changes() -> None:
    found = moves(NOW, NOW)
    assert (found.tenants, found.slots, found.tenants_total, found.by_cell, found.by_pool) == (0, 0, 500, (), ())
    assert found.share == 0


def test_one_cell_more_takes_its_part_of_everybody() -> None:
    found = moves(NOW, with_pool(NOW, cells=names(SIX)))
    assert {flow.target for flow in found.by_cell} == {"cell-6"}
    assert {flow.source for flow in found.by_cell} == set(names(SIX[:5]))
    assert sum(flow.tenants for flow in found.by_cell) == found.tenants
    assert sum(flow.slots for flow in found.by_cell) == found.slots == found.slot_shards
    assert found.slots / SLOT_COUNT == pytest.approx(1 / 6, abs=0.01)
    assert found.unknown_share == found.slots / SLOT_COUNT
    (pool,) = found.by_pool
    assert (pool.pool, pool.tenants, pool.tenants_total) == ("default", found.tenants, 500)
    ranked = [(flow.tenants, flow.slots) for flow in found.by_cell]
    assert ranked == sorted(ranked, reverse=True)


def random_topology(draw: random.Random, tenants: tuple[Tenant, ...]) -> Topology:
    some = tuple(cell for cell in cells(9) if draw.random() < 0.8 or cell.id in {"cell-1", "cell-2", "cell-3"})
    strategies = [StrategyName.RENDEZVOUS, StrategyName.MODULO, StrategyName.SHUFFLE, StrategyName.EXPLICIT]
    pools = tuple(
        Pool(name, names(draw.sample(some, draw.randint(2, len(some)))), draw.choice(strategies))
        for name in draw.sample(["default", "gold", "eu", "rest"], 4)
    )
    rules = tuple(
        Rule(f"rule-{place}", draw.choice(["gold", "eu"]), tiers=("gold",), id_pattern=draw.choice(["", "*7*"]))
        for place in range(draw.randint(0, 2))
    )
    fleet = Fleet("shop", rules=rules, unknown_tenant=UnknownTenant.REJECT)
    alive = [cell.id for cell in some]
    known = tuple(
        replace(
            tenant,
            shard=tuple(draw.sample(alive, draw.randint(1, 3))) if draw.random() < 0.2 else (),
            tier=draw.choice(["", "gold"]),
            pool=draw.choice([None, None, "rest"]),
        )
        for tenant in tenants
    )
    return Topology(fleet, some, pools, known)


@pytest.mark.parametrize("seed", range(6))
def test_counting_with_arrays_is_counting_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    before = random_topology(draw, TENANTS[:120])
    after = random_topology(draw, TENANTS[40:160])
    by_id = {tenant.id: tenant for tenant in after.tenants}
    pairs = [(shard(before, tenant), shard(after, by_id[tenant.id])) for tenant in before.tenants if tenant.id in by_id]
    flows = Counter((was[0] if was else None, now[0] if now else None) for was, now in pairs if was[:1] != now[:1])
    found = moves(before, after)
    assert found.tenants_total == len(pairs) == 80
    assert found.tenants == flows.total()
    assert found.tenant_shards == sum(set(was) != set(now) for was, now in pairs)
    assert {(flow.source, flow.target): flow.tenants for flow in found.by_cell if flow.tenants} == flows
    slots: Counter[tuple[str | None, str | None]] = Counter()
    for pool in after.pools:
        old = next(one for one in before.pools if one.name == pool.name)
        was, now = slot_cells(before, old), slot_cells(after, pool)
        slots.update(pair for pair in zip(was, now, strict=True) if pair[0] != pair[1])
    assert {(flow.source, flow.target): flow.slots for flow in found.by_cell if flow.slots} == slots
    assert found.slots == slots.total()
    assert sum(pool.tenants for pool in found.by_pool) == found.tenants


def slot_cells(topology: Topology, pool: Pool) -> list[str | None]:
    if not pool.has_slots:
        return [None] * SLOT_COUNT
    placed = place(pool, {cell.id: cell for cell in topology.cells})
    return [placed.cells[index] for index in placed.shards[:, 0].tolist()]


def test_an_assignment_and_a_rule_move_tenants_and_no_slots() -> None:
    gold = Pool("gold", ("cell-6",))
    there = replace(NOW, pools=(*NOW.pools, gold))
    tiers = tuple(replace(tenant, tier="gold") if place < 7 else tenant for place, tenant in enumerate(TENANTS))
    ruled = replace(there, fleet=replace(NOW.fleet, rules=(Rule("gold", "gold", tiers=("gold",)),)), tenants=tiers)
    found = moves(there, ruled)
    assert (found.tenants, found.slots, found.unknown_share) == (7, 0, 0)
    assert [(pool.pool, pool.tenants, pool.tenants_total) for pool in found.by_pool] == [("gold", 7, 7)]
    assert found.share == 7 / 500
    assigned = replace(NOW, tenants=(replace(TENANTS[0], shard=("cell-6",)), *TENANTS[1:]))
    assert [flow.target for flow in moves(NOW, assigned).by_cell] == ["cell-6"]


def test_another_order_of_a_shard_moves_a_tenant_and_changes_no_member() -> None:
    one = replace(NOW, tenants=(Tenant("a", ("cell-1", "cell-2")),))
    other = replace(NOW, tenants=(Tenant("a", ("cell-2", "cell-1")),))
    found = moves(one, other)
    assert (found.tenants, found.tenant_shards) == (1, 0)
    third = replace(NOW, tenants=(Tenant("a", ("cell-1", "cell-3")),))
    found = moves(one, third)
    assert (found.tenants, found.tenant_shards) == (0, 1)


def test_an_explicit_pool_places_nobody_by_slot() -> None:
    fleet = replace(NOW.fleet, unknown_tenant=UnknownTenant.REJECT)
    explicit = replace(with_pool(NOW, strategy=StrategyName.EXPLICIT), fleet=fleet)
    found = moves(replace(NOW, fleet=fleet), explicit)
    assert (found.tenants, found.slots) == (500, SLOT_COUNT)
    assert {flow.target for flow in found.by_cell} == {None}
    assert found.by_cell[0].as_json()["to"] is None
    assert moves(explicit, explicit).slots == 0


REJECTING = replace(NOW, fleet=replace(NOW.fleet, unknown_tenant=UnknownTenant.REJECT))


def to_default_cell(topology: Topology, cell: str) -> Topology:
    fleet = replace(topology.fleet, unknown_tenant=UnknownTenant.DEFAULT_CELL, default_cell=cell)
    return replace(topology, fleet=fleet)


def test_tenants_that_come_or_go_do_not_move() -> None:
    after = with_pool(REJECTING, cells=("cell-1",))
    found = moves(replace(REJECTING, tenants=TENANTS[:10]), replace(after, tenants=TENANTS[5:]))
    assert found.tenants_total == 5
    empty = replace(NOW, tenants=())
    none = moves(empty, with_pool(empty, cells=("cell-6",)))
    assert (none.tenants, none.tenants_total, none.share) == (0, 0, 1.0), "unknown tenants move with their slots"


def test_another_default_pool_moves_unknown_tenants() -> None:
    gold = Pool("gold", ("cell-6",))
    there = replace(NOW, pools=(*NOW.pools, gold), tenants=())
    found = moves(there, replace(there, fleet=replace(NOW.fleet, default_pool="gold")))
    assert (found.slots, found.share) == (0, 1.0)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (NOW, REJECTING, 1.0),
        (REJECTING, NOW, 1.0),
        (to_default_cell(NOW, "cell-6"), to_default_cell(NOW, "cell-1"), 1.0),
        (NOW, to_default_cell(NOW, "cell-6"), 1.0),
        (NOW, to_default_cell(NOW, "cell-1"), 0.8),
        (to_default_cell(NOW, "cell-6"), REJECTING, 1.0),
        (REJECTING, REJECTING, 0.0),
        (to_default_cell(NOW, "cell-6"), to_default_cell(NOW, "cell-6"), 0.0),
        (REJECTING, with_pool(REJECTING, cells=("cell-1",)), 0.0),
    ],
)
def test_another_place_for_unknown_tenants_moves_them(before: Topology, after: Topology, share: float) -> None:
    found = moves(replace(before, tenants=()), replace(after, tenants=()))
    assert found.unknown_share == found.share == pytest.approx(share, abs=0.02)


def test_requests_without_a_key_move_with_the_slots_that_place_them() -> None:
    fleet = replace(REJECTING.fleet, missing_key=MissingKey.SOURCE_HASH)
    keyless = replace(NOW, fleet=fleet, tenants=())
    assert moves(keyless, with_pool(keyless, cells=("cell-6",))).share == 1.0


def test_a_tenant_that_is_newly_listed_moves_from_where_its_key_was_served() -> None:
    key = TENANTS[0].id
    (slot_cell,) = shard(NOW, TENANTS[0])
    other = next(name for name in names(SIX) if name != slot_cell)
    here = replace(NOW, tenants=TENANTS[1:4])
    for shard_of_it, moved in (((other,), 1), ((slot_cell,), 0), ((), 0)):
        found = moves(here, replace(here, tenants=(*here.tenants, Tenant(key, shard_of_it))))
        assert (found.tenants, found.tenants_total, found.share) == (moved, 4, moved / 4)
        assert found.by_cell == ((Flow(slot_cell, other, 1, 0),) if moved else ())
    defaulted = to_default_cell(here, "cell-6")
    found = moves(defaulted, replace(defaulted, tenants=(*here.tenants, Tenant(key, ("cell-1",)))))
    assert found.by_cell == (Flow("cell-6", "cell-1", 1, 0),)
    rejecting = replace(REJECTING, tenants=here.tenants)
    found = moves(rejecting, replace(rejecting, tenants=(*here.tenants, Tenant(key, (other,)))))
    assert (found.tenants, found.tenants_total) == (0, 3), "what was refused is nowhere to move from"


def test_pools_that_come_or_go_have_no_slots_to_move() -> None:
    gold = Pool("gold", ("cell-6",))
    assert moves(NOW, replace(NOW, pools=(*NOW.pools, gold))).slots == 0
    assert moves(replace(NOW, pools=(*NOW.pools, gold)), NOW).slots == 0


@pytest.mark.parametrize("status", list(CellStatus))
def test_the_status_of_a_cell_moves_nobody(status: CellStatus) -> None:
    first, *others = SIX
    here = replace(NOW, tenants=(*TENANTS, Tenant("pinned", (first.id,))))
    changed = replace(here, cells=(replace(first, status=status), *others))
    assert moves(here, changed) == replace(Moves(), tenants_total=501)
    assert moves(changed, here) == replace(Moves(), tenants_total=501)


def test_arrays_can_be_given() -> None:
    after = with_pool(NOW, cells=names(SIX))
    one = known_tenants(NOW, TENANTS)
    assert one.slots.tolist() == [slot_of(tenant.id.encode()) for tenant in TENANTS]
    other = known_tenants(after, TENANTS, slots=one.slots)
    assert count_moves(NOW, one, after, other).tenants == moves(NOW, after).tenants
    assert known_tenants(NOW, ()).slots.dtype == np.uint32


def test_cells_that_cannot_be_spread_are_refused() -> None:
    shuffled = with_pool(NOW, strategy=StrategyName.SHUFFLE, spread=(Dimension.ZONE, Dimension.RELEASE))
    with pytest.raises(ValidationError, match=r"pools\.default"):
        moves(NOW, shuffled)


def test_the_answer_of_the_api_has_its_fields() -> None:
    found = moves(NOW, with_pool(NOW, cells=names(SIX))).as_json(max_rows=2)
    assert list(found) == [
        "tenants",
        "tenants_total",
        "tenant_shards",
        "slots",
        "slot_shards",
        "share",
        "unknown_share",
        "by_cell",
        "by_pool",
    ]
    assert len(found["by_cell"]) == 2
    assert list(found["by_cell"][0]) == ["from", "to", "tenants", "slots"]
    assert list(found["by_pool"][0]) == ["pool", "tenants", "tenants_total", "slots"]
    assert Flow(None, "a", 1, 2).as_json() == {"from": None, "to": "a", "tenants": 1, "slots": 2}


@pytest.mark.parametrize("pattern", ["", "*1"])
def test_pools_are_those_that_the_model_says(pattern: str) -> None:
    rules = (Rule("gold", "gold", tiers=("gold",)), Rule("by-id", "rest", attributes=(("a", "b"),), id_pattern=pattern))
    topology = Topology(Fleet("shop", rules=rules), (Cell("a", "h", 1),), ())
    draw = random.Random(1)
    tenants = [
        Tenant(f"t{n}", tier=draw.choice(["", "gold"]), attributes=draw.choice([(), (("a", "b"),)])) for n in range(200)
    ]
    tenants.append(Tenant("own", pool="own"))
    assert list(pool_names(topology, tenants)) == [topology.pool_of(tenant)[0] for tenant in tenants]
