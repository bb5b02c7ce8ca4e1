"""Health, metrics and the API's description of itself."""

import json
import re
from typing import Any

from fastapi.routing import APIRoute

from cellplane.control.api import ROUTERS
from unit.control.serving import Api


def metrics_of(api: Api) -> str:
    response = api.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return response.text


def test_health_says_what_is_published(api: Api) -> None:
    assert api.get("/healthz").json() == {"status": "ok", "epoch": 0, "published_epoch": None, "problem": None}
    api.fill()
    assert api.get("/healthz").json() == {"status": "ok", "epoch": 4, "published_epoch": 4, "problem": None}


def test_every_metric_has_its_name(shop: Api) -> None:
    shop.http.post(
        "/v1/routers/router-1/report", json={"epoch": 3, "sha256": "", "proxy": "fake", "ready": True}
    ).raise_for_status()
    text = metrics_of(shop)
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert {name for name in names if not name.endswith("_created")} == {
        "cellplane_bridge_connected",
        "cellplane_bridge_events_total",
        "cellplane_bridge_failures_total",
        "cellplane_capacity_failures_total",
        "cellplane_cell_asks_total",
        "cellplane_cell_locks_total",
        "cellplane_cell_utilisation_ratio",
        "cellplane_directory_writable",
        "cellplane_leads",
        "cellplane_move_pause_seconds",
        "cellplane_move_silent_seconds",
        "cellplane_move_writes_held_seconds",
        "cellplane_moves",
        "cellplane_moves_ended_total",
        "cellplane_pool_days_left",
        "cellplane_pool_headroom_ratio",
        "cellplane_residency_refused_total",
        "cellplane_publication_held",
        "cellplane_published_epoch",
        "cellplane_published_base_epoch",
        "cellplane_table_bytes",
        "cellplane_overlay_tenants",
        "cellplane_publish_seconds",
        "cellplane_publish_failures_total",
        "cellplane_control_requests_total",
        "cellplane_control_refused_callers_total",
        "cellplane_audit_dropped_total",
        "cellplane_quarantined_tenants",
        "cellplane_quarantines_total",
        "cellplane_quarantine_releases_total",
        "cellplane_quarantine_left_alone_total",
        "cellplane_quarantine_failures_total",
        "cellplane_router_applied_epoch",
        "cellplane_target_epoch",
        "cellplane_target_failures_total",
        "cellplane_signing_key_not_after_seconds",
        "cellplane_table_check_installed",
        "cellplane_table_checks_failed_total",
    }
    assert "cellplane_published_epoch 4.0" in text
    assert "cellplane_publish_failures_total 0.0" in text
    assert 'cellplane_router_applied_epoch{router="router-1"} 3.0' in text
    assert f"cellplane_table_bytes {float(len(shop.get('/v1/table').content))}" in text


def test_requests_are_counted_by_route_not_by_path(shop: Api) -> None:
    for number in range(3):
        shop.put_epoch(f"/v1/tenants/t-{number}", {})
    shop.get("/nowhere/a")
    shop.get("/nowhere/b")
    shop.http.request("PROPFIND", "/healthz")
    text = metrics_of(shop)
    assert re.search(r'requests_total{method="PUT",route="/v1/tenants/{tenant_id[^"]*",status="200"} 3\.0', text)
    assert 'requests_total{method="GET",route="none",status="404"} 2.0' in text
    assert 'method="other"' in text
    assert "nowhere" not in text
    assert "t-1" not in text


def test_the_description_lists_every_route(shop: Api) -> None:
    response = shop.get("/openapi.json")
    document: dict[str, Any] = response.json()
    assert document["openapi"].startswith("3.1.")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routed = {
        (method, route.path_format)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert len(routed) >= 25
    # Pages for a browser are no part of the API.
    assert routed == described | {("GET", "/console/{name}")}
    assert {"Problem", "FleetSpec", "TenantSpec", "RouterReport"} <= set(document["components"]["schemas"])


def test_every_operation_says_how_it_refuses(shop: Api) -> None:
    for path, methods in shop.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            refusal = operation["responses"]["422"]
            assert "application/problem+json" in refusal["content"], (method, path)
            assert "HTTPValidationError" not in json.dumps(refusal["content"]["application/problem+json"])
            assert operation["tags"], (method, path)
