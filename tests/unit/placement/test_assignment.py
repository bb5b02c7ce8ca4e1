"""Where a tenant that the directory knows is placed, why there, or why nowhere."""

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import (
    Capacity,
    Cell,
    CellStatus,
    Dimension,
    Fleet,
    Load,
    Pool,
    Rule,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
)
from cellplane.placement import Assigned, CellReason, CellState, NoCell, assign
from unit.placement import plain
from unit.placement.fleets import ZONES, fleet

EXPLICIT, SHUFFLE, RENDEZVOUS = StrategyName.EXPLICIT, StrategyName.SHUFFLE, StrategyName.RENDEZVOUS
ROOM = Capacity(tenants=10, rps=1000.0, storage_gib=100.0)

CELLS = (
    *(Cell(f"eu-{number}", "h", 1, jurisdiction="eu", zone=ZONES[number % 3], capacity=ROOM) for number in range(6)),
    *(Cell(f"us-{number}", "h", 1, jurisdiction="us", zone=ZONES[number % 3], capacity=ROOM) for number in range(3)),
)
EU = tuple(cell.id for cell in CELLS if cell.jurisdiction == "eu")
US = tuple(cell.id for cell in CELLS if cell.jurisdiction == "us")
ACME = Tenant("acme")

Shards = Mapping[str, Mapping[str, tuple[str, ...]]]


def topology(*pools: Pool, cells: tuple[Cell, ...] = CELLS, **fields: Any) -> Topology:
    """A valid one with these pools, of which the first is the default."""
    policy = Fleet("shop", default_pool=pools[0].name, unknown_tenant=UnknownTenant.REJECT)
    made = Topology(replace(policy, **fields), cells, pools)
    made.validate()
    return made


def holding(**tenants: int) -> dict[str, CellState]:
    """States by cell id, ``_`` for a hyphen, by the number of tenants."""
    return {name.replace("_", "-"): CellState(Load(tenants=count)) for name, count in tenants.items()}


def assigned(
    tenant: Tenant,
    where: Topology,
    states: dict[str, CellState] | None = None,
    shards: Shards | None = None,
) -> Assigned:
    answer = assign(tenant, where, states or {}, shards or {})
    assert isinstance(answer, Assigned), answer
    return answer


def refused(
    tenant: Tenant,
    where: Topology,
    states: dict[str, CellState] | None = None,
    shards: Shards | None = None,
) -> NoCell:
    answer = assign(tenant, where, states or {}, shards or {})
    assert isinstance(answer, NoCell), answer
    assert answer.reason.startswith("pool '")
    assert all(one.reason for one in answer.cells)
    assert [one.cell for one in answer.cells] == sorted({one.cell for one in answer.cells})
    return answer


def raced(tenant: str, cells: tuple[str, ...], seed: int = 0) -> list[str]:
    """Cells of one weight in the order of the tenant's own race."""
    members = [replace(member, id=cell) for member, cell in zip(fleet(len(cells)), cells, strict=True)]
    return [member.id for member in plain.racing_order(members, tenant.encode(), seed)]


# The pool.


def test_the_rule_that_matches_first_chooses_the_pool_and_is_named() -> None:
    rules = (Rule("by-law", "us", jurisdictions=("us",)), Rule("by-tier", "eu", tiers=("gold",)))
    where = topology(Pool("eu", EU, EXPLICIT), Pool("us", US, EXPLICIT), rules=rules)
    assert assigned(replace(ACME, jurisdiction="us", tier="gold"), where) == Assigned(
        "us",
        ("us-0",),
        "by-law",
        "rule 'by-law' puts it into pool 'us': least loaded (10.0% with the tenant) of 3 cells that fit, 0 do not",
    )
    named = assigned(replace(ACME, jurisdiction="us", pool="us"), where)
    assert (named.rule, named.reason.partition(":")[0]) == (None, "it names pool 'us'")
    default = assigned(ACME, where)
    assert (default.rule, default.pool) == (None, "eu")
    assert default.reason.startswith("no rule matches, so it is in pool 'eu': ")


