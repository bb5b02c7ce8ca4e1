"""Tenants over HTTP: rules, assignment, shards, and who refuses whom."""

from pathlib import Path
from typing import Any

import pytest

from unit.control.serving import KEY_SOURCES, NO_POLICY, SHOP, Api, assert_problem, serving

RULES = [{"name": "gold", "pool": "big", "tiers": ["gold"]}, {"name": "eu", "pool": "eu", "jurisdictions": ["eu"]}]

ISSUER = {"name": "id", "issuer": "https://id.example", "jwks_file": "/etc/jwks.json"}


@pytest.fixture
def fleet(shop: Api) -> Api:
    return enlarged(shop)


@pytest.fixture(scope="module")
def steady_fleet(steady_shop: Api) -> Api:
    """The same for all tests that are refused whatever they ask for."""
    return enlarged(steady_shop)


def enlarged(shop: Api) -> Api:
    """The shop, with a pool that assigns to cell-3 and cell-4, and one of the EU on cell-5; at epoch 10."""
    for number in (3, 4):
        body = {"address": "127.0.0.1", "port": 8000 + number, "capacity": {"tenants": 2, "rps": 100}}
        shop.put_epoch(f"/v1/cells/cell-{number}", body)
    shop.put_epoch("/v1/cells/cell-5", {"address": "127.0.0.1", "port": 8005, "jurisdiction": "eu"})
    shop.put_epoch("/v1/pools/big", {"cells": ["cell-3", "cell-4"], "strategy": "explicit"})
    shop.put_epoch("/v1/pools/eu", {"cells": ["cell-5"]})
    assert shop.put_epoch("/v1/fleet", {**SHOP, "rules": RULES}) == 10
    return shop


def report(api: Api, **healthy_hosts: int) -> None:
    cells = {name.replace("_", "-"): {"hosts": 1, "healthy_hosts": count} for name, count in healthy_hosts.items()}
    body = {"epoch": 1, "sha256": "", "proxy": "", "ready": True, "cells": cells}
    assert api.http.post("/v1/routers/router-1/report", json=body).status_code == 200


