"""`cellplane cell`: a cell comes and goes while the fleet serves, and nobody else notices."""

import json
import os
import re
import subprocess
from collections.abc import Iterator

import httpx2
import pytest

from e2e.harness import CELLPLANE, Demo, eventually, leftovers, start_demo
from support import plain_http

BODY = {"channel": "push", "to": "device", "body": "Hello"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo of this file's own, with room for one cell more."""
    with start_demo(tmp_path_factory.mktemp("cells") / "state", "--max-cells", "4") as demo:
        yield demo


@pytest.fixture
def demo(own: Demo) -> Iterator[Demo]:
    """The demo with its three cells, before and after."""
    eventually(own.whole, "the demo is whole before the test", seconds=30)
    yield own
    eventually(own.whole, "the demo is whole after the test", seconds=30)
    assert set(own.pids()["cells"]) == {"cell-1", "cell-2", "cell-3"}


@pytest.fixture
def fourth(demo: Demo) -> Iterator[Demo]:
    """The demo with a fourth cell in its pool."""
    demo.run("cell", "create", "cell-4", "--pool", "default")
    yield demo
    remove_fourth(demo)


def remove_fourth(demo: Demo) -> None:
    if any(cell["id"] == "cell-4" and cell["status"] != "retired" for cell in demo.get("/v1/cells")["items"]):
        if status(demo, "cell-4") != "provisioning":
            demo.run("cell", "drain", "cell-4", "--leave-pools")
        demo.run("cell", "retire", "cell-4")
    demo.run("cell", "destroy", "cell-4")


def post(demo: Demo, tenant: str) -> httpx2.Response:
    headers = {"X-Tenant-Id": tenant}
    return plain_http.post(f"{demo.router}/notifications", json=BODY, headers=headers, timeout=30)


def status_or_none(demo: Demo, cell_id: str) -> str | None:
    return {cell["id"]: cell["status"] for cell in demo.get("/v1/cells")["items"]}.get(cell_id)


def status(demo: Demo, cell_id: str) -> str:
    found: str = {cell["id"]: cell["status"] for cell in demo.get("/v1/cells")["items"]}[cell_id]
    return found


def test_a_cell_comes_serves_and_goes_and_no_request_fails(demo: Demo) -> None:
    before = demo.placed()
    with demo.load(demo.tenants) as answers:
        said = demo.run("cell", "create", "cell-4", "--pool", "default")
        assert re.search(r"^cell-4: active at 127\.0\.0\.1:\d+, in pool default$", said, re.MULTILINE)
        moved = demo.tenants_of("cell-4")
        assert moved, "a fourth of the slots is the new cell's"
        assert {tenant: cell for tenant, cell in demo.placed().items() if tenant not in moved} == {
            tenant: cell for tenant, cell in before.items() if tenant not in moved
        }
        taken = [post(demo, tenant) for tenant in moved]
        assert {(answer.status_code, answer.headers["x-cell-id"]) for answer in taken} == {(202, "cell-4")}
        assert set(demo.served_by().values()) == {"cell-1", "cell-2", "cell-3", "cell-4"}
        eventually(lambda: any(answer.cell == "cell-4" for answer in answers), "the load reaches the new cell")
        eventually((demo.state / "cells" / "cell-4" / "config.json").exists, "it is told its settings and flags")
        demo.run("cell", "drain", "cell-4")
        assert demo.ask(moved[0]).headers["x-cell-id"] == "cell-4", "it serves whom it has"
        demo.run("cell", "drain", "cell-4", "--leave-pools")
        assert demo.placed() == before
        demo.run("cell", "retire", "cell-4")
        assert "cell-4: destroyed, with its data" in demo.run("cell", "destroy", "cell-4")
    assert [answer for answer in answers if answer.status != 200] == [], "no request failed, of nobody"
    assert not (demo.state / "cells" / "cell-4").exists()
    assert not [path for path in demo.state.rglob("*cell-4*") if "boards" not in path.parts]
    assert not [command for command in leftovers(demo.state).values() if "cell-4" in command]
    assert not [name for name in json.loads((demo.state / "endpoints.json").read_text())["ports"] if "cell-4" in name]


@pytest.mark.long
def test_a_pool_that_runs_short_gets_a_cell_of_this_fleet(demo: Demo) -> None:
    with plain_http.client(base_url=demo.control, headers=demo.headers, timeout=30) as api:
        spec = {"cells": ["cell-1", "cell-2"], "strategy": "explicit"}
        api.put("/v1/pools/picked", json=spec).raise_for_status()
        for cell, used in (("cell-1", 72), ("cell-2", 64)):
            body = {"connections": {"used": used, "limit": 100}}
            api.post(f"/v1/cells/{cell}/report", json=body).raise_for_status()
        eventually(lambda: status_or_none(demo, "cell-4") == "active", "there is one more", seconds=60)
        eventually(lambda: status(demo, "cell-1") == "locked", "the full one is locked", seconds=30)
        newcomers = {}
        for tenant in ("newcomer-1", "newcomer-2"):
            api.put(f"/v1/tenants/{tenant}", json={"pool": "picked"}).raise_for_status()
            (newcomers[tenant],) = api.get(f"/v1/tenants/{tenant}").json()["cells"]
        assert sorted(newcomers.values()) == ["cell-2", "cell-4"], "cell-1 takes none"
        for tenant, cell in newcomers.items():
            eventually(lambda: post(demo, tenant).headers.get("x-cell-id") == cell, "it is served there")  # noqa: B023
        assert "cell-4 was made" in demo.run("capacity")
        for path in (*(f"/v1/tenants/{tenant}" for tenant in newcomers), "/v1/pools/picked"):
            api.delete(path).raise_for_status()
    demo.run("cell", "unlock", "cell-1")
    demo.run("capacity", "release", "cell-1")
    remove_fourth(demo)


@pytest.mark.long
def test_asking_again_changes_nothing_and_asking_otherwise_is_refused(fourth: Demo) -> None:
    def create(*arguments: str) -> dict[str, object]:
        said = fourth.run("cell", "create", "cell-4", "--pool", "default", "--json", *arguments)
        found: dict[str, object] = json.loads(said[said.index("{") : said.rindex("}") + 1])
        return found

    epoch = fourth.get("/healthz")["epoch"]
    made = create()
    assert made["status"] == "active"
    assert made["routers"] == 1
    assert fourth.get("/healthz")["epoch"] == epoch
    refused = fourth.run("cell", "create", "cell-4", "--region", "eu-1", ok=False)
    assert "cell-4 is there with region local, not eu-1" in refused
    assert create() == made


@pytest.mark.long
def test_a_cell_is_not_destroyed_while_somebody_may_need_it(fourth: Demo) -> None:
    def refused() -> str:
        return fourth.run("cell", "destroy", "cell-4", ok=False)

    def not_retired() -> str:
        return fourth.run("cell", "retire", "cell-4", ok=False)

    assert "cell-4 is active in the control plane" in refused()
    assert "it is in pool 'default', which may place tenants on it: take it out first" in not_retired()
    fourth.run("assign", "tenant-001", "cell-4")
    fourth.run("cell", "drain", "cell-4", "--leave-pools")
    assert "cell-4 is draining in the control plane" in refused()
    try:
        assert "1 tenant is assigned to it: move them to other cells first" in not_retired()
    finally:
        fourth.run("unassign", "tenant-001")
    fourth.run("cell", "retire", "cell-4")
    assert "cell-4 is retired: `cellplane cell destroy cell-4` removes it" in fourth.run(
        "cell", "create", "cell-4", ok=False
    )
    assert "cell-4: running" in fourth.run("cell", "start", "cell-4")


@pytest.mark.long
def test_a_cell_that_the_control_plane_knows_already_is_made_as_it_has_it(demo: Demo) -> None:
    place = {"region": "eu-1", "zone": "eu-1a", "jurisdiction": "eu", "release": "r1", "status": "provisioning"}
    demo.put("/v1/cells/cell-4", {"address": "127.0.0.1", "port": 9, **place})
    said = demo.run("cell", "create", "cell-4", "--json")
    made = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert {name: made[name] for name in place} == {**place, "status": "active"}
    found = {cell["id"]: cell for cell in demo.get("/v1/cells")["items"]}["cell-4"]
    assert (found["healthy"], found["port"]) == (True, made["port"])
    remove_fourth(demo)


@pytest.mark.long
def test_a_cell_that_is_stopped_keeps_its_data_and_chaos_leaves_it_alone(fourth: Demo) -> None:
    tenant = fourth.tenants_of("cell-4")[0]
    created = post(fourth, tenant).json()
    assert "cell-4: stopped" in fourth.run("cell", "stop", "cell-4")
    assert fourth.ask(tenant).status_code == 503
    assert "stopped" in fourth.run("cell", "describe", "cell-4")
    for verb in ("kill", "restore"):
        said = fourth.run("chaos", verb, "cell-4", ok=False)
        assert "cell-4 is stopped: start it with `cellplane cell start cell-4`" in said
    assert "cell-4: running" in fourth.run("cell", "start", "cell-4")
    eventually(lambda: fourth.ask(tenant, f"/notifications/{created['id']}").status_code == 200, "its data is there")


@pytest.mark.long
def test_a_cell_that_was_killed_is_failed_until_it_is_started(fourth: Demo) -> None:
    fourth.run("chaos", "kill", "cell-4")
    eventually(lambda: "cellplane chaos kill" in fourth.run("cell", "describe", "cell-4"), "it is known why")
    assert json.loads(fourth.run("cell", "describe", "cell-4", "--json"))["state"] == "failed"
    assert "cell-4: running" in fourth.run("cell", "start", "cell-4")
    eventually(fourth.whole, "every part is there")


@pytest.mark.long
def test_a_release_is_told_by_the_app_and_known_to_the_control_plane(fourth: Demo) -> None:
    tenant = fourth.tenants_of("cell-4")[0]
    assert "x-cell-release" not in fourth.ask(tenant).headers
    assert "release r2" in fourth.run("cell", "deploy", "cell-4", "r2")
    eventually(lambda: fourth.ask(tenant).status_code == 200, "it serves again")
    assert fourth.ask(tenant).headers["x-cell-release"] == "r2"
    listed = {item["id"]: item["release"] for item in json.loads(fourth.run("cell", "list", "--json"))["items"]}
    assert listed == {"cell-1": "", "cell-2": "", "cell-3": "", "cell-4": "r2"}
    assert {cell["id"]: cell["release"] for cell in fourth.get("/v1/cells")["items"]} == listed


@pytest.mark.long
def test_a_cell_is_led_through_its_life(demo: Demo) -> None:
    try:
        for verb, expected in (("lock", "locked"), ("unlock", "active"), ("maintenance", "maintenance")):
            assert f"cell-3 → {expected} (epoch " in demo.run("cell", verb, "cell-3")
            assert status(demo, "cell-3") == expected
        assert "cell-3 is maintenance, not locked: `cellplane cell activate cell-3`" in demo.run(
            "cell", "unlock", "cell-3", ok=False
        )
        assert demo.ask(demo.tenants_of("cell-1")[0]).status_code == 200
        drained = json.loads(demo.run("cell", "drain", "cell-3", "--json"))
        assert (drained["status"], drained["routers"]) == ("draining", 1)
    finally:
        demo.run("cell", "activate", "cell-3")
    assert "the control plane knows no cell-9: `cellplane cells` lists" in demo.run("cell", "lock", "cell-9", ok=False)


@pytest.mark.long
def test_more_cells_than_allowed_are_refused_and_leave_nothing(fourth: Demo) -> None:
    said = fourth.run("cell", "create", "cell-5", "--pool", "default", ok=False)
    assert "cell-5 would be cell number 5, and there may be 4: destroy one that is retired, or raise the limit" in said
    assert fourth.run("cell", "list").count("cell-") == 4
    assert not (fourth.state / "cells" / "cell-5").exists()
    assert len(fourth.get("/v1/cells")["items"]) == 4


@pytest.mark.long
def test_a_cell_that_does_not_come_up_is_failed_with_its_reason_and_can_be_removed(demo: Demo) -> None:
    in_the_way = demo.state / "cells" / "cell-4" / "postgres" / "not a database"
    in_the_way.mkdir(parents=True)
    said = demo.run("cell", "create", "cell-4", "--pool", "default", ok=False)
    assert "cell-4 is failed, not running: cell-4's PostgreSQL ended with" in said
    line = next(line for line in demo.run("cell", "list").splitlines() if line.startswith("cell-4"))
    assert "failed" in line
    assert "cell-4's PostgreSQL ended with" in line
    assert [cell["id"] for cell in demo.get("/v1/cells")["items"]] == ["cell-1", "cell-2", "cell-3"]
    demo.run("cell", "destroy", "cell-4")
    assert not in_the_way.parent.parent.exists()
    demo.run("cell", "create", "cell-4")
    remove_fourth(demo)


def test_a_wish_that_nobody_can_read_does_not_end_the_fleet(demo: Demo) -> None:
    broken = demo.state / "wishes" / "cell-8.json"
    broken.write_text("{")
    try:
        eventually(lambda: any("cell-8.json is not JSON" in line for line in demo.output), "it is told of")
        assert "remove it" in demo.run("cell", "create", "cell-4", ok=False)
    finally:
        broken.unlink()
    assert demo.process.poll() is None


def test_what_cannot_be_is_refused_with_what_can(demo: Demo) -> None:
    assert "there is no pool 'shared': the control plane knows default" in demo.run(
        "cell", "create", "cell-4", "--pool", "shared", ok=False
    )
    assert "another part of a local fleet" in demo.run("cell", "create", "router", ok=False)
    assert "expected one of tenants, rps, storage_gib, concurrency" in demo.run(
        "cell", "create", "cell-4", "--capacity", "rps", ok=False
    )
    assert "there is none" in demo.run("cell", "destroy", "cell-9")
    assert "there is no cell-9: `cellplane cell create cell-9` makes it" in demo.run("cell", "stop", "cell-9", ok=False)


def test_without_a_fleet_or_its_control_plane_the_exit_code_says_so(demo: Demo) -> None:
    def code(*arguments: str, **environment: str) -> int:
        kept = {**os.environ, "CELLPLANE_STATE": str(demo.state), **environment}
        return subprocess.run(
            [CELLPLANE, "cell", *arguments], env=kept, capture_output=True, timeout=60, check=False
        ).returncode

    elsewhere = str(demo.state.parent / "nothing")
    assert code("create", "cell-4", CELLPLANE_STATE=elsewhere) == 1
    assert code("stop", "cell-4", CELLPLANE_STATE=elsewhere) == 1
    assert code("lock", "cell-1", CELLPLANE_CONTROL_URL="http://127.0.0.1:9") == 3
    assert code("list") == 0
    assert code("create") == 2


def test_the_shell_completes_cells(demo: Demo) -> None:
    words = f"cellplane cell stop --state {demo.state} cell-"
    environment = {**os.environ, "_CELLPLANE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "5"}
    done = subprocess.run([CELLPLANE], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["plain,cell-1", "plain,cell-2", "plain,cell-3"]
