"""Policies in the model: what each level says, what comes of it, and what is refused where it stands."""

from dataclasses import replace
from typing import Any

import pytest

from cellplane.errors import ValidationError
from cellplane.model import (
    DEFAULT_POLICY,
    NO_POLICY,
    Balance,
    Canary,
    Cell,
    Compare,
    Copies,
    Fleet,
    Mode,
    Policy,
    Pool,
    Priority,
    Reads,
    ResolvedPolicy,
    StrategyName,
    Tenant,
    Topology,
    UnknownTenant,
    Writes,
    resolve,
)
from cellplane.model.capacity import Capacity
from cellplane.model.cell import MAX_PAGE_CHARS
from cellplane.model.fleet import MAX_ROUTERS
from cellplane.model.policy import (
    DEFAULT_CACHE_SECONDS,
    MAX_BURST_SECONDS,
    MAX_CACHE_SECONDS,
    MAX_IGNORED_BYTES,
    MAX_IGNORED_PATHS,
    MAX_POLICY_RPS,
)
from cellplane.model.traffic import MAX_TENANT_POLICIES


def cell(name: str, jurisdiction: str = "eu", **fields: Any) -> Cell:
    return replace(Cell(name, "127.0.0.1", 8001, jurisdiction=jurisdiction), **fields)


EU = (cell("eu-1"), cell("eu-2"), cell("eu-3"))
PUBLIC = tuple(replace(each, public_url=f"https://{each.id}.example") for each in EU)
FLEET = Topology(
    Fleet("shop"),
    (*EU, cell("us-1", "us"), cell("own-1")),
    (
        Pool("default", ("eu-1", "eu-2")),
        Pool("own", ("own-1",), StrategyName.EXPLICIT, dedicated=True),
        Pool("us", ("us-1",)),
    ),
)


def with_fleet(**fields: Any) -> Topology:
    return replace(FLEET, fleet=replace(FLEET.fleet, **fields))


def with_pool(*, cells: tuple[Cell, ...] = FLEET.cells, **fields: Any) -> Topology:
    return replace(FLEET, cells=cells, pools=(replace(FLEET.pools[0], **fields), *FLEET.pools[1:]))


def with_tenant(policy: Policy, *, cells: tuple[Cell, ...] = FLEET.cells, **fields: Any) -> Topology:
    return replace(FLEET, cells=cells, tenants=(Tenant("zero"), replace(Tenant("acme", policy=policy), **fields)))


def refusal(topology: Topology) -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        topology.validate()
    return raised.value


STANDBY = Policy(reads=Reads.STANDBY, standby="eu-3")


def test_nobody_says_anything() -> None:
    assert resolve() == resolve(NO_POLICY, NO_POLICY) == DEFAULT_POLICY == ResolvedPolicy()
    assert (DEFAULT_POLICY.writes, DEFAULT_POLICY.reads) == (Writes.SHARD, Reads.SHARD)
    assert (DEFAULT_POLICY.balance, DEFAULT_POLICY.mode) == (Balance.PREFERRED, Mode.PROXY)
    assert (DEFAULT_POLICY.rps, DEFAULT_POLICY.burst_seconds, DEFAULT_POLICY.shadow) == (None, 1.0, None)


def test_the_narrowest_that_says_something_counts_field_by_field() -> None:
    tenant = Policy(writes=Writes.FAIL, burst_seconds=2)
    pool = Policy(writes=Writes.SHARD, balance=Balance.ROUND_ROBIN, rps=5)
    fleet = Policy(rps=9, priority=Priority.HIGH, shadow="eu-3")
    assert resolve(tenant, pool, fleet) == ResolvedPolicy(
        writes=Writes.FAIL,
        balance=Balance.ROUND_ROBIN,
        rps=5,
        burst_seconds=2,
        priority=Priority.HIGH,
        shadow="eu-3",
    )


def test_a_standby_that_nothing_reads_from_any_more_is_dropped() -> None:
    assert resolve(STANDBY).standby == "eu-3"
    assert resolve(Policy(reads=Reads.FAIL), STANDBY) == ResolvedPolicy(reads=Reads.FAIL)


