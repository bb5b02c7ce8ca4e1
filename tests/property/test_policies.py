"""Policies of fleets that nobody chose: an overlay says what a whole table would, and no law is left."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.errors import BaseNeededError, ValidationError
from cellplane.model import (
    NO_POLICY,
    Balance,
    Canary,
    CanaryBy,
    Cell,
    CellStatus,
    Compare,
    Copies,
    FailOpen,
    Fleet,
    MissingKey,
    Mode,
    Policy,
    Pool,
    Priority,
    Reads,
    StrategyName,
    Tenant,
    TenantState,
    Topology,
    UnknownTenant,
    Writes,
)
from cellplane.routing import (
    Decision,
    PlacedTenants,
    Redirect,
    Refusal,
    Route,
    RoutingTable,
    compile_overlay,
    compile_table,
    decide,
    decide_many,
    encode,
    encode_overlay,
)
from cellplane.routing.choose_many import REFUSED
from cellplane.routing.decide import RefusalCode
from support.depth import examples

LAWS = ("eu", "us")
IDS = [f"tenant-{number}" for number in range(12)]


@st.composite
def policies(draw: st.DrawFn, cells: list[str]) -> Policy:
    """What somebody says, mostly little; it may name a cell that it must not."""
    reads = draw(st.none() | st.sampled_from(Reads))
    return Policy(
        writes=draw(st.none() | st.sampled_from(Writes)),
        reads=reads,
        standby=draw(st.sampled_from(cells)) if reads is Reads.STANDBY else None,
        balance=draw(st.none() | st.sampled_from(Balance)),
        mode=draw(st.none() | st.sampled_from(Mode)),
        rps=draw(st.none() | st.sampled_from([0.5, 20])),
        priority=draw(st.none() | st.sampled_from(Priority)),
        shadow=draw(st.none() | st.sampled_from(cells)),
        copies=draw(st.none() | st.sampled_from(Copies)),
        compare=draw(st.none() | st.builds(Compare, st.sampled_from([0, 12.5, 100]), st.sampled_from([(), ("/a",)]))),
    )


@st.composite
def fleets(draw: st.DrawFn) -> Topology:
    """A fleet under two laws without tenants, whose policies are valid: what is not is left out."""
    count = draw(st.integers(2, 6))
    cells = tuple(
        Cell(
            f"cell-{number}",
            "127.0.0.1",
            8000 + number,
            jurisdiction=LAWS[number % 2],
            status=draw(st.sampled_from([CellStatus.ACTIVE, CellStatus.ACTIVE, *CellStatus])),
            public_url=draw(st.sampled_from(["", "https://a.example", "https://b.example/x"])),
        )
        for number in range(count)
    )
    by_law = [tuple(cell.id for cell in cells if cell.jurisdiction == law) for law in LAWS]
    said = policies([cell.id for cell in cells])
    fleet = Fleet(
        "shop",
        default_pool="eu",
        unknown_tenant=draw(st.sampled_from(UnknownTenant)),
        missing_key=draw(st.sampled_from(MissingKey)),
        default_cell=by_law[0][0],
        fail_open=draw(st.sampled_from(FailOpen)),
        routers=draw(st.integers(1, 3)),
    )
    if not fleet.has_default_cell:
        fleet = replace(fleet, default_cell=None)
    pools = tuple(
        Pool(law, ids, StrategyName.RENDEZVOUS, shard_size=draw(st.integers(1, len(ids))))
        for law, ids in zip(LAWS, by_law, strict=True)
    )
    topology = Topology(fleet, cells, pools)
    topology = _if_valid(topology, replace(topology, fleet=replace(fleet, policy=draw(said))))
    canaries = st.builds(Canary, st.sampled_from(cells).map(_id_of), st.sampled_from([0, 30, 100]))
    for place in range(len(pools)):
        canary = draw(st.none() | canaries)
        by = draw(st.sampled_from(CanaryBy))
        topology = _with_pool(topology, place, replace(topology.pools[place], policy=draw(said)))
        if canary is not None:
            topology = _with_pool(topology, place, replace(topology.pools[place], canary=replace(canary, by=by)))
    return topology


def _id_of(cell: Cell) -> str:
    return cell.id


def _with_pool(topology: Topology, place: int, pool: Pool) -> Topology:
    pools = [*topology.pools]
    pools[place] = pool
    return _if_valid(topology, replace(topology, pools=tuple(pools)))


def _if_valid(topology: Topology, wanted: Topology) -> Topology:
    try:
        wanted.validate()
    except ValidationError:
        return topology
    return wanted


@st.composite
def tenants_of(draw: st.DrawFn, fleet: Topology) -> tuple[Tenant, ...]:
    found: list[Tenant] = []
    for tenant_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        pool = draw(st.sampled_from(fleet.pools))
        shard = draw(st.just(()) | st.lists(st.sampled_from(pool.cells), unique=True, max_size=3).map(tuple))
        state = draw(st.sampled_from([TenantState.ACTIVE, TenantState.ACTIVE, *TenantState]))
        tenant = Tenant(tenant_id, shard, state, pool.name)
        said = draw(st.just(NO_POLICY) | policies([cell.id for cell in fleet.cells]))
        wanted = replace(tenant, policy=said)
        found.append(_if_valid(replace(fleet, tenants=(tenant,)), replace(fleet, tenants=(wanted,))).tenants[0])
    return tuple(found)


class Question(NamedTuple):
    """What is asked of a key: which cells are down, what else the router knows, and whether the request writes."""

    down: set[str]
    turn: int
    load: dict[str, int]
    chance: int
    writes: bool


@st.composite
def questions(draw: st.DrawFn, fleet: Topology) -> Question:
    ids = [cell.id for cell in fleet.cells]
    return Question(
        draw(st.sets(st.sampled_from(ids))),
        draw(st.integers(0, 2**40)),
        {cell: draw(st.integers(0, 3)) for cell in ids},
        draw(st.integers(0, 9_999)),
        draw(st.booleans()),
    )


def asked(table: RoutingTable, key: bytes | None, question: Question) -> Decision:
    return decide(
        table,
        key,
        writes=question.writes,
        has_healthy_host=lambda cell: cell not in question.down,
        source=b"192.0.2.1",
        turn=question.turn,
        load=question.load.__getitem__,
        chance=question.chance,
    )


@settings(max_examples=examples(25), deadline=None)
@given(st.data())
def test_no_decision_leaves_the_jurisdiction_of_its_shard(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    topology = replace(fleet, tenants=data.draw(tenants_of(fleet)))
    table = RoutingTable(encode(compile_table(topology, 1)))
    cells = {cell.id: cell for cell in topology.cells}
    for _ in range(3):
        question = data.draw(questions(fleet))
        for key in (*(tenant_id.encode() for tenant_id in IDS), None):
            found = asked(table, key, question)
            if isinstance(found, Refusal):
                continue
            law = cells[found.shard[0]].jurisdiction
            assert cells[found.cell].jurisdiction == law
            assert cells[found.cell].status.serves or (isinstance(found, Route) and found.stale)
            assert found.cell not in question.down or (isinstance(found, Route) and found.stale)
            if isinstance(found, Redirect):
                assert found.location == cells[found.cell].public_url != ""
            elif found.shadow is not None:
                assert cells[found.shadow].jurisdiction == law
                assert found.shadow not in {*question.down, found.cell}
                assert not question.writes or found.policy.copies is Copies.ALL
            if isinstance(found, Route) and found.compares:
                assert found.shadow is not None
                assert question.chance < found.policy.compare_bp
            if found.reason == "assignment":
                assert found.cell in found.shard or found.canary or not question.writes


@settings(max_examples=examples(25), deadline=None)
@given(st.data())
def test_many_keys_are_decided_as_each_alone(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    table = RoutingTable(encode(compile_table(replace(fleet, tenants=data.draw(tenants_of(fleet))), 1)))
    question = data.draw(questions(fleet))
    down, turn, load, chance, writes = question
    keys = [tenant_id.encode() for tenant_id in IDS]
    ids = [cell.id for cell in table.cells]
    up = np.array([cell not in down for cell in ids])
    loads = np.array([load[cell] for cell in ids])
    many = decide_many(table, keys, writes=writes, up=up, turn=turn, load=loads, chance=chance)
    for place, key in enumerate(keys):
        one = asked(table, key, question)
        if isinstance(one, Refusal):
            assert (many.cell[place], tuple(RefusalCode)[many.refusal[place]]) == (REFUSED, one.code)
            continue
        assert (ids[many.cell[place]], many.refusal[place]) == (one.cell, -1)
        assert many.canary[place] == one.canary
        assert many.stale[place] == (isinstance(one, Route) and one.stale)


@settings(max_examples=examples(25), deadline=None)
@given(st.data())
def test_base_and_overlay_are_what_is_compiled_at_once(data: st.DataObject) -> None:
    fleet = data.draw(fleets())
    before, changed = data.draw(tenants_of(fleet)), data.draw(tenants_of(fleet))
    rest = [tenant.id for tenant in before if tenant.id not in {each.id for each in changed}]
    gone = data.draw(st.lists(st.sampled_from(rest), unique=True)) if rest else []
    base = RoutingTable(encode(compile_table(replace(fleet, tenants=before), 7)))
    after = {tenant.id: tenant for tenant in (*before, *changed) if tenant.id not in gone}
    whole = RoutingTable(encode(compile_table(replace(fleet, tenants=tuple(after.values())), 9)))
    placed = PlacedTenants.of(replace(fleet, tenants=changed))
    try:
        overlay = compile_overlay(fleet, (base.epoch, base.sha256), 9, placed, gone, policies=base.policies)
    except BaseNeededError:
        assert not set(whole.policies[1:]) <= set(base.policies[1:])
        return
    table = RoutingTable(base.base, encode_overlay(overlay))
    assert sorted(table.tenants(), key=lambda row: row.key) == sorted(whole.tenants(), key=lambda row: row.key)
    for _ in range(3):
        question = data.draw(questions(fleet))
        for key in (*(tenant_id.encode() for tenant_id in IDS), None, b"nobody"):
            assert asked(table, key, question)._replace(epoch=1) == asked(whole, key, question)._replace(epoch=1)
