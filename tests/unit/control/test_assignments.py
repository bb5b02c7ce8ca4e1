"""Assignments as a resource: who has cells of their own, who put them there, and back to where slots send them."""

from pathlib import Path

import pytest

from unit.control.serving import Api, assert_problem, serving


@pytest.fixture
def assigned(shop: Api) -> Api:
    """Tenants a to e, of which b and d are assigned by hand."""
    for tenant in "abcde":
        shop.put_epoch(f"/v1/tenants/{tenant}", {"tier": "gold"})
    for tenant, cell in (("b", "cell-1"), ("d", "cell-2")):
        shop.put_epoch(f"/v1/assignments/{tenant}", {"cells": [cell]})
    return shop


def tenants(api: Api, **query: str | int) -> list[str]:
    return [item["tenant"] for item in api.get("/v1/assignments", **query).json()["items"]]


def test_those_who_are_assigned_are_listed_by_cell_tenant_and_pin(assigned: Api) -> None:
    assert tenants(assigned) == ["b", "d"]
    assert tenants(assigned, cell="cell-2") == ["d"]
    assert tenants(assigned, tenant="b") == ["b"]
    assert tenants(assigned, pool="default", pinned="true") == ["b", "d"]
    assert tenants(assigned, pinned="false") == []
    first = assigned.get("/v1/assignments", limit=1).json()
    assert (first["items"][0]["tenant"], first["next"]) == ("b", "b")
    last = assigned.get("/v1/assignments", limit=1, after="b").json()
    assert (last["items"][0]["tenant"], last["next"]) == ("d", None)


def test_a_page_reads_so_many_tenants_and_no_more(tmp_path: Path) -> None:
    with serving(tmp_path / "state", max_page_size=2, max_read_tenants=2) as api:
        api.fill()
        for tenant in "abcde":
            api.put_epoch(f"/v1/tenants/{tenant}", {"cell": "cell-1"} if tenant == "e" else {})
        found, after = [], ""
        for _ in range(3):
            page = api.get("/v1/assignments", after=after).json()
            found += page["items"]
            after = page["next"]
        assert [item["tenant"] for item in found] == ["e"]
        assert after is None


def test_one_is_put_as_its_version_says_and_is_the_tenants(assigned: Api) -> None:
    response = assigned.get("/v1/assignments/b")
    assert response.json() == {
        "tenant": "b",
        "cells": ["cell-1"],
        "pinned": True,
        "pool": "default",
        "version": 10,
    }
    headers = {"if-match": response.headers["etag"]}
    both = {"cells": ["cell-2", "cell-1"]}
    put = assigned.http.put("/v1/assignments/b", json=both, headers=headers)
    assert (put.status_code, put.json()["cells"], put.json()["epoch"]) == (200, both["cells"], 12)
    assert put.headers["etag"] == '"12"'
    assert_problem(assigned.http.put("/v1/assignments/b", json=both, headers=headers), 412, "precondition-failed")
    tenant = assigned.get("/v1/tenants/b").json()
    assert (tenant["cells"], tenant["tier"], tenant["version"]) == (both["cells"], "gold", 12)


def test_one_that_is_deleted_goes_by_its_slot_again(assigned: Api) -> None:
    headers = {"idempotency-key": "back"}
    epoch = assigned.http.delete("/v1/assignments/b", headers=headers).json()["epoch"]
    assert assigned.http.delete("/v1/assignments/b", headers=headers).json()["epoch"] == epoch
    assert_problem(assigned.get("/v1/assignments/b"), 404, "not-found")
    assert (assigned.get("/v1/tenants/b").json()["cells"], tenants(assigned)) == ([], ["d"])


def test_in_a_pool_that_assigns_a_pin_is_said_and_goes_with_its_assignment(shop: Api) -> None:
    shop.put_epoch("/v1/pools/big", {"cells": ["cell-1", "cell-2"], "strategy": "explicit"})
    shop.put_epoch("/v1/tenants/acme", {"pool": "big", "attributes": {"plan": "x"}})
    assert (tenants(shop, pinned="false"), tenants(shop, pinned="true")) == (["acme"], [])
    shop.put_epoch("/v1/assignments/acme", {"cells": ["cell-2"], "pinned": True})
    assert tenants(shop, pinned="true") == ["acme"]
    assert shop.get("/v1/tenants/acme").json()["attributes"] == {"pinned": "true", "plan": "x"}
    assert shop.http.delete("/v1/assignments/acme").status_code == 200
    assert (tenants(shop, pinned="false"), tenants(shop, pinned="true")) == (["acme"], [])


def test_what_cannot_be_assigned_is_refused(assigned: Api) -> None:
    assert_problem(assigned.put("/v1/assignments/nobody", {"cells": ["cell-1"]}), 404, "not-found")
    assert_problem(assigned.http.delete("/v1/assignments/nobody"), 404, "not-found")
    assert_problem(assigned.put("/v1/assignments/b", {"cells": []}), 422, "invalid-request", field="body.cells")
    nowhere = assigned.put("/v1/assignments/b", {"cells": ["cell-9"]})
    assert_problem(nowhere, 422, "invalid-resource", field="assignment.cells[0]")


def test_a_pool_takes_in_no_retired_cell(shop: Api) -> None:
    cell = {"address": "127.0.0.1", "port": 8003}
    shop.put_epoch("/v1/cells/cell-3", {**cell, "status": "retired"})
    refused = shop.put("/v1/pools/default", {"cells": ["cell-1", "cell-3"]})
    assert "cell-3" in assert_problem(refused, 409, "conflict")["detail"]
    shop.put_epoch("/v1/cells/cell-3", {**cell, "status": "active"})
    shop.put_epoch("/v1/pools/default", {"cells": ["cell-1", "cell-3"]})
