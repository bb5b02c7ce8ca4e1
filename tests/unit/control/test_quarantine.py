"""Quarantines through the API: what routers report, what people order, and what the warden tells of both."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from cellplane.model import TenantState
from unit.control.serving import SHOP, Api, assert_problem, eventually, serving
from unit.control.test_restarts import Process

QUARANTINE = {"cells": ["away"], "max_tenants": 2, "seconds": 60}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with serving(tmp_path, quarantine_interval_seconds=0.05, left_alone_forget_seconds=1.0) as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        fill(api)
        yield api


def fill(api: Api, **quarantine: Any) -> None:
    api.fill()
    api.put_epoch("/v1/cells/away", {"address": "127.0.0.1", "port": 8003})
    api.put_epoch("/v1/fleet", {**SHOP, "quarantine": {**QUARANTINE, **quarantine}})
    for tenant in ("acme", "beta", "gamma"):
        api.published(api.put_epoch(f"/v1/tenants/{tenant}", {"cell": "cell-1"}))


def report(api: Api, *tenants: str, router: str = "router-1", epoch: int = 1_000, share: float = 0.9) -> None:
    found = {"cell": "cell-1", "harm": "errors", "share": share, "amount": 90, "level": 0.1, "level_without": 0.0}
    suspects = [{"tenant": tenant, **found, "epoch": epoch} for tenant in tenants]
    body = {"epoch": epoch, "sha256": "", "proxy": "fake", "ready": True, "suspects": suspects}
    api.http.post(f"/v1/routers/{router}/report", json=body).raise_for_status()


def listed(api: Api) -> Any:
    return api.get("/v1/quarantine").json()


def away(api: Api) -> list[str]:
    return [each["tenant"] for each in listed(api)["items"]]


def left_alone(api: Api) -> dict[str, str]:
    return {each["tenant"]: each["by"] for each in listed(api)["left_alone"]}


def metric(api: Api, line: str) -> bool:
    return line in api.get("/metrics").text.splitlines()


def test_what_a_router_finds_sends_the_tenant_away_in_the_published_table(api: Api) -> None:
    report(api, "acme")
    eventually(lambda: away(api) == ["acme"], "it is in quarantine")
    (found,) = listed(api)["items"]
    assert found["cell"] == "away"
    assert found["reason"].startswith("90% of the errors of cell-1 are tenant acme's (90)")
    assert found["figures"] == {
        "cell": "cell-1",
        "harm": "errors",
        "share": 0.9,
        "amount": 90.0,
        "level": 0.1,
        "level_without": 0.0,
    }
    began, until = (datetime.fromisoformat(found[name]) for name in ("since", "until"))
    assert (until - began).total_seconds() == 60
    row = api.published(found["epoch"]).find(b"acme")
    assert row is not None
    assert row.state is TenantState.QUARANTINED
    tenant = api.get("/v1/tenants/acme").json()
    assert (tenant["cells"], tenant["placed"], tenant["state"]) == (["cell-1"], "away", "active")
    assert tenant["quarantine"] == found
    assert [each["quarantine"] for each in api.get("/v1/tenants").json()["items"]] == [found, None, None]
    eventually(lambda: metric(api, 'cellplane_quarantines_total{by="router"} 1.0'), "it is counted")
    assert metric(api, "cellplane_quarantined_tenants 1.0")


def test_several_routers_and_a_report_that_comes_twice_are_one_finding(api: Api) -> None:
    for router in ("router-1", "router-2", "router-1"):
        report(api, "acme", router=router)
    eventually(lambda: away(api) == ["acme"], "it is in quarantine")
    (found,) = listed(api)["items"]
    report(api, "acme", router="router-3", share=1.0)
    report(api, "beta")
    eventually(lambda: away(api) == ["acme", "beta"], "the next is too")
    assert listed(api)["items"][0] == found


def test_a_late_report_sends_nobody_back_and_a_new_one_does(api: Api) -> None:
    ordered = api.put("/v1/quarantine/acme", {}).json()
    released = api.http.delete("/v1/quarantine/acme", params={"hold": 0}).json()
    assert released["epoch"] == ordered["epoch"] + 1
    report(api, "acme", epoch=ordered["epoch"])
    report(api, "beta")
    eventually(lambda: away(api) == ["beta"], "the other is in quarantine")
    assert left_alone(api) == {}
    report(api, "acme", epoch=released["epoch"])
    eventually(lambda: away(api) == ["acme", "beta"], "new evidence counts")


def test_the_bound_holds_and_says_so_once(api: Api) -> None:
    for _ in range(3):
        report(api, "acme", "beta", "gamma")
        eventually(lambda: left_alone(api) == {"gamma": "bound"}, "one is left alone")
    assert away(api) == ["acme", "beta"]
    assert metric(api, 'cellplane_quarantine_left_alone_total{by="bound"} 1.0')
    assert_problem(api.put("/v1/quarantine/gamma", {}), 409, "conflict")
    eventually(lambda: left_alone(api) == {}, "nobody speaks of it any more")
    api.http.delete("/v1/quarantine/acme").raise_for_status()
    report(api, "gamma")
    eventually(lambda: away(api) == ["beta", "gamma"], "there is room")


def test_a_release_by_hand_holds_and_shows_until_when(api: Api) -> None:
    report(api, "acme")
    eventually(lambda: away(api) == ["acme"], "it is in quarantine")
    released = api.http.delete("/v1/quarantine/acme", params={"hold": 120}).json()
    ended, held = (datetime.fromisoformat(released[name]) for name in ("ended", "held_until"))
    assert (held - ended).total_seconds() == 120
    assert (released["end_reason"], away(api)) == ("released by admin", [])
    assert listed(api)["held"] == [released]
    report(api, "acme")
    eventually(lambda: left_alone(api) == {"acme": "held"}, "it stays")
    eventually(lambda: metric(api, "cellplane_quarantine_releases_total 1.0"), "it is counted")
    row = api.published(released["epoch"]).find(b"acme")
    assert row is not None
    assert row.state is TenantState.ACTIVE
    assert_problem(api.http.delete("/v1/quarantine/acme"), 404, "not-found")


def test_a_person_says_how_long_and_why(api: Api) -> None:
    found = api.put("/v1/quarantine/acme", {"seconds": 90.5, "reason": "its import"}).json()
    began, until = (datetime.fromisoformat(found[name]) for name in ("since", "until"))
    assert (until - began).total_seconds() == 90.5
    assert (found["reason"], found["figures"]) == ("its import", {})
    api.published(found["epoch"])
    view = api.get("/v1/route", tenant="acme").json()
    assert view["quarantine"] == found
    assert view["text"] == (
        f"acme is in quarantine until {until:%Y-%m-%d %H:%M:%S} UTC, by order of a person (its import): its requests "
        f"go to away and to no other cell (epoch {found['epoch']})"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"seconds": 0}, "body.seconds"),
        ({"seconds": 1e9}, "body.seconds"),
        ({"reason": ""}, "body.reason"),
        ({"reason": "x" * 501}, "body.reason"),
        ({"until": "tomorrow"}, "body.until"),
    ],
)
def test_an_order_that_cannot_be_names_its_field(api: Api, body: dict[str, Any], field: str) -> None:
    assert_problem(api.put("/v1/quarantine/acme", body), 422, "invalid-request", field=field)


def test_a_tenant_that_cannot_be_is_refused(api: Api) -> None:
    for method in ("PUT", "DELETE"):
        answer = api.http.request(method, "/v1/quarantine/a%2Fb", json={} if method == "PUT" else None)
        assert_problem(answer, 422, "invalid-resource", field="tenant_id")
    report(api, "a/b")
    report(api, "acme")
    eventually(lambda: away(api) == ["acme"], "the other is in quarantine")


def test_without_a_quarantine_cell_or_by_hand_alone_everybody_is_left_alone(api: Api) -> None:
    for quarantine, by in (({}, "no-cell"), ({**QUARANTINE, "automatic": False}, "by-hand")):
        api.put_epoch("/v1/fleet", {**SHOP, "quarantine": quarantine})
        eventually(lambda: left_alone(api) == {}, "nothing is left of before")
        report(api, "acme")
        eventually(lambda: left_alone(api) == {"acme": by}, "it is left alone")  # noqa: B023  # asked at once
    assert away(api) == []
    assert listed(api)["automatic"] is False


@pytest.mark.long
def test_it_ends_in_time_also_where_the_control_plane_was_killed_meanwhile(tmp_path: Path) -> None:
    control = Process(tmp_path)
    try:
        shop = Api(control.http, control.port, FastAPI(), control.token)
        fill(shop, seconds=5)
        report(shop, "acme")
        eventually(lambda: away(shop) == ["acme"], "it is in quarantine")
        (found,) = listed(shop)["items"]
    finally:
        control.end(signal.SIGKILL)
    control = Process(tmp_path)
    try:
        shop = Api(control.http, control.port, FastAPI(), control.token)
        eventually(lambda: away(shop) == [], "its time is over", seconds=20)
        row = shop.published(found["epoch"] + 1).find(b"acme")
        assert row is not None
        assert row.state is TenantState.ACTIVE
    finally:
        control.end(signal.SIGKILL)


def run(api: Api, *arguments: str, code: int = 0) -> str:
    # A process of its own, as the control plane in this one logs to the same output.
    command = [sys.executable, "-c", "from cellplane.cli import main; main()", *arguments]
    command += ["--control", f"http://127.0.0.1:{api.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_commands_send_away_list_and_release(api: Api) -> None:
    assert run(api, "quarantine", "list") == "Nobody is in quarantine.\n"
    added = run(api, "quarantine", "add", "acme", "--for", "2h", "--reason", "its import")
    assert added.startswith("acme → away, quarantined until ")
    assert added.endswith(", published, but no router reports\n")
    (found,) = json.loads(run(api, "quarantine", "list", "--json"))["items"]
    began, until = (datetime.fromisoformat(found[name]) for name in ("since", "until"))
    assert (until - began).total_seconds() == 7_200
    assert run(api, "quarantine", "list").splitlines()[1].split() == [
        *("acme", "quarantined", "away", *f"{until:%Y-%m-%d %H:%M:%S} UTC".split(), "its", "import")
    ]
    rows = {line.split()[0]: line.split() for line in run(api, "tenants").splitlines()}
    assert rows["acme"][1:4] == ["away", "quarantine", "cell-1"]
    assert rows["acme"][-1] == "quarantined"
    assert rows["beta"][1:4] == ["cell-1", "assignment", "cell-1"]
    assert run(api, "route", "acme").startswith("acme is in quarantine until ")
    released = run(api, "quarantine", "release", "acme", "--hold", "90s", "--no-wait")
    assert released.startswith("acme → home, not sent back before ")
    assert run(api, "quarantine", "list").splitlines()[1].split()[:2] == ["acme", "held"]
    report(api, "beta")
    eventually(lambda: away(api) == ["beta"], "a router found it")
    answer = json.loads(run(api, "quarantine", "release", "beta", "--hold", "0", "--json", "--no-wait"))
    assert (answer["tenant"], answer["held_until"], answer["routers"]) == ("beta", None, None)
    assert "is not in quarantine (404)" in run(api, "quarantine", "release", "beta", code=1)
    assert "expected seconds, or a number with s, m, h or d" in run(
        api, "quarantine", "add", "x", "--for", "1w", code=2
    )
