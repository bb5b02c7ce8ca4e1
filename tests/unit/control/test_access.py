"""Who may do what: every route says what it needs, and lets nobody else pass."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from cellplane.control.access.needs import Needs, needs_nothing
from cellplane.control.access.roles import PERMISSIONS, Permission, Role
from cellplane.control.api import ROUTERS
from cellplane.control.api.asking import EVERYWHERE
from support import plain_http
from unit.control.serving import Api, as_holder, assert_problem, eventually, serving

ROUTES = [
    (method, route)
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods or ())
]

V, O, A, C, R = Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.CELL, Role.ROUTER  # noqa: E741  # a column each
MATRIX: dict[tuple[str, str], set[Role]] = {
    ("GET", "/metrics"): {V, O, A},
    ("GET", "/v1/status"): {V, O, A},
    ("GET", "/v1/fleet"): {V, O, A},
    ("PUT", "/v1/fleet"): {O, A},
    ("GET", "/v1/resources"): {V, O, A},
    ("POST", "/v1/apply"): {O, A},
    ("GET", "/v1/cells"): {V, O, A},
    ("GET", "/v1/cells/{cell_id}"): {V, O, A},
    ("PUT", "/v1/cells/{cell_id}"): {O, A},
    ("DELETE", "/v1/cells/{cell_id}"): {O, A},
    ("GET", "/v1/pools"): {V, O, A},
    ("GET", "/v1/pools/{name}"): {V, O, A},
    ("PUT", "/v1/pools/{name}"): {O, A},
    ("DELETE", "/v1/pools/{name}"): {O, A},
    ("GET", "/v1/tenants"): {V, O, A},
    ("GET", "/v1/tenants/{tenant_id}"): {V, O, A},
    ("PUT", "/v1/tenants/{tenant_id}"): {O, A},
    ("DELETE", "/v1/tenants/{tenant_id}"): {O, A},
    ("GET", "/v1/assignments"): {V, O, A},
    ("GET", "/v1/assignments/{tenant_id}"): {V, O, A},
    ("PUT", "/v1/assignments/{tenant_id}"): {O, A},
    ("DELETE", "/v1/assignments/{tenant_id}"): {O, A},
    ("GET", "/v1/quarantine"): {V, O, A},
    ("PUT", "/v1/quarantine/{tenant_id}"): {O, A},
    ("DELETE", "/v1/quarantine/{tenant_id}"): {O, A},
    ("GET", "/v1/moves"): {V, O, A},
    ("POST", "/v1/moves/plan"): {V, O, A},
    ("GET", "/v1/moves/{move_id}"): {V, O, A},
    ("PUT", "/v1/moves/{move_id}"): {O, A},
    ("POST", "/v1/moves/{move_id}/report"): {O, A},
    ("PUT", "/v1/moves/{move_id}/wish"): {O, A},
    ("GET", "/v1/route"): {V, O, A},
    ("GET", "/v1/table"): {V, O, A, R},
    ("GET", "/v1/routers"): {V, O, A},
    ("GET", "/v1/shadows"): {V, O, A},
    ("POST", "/v1/routers/{router_id}/report"): {A, R},
    ("GET", "/v1/events"): {V, O, A},
    ("GET", "/v1/events/watch"): {V, O, A},
    ("GET", "/v1/epochs"): {V, O, A},
    ("GET", "/v1/epochs/{epoch}/table"): {V, O, A},
    ("GET", "/v1/epochs/{epoch}/tenants/{tenant_id}"): {V, O, A},
    ("POST", "/v1/epochs/allow"): {O, A},
    ("GET", "/v1/diff"): {V, O, A},
    ("POST", "/v1/rollback"): {O, A},
    ("POST", "/v1/cells/{cell_id}/status"): {O, A},
    ("GET", "/v1/residency"): {V, O, A},
    ("GET", "/v1/config"): {V, O, A},
    ("GET", "/v1/config/{setting_id}"): {V, O, A},
    ("PUT", "/v1/config/{setting_id}"): {O, A},
    ("DELETE", "/v1/config/{setting_id}"): {O, A},
    ("GET", "/v1/flags"): {V, O, A},
    ("GET", "/v1/flags/{name}"): {V, O, A},
    ("PUT", "/v1/flags/{name}"): {O, A},
    ("DELETE", "/v1/flags/{name}"): {O, A},
    ("GET", "/v1/cells/{cell_id}/config"): {V, O, A, C},
    ("GET", "/v1/capacity"): {V, O, A},
    ("POST", "/v1/cells/{cell_id}/report"): {A, C},
    ("DELETE", "/v1/cells/{cell_id}/hold"): {O, A},
    ("GET", "/v1/bulk/tenants"): {V, O, A},
    ("POST", "/v1/bulk/tenants"): {O, A},
    ("POST", "/v1/tokens"): {A},
    ("GET", "/v1/tokens"): {A},
    ("DELETE", "/v1/tokens/{token_id}"): {A},
    ("GET", "/v1/audit"): {A},
}
"""Who passes, by route; but for /healthz, where all do."""

REPORT = {"epoch": 1, "sha256": "", "proxy": "fake", "ready": True}


def needed(route: APIRoute) -> list[object]:
    found = [each.dependency for each in route.dependencies]
    return [each for each in found if isinstance(each, Needs) or each is needs_nothing]


SUBJECTS = {Role.ROUTER: "router-1", Role.CELL: "nowhere"}


@pytest.fixture(scope="module")
def holders(steady_shop: Api) -> dict[Role, str]:
    """A token of each role."""
    return {
        role: steady_shop.holder(name=f"a-{role.value}", role=role.value, subject=SUBJECTS.get(role)) for role in Role
    }


def test_every_route_says_what_any_may_answer() -> None:
    assert [route.path for _, route in ROUTES if not EVERYWHERE.keys() <= route.responses.keys()] == []


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=lambda value: getattr(value, "path", value))
def test_every_route_says_once_what_it_needs(method: str, route: APIRoute) -> None:
    (needs,) = needed(route)
    if not isinstance(needs, Needs):
        assert route.path in {"/healthz", "/console/{name}"}
        return
    allowed = MATRIX[method, route.path_format]
    assert allowed == {role for role in Role if needs.permission in PERMISSIONS[role]}
    subjects = {
        Permission.REPORT_ROUTER: "router_id",
        Permission.REPORT_CELL: "cell_id",
        Permission.READ_CONFIG: "cell_id",
    }
    assert needs.subject == subjects.get(needs.permission)


def test_every_role_passes_where_it_may_and_nowhere_else(steady_shop: Api, holders: dict[Role, str]) -> None:
    for (method, path), allowed in MATRIX.items():
        names = {
            "cell_id": "nowhere",
            "name": "nowhere",
            "tenant_id": "-",
            "setting_id": "fleet/nothing",
            "router_id": "router-1",
            "move_id": "nothing",
            "epoch": "99",
        }
        url = path.format(**names, token_id="0" * 16)
        for role, token in holders.items():
            # Without a body, and of what is not there: whoever passes changes nothing.
            with steady_shop.http.stream(method, url, headers=as_holder(token)) as response:
                if response.headers["content-type"].startswith("text/event-stream"):
                    assert role in allowed, role
                    continue
                response.read()
            where = f"{role.value}: {method} {url}: {response.text[:200]}"
            assert (response.status_code == 403) == (role not in allowed), where
            assert response.status_code not in {401, 429, 500}, where
            if role not in allowed:
                problem = assert_problem(response, 403, "forbidden")
                assert f"a-{role.value}" in problem["detail"]


def test_nobody_passes_without_a_token_or_with_a_wrong_one(steady_shop: Api) -> None:
    good = steady_shop.token
    wrong = [
        "",
        "Bearer",
        f"Basic {good}",
        good,
        f"Bearer {good}x",
        f"Bearer {good[:-1]}",
        f"Bearer {good.upper()}",
        f"Bearer  {good}",
        "Bearer " + "a" * 20_000,
        "Bearer cp_" + "0" * 16 + "_" + "0" * 64,
        f"Bearer cp_{good.split('_')[1]}_" + "0" * 64,
    ]
    with nobody(steady_shop) as http:
        for (method, path), _ in list(MATRIX.items())[:12]:
            assert_problem(http.request(method, path), 401, "unauthenticated")
        assert http.get("/nowhere").status_code == 401, "not even what there is"
        assert http.get("/openapi.json").status_code == 401
        for value in wrong:
            response = http.get("/v1/cells", headers={"authorization": value})
            assert response.status_code == 401, value[:100]
            assert good not in response.text
        two = http.get("/v1/cells", headers=[("authorization", f"Bearer {good}"), ("authorization", "Bearer x")])
        assert_problem(two, 401, "unauthenticated")
        assert two.headers["www-authenticate"].startswith("Bearer")


def nobody(api: Api) -> httpx2.Client:
    """A client that does not say who it is."""
    return plain_http.client(base_url=f"http://127.0.0.1:{api.port}", timeout=30)


def test_health_says_ok_to_all_and_more_to_those_who_are_known(shop: Api) -> None:
    with nobody(shop) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/healthz", headers={"authorization": "Bearer x"}).status_code == 401
    assert shop.get("/healthz").json()["epoch"] == 4


def test_the_description_says_which_routes_need_a_token(steady_shop: Api) -> None:
    document = steady_shop.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            needs = operation.get("security", [])
            assert needs == ([] if path == "/healthz" else [{"token": []}]), f"{method} {path}"


def test_a_path_that_looks_like_that_of_health_is_not(shop: Api) -> None:
    with nobody(shop) as http:
        for path in ("/healthz/", "/healthz%3F", "/healthz%23", "/%68ealthz/x", "//healthz", "/v1/cells?/healthz"):
            assert http.get(path).status_code == 401, path


def test_a_router_reports_for_itself_alone(shop: Api) -> None:
    token = shop.holder(name="edge-7", role="router", subject="router-7")
    http = shop.http
    mine = http.post("/v1/routers/router-7/report", json=REPORT, headers=as_holder(token))
    assert mine.status_code == 200
    others = http.post("/v1/routers/router-8/report", json=REPORT, headers=as_holder(token))
    assert "that of 'router-7'" in assert_problem(others, 403, "forbidden")["detail"]
    assert [each["id"] for each in shop.get("/v1/routers").json()["items"]] == ["router-7"]


def test_a_token_may_be_narrower_than_its_role(shop: Api) -> None:
    token = shop.holder(name="signup", role="operator", permissions=["tenants:write"])
    headers = as_holder(token)
    assert shop.http.put("/v1/tenants/acme", json={}, headers=headers).status_code == 200
    assert_problem(shop.http.get("/v1/tenants", headers=headers), 403, "forbidden")
    assert_problem(shop.http.put("/v1/pools/x", json={"cells": ["cell-1"]}, headers=headers), 403, "forbidden")


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"name": "", "role": "viewer"}, "name"),
        ({"name": "control-plane", "role": "viewer"}, "name"),
        ({"name": "oidc:ann", "role": "viewer"}, "name"),
        ({"name": "a", "role": "router"}, "subject"),
        ({"name": "a", "role": "viewer", "subject": "cell-1"}, "subject"),
        ({"name": "a", "role": "cell", "subject": "No Name"}, "subject"),
        ({"name": "a", "role": "viewer", "permissions": ["fleet:write"]}, "permissions"),
        ({"name": "a", "role": "viewer", "permissions": []}, "permissions"),
        ({"name": "a", "role": "viewer", "days": 367}, "days"),
    ],
)
def test_a_token_that_cannot_be_is_refused_with_its_field(steady_shop: Api, order: dict[str, Any], field: str) -> None:
    response = steady_shop.http.post("/v1/tokens", json=order)
    assert_problem(response, 422, "invalid-resource", field=field)


def test_a_revoked_token_counts_no_more_at_once(shop: Api) -> None:
    made = shop.http.post("/v1/tokens", json={"name": "ci", "role": "viewer"}).json()
    headers = as_holder(made["token"])
    assert shop.http.get("/v1/cells", headers=headers).status_code == 200
    assert shop.http.delete(f"/v1/tokens/{made['id']}").json()["state"] == "revoked"
    assert_problem(shop.http.get("/v1/cells", headers=headers), 401, "unauthenticated")
    listed = {each["name"]: each for each in shop.get("/v1/tokens").json()["items"]}
    assert listed["ci"]["state"] == "revoked"
    assert made["token"] not in shop.get("/v1/tokens").text, "the secret is told once"
    assert_problem(shop.http.delete("/v1/tokens/nobody"), 404, "not-found")


def test_the_admin_token_is_kept_over_restarts_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(state) as first:
        assert first.get("/v1/cells").status_code == 200
    assert (state / "admin-token").stat().st_mode & 0o777 == 0o600
    with serving(state) as second:
        assert second.token == first.token
        (found,) = second.get("/v1/tokens").json()["items"]
        assert (found["name"], found["role"], found["created_by"]) == ("admin", "admin", "control-plane")
        assert second.http.delete(f"/v1/tokens/{found['id']}").status_code == 200
    with serving(state) as third:
        assert third.token != first.token, "one that was revoked is replaced"
        assert third.get("/v1/cells").status_code == 200


def test_a_change_and_its_caller_are_on_record_and_so_is_who_was_refused(shop: Api) -> None:
    token = shop.holder(name="ann", role="viewer")
    shop.http.put("/v1/tenants/acme", json={}, headers={"x-cellplane-reason": "ticket 7", "x-cellplane-actor": "bob"})
    shop.http.delete("/v1/tenants/acme", headers=as_holder(token))
    shop.http.get("/v1/tenants/none", headers={"authorization": "Bearer cp_wrong"})
    assert shop.http.put("/v1/tenants/b", json={"cell": "cell-9"}).status_code == 422, "it changed nothing"
    eventually(lambda: len(shop.get("/v1/audit", refused="true").json()["items"]) == 2, "refusals are written")
    unknown, ann = shop.get("/v1/audit", refused="true").json()["items"]
    assert (ann["caller"], ann["role"], ann["method"], ann["path"]) == ("ann", "viewer", "DELETE", "/v1/tenants/acme")
    assert (ann["status"], ann["source"], ann["epoch"]) == (403, "127.0.0.1", None)
    assert "tenants:write" in ann["reason"]
    assert (unknown["caller"], unknown["status"], unknown["path"]) == ("", 401, "/v1/tenants/none")
    change, made = shop.get("/v1/audit", refused="false", limit=2).json()["items"]
    assert (change["caller"], change["reason"], change["epoch"]) == ("admin", "ticket 7", 5)
    assert made["path"] == "/v1/tokens"
    assert "for ann (viewer)" in made["reason"]
    assert [each["caller"] for each in shop.get("/v1/audit", caller="ann").json()["items"]] == ["ann"]
    page = shop.get("/v1/audit", limit=1).json()
    assert shop.get("/v1/audit", limit=1, before=page["next"]).json()["items"][0]["id"] < page["next"]
    text = shop.get("/v1/audit", limit=1000).text
    assert token not in text
    assert token.split("_")[2] not in text


def test_a_dry_run_and_a_repeated_request_are_no_changes(shop: Api) -> None:
    before = len(shop.get("/v1/audit", limit=1000).json()["items"])
    shop.apply(("Cell", "cell-3", {"address": "127.0.0.1", "port": 8003}), dry_run=True)
    for _ in range(2):
        shop.http.put("/v1/tenants/acme", json={}, headers={"idempotency-key": "k"})
    assert len(shop.get("/v1/audit", limit=1000).json()["items"]) == before + 1
