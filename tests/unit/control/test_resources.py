"""Fleet, cells, pools and tenants over HTTP: what is taken, what is given back, what is refused."""

from typing import Any

import pytest

from cellplane.model import JwtProvider
from unit.control.serving import KEY_SOURCES, NO_POLICY, SHOP, Api, assert_problem

OTHERS: dict[str, Any] = {
    "shard_size": None,
    "seed": 0,
    "spread": [],
    "max_overlap": None,
    "dedicated": False,
    "overflow": None,
    "policy": NO_POLICY,
    "canary": None,
    "p99_objective_seconds": None,
}
"""What a pool says that names none of it."""


def test_a_fleet_is_put_and_read_back(api: Api) -> None:
    assert_problem(api.get("/v1/fleet"), 404, "not-found")
    assert api.put("/v1/fleet", {**SHOP, "unknown_tenant": "reject"}).json() == {"epoch": 1}
    assert api.get("/v1/fleet").json() == {
        "name": "shop",
        "key_sources": KEY_SOURCES,
        "default_pool": "default",
        "unknown_tenant": "reject",
        "missing_key": "reject",
        "default_cell": None,
        "rules": [],
        "retry_after_seconds": 1,
        "jwt": [],
        "policy": NO_POLICY,
        "fail_open": "reads",
        "routers": 1,
        "health": {},
        "quarantine": {
            "cells": [],
            "automatic": True,
            "max_tenants": 3,
            "seconds": 60,
            "cap_seconds": 3600,
            "forget_seconds": 7200,
            "hold_seconds": 600,
        },
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "shop"}, "body.key_sources"),
        ({**SHOP, "key_sources": [{"kind": "header", "name": "x-a", "trusted": 1}]}, "body.key_sources.0.trusted"),
        ({**SHOP, "key_sources": [{"kind": "token", "name": "a"}]}, "body.key_sources.0.kind"),
        ({**SHOP, "jwt": [{"name": "id", "jwks_file": "/k"}]}, "body.jwt.0.issuer"),
        ({**SHOP, "jwt": [{"name": "id", "issuer": "i", "jwks_file": "/k", "key": "x"}]}, "body.jwt.0.key"),
        ({**SHOP, "jwt": [{"name": "id", "issuer": "i", "audiences": "shop"}]}, "body.jwt.0.audiences"),
    ],
)
def test_a_body_that_is_no_fleet_is_refused(steady_shop: Api, body: dict[str, Any], field: str) -> None:
    assert_problem(steady_shop.put("/v1/fleet", body), 422, "invalid-request", field=field)


def test_issuers_and_sources_are_in_the_table(shop: Api) -> None:
    issuer = {"name": "id", "issuer": "https://id.example", "audiences": ["shop"], "jwks_file": "/etc/jwks.json"}
    sources = [{"kind": "jwt-claim", "name": "org.id"}, {"kind": "cookie", "name": "route"}]
    table = shop.published(shop.put_epoch("/v1/fleet", {**SHOP, "key_sources": sources, "jwt": [issuer]}))
    assert [(source.kind.value, source.name) for source in table.key_sources] == [
        ("jwt-claim", "org.id"),
        ("cookie", "route"),
    ]
    assert table.edge.jwt == (JwtProvider("id", "https://id.example", ("shop",), jwks_file="/etc/jwks.json"),)
    refused = shop.get("/v1/route", source="192.0.2.1").json()
    assert (refused["cell"], refused["reason"]) == (None, "unauthenticated")
    assert shop.get("/v1/fleet").json()["jwt"][0].items() >= issuer.items()


def test_a_directory_is_one_fleets(shop: Api) -> None:
    problem = assert_problem(shop.put("/v1/fleet", {**SHOP, "name": "other"}), 409, "conflict")
    assert "'shop'" in problem["detail"]


def test_cells_are_listed_with_what_is_pinned_to_them(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
    items = shop.get("/v1/cells").json()["items"]
    assert [(cell["id"], cell["pinned_tenants"], cell["healthy"]) for cell in items] == [
        ("cell-1", 0, None),
        ("cell-2", 1, None),
    ]
    assert items[0] == {
        "id": "cell-1",
        "address": "127.0.0.1",
        "port": 8001,
        "region": "local",
        "zone": "",
        "jurisdiction": "none",
        "status": "active",
        "weight": 1.0,
        "release": "",
        "capacity": {"tenants": None, "rps": None, "storage_gib": None, "concurrency": None},
        "public_url": "",
        "maintenance_page": "",
        "protocol": "http1",
        "healthy": None,
        "score": None,
        "breaker": None,
        "gray": False,
        "pinned_tenants": 0,
        "load": {"tenants": 0, "rps": 0.0, "storage_gib": 0.0},
        "version": 2,
    }


def test_a_changed_cell_is_in_the_table(shop: Api) -> None:
    body = {"address": "c.example", "port": 443, "region": "eu-west", "jurisdiction": "eu", "status": "draining"}
    table = shop.published(shop.put_epoch("/v1/cells/cell-2", {**body, "weight": 2.5}))
    cell = table.cells[1]
    assert (cell.id, cell.address, cell.port, cell.region) == ("cell-2", "c.example", 443, "eu-west")
    assert (cell.jurisdiction, cell.status.value, cell.weight) == ("eu", "draining", 2.5)


def test_a_whole_number_is_a_weight(shop: Api) -> None:
    shop.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002, "weight": 2})
    assert shop.get("/v1/cells").json()["items"][1]["weight"] == 2.0


