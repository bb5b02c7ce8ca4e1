"""How changes are asked for: for one version, once, by whom and why; and how they are looked up afterwards."""

import threading
from typing import Any

import httpx2
import pytest

from cellplane.control.settings import MAX_IDEMPOTENCY_KEY_CHARS as MAX_KEY_CHARS
from cellplane.directory.transaction import Transaction
from unit.control.serving import Api, assert_problem

CELL = {"address": "127.0.0.1", "port": 8009}
RESOURCES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/fleet", {"name": "shop", "key_sources": [{"kind": "header", "name": "x-key", "trusted": True}]}),
    ("/v1/cells/cell-1", CELL),
    ("/v1/pools/default", {"cells": ["cell-1"]}),
    ("/v1/tenants/acme", {"cell": "cell-1"}),
]


def put(api: Api, path: str, body: object, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.http.put(path, json=body, headers=named)


@pytest.mark.parametrize(("path", "body"), RESOURCES)
def test_a_resource_is_changed_by_the_etag_of_what_was_read(shop: Api, path: str, body: dict[str, Any]) -> None:
    shop.put_epoch("/v1/tenants/acme", {})
    read = shop.get(path).headers["etag"]
    changed = put(shop, path, body, if_match=read)
    assert changed.status_code == 200
    assert changed.headers["etag"] == shop.get(path).headers["etag"] == f'"{changed.json()["epoch"]}"' != read
    late = put(shop, path, body, if_match=read)
    document = assert_problem(late, 412, "precondition-failed")
    assert "was changed since yours" in document["detail"]


def test_of_many_that_read_the_same_one_changes_it(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {})
    read = shop.get("/v1/tenants/acme").headers["etag"]
    statuses: list[int] = []

    def change(number: int) -> None:
        statuses.append(put(shop, "/v1/tenants/acme", {"tier": f"t-{number}"}, if_match=read).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[412] * 7]


def test_a_resource_is_created_only_where_there_is_none(shop: Api) -> None:
    assert put(shop, "/v1/cells/cell-9", CELL, if_none_match="*").status_code == 200
    assert_problem(put(shop, "/v1/cells/cell-9", CELL, if_none_match="*"), 412, "precondition-failed")
    assert_problem(put(shop, "/v1/cells/cell-8", CELL, if_match="*"), 412, "precondition-failed")


def test_a_resource_is_removed_by_its_etag(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {})
    stale = {"If-Match": '"1"'}
    assert_problem(shop.http.delete("/v1/tenants/acme", headers=stale), 412, "precondition-failed")
    right = {"If-Match": shop.get("/v1/tenants/acme").headers["etag"]}
    gone = shop.http.delete("/v1/tenants/acme", headers=right)
    assert gone.status_code == 200
    assert "etag" not in gone.headers
    assert_problem(shop.http.delete("/v1/tenants/acme", headers=right), 412, "precondition-failed")


def test_a_header_that_is_no_etag_is_named(shop: Api) -> None:
    assert_problem(put(shop, "/v1/cells/cell-1", CELL, if_match="5"), 422, "invalid-resource", field="If-Match")


@pytest.mark.parametrize(
    ("asked", "body", "field"),
    [
        ("PUT /v1/tenants/a%00b", {}, "tenant.id"),
        ("PUT /v1/cells/a%00b", CELL, "cell.id"),
        ("POST /v1/cells/a%00b/status", {"status": "locked"}, "cell.id"),
        ("DELETE /v1/cells/a%00b", None, "cell.id"),
        ("DELETE /v1/cells/a%00b/hold", None, "cell.id"),
        ("PUT /v1/pools/a%00b", {"cells": ["cell-1"]}, "pool.name"),
        ("DELETE /v1/pools/a%00b", None, "pool.name"),
    ],
)
def test_what_no_resource_is_named_is_not_looked_up(
    steady_shop: Api, monkeypatch: pytest.MonkeyPatch, asked: str, body: object, field: str
) -> None:
    looked_up: list[str] = []
    monkeypatch.setattr(Transaction, "version", lambda _self, _kind, name: looked_up.append(name))
    response = steady_shop.http.request(*asked.split(), json=body, headers={"If-Match": '"1"'})
    assert_problem(response, 422, "invalid-resource", field=field)
    assert not looked_up


def test_a_request_that_comes_twice_is_done_once(shop: Api) -> None:
    first = put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, idempotency_key="k-1")
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
    again = put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, idempotency_key="k-1")
    assert again.json() == first.json()
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert shop.get("/v1/tenants/acme").json()["cell"] == "cell-2"


def test_requests_at_once_under_one_key_are_done_once(shop: Api) -> None:
    epochs: list[int] = []

    def change() -> None:
        epochs.append(put(shop, "/v1/tenants/acme", {"tier": "gold"}, idempotency_key="k").json()["epoch"])

    threads = [threading.Thread(target=change) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert epochs == [5] * 8
    assert shop.get("/v1/events", id="acme").json()["items"][0]["epoch"] == 5


def test_a_key_is_for_one_request(shop: Api) -> None:
    put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, idempotency_key="k-1")
    for path, body in (("/v1/tenants/acme", {"cell": "cell-2"}), ("/v1/tenants/zeta", {"cell": "cell-1"})):
        assert_problem(put(shop, path, body, idempotency_key="k-1"), 409, "idempotency-key-reused")
    bob = shop.holder(name="bob", role="operator")
    other = put(shop, "/v1/tenants/acme", {"cell": "cell-2"}, idempotency_key="k-1", authorization=f"Bearer {bob}")
    assert other.status_code == 200, "keys of others are others"