def put(api: Api, tenant_id: str, body: dict[str, Any]) -> dict[str, Any]:
    response = api.put(f"/v1/tenants/{tenant_id}", body)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def test_every_field_is_put_and_read_back(fleet: Api) -> None:
    cell = {
        "address": "c.example",
        "port": 443,
        "region": "eu-west",
        "zone": "eu-west-1a",
        "jurisdiction": "eu",
        "status": "locked",
        "weight": 2.5,
        "release": "r-7",
        "capacity": {"tenants": 9, "rps": 1.5, "storage_gib": None, "concurrency": 7},
        "public_url": "https://c.example/eu",
        "maintenance_page": "Back at 6:00.",
        "protocol": "http2",
    }
    fleet.put_epoch("/v1/cells/cell-6", cell)
    found = {item["id"]: item for item in fleet.get("/v1/cells").json()["items"]}["cell-6"]
    assert cell.items() <= found.items()
    pool = {
        "cells": ["cell-1", "cell-2", "cell-3"],
        "strategy": "shuffle",
        "virtual_nodes": 150,
        "shard_size": 2,
        "seed": 2**64 - 1,
        "spread": ["zone"],
        "max_overlap": 1,
        "dedicated": False,
        "overflow": None,
        "policy": {**NO_POLICY, "balance": "round-robin", "rps": 2.5},
        "canary": {"cell": "cell-4", "percent": 0.25, "by": "request"},
        "p99_objective_seconds": 0.5,
    }
    fleet.put_epoch("/v1/pools/wide", pool)
    assert fleet.get("/v1/pools/wide").json().items() >= {"name": "wide", **pool}.items()
    policy = {
        "name": "shop",
        "key_sources": [
            {"kind": "jwt-claim", "name": "org.id", "trusted": False},
            {"kind": "cookie", "name": "route", "trusted": False},
            {"kind": "subdomain", "name": "example.com", "trusted": False},
            {"kind": "path", "name": "/t/", "trusted": False},
            *KEY_SOURCES,
        ],
        "default_pool": "default",
        "unknown_tenant": "default-cell",
        "missing_key": "reject",
        "default_cell": "cell-1",
        "rules": [
            {
                "name": "all",
                "pool": "eu",
                "tiers": ["a"],
                "jurisdictions": ["eu"],
                "id_pattern": "x*",
                "attributes": {"plan": "p"},
            }
        ],
        "retry_after_seconds": 3,
        "jwt": [
            {
                "name": "id",
                "issuer": "https://id.example/",
                "audiences": ["shop", "api"],
                "jwks_url": "https://id.example/jwks",
                "jwks_file": "",
                "cookie": "session",
                "clock_skew_seconds": 5,
            },
            {
                "name": "own",
                "issuer": "own",
                "audiences": [],
                "jwks_url": "",
                "jwks_file": "/etc/jwks.json",
                "cookie": "",
                "clock_skew_seconds": 60,
            },
        ],
        "policy": {**NO_POLICY, "priority": "high", "burst_seconds": 2.0},
        "fail_open": "all",
        "routers": 3,
        "health": {"peers": {"z": 4.0}},
        "quarantine": {
            "cells": ["away"],
            "automatic": False,
            "max_tenants": 2,
            "seconds": 30,
            "cap_seconds": 90,
            "forget_seconds": 0,
            "hold_seconds": 1,
        },
    }
    fleet.put_epoch("/v1/cells/away", {"address": "127.0.0.1", "port": 8009})
    fleet.put_epoch("/v1/fleet", policy)
    assert fleet.get("/v1/fleet").json() == policy
    tenant = {
        "pool": "eu",
        "tier": "gold",
        "jurisdiction": "eu",
        "attributes": {"plan": "p", "a": "1"},
        "load": {"tenants": 2, "rps": 0.5, "storage_gib": 3.0},
        "shard_size": 1,
        "state": "suspended",
        "policy": {
            "writes": "fail",
            "reads": "standby",
            "standby": "cell-6",
            "cache_seconds": None,
            "balance": "least-loaded",
            "mode": "proxy",
            "rps": 0.5,
            "burst_seconds": 3.0,
            "priority": "normal",
            "shadow": "cell-6",
            "copies": "reads",
            "compare": {"percent": 2.5, "ignore": ["/at", "/items/*/id"]},
        },
    }
    put(fleet, "acme", tenant)
    assert tenant.items() <= fleet.get("/v1/tenants/acme").json().items()
    put(fleet, "acme", {"shard_size": None, "tier": "", "state": "active", "load": {}})
    none = {"tenants": 1, "rps": 0.0, "storage_gib": 0.0}
    kept = {**tenant, "shard_size": None, "tier": "", "state": "active", "load": none}
    assert kept.items() <= fleet.get("/v1/tenants/acme").json().items()


def test_a_pool_that_assigns_places_a_new_tenant_and_says_why(fleet: Api) -> None:
    first = put(fleet, "a", {"tier": "gold", "load": {"rps": 80}})
    assert (first["cell"], first["cells"], first["placed_pool"], first["rule"]) == ("cell-3", ["cell-3"], "big", "gold")
    assert "least loaded" in first["reason"]
    assert put(fleet, "b", {"tier": "gold", "load": {"rps": 80}})["cell"] == "cell-4"
    cells = {item["id"]: item for item in fleet.get("/v1/cells").json()["items"]}
    assert cells["cell-3"]["pinned_tenants"] == 1
    assert cells["cell-3"]["load"] == {"tenants": 1, "rps": 80.0, "storage_gib": 0.0}
    table = fleet.published(first["epoch"] + 1)
    entry = table.find(b"b")
    assert entry is not None
    assert [table.cells[cell].id for cell in entry.shard] == ["cell-4"]


def test_no_cell_is_a_problem_with_every_cells_reason(fleet: Api) -> None:
    report(fleet, cell_3=0, cell_4=1)
    body = {"tier": "gold", "load": {"rps": 101}}
    problem = assert_problem(fleet.put("/v1/tenants/a", body), 409, "no-cell", members=frozenset({"cells"}))
    assert "'a' is not placed" in problem["detail"]
    assert problem["cells"] == [
        {"cell": "cell-3", "reason": "is not healthy, would hold 101 of 100 rps"},
        {"cell": "cell-4", "reason": "would hold 101 of 100 rps"},
    ]
    assert_problem(fleet.get("/v1/tenants/a"), 404, "not-found")