def test_how_old_an_answer_may_be_is_said_where_answers_are_kept() -> None:
    cache = Policy(reads=Reads.CACHE)
    assert resolve(cache).cache_seconds == DEFAULT_CACHE_SECONDS
    assert resolve(Policy(cache_seconds=60), cache).cache_seconds == 60
    assert resolve(Policy(reads=Reads.FAIL), replace(cache, cache_seconds=60)).cache_seconds is None
    assert resolve(STANDBY, replace(cache, cache_seconds=60)) == resolve(STANDBY)
    error = refusal(with_tenant(Policy(cache_seconds=60)))
    assert (error.field, "reads: shard" in str(error)) == ("tenants[1].policy.cache_seconds", True)
    replace(with_tenant(Policy(cache_seconds=60)), pools=with_pool(policy=cache).pools).validate()


def test_a_comparison_of_nothing_is_dropped() -> None:
    compare = Compare(10, ("/at",))
    shadow = Policy(shadow="eu-3", compare=compare)
    assert resolve(shadow).compare == compare
    assert resolve(Policy(compare=compare)) == DEFAULT_POLICY
    assert resolve(Policy(compare=Compare(0)), shadow) == ResolvedPolicy(shadow="eu-3")
    assert resolve(Policy(compare=Compare(20)), shadow).compare == Compare(20)


def test_which_requests_are_copied_is_said_where_a_shadow_gets_them() -> None:
    shadow, reads = Policy(shadow="eu-3"), Policy(copies=Copies.READS)
    assert resolve(shadow) == ResolvedPolicy(shadow="eu-3", copies=Copies.ALL)
    for levels in ((shadow, reads), (reads, shadow), (NO_POLICY, reads, shadow)):
        assert resolve(*levels) == ResolvedPolicy(shadow="eu-3", copies=Copies.READS)
    assert resolve(Policy(copies=Copies.ALL), reads, shadow).copies is Copies.ALL
    assert resolve(reads) == DEFAULT_POLICY


def test_a_topology_merges_its_levels() -> None:
    fleet = replace(with_fleet(policy=Policy(rps=9)), pools=with_pool(policy=Policy(rps=5)).pools)
    fleet.validate()
    traffic = fleet.traffic
    assert [traffic.of_pool(name).rps for name in ("default", "own")] == [5, 9]
    assert traffic.of_fleet().rps == 9
    assert traffic.of_tenant(Policy(rps=1), "default").rps == 1


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (Policy(standby="No"), "policy.standby"),
        (Policy(shadow="-"), "policy.shadow"),
        (Policy(standby="eu-3", reads=Reads.SHARD), "policy.standby"),
        (Policy(cache_seconds=60, reads=Reads.FAIL), "policy.cache_seconds"),
        (Policy(cache_seconds=0), "policy.cache_seconds"),
        (Policy(cache_seconds=MAX_CACHE_SECONDS + 1), "policy.cache_seconds"),
        (Policy(rps=0), "policy.rps"),
        (Policy(rps=float("nan")), "policy.rps"),
        (Policy(rps=MAX_POLICY_RPS * 1.01), "policy.rps"),
        (Policy(burst_seconds=0), "policy.burst_seconds"),
        (Policy(burst_seconds=float("nan")), "policy.burst_seconds"),
        (Policy(burst_seconds=MAX_BURST_SECONDS + 1), "policy.burst_seconds"),
        (Policy(compare=Compare(100.1)), "policy.compare.percent"),
        (Policy(compare=Compare(0.001)), "policy.compare.percent"),
        (Policy(compare=Compare(float("nan"))), "policy.compare.percent"),
        (Policy(compare=Compare(1, ("/a", "b"))), "policy.compare.ignore[1]"),
        (Policy(compare=Compare(1, ("/a\nb",))), "policy.compare.ignore[0]"),
        (Policy(compare=Compare(1, (f"/{'a' * MAX_IGNORED_BYTES}",))), "policy.compare.ignore[0]"),
        (Policy(compare=Compare(1, ("/a",) * (MAX_IGNORED_PATHS + 1))), "policy.compare.ignore"),
    ],
)
def test_a_policy_is_refused_by_itself_at_every_level(policy: Policy, field: str) -> None:
    assert refusal(with_fleet(policy=policy)).field == f"fleet.{field}"
    assert refusal(with_pool(policy=policy)).field == f"pools[0].{field}"
    assert refusal(with_tenant(policy)).field == f"tenants[1].{field}"


@pytest.mark.parametrize("percent", [-0.01, 100.01, 0.005, 33.333, float("nan"), float("inf")])
def test_a_canary_takes_hundredths_of_a_percent(percent: float) -> None:
    assert refusal(with_pool(canary=Canary("eu-3", percent))).field == "pools[0].canary.percent"