def test_a_request_that_was_refused_may_come_again_mended(shop: Api) -> None:
    assert put(shop, "/v1/tenants/acme", {"cell": "cell-9"}, idempotency_key="k-1").status_code == 422
    assert put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, idempotency_key="k-1").status_code == 200


def test_a_dry_run_keeps_no_answer(shop: Api) -> None:
    body = {"resources": [{"kind": "Tenant", "name": "acme", "spec": {}}]}
    headers = {"Idempotency-Key": "k"}
    dry = shop.http.post("/v1/apply", json=body, params={"dryRun": "true"}, headers=headers)
    assert dry.status_code == 200
    assert shop.http.post("/v1/apply", json=body, headers=headers).json()["changes"][0]["action"] == "create"
    assert shop.http.post("/v1/apply", json=body, headers=headers).headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "x" * (MAX_KEY_CHARS + 1)])
def test_a_key_has_a_length(shop: Api, key: str) -> None:
    response = put(shop, "/v1/tenants/acme", {}, idempotency_key=key)
    assert_problem(response, 422, "invalid-request", field="header.idempotency-key")


def test_the_log_says_who_why_what_before_and_after(shop: Api) -> None:
    why = {"x_cellplane_actor": "ann", "x_cellplane_reason": "ticket 7"}
    put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, **why)
    put(shop, "/v1/tenants/acme", {"cell": "cell-2"})
    last, first = shop.get("/v1/events", id="acme", kind="tenant").json()["items"]
    assert (first["actor"], first["on_behalf_of"], first["reason"]) == ("admin", "ann", "ticket 7")
    assert (first["epoch"], first["before"]) == (5, None)
    assert (last["actor"], last["on_behalf_of"], last["reason"]) == ("admin", "", "")
    assert last["before"] == first["after"]
    assert last["after"]["shard"] == ["cell-2"]
    assert shop.get("/v1/events", actor="ann").json()["items"] == [], "whoever it is for did not do it"
    bob = shop.holder(name="bob", role="operator")
    put(shop, "/v1/tenants/acme", {"cell": "cell-1"}, authorization=f"Bearer {bob}")
    assert [each["epoch"] for each in shop.get("/v1/events", actor="bob").json()["items"]] == [7]
    assert_problem(
        put(shop, "/v1/tenants/acme", {}, x_cellplane_reason="x" * 501),
        422,
        "invalid-request",
        field="header.x-cellplane-reason",
    )


def test_the_log_is_read_page_by_page_from_either_end(shop: Api) -> None:
    for number in range(6):
        shop.put_epoch(f"/v1/tenants/t-{number}", {})

    def pages(**params: int) -> list[list[int]]:
        found, key = [], next(iter(params))
        while True:
            page = shop.get("/v1/events", limit=4, **params).json()
            found.append([each["epoch"] for each in page["items"]])
            if page["next"] is None:
                return found
            params[key] = page["next"]

    assert pages(after=0) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert pages(before=99) == [[10, 9, 8, 7], [6, 5, 4, 3], [2, 1]]


def test_published_tables_are_listed(shop: Api) -> None:
    shop.published(shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"}))
    items = shop.get("/v1/epochs").json()["items"]
    last = items[0]
    assert last["epoch"] == 5
    assert f'"{last["sha256"]}"' == shop.get("/v1/table").headers["etag"]
    assert (last["overlay_tenants"], last["token"]) == (1, 1)
    assert [each["epoch"] for each in shop.get("/v1/epochs", before=5, limit=1).json()["items"]] == [items[1]["epoch"]]


def test_lists_are_read_page_by_page_and_filtered(shop: Api) -> None:
    shop.put_epoch("/v1/cells/cell-3", {**CELL, "region": "eu-west", "jurisdiction": "eu", "status": "locked"})
    shop.put_epoch("/v1/pools/canary", {"cells": ["cell-2"], "strategy": "modulo"})

    def ids(path: str, key: str = "id", **params: Any) -> list[str]:
        found = []
        while True:
            page = shop.get(path, **params).json()
            found += [item[key] for item in page["items"]]
            if page["next"] is None:
                return found
            params["after"] = page["next"]

    assert ids("/v1/cells", limit=1) == ids("/v1/cells", limit=2) == ["cell-1", "cell-2", "cell-3"]
    assert ids("/v1/cells", pool="canary") == ["cell-2"]
    assert ids("/v1/cells", status="locked") == ids("/v1/cells", region="eu-west") == ["cell-3"]
    assert ids("/v1/cells", jurisdiction="eu") == ["cell-3"]
    assert ids("/v1/cells", pool="nowhere") == []
    assert ids("/v1/pools", key="name", limit=1) == ["canary", "default"]
    assert ids("/v1/pools", key="name", cell="cell-1") == ["default"]
    assert ids("/v1/pools", key="name", strategy="modulo") == ["canary"]
    for name, body in {"a-1": {"tier": "gold"}, "a-2": {"cell": "cell-1"}, "b": {"state": "suspended"}}.items():
        shop.put_epoch(f"/v1/tenants/{name}", body)
    assert ids("/v1/tenants", prefix="a-", limit=1) == ["a-1", "a-2"]
    assert ids("/v1/tenants", tier="gold") == ["a-1"]
    assert ids("/v1/tenants", state="suspended") == ["b"]
    assert ids("/v1/tenants", cell="cell-1", pool="default") == ["a-2"]
    assert ids("/v1/tenants", cell="cell-1", prefix="b") == []
    assert_problem(shop.get("/v1/cells", status="gone"), 422, "invalid-request", field="query.status")
