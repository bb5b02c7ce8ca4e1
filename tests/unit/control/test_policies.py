"""Policies over HTTP and in publications: what is taken, what is refused, what a table has of them, and when."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.control.publication import Publication, compile_publication
from cellplane.errors import ConflictError, ValidationError
from cellplane.model import (
    Canary,
    Cell,
    Fleet,
    Mode,
    Policy,
    Pool,
    Reads,
    Rule,
    StrategyName,
    Tenant,
    UnknownTenant,
    Writes,
)
from cellplane.model.traffic import MAX_TENANT_POLICIES
from cellplane.routing import PolicyRow
from support.directory import Directory
from unit.control.serving import NO_POLICY, SHOP, Api, assert_problem, leading

CELLS = ("cell-1", "cell-2")
STANDBY = Policy(reads=Reads.STANDBY, standby="spare")


@pytest.fixture
def directory(location: Path | str) -> Iterator[Directory]:
    """Two cells in the default pool, a spare one, and one in the US."""
    directory = Directory(location)
    directory.put_fleet(Fleet("shop"), actor="test")
    for name in (*CELLS, "spare"):
        directory.put_cell(Cell(name, "127.0.0.1", 8001), actor="test")
    directory.put_cell(Cell("us-1", "127.0.0.1", 8001, jurisdiction="us"), actor="test")
    directory.put_pool(Pool("default", CELLS), actor="test")
    yield directory
    directory.close()


def put(directory: Directory, *resources: Fleet | Cell | Pool | Tenant) -> None:
    directory.apply(resources, (), actor="test")


def next_of(directory: Directory, current: Publication | None) -> Publication:
    publication = compile_publication(directory, leading(directory), current, None if current is None else current.base)
    assert publication is not None
    return publication


def policy_of(publication: Publication, tenant: str) -> PolicyRow | None:
    row = publication.table.find(tenant.encode())
    return None if row is None else row.policy


# Publications


def test_a_new_policy_of_a_tenant_makes_a_new_base_and_one_that_is_there_an_overlay(directory: Directory) -> None:
    first = next_of(directory, None)
    put(directory, Tenant("a", policy=Policy(writes=Writes.FAIL)))
    second = next_of(directory, first)
    assert (second.base is first.base, second.overlay) == (False, b"")
    assert policy_of(second, "a") == PolicyRow(writes=Writes.FAIL)
    put(directory, Tenant("b", ("cell-2",), policy=Policy(writes=Writes.FAIL)), Tenant("c", ("cell-1",)))
    third = next_of(directory, second)
    assert third.base is second.base
    assert (policy_of(third, "b"), policy_of(third, "c")) == (PolicyRow(writes=Writes.FAIL), None)
    put(directory, Tenant("a"))
    fourth = next_of(directory, third)
    assert fourth.base is second.base
    assert fourth.table.find(b"a") is None
    put(directory, Tenant("c", ("cell-1",), policy=Policy(rps=2)))
    fifth = next_of(directory, fourth)
    assert (fifth.base is second.base, fifth.overlay) == (False, b"")
    assert policy_of(fifth, "c") == PolicyRow(rps_milli=2_000)
    assert compile_publication(directory, leading(directory), fifth, fifth.base) is None


def test_a_policy_of_a_fleet_or_pool_makes_a_new_base(directory: Directory) -> None:
    first = next_of(directory, None)
    put(directory, Pool("default", CELLS, policy=Policy(rps=3), canary=Canary("spare", 1)))
    second = next_of(directory, first)
    assert second.base is not first.base
    assert second.table.pool_policies == (PolicyRow(rps_milli=3_000),)
    put(directory, Fleet("shop", policy=Policy(writes=Writes.FAIL), routers=2))
    third = next_of(directory, second)
    assert third.table.pool_policies == (PolicyRow(writes=Writes.FAIL, rps_milli=1_500),)


def test_a_tenant_that_says_something_is_in_the_table(directory: Directory) -> None:
    put(directory, Tenant("a", policy=Policy(rps=1)), Tenant("b"))
    with directory.snapshot() as snapshot:
        assert [(entry.id, entry.policy) for entry in snapshot.entries()] == [("a", Policy(rps=1))]
    put(directory, Fleet("shop", unknown_tenant=UnknownTenant.REJECT))
    assert [entry.policy for entry in directory.entries()] == [Policy(rps=1), Policy()]


# What is refused


def refusal(directory: Directory, *resources: Fleet | Cell | Pool | Tenant) -> str:
    epoch = directory.epoch()
    with pytest.raises((ConflictError, ValidationError)) as raised:
        put(directory, *resources)
    assert directory.epoch() == epoch
    return str(raised.value)


@pytest.mark.parametrize(
    ("policy", "shard", "field"),
    [
        (Policy(reads=Reads.STANDBY, standby="none"), (), "policy.standby"),
        (Policy(reads=Reads.STANDBY, standby="us-1"), (), "policy.standby"),
        (STANDBY, ("us-1",), "policy.standby"),
        (Policy(shadow="us-1"), ("cell-1",), "policy.shadow"),
        (Policy(mode=Mode.REDIRECT), (), "policy.mode"),
        (Policy(rps=-1), (), "policy.rps"),
    ],
)
def test_a_tenant_with_a_policy_that_cannot_be_is_refused(
    directory: Directory, policy: Policy, shard: tuple[str, ...], field: str
) -> None:
    assert refusal(directory, Tenant("a", shard, policy=policy)).startswith(f"tenants.a.{field}: ")


def test_a_tenant_takes_its_policy_nowhere_where_it_cannot_be(directory: Directory) -> None:
    put(directory, Tenant("a", policy=STANDBY))
    with pytest.raises(ValidationError, match=r"tenant\.policy\.standby: cell 'spare' is under none"):
        directory.change_tenant("a", {"shard": ("us-1",)}, actor="test")
    directory.change_tenant("a", {"shard": ("us-1",), "policy": Policy()}, actor="test")


def test_cells_and_pools_stay_as_the_policies_of_tenants_need_them(directory: Directory) -> None:
    put(directory, Tenant("a", ("cell-1",), policy=STANDBY))
    spare = Cell("spare", "127.0.0.1", 8001)
    assert refusal(directory, replace(spare, jurisdiction="us")).startswith(
        "tenant 'a' has a policy that says otherwise: policy.standby: cell 'spare' is under us"
    )
    dedicated = Pool("own", ("spare",), StrategyName.EXPLICIT, dedicated=True)
    assert "is in the dedicated pool 'own'" in refusal(directory, dedicated)
    with pytest.raises(ConflictError, match=r"tenant 'a' has a policy .* no cell is named 'spare'"):
        directory.delete_cell("spare", actor="test")
    put(directory, replace(spare, port=9_000))
    put(directory, Tenant("a", ("cell-1",)))
    put(directory, replace(spare, jurisdiction="us"))


def test_rules_take_a_tenant_to_no_pool_where_its_policy_cannot_be(directory: Directory) -> None:
    put(directory, Pool("us", ("us-1",)), Tenant("a", tier="gold", policy=STANDBY))
    to_us = Fleet("shop", rules=(Rule("gold", "us", tiers=("gold",)),))
    assert refusal(directory, to_us).startswith("tenant 'a' has a policy that says otherwise: policy.standby: ")
    put(directory, to_us, Tenant("a", tier="gold"))


def test_what_a_policy_of_a_fleet_or_pool_names_is_not_removed(directory: Directory) -> None:
    for resource, named in (
        (Fleet("shop", policy=STANDBY), "the fleet's policy"),
        (Pool("default", CELLS, policy=STANDBY), "the policy of pool 'default'"),
        (Pool("default", CELLS, canary=Canary("spare", 1)), "the canary of pool 'default'"),
    ):
        put(directory, resource)
        with pytest.raises(ConflictError, match=f"cell 'spare' is named by {named}: change that first"):
            directory.delete_cell("spare", actor="test")
        put(directory, Fleet("shop"), Pool("default", CELLS))
    directory.delete_cell("spare", actor="test")


def test_an_error_names_the_cell_that_causes_it(directory: Directory) -> None:
    put(directory, Pool("default", CELLS, policy=STANDBY))
    with pytest.raises(ValidationError) as raised:
        directory.put_cell(Cell("spare", "127.0.0.1", 8001, jurisdiction="us"), actor="test")
    assert raised.value.field == "cell.jurisdiction"
    public = tuple(Cell(name, "127.0.0.1", 8001, public_url="https://a.example") for name in CELLS)
    put(directory, *public, Pool("default", CELLS, policy=Policy(mode=Mode.REDIRECT)))
    with pytest.raises(ValidationError) as raised:
        directory.put_cell(replace(public[0], public_url=""), actor="test")
    assert raised.value.field == "cell.public_url"


def test_a_fleet_may_name_cells_that_come_later(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "directory.sqlite3")
    directory.put_fleet(Fleet("shop", policy=STANDBY), actor="test")
    directory.put_cell(Cell("cell-1", "127.0.0.1", 8001), actor="test")
    directory.put_pool(Pool("default", ("cell-1",), policy=Policy(rps=1)), actor="test")
    with pytest.raises(ValidationError, match="no cell is named 'spare'"):
        compile_publication(directory, leading(directory), None, None)
    directory.put_cell(Cell("spare", "127.0.0.1", 8001), actor="test")
    # The fleet's standby counts for a pool that names another, as soon as it is there.
    directory.put_pool(Pool("default", ("cell-1",), policy=Policy(standby="cell-1")), actor="test")
    publication = next_of(directory, None)
    assert publication.table.pool_policies[0].standby == 0
    directory.close()


def test_tenants_have_so_many_policies_and_no_more(directory: Directory) -> None:
    put(directory, *(Tenant(f"t-{number}", policy=Policy(rps=number + 1)) for number in range(MAX_TENANT_POLICIES)))
    one = Tenant("more", policy=Policy(writes=Writes.FAIL))
    assert "a table holds 255" in refusal(directory, one)
    put(directory, Tenant("more", policy=Policy(rps=1)), Tenant("none", policy=Policy(writes=Writes.SHARD)))
    put(directory, Tenant("t-7"))
    put(directory, one)
    assert len(next_of(directory, None).table.policies) == 1 + MAX_TENANT_POLICIES


# Over HTTP


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/fleet", {**SHOP, "policy": {"writes": "never"}}, "body.policy.writes"),
        ("/v1/fleet", {**SHOP, "policy": {"limit": 1}}, "body.policy.limit"),
        ("/v1/fleet", {**SHOP, "policy": {"copies": "writes"}}, "body.policy.copies"),
        ("/v1/fleet", {**SHOP, "fail_open": "no"}, "body.fail_open"),
        ("/v1/pools/default", {"cells": ["cell-1"], "canary": {"cell": "cell-2"}}, "body.canary.percent"),
        ("/v1/tenants/a", {"policy": {"rps": "1"}}, "body.policy.rps"),
        ("/v1/tenants/a", {"policy": None}, "body.policy"),
    ],
)
def test_a_body_that_is_no_policy_is_refused(steady_shop: Api, path: str, body: dict[str, Any], field: str) -> None:
    assert_problem(steady_shop.put(path, body), 422, "invalid-request", field=field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/fleet", {**SHOP, "policy": {"rps": 0}}, "fleet.policy.rps"),
        ("/v1/fleet", {**SHOP, "routers": 0}, "fleet.routers"),
        ("/v1/fleet", {**SHOP, "health": {"scores": {}}}, "fleet.health.scores"),
        ("/v1/fleet", {**SHOP, "health": {"score": {"p99": 1}}}, "fleet.health.score.p99"),
        ("/v1/fleet", {**SHOP, "health": {"score": {"min_requests": 1.5}}}, "fleet.health.score.min_requests"),
        ("/v1/fleet", {**SHOP, "health": {"score": {"error_rate_bad": 0.001}}}, "fleet.health.score.error_rate_bad"),
        ("/v1/fleet", {**SHOP, "health": {"peers": {"window_seconds": 31}}}, "fleet.health.peers.window_seconds"),
        ("/v1/pools/default", {"cells": ["cell-1"], "p99_objective_seconds": 0}, "pool.p99_objective_seconds"),
        ("/v1/pools/default", {"cells": ["cell-1"], "policy": {"mode": "redirect"}}, "pool.policy.mode"),
        ("/v1/pools/default", {"cells": ["cell-1"], "canary": {"cell": "none", "percent": 1}}, "pool.canary.cell"),
        ("/v1/cells/cell-1", {"address": "h", "port": 1, "public_url": "http://a.example"}, "cell.public_url"),
        ("/v1/cells/cell-1", {"address": "h", "port": 1, "maintenance_page": "\a"}, "cell.maintenance_page"),
        ("/v1/tenants/a", {"policy": {"reads": "standby"}}, "tenant.policy.standby"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(steady_shop: Api, path: str, body: dict[str, Any], field: str) -> None:
    assert_problem(steady_shop.put(path, body), 422, "invalid-resource", field=field)


def test_thresholds_reach_the_table_and_the_api_says_those_that_are_not_as_usual(shop: Api) -> None:
    said = {"score": {"min_requests": 20, "error_rate_bad": 0.25}, "breaker": {"open_seconds": 5}}
    shop.put_epoch("/v1/fleet", {**SHOP, "health": said})
    pool = {"cells": ["cell-1"], "p99_objective_seconds": 0.2}
    edge = shop.published(shop.put_epoch("/v1/pools/fast", pool)).edge
    assert edge.health.score.min_requests == 20
    assert edge.health.breaker.open_seconds == 5
    assert edge.objectives == {0: 0.2}
    assert shop.get("/v1/fleet").json()["health"] == {"score": {"min_requests": 20}, "breaker": {"open_seconds": 5}}
    pools = {pool["name"]: pool["p99_objective_seconds"] for pool in shop.get("/v1/pools").json()["items"]}
    assert pools == {"default": None, "fast": 0.2}


def test_a_tenants_policy_stays_until_another_is_named(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/a", {"policy": {"rps": 1, "burst_seconds": 2}})
    shop.put_epoch("/v1/tenants/a", {"tier": "gold"})
    assert shop.get("/v1/tenants/a").json()["policy"] == {**NO_POLICY, "rps": 1, "burst_seconds": 2}
    shop.put_epoch("/v1/tenants/a", {"policy": {}})
    assert shop.get("/v1/tenants/a").json()["policy"] == NO_POLICY


def test_what_a_file_says_of_policies_is_applied_and_said_field_by_field(shop: Api) -> None:
    cells = {"cells": ["cell-1", "cell-2"]}
    said = {**cells, "policy": {"rps": 5}, "canary": {"cell": "cell-2", "percent": 2.5}}
    (change,) = shop.apply(("Pool", "default", said)).json()["changes"]
    assert change["fields"] == {
        "policy.rps": [None, 5],
        "canary.cell": [None, "cell-2"],
        "canary.percent": [None, 2.5],
        "canary.by": [None, "tenant"],
    }
    assert shop.apply(("Pool", "default", said)).json()["changes"] == []
    (change,) = shop.apply(("Pool", "default", {**cells, "policy": {"rps": 6}})).json()["changes"]
    assert change["fields"]["policy.rps"] == [5, 6]
    assert change["fields"]["canary.cell"] == ["cell-2", None]
    refused = shop.apply(("Tenant", "acme", {"policy": {"reads": "standby", "standby": "none"}}))
    problem = assert_problem(refused, 422, "invalid-resource", field="Tenant/acme.spec.policy.standby")
    assert "no cell is named 'none'" in problem["detail"]


# Explained


def explained(api: Api, **asked: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/v1/route", **asked).json()
    return found


def test_a_route_says_what_its_policy_says(shop: Api) -> None:
    shop.put_epoch("/v1/cells/spare", {"address": "127.0.0.1", "port": 8003})
    pool = {
        "cells": ["cell-1", "cell-2"],
        "shard_size": 2,
        "policy": {
            "balance": "round-robin",
            "shadow": "spare",
            "copies": "reads",
            "compare": {"percent": 2.5, "ignore": ["/at"]},
            "rps": 5,
        },
        "canary": {"cell": "spare", "percent": 12.5, "by": "request"},
    }
    shop.put_epoch("/v1/pools/default", pool)
    shop.published(shop.put_epoch("/v1/fleet", {**SHOP, "routers": 2, "missing_key": "source-hash"}))
    found = explained(shop, tenant="acme")
    assert found["policy"] == {
        "writes": "shard",
        "reads": "shard",
        "standby": None,
        "cache_seconds": None,
        "balance": "round-robin",
        "mode": "proxy",
        "priority": "normal",
        "shadow": "spare",
        "copies": "reads",
        "compare": {"percent": 2.5, "ignore": ["/at"]},
        "rps": 2.5,
        "burst_seconds": 1.0,
    }
    assert (found["canary"], found["canary_cell"], found["canary_percent"]) == (False, "spare", 12.5)
    first, second = found["shard"]
    assert found["text"].endswith(
        f": its requests go to {first}; 12.5 % of them to the canary spare; round-robin over {first} + {second}; "
        f"a copy to spare of those that read, 2.5 % of them compared; at most 2.5 a second through each router "
        f"(epoch {found['epoch']})"
    )
    assert "a copy to spare of those that read" in explained(shop, source="192.0.2.1")["text"]
    shop.published(shop.put_epoch("/v1/pools/default", {**pool, "policy": {"shadow": "spare"}}))
    found = explained(shop, tenant="acme")
    assert (found["policy"]["copies"], "; a copy to spare (epoch" in found["text"]) == ("all", True)


def test_a_route_to_a_canary_and_by_a_redirect_is_said_to_be_so(shop: Api) -> None:
    for number in (1, 2):
        cell = {"address": "127.0.0.1", "port": 8000 + number, "public_url": f"https://cell-{number}.example"}
        shop.put_epoch(f"/v1/cells/cell-{number}", cell)
    canary = {"cell": "cell-2", "percent": 100}
    pool = {"cells": ["cell-1", "cell-2"], "policy": {"mode": "redirect"}, "canary": canary}
    shop.published(shop.put_epoch("/v1/pools/default", pool))
    found = explained(shop, tenant="acme")
    assert (found["cell"], found["canary"], found["redirect"]) == ("cell-2", True, "https://cell-2.example")
    assert ": its requests go to cell-2, the pool's canary, by a redirect to https://cell-2.example (" in found["text"]


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"writes": "fail"}, "writes fail"),
        ({"reads": "fail"}, "reads fail"),
        ({"reads": "cache"}, "reads get what the router has kept, at most 3600 s old"),
        ({"reads": "cache", "cache_seconds": 5}, "reads get what the router has kept, at most 5 s old"),
        ({"writes": "fail", "reads": "standby", "standby": "cell-2"}, "writes fail and reads go to cell-2"),
    ],
)
def test_a_route_says_what_happens_while_its_cell_is_down(shop: Api, policy: dict[str, Any], text: str) -> None:
    shop.published(shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1", "policy": policy}))
    assert f"go to cell-1; while cell-1 is down, {text} (epoch" in explained(shop, tenant="acme")["text"]


def test_a_refusal_has_no_policy(shop: Api) -> None:
    shop.published(shop.put_epoch("/v1/fleet", {**SHOP, "unknown_tenant": "reject"}))
    found = explained(shop, tenant="stranger")
    assert (found["policy"], found["canary"], found["canary_cell"], found["redirect"]) == (None, False, None, None)