def test_a_cell_that_no_router_reaches_takes_nobody_until_one_does(fleet: Api) -> None:
    report(fleet, cell_3=0)
    assert put(fleet, "a", {"tier": "gold"})["cell"] == "cell-4"
    report(fleet, cell_3=1)
    assert put(fleet, "b", {"tier": "gold"})["cell"] == "cell-3"


def test_what_is_placed_stays_until_it_is_asked_for_or_follows(fleet: Api) -> None:
    put(fleet, "a", {"tier": "gold"})
    put(fleet, "b", {"cell": "cell-3", "tier": "gold"})
    assert put(fleet, "a", {"state": "suspended"})["cell"] == "cell-3"
    assert put(fleet, "a", {"attributes": {"x": "y"}})["cell"] == "cell-3"
    assert put(fleet, "a", {"place": True})["cell"] == "cell-4"
    assert put(fleet, "a", {"cell": "cell-1"})["reason"] == "pinned"
    assert put(fleet, "a", {})["cell"] == "cell-4"
    assert put(fleet, "a", {"cell": "cell-3"})["cell"] == "cell-3"
    assert put(fleet, "a", {"load": {"rps": 2}})["cell"] == "cell-3"
    assert put(fleet, "a", {"cell": None})["state"] == "suspended"


def test_by_slot_a_change_leaves_a_pinned_tenant_pinned(fleet: Api) -> None:
    put(fleet, "a", {"cell": "cell-2"})
    assert put(fleet, "a", {"state": "suspended"})["cell"] == "cell-2"
    assert put(fleet, "a", {"place": True})["cell"] is None


def test_a_shard_is_assigned_and_its_first_cell_serves(fleet: Api) -> None:
    answer = put(fleet, "a", {"cells": ["cell-2", "cell-1"]})
    assert (answer["cell"], answer["cells"]) == ("cell-2", ["cell-2", "cell-1"])
    fleet.published(answer["epoch"])
    assert fleet.get("/v1/tenants/a").json()["placed"] == "cell-2"
    assert [item["id"] for item in fleet.get("/v1/tenants", cell="cell-1").json()["items"]] == ["a"]
    assert put(fleet, "a", {"cells": []})["cells"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cell": "cell-9"}, "tenant.cell"),
        ({"cells": ["cell-1", "cell-9"]}, "tenant.cells[1]"),
        ({"cells": ["cell-1", "cell-1"]}, "tenant.cells"),
        ({"cell": "cell-1", "cells": ["cell-1"]}, "tenant.cells"),
        ({"cell": "cell-1", "place": True}, "tenant.cells"),
        ({"pool": "none"}, "tenant.pool"),
        ({"tier": "Gold"}, "tenant.tier"),
        ({"attributes": {"a": ""}}, "tenant.attributes.a"),
        ({"load": {"rps": -1}}, "tenant.load.rps"),
        ({"shard_size": 9}, "tenant.shard_size"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused_with_its_field(steady_fleet: Api, body: dict[str, Any], field: str) -> None:
    assert_problem(steady_fleet.put("/v1/tenants/a", body), 422, "invalid-resource", field=field)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/tenants/a", {"cells": ["cell-1", "cell-5"]}, "tenant.cells[1]"),
        ("/v1/tenants/a", {"cell": "cell-1", "jurisdiction": "eu"}, "tenant.cell"),
        ("/v1/tenants/a", {"cells": ["cell-5", "cell-1"], "jurisdiction": "eu"}, "tenant.cells[1]"),
        ("/v1/tenants/a", {"jurisdiction": "us"}, "tenant.jurisdiction"),
        ("/v1/pools/big", {"cells": ["cell-3", "cell-5"], "shard_size": 2}, "pool.cells"),
    ],
)
def test_what_would_put_somebody_under_another_law_is_refused(
    steady_fleet: Api, path: str, body: dict[str, Any], field: str
) -> None:
    assert_problem(steady_fleet.put(path, body), 422, "foreign-law", field=field)
    assert_problem(steady_fleet.get("/v1/tenants/a"), 404, "not-found")