def test_a_cell_that_is_used_stays(shop: Api) -> None:
    assert_problem(shop.http.delete("/v1/cells/cell-1"), 409, "conflict")
    shop.put_epoch("/v1/pools/default", {"cells": ["cell-2"]})
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
    problem = assert_problem(shop.http.delete("/v1/cells/cell-1"), 409, "conflict")
    assert "'acme'" in problem["detail"]
    shop.put_epoch("/v1/tenants/acme", {})
    epoch = shop.http.delete("/v1/cells/cell-1").json()["epoch"]
    assert [cell.id for cell in shop.published(epoch).cells] == ["cell-2"]
    assert_problem(shop.http.delete("/v1/cells/cell-1"), 404, "not-found")


def test_pools_are_put_and_listed(shop: Api) -> None:
    table = shop.published(shop.put_epoch("/v1/pools/canary", {"cells": ["cell-2"], "strategy": "modulo"}))
    assert table.pools == ("canary", "default")
    assert shop.get("/v1/pools").json()["items"] == [
        {"name": "canary", "cells": ["cell-2"], "strategy": "modulo", "virtual_nodes": 150, **OTHERS, "version": 5},
        {
            "name": "default",
            "cells": ["cell-1", "cell-2"],
            "strategy": "ring",
            "virtual_nodes": 150,
            **OTHERS,
            "version": 4,
        },
    ]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"cells": ["cell-1", "cell-9"]}, "invalid-resource", "pool.cells[1]"),
        ({"cells": []}, "invalid-resource", "pool.cells"),
        ({"cells": ["cell-1", "cell-1"]}, "invalid-resource", "pool.cells[1]"),
        ({"cells": ["cell-1"], "virtual_nodes": 0}, "invalid-resource", "pool.virtual_nodes"),
        ({"cells": ["cell-1"], "strategy": "random"}, "invalid-request", "body.strategy"),
        ({}, "invalid-request", "body.cells"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(steady_shop: Api, body: object, code: str, field: str) -> None:
    assert_problem(steady_shop.put("/v1/pools/default", body), 422, code, field=field)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"port": 0}, "invalid-resource", "cell.port"),
        ({"port": 65536}, "invalid-resource", "cell.port"),
        ({"port": "8001"}, "invalid-request", "body.port"),
        ({"port": True}, "invalid-request", "body.port"),
        ({"address": ""}, "invalid-resource", "cell.address"),
        ({"address": "a b"}, "invalid-resource", "cell.address"),
        ({"weight": 0}, "invalid-resource", "cell.weight"),
        ({"weight": 101}, "invalid-resource", "cell.weight"),
        ({"region": "EU"}, "invalid-resource", "cell.region"),
        ({"status": "gone"}, "invalid-request", "body.status"),
        ({"id": "cell-1"}, "invalid-request", "body.id"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(steady_shop: Api, body: dict[str, object], code: str, field: str) -> None:
    whole = {"address": "127.0.0.1", "port": 8001, **body}
    assert_problem(steady_shop.put("/v1/cells/cell-1", whole), 422, code, field=field)


def test_a_pool_is_removed(shop: Api) -> None:
    shop.put_epoch("/v1/pools/canary", {"cells": ["cell-1"]})
    epoch = shop.http.delete("/v1/pools/canary").json()["epoch"]
    assert shop.published(epoch).pools == ("default",)
    assert_problem(shop.http.delete("/v1/pools/canary"), 404, "not-found")
    assert_problem(shop.http.delete("/v1/pools/default"), 409, "conflict")


def test_a_tenant_is_pinned_unpinned_and_removed(shop: Api) -> None:
    by_slot = shop.get("/v1/route", tenant="acme").json()["cell"]
    other = "cell-1" if by_slot == "cell-2" else "cell-2"
    pinned = shop.put("/v1/tenants/acme", {"cell": other})
    acme = {
        "id": "acme",
        "cell": other,
        "cells": [other],
        "state": "active",
        "pool": None,
        "placed_pool": "default",
        "tier": "",
        "jurisdiction": "",
        "attributes": {},
        "load": {"tenants": 1, "rps": 0.0, "storage_gib": 0.0},
        "shard_size": None,
        "policy": NO_POLICY,
        "version": 5,
    }
    assert pinned.json() == {**acme, "epoch": 5, "rule": None, "reason": "pinned"}
    shop.published(5)
    placed = {"placed": other, "slot_cell": by_slot, "placed_epoch": 5, "quarantine": None}
    assert shop.get("/v1/tenants/acme").json() == {**acme, **placed}
    shop.published(shop.put_epoch("/v1/tenants/acme", {}))
    by_itself = {**acme, "cell": None, "cells": [], "version": 6}
    assert shop.get("/v1/tenants/acme").json() == {
        **by_itself,
        "placed": by_slot,
        "slot_cell": by_slot,
        "placed_epoch": 6,
        "quarantine": None,
    }
    assert shop.http.delete("/v1/tenants/acme").json() == {"epoch": 7}
    assert_problem(shop.get("/v1/tenants/acme"), 404, "not-found")
    assert_problem(shop.http.delete("/v1/tenants/acme"), 404, "not-found")


def test_a_change_that_changes_nothing_is_no_epoch(shop: Api) -> None:
    assert shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"}) == 5
    assert shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"}) == 5


def test_a_tenant_of_an_unknown_cell_is_refused(shop: Api) -> None:
    response = shop.put("/v1/tenants/acme", {"cell": "cell-9"})
    problem = assert_problem(response, 422, "invalid-resource", field="tenant.cell")
    assert "cell-1, cell-2" in problem["detail"]
    assert_problem(shop.get("/v1/tenants/acme"), 404, "not-found")


def test_assigning_a_suspended_tenant_leaves_it_suspended(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1", "state": "suspended"})
    assert shop.put("/v1/tenants/acme", {"cell": "cell-2"}).json()["state"] == "suspended"
    unpinned = shop.put("/v1/tenants/acme", {}).json()
    assert (unpinned["cell"], unpinned["state"], unpinned["epoch"]) == (None, "suspended", 7)
    assert shop.put("/v1/tenants/acme", {"state": "active"}).json()["state"] == "active"
    assert shop.put("/v1/tenants/new", {}).json()["state"] == "active"


@pytest.mark.parametrize("header", ["host", "connection", "x-request-id", "x-forwarded-for", "x-envoy-x", "x-cell-id"])
def test_a_header_that_proxies_write_is_no_key_header(steady_shop: Api, header: str) -> None:
    sources = [*KEY_SOURCES, {"kind": "header", "name": header, "trusted": True}]
    response = steady_shop.put("/v1/fleet", {**SHOP, "key_sources": sources})
    assert_problem(response, 422, "invalid-resource", field="fleet.key_sources[1].name")


def test_a_suspended_tenant_is_placed_nowhere(shop: Api) -> None:
    shop.published(shop.put_epoch("/v1/tenants/acme", {"state": "suspended"}))
    assert shop.get("/v1/tenants/acme").json()["placed"] is None
    assert shop.get("/v1/route", tenant="acme").json()["reason"] == "tenant-suspended"


def test_every_character_of_a_key_is_taken_as_it_is(shop: Api) -> None:
    key = "A.b_c:d@e|f+g=h~i-0"
    shop.put_epoch("/v1/tenants/A.b_c:d@e%7Cf+g=h~i-0", {})
    assert shop.get("/v1/tenants/A.b_c:d@e%7Cf+g=h~i-0").json()["id"] == key
    assert shop.get("/v1/route", tenant=key).json()["known"] is True


def test_pages_of_tenants(shop: Api) -> None:
    for number in range(5):
        shop.put_epoch(f"/v1/tenants/t-{number}", {"cell": "cell-1"} if number % 2 else {})
    first = shop.get("/v1/tenants", limit=2).json()
    assert [tenant["id"] for tenant in first["items"]] == ["t-0", "t-1"]
    second = shop.get("/v1/tenants", limit=2, after=first["next"]).json()
    third = shop.get("/v1/tenants", limit=2, after=second["next"]).json()
    assert [tenant["id"] for tenant in third["items"]] == ["t-4"]
    assert third["next"] is None
    pinned = shop.get("/v1/tenants", cell="cell-1").json()
    assert [tenant["id"] for tenant in pinned["items"]] == ["t-1", "t-3"]
    assert shop.get("/v1/tenants", after="t-4").json() == {"items": [], "next": None}


def test_a_page_has_a_limit_whatever_is_asked(shop: Api) -> None:
    for number in range(3):
        shop.put_epoch(f"/v1/tenants/t-{number}", {})
    assert len(shop.get("/v1/tenants", limit=10**30).json()["items"]) == 3
    assert_problem(shop.get("/v1/tenants", limit=0), 422, "invalid-request", field="query.limit")
    assert_problem(shop.get("/v1/tenants", limit="x"), 422, "invalid-request", field="query.limit")


def test_who_changed_is_in_the_log(shop: Api) -> None:
    shop.http.put("/v1/tenants/acme", json={}, headers={"x-cellplane-actor": "ann"})
    shop.http.put("/v1/tenants/acme", json={"cell": "cell-1"})
    with shop.service.directory.snapshot() as snapshot:
        log = snapshot.changes(limit=10, after=4)
    assert [(entry.actor, entry.on_behalf_of) for entry in log] == [("admin", "ann"), ("admin", "")]
    long = shop.http.put("/v1/tenants/acme", json={}, headers={"x-cellplane-actor": "a" * 65})
    assert_problem(long, 422, "invalid-request", field="header.x-cellplane-actor")