@pytest.mark.parametrize(
    ("percent", "points"), [(0, 0), (0.01, 1), (0.29, 29), (33.33, 3333), (99.99, 9999), (100, 10_000)]
)
def test_hundredths_of_a_percent_are_whole(percent: float, points: int) -> None:
    with_pool(canary=Canary("eu-3", percent)).validate()
    assert Canary("eu-3", percent).basis_points == points


def test_a_canary_has_a_name() -> None:
    assert refusal(with_pool(canary=Canary("EU", 1))).field == "pools[0].canary.cell"


@pytest.mark.parametrize("routers", [0, -1, MAX_ROUTERS + 1])
def test_limits_are_shared_by_some_routers(routers: int) -> None:
    assert refusal(with_fleet(routers=routers)).field == "fleet.routers"


@pytest.mark.parametrize("policy", [STANDBY, Policy(shadow="eu-3"), Policy(shadow="eu-1")])
def test_a_cell_of_the_same_law_may_answer(policy: Policy) -> None:
    with_pool(policy=policy).validate()
    with_tenant(policy).validate()
    with_pool(canary=Canary("eu-3", 1)).validate()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("eu-9", "no cell is named 'eu-9'"),
        ("us-1", "is under us, requests of {who} are for cells under eu: name a cell of one jurisdiction with them"),
        ("own-1", "'own-1' is in the dedicated pool 'own', whose cells take one tenant: name another cell"),
    ],
)
def test_no_other_may(named: str, message: str) -> None:
    standby, shadow = Policy(reads=Reads.STANDBY, standby=named), Policy(shadow=named)
    for topology, path in (
        (with_pool(policy=standby), "pools[0].policy.standby"),
        (with_pool(policy=shadow), "pools[0].policy.shadow"),
        (with_pool(canary=Canary(named, 1)), "pools[0].canary.cell"),
    ):
        error = refusal(topology)
        assert error.field == path
        assert message.format(who="pool 'default'") in error.message
    error = refusal(with_tenant(standby))
    assert error.field == "tenants[1].policy.standby"
    assert message.format(who="tenant 'acme'") in error.message


def test_what_the_fleet_says_holds_for_every_pool() -> None:
    error = refusal(with_fleet(policy=STANDBY))
    assert (error.field, "for cells under us" in error.message) == ("pools[2].policy.standby", True)
    only_eu = replace(with_fleet(policy=STANDBY), pools=FLEET.pools[:2])
    only_eu.validate()
    other = replace(FLEET.pools[2], policy=Policy(reads=Reads.FAIL))
    replace(with_fleet(policy=STANDBY), pools=(*FLEET.pools[:2], other)).validate()


def test_the_default_cell_has_the_policy_of_the_fleet() -> None:
    at_us = {"unknown_tenant": UnknownTenant.DEFAULT_CELL, "default_cell": "us-1"}
    only_eu = replace(with_fleet(policy=Policy(shadow="eu-3"), **at_us), pools=FLEET.pools[:2])
    assert refusal(only_eu).field == "fleet.policy.shadow"


def test_a_standby_and_its_reads_need_each_other() -> None:
    assert refusal(with_fleet(policy=Policy(reads=Reads.STANDBY))).field == "fleet.policy.standby"
    assert refusal(with_pool(policy=Policy(reads=Reads.STANDBY))).field == "pools[0].policy.standby"
    alone = refusal(with_pool(policy=Policy(standby="eu-3")))
    assert (alone.field, alone.message) == (
        "pools[0].policy.standby",
        "means nothing beside reads: shard; say standby there",
    )
    assert refusal(with_tenant(Policy(standby="eu-3"))).field == "tenants[1].policy.standby"
    # One level may say the one, and another the other.
    fleet = replace(with_fleet(policy=STANDBY), pools=(replace(FLEET.pools[0], policy=Policy(standby="eu-2")),))
    fleet.validate()
    assert fleet.traffic.of_pool("default").standby == "eu-2"


def test_a_tenant_is_judged_by_where_it_is() -> None:
    at_us = Policy(reads=Reads.STANDBY, standby="us-1")
    with_tenant(at_us, shard=("us-1",)).validate()
    assert refusal(with_tenant(STANDBY, shard=("us-1",))).field == "tenants[1].policy.standby"
    # In a pool that places nobody by a slot, its jurisdiction counts.
    with_tenant(at_us, pool="own", jurisdiction="us").validate()
    with_tenant(at_us, pool="own").validate()
    assert refusal(with_tenant(STANDBY, pool="own", jurisdiction="us")).field == "tenants[1].policy.standby"