def test_an_unknown_pool_is_refused() -> None:
    with pytest.raises(ValidationError, match="no pool is named 'gold'") as error:
        assign(replace(ACME, pool="gold"), topology(Pool("eu", EU)), {}, {})
    assert error.value.field == "tenant.pool"


def test_bad_values_are_refused_with_their_path() -> None:
    where = topology(Pool("eu", EU))
    for tenant, states, field in (
        (Tenant("a b"), {}, "tenant.id"),
        (ACME, {"eu-1": CellState(Load(rps=float("nan")))}, "states[eu-1].load.rps"),
    ):
        with pytest.raises(ValidationError) as error:
            assign(tenant, where, states, {})
        assert error.value.field == field


# Slots.


@pytest.mark.parametrize("strategy", [strategy for strategy in StrategyName if strategy is not EXPLICIT])
def test_a_slot_places_a_tenant_of_a_pool_that_does_not_assign(strategy: StrategyName) -> None:
    where = topology(Pool("eu", EU, strategy))
    assert assigned(ACME, where) == Assigned(
        "eu", (), None, "no rule matches, so it is in pool 'eu': its slot places it"
    )
    assert assigned(replace(ACME, jurisdiction="eu", shard=("us-1",)), where).shard == ()


@pytest.mark.parametrize("cells", [EU + US, US])
def test_no_slot_leads_a_tenant_out_of_its_jurisdiction(cells: tuple[str, ...]) -> None:
    answer = refused(replace(ACME, jurisdiction="eu"), topology(Pool("all", cells, RENDEZVOUS)))
    assert "its slots lead to cells under us, and the tenant is under eu: give it a pool" in answer.reason
    assert answer.cells[-1] == CellReason("us-2", "is under us, not eu")
    assert len(answer.cells) == len(cells)


def test_a_shard_size_of_its_own_is_a_shard_of_its_own() -> None:
    where = topology(Pool("eu", EU, SHUFFLE, seed=7))
    answer = assigned(replace(ACME, shard_size=3), where)
    assert answer.shard == tuple(raced("acme", EU, 7)[:3])
    assert answer.reason.endswith("first of 6 open cells in its own race")
    assert assigned(replace(ACME, shard_size=1), where).shard == answer.shard[:1]
    assert assigned(replace(ACME, shard_size=2), where).shard == ()


def test_a_shard_of_its_own_passes_over_cells_that_are_not_open() -> None:
    order = raced("acme", EU)
    closed: dict[str, dict[str, Any]] = {
        order[0]: {"status": CellStatus.LOCKED},
        order[1]: {"status": CellStatus.DRAINING},
        order[3]: {"capacity": Capacity(tenants=2)},
    }
    cells = tuple(replace(cell, **closed.get(cell.id, {})) for cell in CELLS)
    states = {order[2]: CellState(Load(), is_healthy=False), order[3]: CellState(Load(tenants=2))}
    where = topology(Pool("eu", EU, RENDEZVOUS), cells=cells)
    assert assigned(replace(ACME, shard_size=2), where, states).shard == (order[4], order[5])
    answer = refused(replace(ACME, shard_size=3), where, states)
    assert "2 of 6 cells take the tenant, too few for a shard of 3" in answer.reason
    assert {one.cell: one.reason for one in answer.cells} == {
        order[0]: "is locked",
        order[1]: "is draining",
        order[2]: "is not healthy",
        order[3]: "would hold 3 of 2 tenants",
        order[4]: "is one of 2, too few for a shard of 3",
        order[5]: "is one of 2, too few for a shard of 3",
    }


def test_a_shard_of_its_own_is_spread_over_zones_as_the_pool_is() -> None:
    where = topology(Pool("eu", EU, SHUFFLE, spread=(Dimension.ZONE,)))
    for number in range(20):
        tenant = Tenant(f"tenant-{number}", shard_size=4)
        members = [replace(member, id=cell) for member, cell in zip(fleet(6), EU, strict=True)]
        order = plain.racing_order(members, tenant.id.encode(), 0)
        assert assigned(tenant, where).shard == tuple(plain.passing_over_full_zones(order, 2, 4))