def test_a_rule_that_none_can_be_placed_by_is_a_problem_and_no_change(fleet: Api) -> None:
    put(fleet, "a", {"tier": "silver", "load": {"rps": 101}})
    rules = [*RULES, {"name": "silver", "pool": "big", "tiers": ["silver"]}]
    response = fleet.put("/v1/fleet", {**SHOP, "rules": rules})
    assert_problem(response, 409, "no-cell", members=frozenset({"cells"}))
    assert [rule["name"] for rule in fleet.get("/v1/fleet").json()["rules"]] == ["gold", "eu"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/fleet", {**SHOP, "missing_key": "default-cell"}, "fleet.default_cell"),
        (
            "/v1/fleet",
            {**SHOP, "rules": [{"name": "r", "pool": "none", "tiers": ["a"]}]},
            "fleet.rules[0].pool",
        ),
        ("/v1/fleet", {**SHOP, "rules": [{"name": "r", "pool": "eu"}]}, "fleet.rules[0]"),
        ("/v1/fleet", {**SHOP, "key_sources": [{"kind": "jwt-claim", "name": "sub"}]}, "fleet.key_sources[0]"),
        ("/v1/fleet", {**SHOP, "key_sources": [{"kind": "header", "name": "x-a"}]}, "fleet.key_sources[0].trusted"),
        ("/v1/fleet", {**SHOP, "key_sources": []}, "fleet.key_sources"),
        (
            "/v1/fleet",
            {**SHOP, "key_sources": [{"kind": "path", "name": "/t/", "trusted": True}]},
            "fleet.key_sources[0].trusted",
        ),
        ("/v1/fleet", {**SHOP, "jwt": [{**ISSUER, "jwks_file": "jwks.json"}]}, "fleet.jwt[0].jwks_file"),
        ("/v1/fleet", {**SHOP, "jwt": [{**ISSUER, "jwks_url": "https://id.example"}]}, "fleet.jwt[0].jwks_url"),
        ("/v1/fleet", {**SHOP, "jwt": [{**ISSUER, "audiences": ["a", "b c"]}]}, "fleet.jwt[0].audiences[1]"),
        ("/v1/fleet", {**SHOP, "jwt": [ISSUER, ISSUER]}, "fleet.jwt[1].name"),
        ("/v1/pools/big", {"cells": ["cell-3"], "strategy": "explicit", "overflow": "none"}, "pool.overflow"),
        ("/v1/pools/default", {"cells": ["cell-1"], "strategy": "explicit"}, "pool.strategy"),
        ("/v1/pools/big", {"cells": ["cell-3"], "strategy": "ring", "dedicated": True}, "pool.dedicated"),
        ("/v1/cells/cell-3", {"address": "a", "port": 1, "capacity": {"rps": 0}}, "cell.capacity.rps"),
    ],
)
def test_what_no_table_can_be_made_of_is_refused(
    steady_fleet: Api, path: str, body: dict[str, Any], field: str
) -> None:
    assert_problem(steady_fleet.put(path, body), 422, "invalid-resource", field=field)


def test_a_cell_whose_jurisdiction_would_split_a_pool_is_refused(fleet: Api) -> None:
    fleet.put_epoch("/v1/pools/default", {"cells": ["cell-1", "cell-2"], "shard_size": 2})
    body = {"address": "127.0.0.1", "port": 8002, "jurisdiction": "eu"}
    assert_problem(fleet.put("/v1/cells/cell-2", body), 422, "foreign-law", field="cell.jurisdiction")


def test_cells_that_cannot_be_spread_as_a_pool_asks_are_refused(fleet: Api) -> None:
    cells = [f"cell-{number}" for number in range(1, 5)]
    wide = {"cells": cells, "strategy": "shuffle", "spread": ["zone", "release"]}
    assert_problem(fleet.put("/v1/pools/wide", wide), 422, "invalid-resource", field="pool.shard_size")
    cell: dict[str, Any] = {"address": "127.0.0.1", "port": 8001}
    for number, cell_id in enumerate(cells):
        place = {"zone": f"z-{number % 2}", "release": f"r{number // 2}"}
        fleet.put_epoch(f"/v1/cells/{cell_id}", {**cell, **place})
    fleet.published(fleet.put_epoch("/v1/pools/wide", wide))
    response = fleet.put("/v1/cells/cell-2", {**cell, "zone": "z-0", "release": "r0"})
    assert_problem(response, 422, "invalid-resource", field="pools.wide.spread")