REDIRECT = Policy(mode=Mode.REDIRECT)


def test_a_redirect_needs_public_urls() -> None:
    error = refusal(with_pool(policy=REDIRECT))
    assert (error.field, error.message) == (
        "pools[0].policy.mode",
        "pool 'default' redirects, and cell 'eu-1' has no public URL to send clients to: give it one, or say proxy",
    )
    cells = (*PUBLIC[:2], *FLEET.cells[2:])
    with_pool(policy=REDIRECT, cells=cells).validate()
    assert refusal(with_pool(policy=replace(REDIRECT, **_said(STANDBY)), cells=cells)).field == "pools[0].policy.mode"
    assert refusal(with_pool(policy=REDIRECT, canary=Canary("eu-3", 1), cells=cells)).field == "pools[0].policy.mode"
    assert refusal(with_tenant(REDIRECT, shard=("eu-3",), cells=cells)).field == "tenants[1].policy.mode"
    with_tenant(REDIRECT, cells=cells).validate()
    error = refusal(replace(with_fleet(policy=REDIRECT), cells=cells))
    assert (error.field, error.message.split(",")[0]) == ("pools[1].policy.mode", "pool 'own' redirects")


def _said(policy: Policy) -> dict[str, Any]:
    return {"reads": policy.reads, "standby": policy.standby}


def test_who_redirects_keeps_no_answers() -> None:
    cells = (*PUBLIC, *FLEET.cells[3:])
    error = refusal(with_pool(policy=Policy(mode=Mode.REDIRECT, reads=Reads.CACHE), cells=cells))
    assert error.field == "pools[0].policy.reads"


@pytest.mark.parametrize("url", ["https://eu-1.example", "https://eu-1.example:8443/eu", "http://127.0.0.1:8001"])
def test_a_public_url_is_https_or_on_loopback(url: str) -> None:
    replace(FLEET, cells=(replace(EU[0], public_url=url), *FLEET.cells[1:])).validate()


@pytest.mark.parametrize(
    "url",
    [
        "http://eu-1.example",
        "ftp://eu-1.example",
        "https://",
        "https://eu-1.example/",
        "https://eu-1.example?a",
        "https://eu-1.example#a",
        "https://user@eu-1.example",
        "https://eu-1.example:0",
        "https://eu-1.example:port",
        "https://eu-1.example/a b",
        "https://eu-1.example\r\nx: y",
        "https://ü.example",
        "//eu-1.example",
        f"https://eu-1.example/{'a' * 1024}",
    ],
)
def test_what_is_no_public_url_is_refused(url: str) -> None:
    cells = (replace(EU[0], public_url=url), *FLEET.cells[1:])
    assert refusal(replace(FLEET, cells=cells)).field == "cells[0].public_url"


def test_a_maintenance_page_is_a_short_text() -> None:
    for page in ("Zurück um 6.\nBis dann.", "x" * MAX_PAGE_CHARS):
        cell("a", maintenance_page=page).validate("cell")
    for page in ("x" * (MAX_PAGE_CHARS + 1), "a\tb", "a\r\nb", "\x1b[1m", "\x00"):
        with pytest.raises(ValidationError, match="maintenance_page"):
            cell("a", maintenance_page=page).validate("cell")


@pytest.mark.parametrize("concurrency", [0, -1, 10**13])
def test_concurrency_is_an_amount(concurrency: int) -> None:
    Capacity(concurrency=1).validate("capacity")
    with pytest.raises(ValidationError, match=r"capacity\.concurrency"):
        Capacity(concurrency=concurrency).validate("capacity")


def test_tenants_have_so_many_policies_and_no_more() -> None:
    def topology(count: int) -> Topology:
        tenants = (Tenant(f"t-{number}", policy=Policy(rps=number + 1)) for number in range(count))
        alike = (Tenant("as-its-pool", policy=Policy(writes=Writes.SHARD)), Tenant("again", policy=Policy(rps=1)))
        return replace(FLEET, tenants=(*tenants, *alike))

    topology(MAX_TENANT_POLICIES).validate()
    error = refusal(topology(MAX_TENANT_POLICIES + 1))
    assert error.field == "tenants"
    assert error.message.startswith("tenants have 256 different policies of their own, and a table holds 255")