def test_a_shard_of_its_own_differs_in_every_dimension_that_the_pool_spreads_over() -> None:
    cells = tuple(replace(cell, release=f"r{number % 2}") for number, cell in enumerate(CELLS))
    where = topology(Pool("eu", EU, SHUFFLE, shard_size=1, spread=(Dimension.ZONE, Dimension.RELEASE)), cells=cells)
    at = {cell.id: (cell.zone, cell.release) for cell in cells}
    for number in range(20):
        one, other = assigned(Tenant(f"tenant-{number}", shard_size=2), where).shard
        assert all(mine != theirs for mine, theirs in zip(at[one], at[other], strict=True))
    answer = refused(replace(ACME, shard_size=3), where)
    assert "no 3 of the 6 open cells are spread over zone and release as the pool asks" in answer.reason
    assert answer.cells[0] == CellReason("eu-0", "takes the tenant, and is in no shard of 3 that is left")


def test_a_shard_of_its_own_never_crosses_jurisdictions() -> None:
    where = topology(Pool("all", EU + US, RENDEZVOUS))
    answer = refused(replace(ACME, shard_size=2), where)
    assert "would cross jurisdictions (eu, us): give the tenant one of them" in answer.reason
    for jurisdiction, cells in (("eu", EU), ("us", US)):
        shard = assigned(replace(ACME, shard_size=3, jurisdiction=jurisdiction), where).shard
        assert shard == tuple(cell for cell in raced("acme", EU + US) if cell in cells)[:3]


def test_a_shard_of_more_cells_than_the_pool_has_is_refused() -> None:
    answer = refused(replace(ACME, shard_size=4), topology(Pool("us", US)))
    assert "the tenant asks for 4 cells, and there are 3" in answer.reason
    assert answer.cells[0] == CellReason("us-0", "is one of 3, too few for a shard of 4")


# The guard.


@pytest.mark.parametrize(
    "some",
    [
        Pool("eu", EU, SHUFFLE),
        Pool("eu", EU, SHUFFLE, max_overlap=1),
        Pool("eu", EU, RENDEZVOUS, shard_size=2),
        Pool("eu", EU, EXPLICIT, shard_size=2),
    ],
)
def test_a_tenant_of_more_than_half_a_cell_is_in_no_shard_of_two(some: Pool) -> None:
    assigned(replace(ACME, load=Load(rps=500.0)), topology(some))
    answer = refused(replace(ACME, load=Load(rps=501.0)), topology(some))
    assert answer.reason.startswith("pool 'eu': the tenant declares more than 1/2 of the capacity of 6 of 6 cells")
    assert answer.cells[0] == CellReason("eu-0", "501 rps is more than 1/2 of 1000")


def test_the_guard_goes_by_the_size_of_the_tenant_and_by_cells_that_it_may_get() -> None:
    load, where = Load(rps=501.0), topology(Pool("eu", EU, SHUFFLE))
    assert len(assigned(replace(ACME, load=load, shard_size=1), where).shard) == 1
    assert "more than 1/3" in refused(replace(ACME, load=Load(rps=334.0), shard_size=3), where).reason
    small = tuple(replace(cell, capacity=Capacity(rps=1.0)) if cell.id in US else cell for cell in CELLS)
    mixed = topology(Pool("all", EU + US, RENDEZVOUS), cells=small)
    assert len(assigned(Tenant("acme", jurisdiction="eu", shard_size=2, load=Load(rps=500.0)), mixed).shard) == 2


# Explicit pools.


def test_an_explicit_pool_takes_the_least_loaded_cell_that_is_open() -> None:
    where = topology(Pool("eu", EU, EXPLICIT))
    states = {**holding(eu_0=3, eu_1=2, eu_2=1, eu_3=4, eu_4=5, eu_5=6), "eu-2": CellState(Load(tenants=1), False)}
    answer = assigned(ACME, where, states)
    assert answer.shard == ("eu-1",)
    assert answer.reason.endswith("least loaded (30.0% with the tenant) of 5 cells that fit, 1 do not")