# Why a request goes where it goes


def explained(api: Api, **params: str) -> dict[str, Any]:
    response = api.get("/v1/route", **params)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def test_a_route_names_what_chose_the_pool(fleet: Api) -> None:
    put(fleet, "ruled", {"tier": "gold"})
    put(fleet, "own", {"pool": "eu"})
    own = {"cells": ["cell-3"], "strategy": "explicit", "dedicated": True, "overflow": "eu"}
    fleet.put_epoch("/v1/pools/big", own)
    fleet.published(put(fleet, "late", {"tier": "gold"})["epoch"])
    ruled = explained(fleet, tenant="ruled")
    assert (ruled["pool"], ruled["pool_by"], ruled["rule"], ruled["reason"]) == ("big", "rule", "gold", "assignment")
    assert ruled["text"].startswith("ruled is assigned to cell-3 in pool big (rule gold): its requests go to cell-3")
    late = explained(fleet, tenant="late")
    assert (late["pool"], late["pool_by"], late["rule"], late["shard"]) == ("eu", "overflow", "gold", ["cell-5"])
    assert "in pool eu (overflow of big)" in late["text"]
    assert explained(fleet, tenant="own")["pool_by"] == "tenant"
    assert "in pool eu (its own)" in explained(fleet, tenant="own")["text"]
    stranger = explained(fleet, tenant="stranger")
    assert (stranger["pool"], stranger["pool_by"], stranger["known"]) == ("default", "default", False)


def test_a_route_of_a_request_without_a_key(fleet: Api) -> None:
    refused = explained(fleet, source="192.0.2.1")
    assert (refused["cell"], refused["reason"], refused["tenant"]) == (None, "missing-key", None)
    fleet.published(fleet.put_epoch("/v1/fleet", {**SHOP, "missing_key": "source-hash"}))
    hashed = explained(fleet, source="2001:DB8:0::1")
    assert (hashed["source"], hashed["pool"], hashed["reason"]) == ("2001:db8::1", "default", "source")
    assert hashed["text"].startswith(f"a request without a key from 2001:db8::1 hashes to slot {hashed['slot']}")
    body = {**SHOP, "missing_key": "default-cell", "default_cell": "cell-2", "unknown_tenant": "default-cell"}
    fleet.published(fleet.put_epoch("/v1/fleet", body))
    default = explained(fleet, source="192.0.2.1")
    assert (default["cell"], default["pool"], default["reason"]) == ("cell-2", None, "default")
    assert explained(fleet, tenant="stranger")["reason"] == "default"


@pytest.mark.parametrize("query", ["", "?tenant=a&source=192.0.2.1"])
def test_a_route_is_of_a_tenant_or_of_a_source(steady_fleet: Api, query: str) -> None:
    assert_problem(steady_fleet.http.get(f"/v1/route{query}"), 422, "invalid-resource", field="tenant")


@pytest.mark.parametrize("source", ["", "here", "192.0.2.1/24", "192.0.2.1\x00", "fe80::1%eth0"])
def test_a_source_is_an_address(steady_fleet: Api, source: str) -> None:
    assert_problem(steady_fleet.get("/v1/route", source=source), 422, "invalid-resource", field="source")


def test_placement_survives_a_restart(tmp_path: Path) -> None:
    with serving(tmp_path) as api:
        api.fill()
        body = {"cells": ["cell-1", "cell-2"], "strategy": "explicit"}
        api.put_epoch("/v1/pools/big", body)
        first = put(api, "a", {"pool": "big", "load": {"rps": 5}})
    with serving(tmp_path) as api:
        assert api.get("/v1/tenants/a").json()["cells"] == first["cells"]
        assert put(api, "b", {"pool": "big"})["cells"] != first["cells"]
