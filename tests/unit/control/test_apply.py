"""POST /v1/apply: what manifests say becomes so, all of it or nothing, and what that would change is told before."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from cellplane.cli.apply import EXIT_UNCONFIRMED, apply
from unit.control.serving import KEY_SOURCES, SHOP, Api, assert_problem

CELL = {"address": "127.0.0.1", "port": 8003}
Named = tuple[str, str, dict[str, Any]]
POLICY: dict[str, Any] = {"keySources": KEY_SOURCES}
FLEET: Named = ("Fleet", "shop", POLICY)


def told(response: httpx2.Response) -> list[tuple[str, str, str]]:
    assert response.status_code == 200, response.text
    return [(change["kind"], change["name"], change["action"]) for change in response.json()["changes"]]


def test_a_whole_fleet_comes_with_one_request(api: Api) -> None:
    response = api.apply(
        ("Tenant", "acme", {"tier": "gold"}),
        ("Pool", "default", {"cells": ["cell-1"]}),
        ("Pool", "big", {"cells": ["cell-3"], "strategy": "explicit"}),
        ("Fleet", "shop", {**POLICY, "rules": [{"name": "gold", "pool": "big", "match": {"tiers": ["gold"]}}]}),
        ("Cell", "cell-1", {**CELL, "port": 8001}),
        ("Cell", "cell-3", CELL),
    )
    assert ("Tenant", "acme", "create") in told(response)
    assert response.json()["epoch"] == 6
    assert response.json()["moves"]["tenants"] == 0
    assert api.published(6).find(b"acme") is not None
    assert api.get("/v1/tenants/acme").json()["cells"] == ["cell-3"]


def test_a_dry_run_tells_changes_and_moves_and_changes_nothing(shop: Api) -> None:
    for number in range(20):
        shop.put_epoch(f"/v1/tenants/t-{number}", {})
    before = shop.get("/healthz").json()["epoch"]
    resources: list[Named] = [("Cell", "cell-3", CELL), ("Pool", "default", {"cells": ["cell-1", "cell-2", "cell-3"]})]
    plan = shop.apply(*resources, dry_run=True).json()
    assert plan["epoch"] == before == shop.get("/healthz").json()["epoch"]
    assert [change["name"] for change in plan["changes"]] == ["cell-3", "default"]
    assert plan["changes"][1]["fields"] == {"cells": [["cell-1", "cell-2"], ["cell-1", "cell-2", "cell-3"]]}
    assert 0 < plan["moves"]["tenants"] < 20
    assert plan["moves"]["tenants_total"] == 20
    assert {flow["to"] for flow in plan["moves"]["by_cell"]} == {"cell-3"}
    done = shop.apply(*resources, base_epoch=plan["epoch"]).json()
    assert (done["changes"], done["moves"]) == (plan["changes"], plan["moves"])
    assert done["epoch"] == before + 2
    again = shop.apply(*resources).json()
    assert (again["epoch"], again["changes"], again["moves"]["tenants"]) == (before + 2, [], 0)


@pytest.mark.parametrize("fleet", [{}, {"rules": [{"name": "gold", "pool": "big", "tiers": ["gold"]}]}])
@pytest.mark.parametrize("tenants", [(), ("acme",)])
def test_a_fleet_that_is_put_before_its_pools_becomes_whole_and_is_published(
    api: Api, fleet: dict[str, Any], tenants: tuple[str, ...]
) -> None:
    api.put_epoch("/v1/fleet", {**SHOP, **fleet})
    epoch = api.put_epoch("/v1/cells/cell-3", CELL)
    for tenant in tenants:
        epoch = api.put_epoch(f"/v1/tenants/{tenant}", {"tier": "gold"})
    pools: list[Named] = [("Pool", name, {"cells": ["cell-3"]}) for name in ("big", "default")]
    plan, done = (api.apply(*pools, dry_run=dry_run) for dry_run in (True, False))
    assert told(plan) == told(done) == [("Pool", "big", "create"), ("Pool", "default", "create")]
    for response in (plan, done):
        assert response.json()["moves"]["tenants_total"] == 0, "before a fleet is whole, its tenants are nowhere"
    assert done.json()["epoch"] == epoch + 2
    assert api.published(epoch + 2).pools == ("big", "default")


def test_what_cannot_be_reported_is_not_done(shop: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("default")

    monkeypatch.setattr("cellplane.control.differences.count_moves", fail)
    assert shop.apply(("Cell", "cell-3", CELL)).status_code == 500
    assert shop.get("/healthz").json()["epoch"] == 4
    assert len(shop.get("/v1/cells").json()["items"]) == 2


def test_another_epoch_than_the_base_is_refused(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {})
    for dry_run in (True, False):
        problem = assert_problem(shop.apply(("Cell", "cell-3", CELL), base_epoch=4, dry_run=dry_run), 409, "conflict")
        assert "at epoch 5, not 4" in problem["detail"]


def test_one_that_cannot_be_refuses_all(shop: Api) -> None:
    response = shop.apply(("Cell", "cell-3", CELL), ("Pool", "default", {"cells": ["cell-1", "cell-9"]}))
    assert_problem(response, 422, "invalid-resource", field="Pool/default.spec.cells[1]")
    response = shop.apply(("Cell", "cell-3", CELL), ("Tenant", "a.b", {"jurisdiction": "eu"}))
    assert_problem(response, 422, "foreign-law", field="Tenant/a.b.spec.jurisdiction")
    assert [cell["id"] for cell in shop.get("/v1/cells").json()["items"]] == ["cell-1", "cell-2"]
    assert shop.get("/healthz").json()["epoch"] == 4


@pytest.mark.parametrize(
    ("resource", "field"),
    [
        (("Router", "a", {}), "kind"),
        (("Cell", "cell-3", {"address": "a"}), "Cell/cell-3.spec.port"),
        (("Cell", "cell-3", {**CELL, "colour": "red"}), "Cell/cell-3.spec.colour"),
        (("Cell", "Cell", CELL), "Cell/Cell.metadata.name"),
        (("Fleet", "other", POLICY), "fleet.name"),
        (("Fleet", "shop", {}), "Fleet/shop.spec.keySources"),
        (("Fleet", "shop", {"keySources": [{"kind": "jwt-claim", "name": "c"}]}), "Fleet/shop.spec.keySources[0]"),
        (("Fleet", "shop", {"keySources": [{"kind": "header", "name": "c"}]}), "Fleet/shop.spec.keySources[0].trusted"),
        (("Tenant", "acme", {"cells": ["cell-1", "cell-9"]}), "Tenant/acme.spec.cells[1]"),
    ],
)
def test_a_resource_that_cannot_be_is_refused_with_its_field(
    steady_shop: Api, resource: tuple[str, str, dict[str, Any]], field: str
) -> None:
    assert_problem(steady_shop.apply(resource), 422, "invalid-resource", field=field)


def test_a_fleet_that_is_not_whole_is_refused(api: Api) -> None:
    response = api.apply(FLEET, ("Cell", "cell-1", CELL))
    assert_problem(response, 422, "invalid-resource", field="pools")
    response = api.apply(FLEET, ("Cell", "cell-1", CELL), ("Pool", "other", {"cells": ["cell-1"]}))
    assert_problem(response, 422, "invalid-resource", field="Fleet/shop.spec.defaultPool")
    assert api.get("/healthz").json()["epoch"] == 0


def test_prune_removes_what_is_not_named_of_kinds_that_are(shop: Api) -> None:
    for tenant_id in ("a", "b"):
        shop.put_epoch(f"/v1/tenants/{tenant_id}", {"cell": "cell-1"})
    resources: list[Named] = [
        FLEET,
        ("Cell", "cell-1", {**CELL, "port": 8001}),
        ("Pool", "default", {"cells": ["cell-1"]}),
    ]
    assert told(shop.apply(*resources)) == [("Pool", "default", "change")]
    assert told(shop.apply(*resources, prune=True)) == [("Cell", "cell-2", "delete")]
    assert len(shop.get("/v1/tenants").json()["items"]) == 2
    plan = shop.apply(*resources, ("Tenant", "a", {}), prune=True)
    assert told(plan) == [("Tenant", "b", "delete")]
    assert plan.json()["moves"]["tenants_total"] == 1
    assert shop.get("/v1/tenants/a").json()["cell"] == "cell-1"


def test_a_cell_that_a_tenant_needs_is_not_pruned(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/a", {"cell": "cell-2"})
    resources: list[Named] = [("Cell", "cell-1", {**CELL, "port": 8001}), ("Pool", "default", {"cells": ["cell-1"]})]
    problem = assert_problem(shop.apply(*resources, prune=True, dry_run=True), 409, "conflict")
    assert "'a' is assigned to cell 'cell-2'" in problem["detail"]


def test_what_operations_change_stays_unless_it_is_named(shop: Api) -> None:
    shop.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002, "status": "draining"})
    shop.put_epoch("/v1/tenants/a", {"cell": "cell-2", "state": "suspended"})
    assert told(shop.apply(("Cell", "cell-2", {**CELL, "port": 8002}), ("Tenant", "a", {}))) == []
    changed = shop.apply(("Tenant", "a", {"cells": ["cell-1"], "tier": "gold"})).json()
    assert changed["changes"][0]["fields"] == {"cells": [["cell-2"], ["cell-1"]], "tier": [None, "gold"]}
    assert changed["moves"]["by_cell"] == [{"from": "cell-2", "to": "cell-1", "tenants": 1, "slots": 0}]
    assert shop.get("/v1/tenants/a").json()["state"] == "suspended"


def test_tenants_that_lose_their_slots_are_told_with_where_they_go(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/a", {"tier": "gold"})
    shop.put_epoch("/v1/tenants/b", {"cell": "cell-1"})
    rules = [{"name": "gold", "pool": "big", "match": {"tiers": ["gold"]}}]
    plan = shop.apply(
        ("Cell", "cell-3", CELL),
        ("Pool", "big", {"cells": ["cell-3"], "strategy": "explicit"}),
        ("Fleet", "shop", {**POLICY, "rules": rules}),
        dry_run=True,
    ).json()
    assert plan["changes"][-1] == {
        "kind": "Tenant",
        "name": "a",
        "action": "change",
        "fields": {"cells": [[], ["cell-3"]]},
    }
    assert plan["moves"]["tenants"] == 1
    assert plan["moves"]["by_pool"] == [{"pool": "big", "tenants": 1, "tenants_total": 1, "slots": 0}]


def test_a_file_that_names_no_cells_converges_where_the_pool_assigns(shop: Api) -> None:
    resources: list[Named] = [
        ("Cell", "cell-3", CELL),
        ("Cell", "cell-4", {**CELL, "port": 8004}),
        ("Pool", "big", {"cells": ["cell-3", "cell-4"], "strategy": "explicit"}),
        ("Tenant", "a", {"cells": [], "pool": "big"}),
        ("Tenant", "b", {"cells": [], "pool": "big"}),
    ]
    shop.apply(*resources)
    cells = [shop.get(f"/v1/tenants/{name}").json()["cells"] for name in "ab"]
    assert sorted(cells) == [["cell-3"], ["cell-4"]]
    # With b beside a, the pool would choose the other cell for either, if it were asked anew.
    shop.put_epoch("/v1/tenants/b", {"pool": "big", "cells": cells[0]})
    cells[1] = cells[0]
    assert told(shop.apply(*resources)) == []
    changed: Named = ("Tenant", "a", {"cells": [], "pool": "big", "tier": "gold"})
    assert shop.apply(changed).json()["changes"][0]["fields"] == {"tier": [None, "gold"]}
    assert [shop.get(f"/v1/tenants/{name}").json()["cells"] for name in "ab"] == cells
    elsewhere: Named = ("Tenant", "a", {"cells": [], "tier": "gold"})
    assert shop.apply(elsewhere).json()["changes"][0]["fields"] == {"cells": [cells[0], []], "pool": ["big", None]}
    assert told(shop.apply(elsewhere)) == []


ASKING: list[list[Named]] = [
    [("Fleet", "shop", {**POLICY, "unknownTenant": "reject"})],
    [("Fleet", "shop", {**POLICY, "unknownTenant": "default-cell", "defaultCell": "cell-1"})],
    [("Tenant", f"t-{number}", {"cells": ["cell-1"]}) for number in range(20)],
]


@pytest.mark.parametrize("resources", ASKING)
def test_moving_those_that_nobody_listed_has_to_be_confirmed(shop: Api, resources: list[Named], tmp_path: Path) -> None:
    file = tmp_path / "fleet.json"
    head = {"apiVersion": "cellplane.dev/v1alpha1"}
    documents = [{**head, "kind": kind, "metadata": {"name": name}, "spec": spec} for kind, name, spec in resources]
    file.write_text("".join(f"---\n{json.dumps(document)}\n" for document in documents))
    words = ["--control", f"http://127.0.0.1:{shop.port}", "-f", str(file)]
    refused = CliRunner().invoke(apply, words)
    assert refused.exit_code == EXIT_UNCONFIRMED, refused.output
    assert "% of tenants would change their cell" in refused.stderr
    assert shop.get("/healthz").json()["epoch"] == 4
    assert CliRunner().invoke(apply, [*words, "--yes"]).exit_code == 0
    assert shop.get("/healthz").json()["epoch"] == 4 + len(resources)


def test_newly_listed_tenants_come_from_the_cells_that_served_their_keys(shop: Api) -> None:
    resources: list[Named] = [("Tenant", f"t-{number}", {"cells": ["cell-1"]}) for number in range(20)]
    shop.put_epoch("/v1/tenants/known", {"cell": "cell-1"})
    served = [shop.get("/v1/route", tenant=name).json()["cell"] for _, name, _ in resources]
    plan = shop.apply(*resources, dry_run=True).json()["moves"]
    moved = served.count("cell-2")
    assert 0 < moved < 20
    assert (plan["tenants"], plan["tenants_total"]) == (moved, 21)
    assert plan["by_cell"] == [{"from": "cell-2", "to": "cell-1", "tenants": moved, "slots": 0}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.resources"),
        ({"resources": {}}, "body.resources"),
        ({"resources": [{"kind": "Cell", "name": "c"}]}, "body.resources.0.spec"),
        ({"resources": [], "prune": "yes"}, "body.prune"),
        ({"resources": [], "base_epoch": "4"}, "body.base_epoch"),
        ({"resources": [], "dryRun": True}, "body.dryRun"),
    ],
)
def test_a_body_that_is_no_apply_is_refused(steady_shop: Api, body: dict[str, Any], field: str) -> None:
    response = steady_shop.http.post("/v1/apply", json=body)
    assert_problem(response, 422, "invalid-request", field=field)


def test_nothing_to_apply_changes_nothing(shop: Api) -> None:
    assert told(shop.apply()) == []