def test_an_explicit_pool_of_two_jurisdictions_keeps_each_tenant_in_its_own() -> None:
    where = topology(Pool("all", EU + US, EXPLICIT))
    busy = {cell: CellState(Load(tenants=9)) for cell in US}
    assert assigned(replace(ACME, jurisdiction="us"), where, busy).shard == ("us-0",)
    assert "is under eu, not jp" in refused(replace(ACME, jurisdiction="jp"), where).cells[0].reason


def test_a_dedicated_pool_gives_each_tenant_an_empty_cell() -> None:
    where = topology(Pool("us", US, EXPLICIT, dedicated=True))
    assert assigned(ACME, where, holding(us_0=1, us_1=0)).shard == ("us-1",)
    answer = refused(ACME, where, holding(us_0=1, us_1=1, us_2=3))
    assert {one.reason for one in answer.cells} == {"is dedicated, and has its tenant"}
    large = refused(replace(ACME, shard_size=2), where)
    assert "take one tenant each, and the tenant asks for 2" in large.reason
    assert large.cells[0].reason == "takes one tenant, in no shard of 2"


def test_a_shard_of_its_own_in_an_explicit_pool_of_single_cells_shares_what_it_likes() -> None:
    where = topology(Pool("us", US, EXPLICIT))
    there = {"us": {"globex": tuple(US)}}
    assert assigned(replace(ACME, shard_size=3), where, {}, there).shard == tuple(raced("acme", US))


# Pools that limit what shards share.


def test_shards_of_an_explicit_pool_differ() -> None:
    where = topology(Pool("us", US, EXPLICIT, shard_size=2))
    there: dict[str, tuple[str, ...]] = {}
    for number in range(3):
        answer = assigned(Tenant(f"tenant-{number}"), where, {}, {"us": there})
        assert answer.reason.endswith(
            f"first of 3 open cells in its own race that share at most 1 with each of {number} other tenants"
        )
        there[f"tenant-{number}"] = answer.shard
    assert len({frozenset(shard) for shard in there.values()}) == 3
    full = refused(ACME, where, {}, {"us": there})
    assert "no shard of 2 cells that shares at most 1 with every other is left" in full.reason
    assert full.cells == tuple(
        CellReason(cell, "takes the tenant, and is in no shard of 2 that is left") for cell in US
    )


def test_whoever_is_placed_again_is_released_first() -> None:
    where = topology(Pool("us", US, EXPLICIT, shard_size=2))
    there = {"us": {"a": ("us-0", "us-1"), "b": ("us-1", "us-2"), "acme": ("us-0", "us-2")}}
    assert set(assigned(ACME, where, {}, there).shard) == {"us-0", "us-2"}


def test_known_tenants_of_a_shuffled_pool_with_an_overlap_are_searched_over_its_zones() -> None:
    where = topology(Pool("eu", EU, SHUFFLE, seed=7, shard_size=3, max_overlap=1, spread=(Dimension.ZONE,)))
    zone_of = {cell.id: cell.zone for cell in CELLS}
    there: dict[str, tuple[str, ...]] = {}
    for number in range(4):
        there[f"tenant-{number}"] = assigned(Tenant(f"tenant-{number}"), where, {}, {"eu": there}).shard
    assert all({zone_of[cell] for cell in shard} == set(ZONES) for shard in there.values())
    assert max(len({*one} & {*other}) for one, other in combinations(there.values(), 2)) == 1
    # Two cells a zone: 2 · 2 pairs of cells of two zones, each in one shard.
    assert "no shard of 3 cells, spread as asked," in refused(ACME, where, {}, {"eu": there}).reason


def test_one_cell_a_tenant_that_nobody_shares() -> None:
    where = topology(Pool("us", US, EXPLICIT, max_overlap=0))
    answer = assigned(ACME, where, {}, {"us": {"a": ("us-0",), "b": ("us-2",)}})
    assert answer.shard == ("us-1",)


def test_what_is_outside_the_pool_does_not_count() -> None:
    where = topology(Pool("us", US, EXPLICIT, shard_size=2, max_overlap=0))
    there = {"us": {"a": ("eu-0", "us-1"), "b": ("eu-1", "eu-2"), "moved": ("gone", "us-1")}}
    assert set(assigned(ACME, where, {}, there).shard) == {"us-0", "us-2"}


def test_tenants_that_share_too_much_already_do_not_keep_others_out() -> None:
    where = topology(Pool("us", US, EXPLICIT, shard_size=2))
    there = {"us": {"a": ("us-0", "us-1"), "b": ("us-1", "us-0")}}
    assert "us-2" in assigned(ACME, where, {}, there).shard


def test_a_search_respects_caps_and_jurisdictions() -> None:
    cells = tuple(replace(cell, status=CellStatus.MAINTENANCE) if cell.id == "eu-3" else cell for cell in CELLS)
    where = topology(Pool("eu", EU, SHUFFLE, max_overlap=1), cells=cells)
    states = {**holding(eu_0=10, eu_1=9, eu_2=10), "eu-5": CellState(Load(), is_healthy=False)}
    assert set(assigned(replace(ACME, jurisdiction="eu"), where, states).shard) == {"eu-1", "eu-4"}
    assert "is under eu, not us" in refused(replace(ACME, jurisdiction="us"), where).cells[0].reason


# Overflow.

OVERFLOWING = (
    Pool("gold", ("us-0",), EXPLICIT, dedicated=True, overflow="silver"),
    Pool("silver", ("us-1",), EXPLICIT, overflow="shared"),
    Pool("shared", EU, SHUFFLE, shard_size=2),
)


def test_a_tenant_overflows_as_far_as_it_must() -> None:
    where = topology(*OVERFLOWING)
    assert assigned(ACME, where).pool == "gold"
    one = assigned(ACME, where, holding(us_0=1))
    assert (one.pool, one.shard) == ("silver", ("us-1",))
    assert one.reason == (
        "no rule matches, so it is in pool 'gold'; 'gold' does not take it, so it overflows to 'silver': "
        "least loaded (10.0% with the tenant) of 1 cells that fit, 0 do not"
    )
    # Its slot is that of its own pool, which has none: it gets cells by name.
    two = assigned(ACME, where, holding(us_0=1, us_1=10))
    assert (two.pool, two.shard) == ("shared", tuple(raced("acme", EU)[:2]))
    assert "; 'gold' does not take it; 'silver' does not take it, so it overflows to 'shared': first of 6" in two.reason


def test_an_overflow_stays_in_the_jurisdiction_and_a_refusal_names_every_pool_and_cell() -> None:
    answer = refused(replace(ACME, jurisdiction="us"), topology(*OVERFLOWING), holding(us_0=1, us_1=10))
    assert [part.split(":")[0] for part in answer.reason.split("; ")] == [
        "pool 'gold'",
        "pool 'silver'",
        "pool 'shared'",
    ]
    assert len(answer.cells) == 8
    assert answer.cells[0] == CellReason("eu-0", "is under eu, not us")
    assert answer.cells[-2:] == (
        CellReason("us-0", "is dedicated, and has its tenant"),
        CellReason("us-1", "would hold 11 of 10 tenants"),
    )


def test_a_cell_of_two_pools_is_named_once_with_all_its_reasons() -> None:
    pools = (Pool("one", ("us-0", "us-1"), EXPLICIT, overflow="two"), Pool("two", ("us-1",), EXPLICIT))
    answer = refused(replace(ACME, shard_size=2), topology(*pools), holding(us_0=10, us_1=10))
    assert answer.cells == (
        CellReason("us-0", "would hold 11 of 10 tenants"),
        CellReason("us-1", "would hold 11 of 10 tenants, is one of 1, too few for a shard of 2"),
    )


def test_a_tenant_of_a_thousand_cells_and_a_thousand_shards_is_placed_at_once() -> None:
    cells = tuple(Cell(f"cell-{number}", "h", 1, zone=ZONES[number % 3]) for number in range(1000))
    names = tuple(cell.id for cell in cells)
    where = topology(Pool("p", names, SHUFFLE, shard_size=4, max_overlap=1, spread=(Dimension.ZONE,)), cells=cells)
    there = {f"t-{number}": tuple(names[number + step * step * 7] for step in range(4)) for number in range(900)}
    started = time.process_time()
    assigned(ACME, where, {}, {"p": there})
    assert time.process_time() - started < 30  # generous: this is for what grows with the square
