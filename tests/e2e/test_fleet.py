"""The demo as a user sees it, and what each failure does to whom."""

import json
import os
import signal
import time

import httpx2
import pytest

from cellplane.cell import Moves
from e2e.harness import TENANTS, Answer, Demo, eventually, exists
from support import plain_http

CHANGES = 10
FLAG = "delivery-seconds"


def told_more(demo: Demo) -> set[str]:
    """The tenants for whom the flag is on: their notifications have one field more."""
    body = {"channel": "push", "to": "somebody", "body": "Hello"}
    found = set()
    with plain_http.client(demo.router, timeout=30) as client:
        for tenant in demo.tenants:
            created = client.post("/notifications", json=body, headers={"X-Tenant-Id": tenant})
            assert created.status_code == 202, created.text
            found |= {tenant} if "delivery_seconds" in created.json() else set()
    return found


def kill_9(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not exists(pid), f"{pid} is gone")


def test_a_notification_is_delivered_by_its_tenants_cell(demo: Demo) -> None:
    body = {"channel": "email", "to": "ada@example.org", "body": "Hello"}
    headers = {"X-Tenant-Id": "tenant-001", "Idempotency-Key": "hello-ada"}
    created, again = (plain_http.post(f"{demo.router}/notifications", json=body, headers=headers) for _ in range(2))
    assert created.status_code == 202, created.text
    assert again.content == created.content
    assert created.json()["status"] == "queued"
    path = f"/notifications/{created.json()['id']}"
    eventually(lambda: demo.ask("tenant-001", path).json()["status"] == "delivered", "delivered")
    cell = demo.placed()["tenant-001"]
    assert demo.ask("tenant-001", path).headers["x-cell-id"] == cell
    delivered = (demo.state / "cells" / cell / "provider" / "email.jsonl").read_text()
    assert created.json()["id"] in delivered
    assert demo.ask("tenant-002", path).status_code == 404


def test_the_ready_line_and_the_pids_are_what_scripts_rely_on(demo: Demo) -> None:
    ready = next(line for line in demo.output if line.startswith("ready"))
    assert demo.router in ready
    assert demo.control in ready
    pids = demo.pids()
    assert set(pids) == {"control", "envoy", "agent", "analytics", "cells"}
    assert set(pids["analytics"]) == {"nats", "consumer"}
    assert set(pids["cells"]) == {"cell-1", "cell-2", "cell-3"}
    assert all(set(cell) == {"api", "worker", "postgres", "nats"} for cell in pids["cells"].values())
    assert all(map(exists, demo.all_pids()))
    assert [item["id"] for item in demo.get("/v1/tenants")["items"]] == demo.tenants


def test_every_tenant_is_served_where_the_control_plane_says(demo: Demo) -> None:
    served = demo.served_by()
    assert served == demo.placed()
    assert set(served.values()) == {"cell-1", "cell-2", "cell-3"}, "twelve tenants reach all three cells"
    for tenant, cell in served.items():
        assert demo.get("/v1/route", tenant=tenant)["cell"] == cell


def test_a_cell_believes_its_router_alone(demo: Demo) -> None:
    [epoch] = {router["epoch"] for router in demo.get("/v1/routers")["items"]}
    ports = json.loads((demo.state / "endpoints.json").read_text())["ports"]
    tenant = demo.tenants_of("cell-1")[0]
    made_up = {"x-cell-id": "cell-1", "x-cell-epoch": str(epoch), "x-tenant-id": tenant}
    with httpx2.Client(base_url=f"http://127.0.0.1:{ports['cell-1.api']}", trust_env=False, timeout=30) as cell:
        assert cell.get("/notifications", headers=made_up).json()["code"] == "no-proof"
        forged = {**made_up, "x-cell-proof": f"cpp1.{int(time.time())}.key-1.{'A' * 43}"}
        refused = cell.get("/notifications", headers=forged)
        assert (refused.status_code, refused.json()["code"]) == (403, "invalid-proof")
        # Of whoever looks after the cell no proof is asked.
        assert cell.get("/healthz").status_code == cell.get("/metrics").status_code == 200
    keys = demo.state / "keys" / "proof-keys"
    address = f"127.0.0.1:{ports['cell-1.api']}"
    checked = demo.run(
        "cell", "check", address, "--cell", "cell-1", "--path", "/notifications", "--proof-keys", str(keys)
    )
    assert "All 19 passed." in checked
    # A router takes no client's word for it either, and gives its own.
    assert httpx2.get(f"{demo.router}/notifications", headers=forged, trust_env=False).status_code == 200


def test_the_command_line_shows_the_fleet(demo: Demo) -> None:
    cells = json.loads(demo.run("cells", "--json"))
    assert [cell["id"] for cell in cells["items"]] == ["cell-1", "cell-2", "cell-3"]
    assert "healthy" in demo.run("cells")
    tenants = json.loads(demo.run("tenants", "--json", "--limit", "5"))
    assert len(tenants["items"]) == 5
    assert "cellplane tenants --after tenant-005" in demo.run("tenants", "--limit", "5")
    assert json.loads(demo.run("route", "tenant-001", "--json"))["tenant"] == "tenant-001"
    assert "hashes to slot" in demo.run("route", "tenant-001")
    assert "does not list" in demo.run("route", "nobody")
    routers = json.loads(demo.run("routers", "--json"))
    assert routers["items"][0]["epoch"] == routers["published_epoch"]
    assert "ready" in demo.run("routers")
    assert "no cell is named 'cell-9'" in demo.run("assign", "tenant-001", "cell-9", ok=False)
    assert "a tenant id is" in demo.run("route", "a/b", ok=False)


def test_an_assigned_tenant_moves_and_comes_back_without_a_failed_request(demo: Demo) -> None:
    home = demo.placed()["tenant-001"]
    other = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    with demo.load(["tenant-001", "tenant-002"]) as answers:
        for number in range(CHANGES):
            cell = home if number % 2 else other
            epoch = json.loads(demo.run("assign", "tenant-001", cell, "--json"))["epoch"]
            answer = demo.ask("tenant-001")
            assert answer.headers["x-cell-id"] == cell, f"epoch {epoch} was said to be live"
        assert "its slot" in demo.run("unassign", "tenant-001", "--no-wait")
        eventually(lambda: demo.ask("tenant-001").headers["x-cell-id"] == home, "the slot places it again")
    assert failed(answers) == []
    tables = demo.state / "router" / "tables"
    assert list(tables.glob("overlay-*.cpt")), "changes came without their base"


@pytest.mark.long
def test_a_tenant_that_its_cell_gave_away_is_not_served_there_by_an_older_table(demo: Demo) -> None:
    tenant = demo.tenants_of("cell-1")[0]
    next_epoch = demo.get("/healthz")["published_epoch"] + 1
    Moves(demo.state / "cells" / "cell-1" / "moves", "cell-1").note(tenant, "cell-2", next_epoch)
    refused = demo.ask(tenant)
    assert (refused.status_code, refused.json()["code"]) == (421, "tenant-moved")
    demo.run("assign", tenant, "cell-2")
    assert demo.ask(tenant).headers["x-cell-id"] == "cell-2"
    demo.run("unassign", tenant)
    answer = demo.ask(tenant)
    assert (answer.status_code, answer.headers["x-cell-id"]) == (200, "cell-1"), "a newer table sends it here again"


def test_the_fleet_is_a_file_that_applies_to_itself(demo: Demo) -> None:
    file = demo.state / "fleet.yaml"
    assert "nothing to change" in demo.run("apply", "-f", str(file), "--dry-run").lower()
    kinds = [line for line in file.read_text().splitlines() if line.startswith("kind: ")]
    assert [kinds.count(f"kind: {kind}") for kind in ("Fleet", "Cell", "Pool", "Tenant")] == [1, 3, 1, TENANTS]


def test_a_killed_cell_hurts_its_own_tenants_only(demo: Demo) -> None:
    before = demo.placed()
    hurt, others = demo.tenants_of("cell-2"), [tenant for tenant, cell in before.items() if cell != "cell-2"]
    with demo.load(others) as answers:
        for pid in demo.pids()["cells"]["cell-2"].values():
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        refusals = []
        while time.monotonic() < killed + 2:
            refusals = [demo.ask(tenant) for tenant in hurt]
        assert {refusal.status_code for refusal in refusals} == {503}
        for refusal in refusals:
            assert refusal.headers["content-type"] == "application/problem+json"
            assert refusal.headers["retry-after"] == "1"
            # Until the second health check it is Envoy that finds nobody there, then the module knows.
            assert refusal.json()["code"] in {"cell-unreachable", "cell-unavailable"}
        known = {"code": "cell-unavailable", "cell": "cell-2"}
        eventually(lambda: all(known.items() <= demo.ask(tenant).json().items() for tenant in hurt), "it is known")
        assert "down" in demo.run("cells")
        assert "up again" in demo.run("chaos", "restore", "cell-2")
        eventually(lambda: all(demo.ask(tenant).status_code == 200 for tenant in hurt), "cell-2 serves again")
    assert failed(answers) == []
    assert {(answer.tenant, answer.cell) for answer in answers} == {(tenant, before[tenant]) for tenant in others}
    assert demo.placed() == before


def test_a_dead_control_plane_changes_no_answer_not_even_for_a_router_that_restarts(demo: Demo) -> None:
    before = demo.served_by()
    ours = {tenant for tenant, cell in before.items() if cell == "cell-1"}
    assert "cells take it within seconds" in demo.run("flag", "on", FLAG, "--cell", "cell-1")
    eventually(lambda: told_more(demo) == ours, "the flag is on in cell-1, and nowhere else")
    kill_9(demo.pids()["control"])
    with demo.load(demo.tenants) as answers:
        eventually(lambda: len(answers) >= 2 * len(before), "a load")
    assert failed(answers) == []
    old = demo.pids()
    kill_9(old["agent"])
    kill_9(old["envoy"])
    kill_9(old["cells"]["cell-1"]["api"])
    demo.run("chaos", "restore", "cell-1")

    def restarted() -> bool:
        try:
            return demo.ask("tenant-001").status_code == 200 and old["envoy"] != demo.pids()["envoy"]
        except httpx2.HTTPError:
            return False

    eventually(restarted, "the router serves again, with the control plane dead")
    eventually(lambda: all(demo.ask(tenant).status_code == 200 for tenant in demo.tenants), "for everybody")
    assert demo.served_by() == before
    assert told_more(demo) == ours, "a cell that restarts has its flag of before"
    assert "up again" in demo.run("chaos", "restore", "control")
    assert demo.placed() == before
    demo.put(f"/v1/flags/{FLAG}", {"cells": []})
    eventually(lambda: not told_more(demo), "it is off")
    demo.run("assign", "tenant-003", "cell-1")
    assert demo.ask("tenant-003").headers["x-cell-id"] == "cell-1"
    demo.run("unassign", "tenant-003")


def test_a_killed_agent_leaves_envoy_serving_and_takes_it_over_again(demo: Demo) -> None:
    old = demo.pids()
    with demo.load(demo.tenants) as answers:
        kill_9(old["agent"])
        eventually(lambda: demo.pids()["agent"] not in {None, old["agent"]}, "another agent")
        eventually(demo.whole, "the fleet is whole")
    assert failed(answers) == []
    assert demo.pids()["envoy"] == old["envoy"], "the same Envoy"
    home = demo.placed()["tenant-004"]
    other = next(cell for cell in ("cell-1", "cell-2", "cell-3") if cell != home)
    demo.run("assign", "tenant-004", other)
    assert demo.ask("tenant-004").headers["x-cell-id"] == other
    demo.run("unassign", "tenant-004")


def test_a_killed_envoy_is_started_again_with_the_same_table(demo: Demo) -> None:
    before = demo.served_by()
    old = demo.pids()["envoy"]
    kill_9(old)
    eventually(lambda: demo.pids()["envoy"] not in {None, old}, "another Envoy")
    eventually(demo.whole, "the fleet is whole")
    assert demo.served_by() == before


@pytest.mark.long
def test_chaos_kills_and_restores_the_router(demo: Demo) -> None:
    killed = demo.run("chaos", "kill", "router")
    assert str(demo.process.pid) not in killed
    old = demo.pids()
    time.sleep(1)
    assert demo.pids()["agent"] is None, "what chaos killed stays down"
    assert old["envoy"] is None or not exists(old["envoy"])
    assert "was down already" in demo.run("chaos", "kill", "router")
    demo.run("chaos", "restore", "router")
    eventually(lambda: demo.ask("tenant-001").status_code == 200, "the router serves")
    assert "it has analytics, cell-1, cell-2, cell-3, control, router" in demo.run("chaos", "kill", "cell-9", ok=False)


def test_chaos_kills_and_restores_a_cell_with_its_data(demo: Demo) -> None:
    tenant = demo.tenants_of("cell-3")[0]
    body = {"channel": "sms", "to": "+1555", "body": "kept"}
    headers = {"X-Tenant-Id": tenant}
    created = plain_http.post(f"{demo.router}/notifications", json=body, headers=headers).json()
    demo.run("chaos", "kill", "cell-3")
    eventually(lambda: demo.ask(tenant).status_code == 503, "its tenants are told")
    demo.run("chaos", "restore", "cell-3")
    eventually(lambda: demo.ask(tenant).status_code == 200, "cell-3 serves")
    eventually(lambda: demo.ask(tenant, f"/notifications/{created['id']}").json()["status"] == "delivered", "delivered")


def test_metrics_and_openapi(demo: Demo) -> None:
    metrics = plain_http.get(f"{demo.control}/metrics", headers=demo.headers).text
    published = demo.get("/healthz")["published_epoch"]
    assert f"cellplane_published_epoch {float(published)}" in metrics
    paths = demo.get("/openapi.json")["paths"]
    assert {"/v1/cells", "/v1/tenants/{tenant_id}", "/v1/route", "/v1/routers", "/v1/table", "/healthz"} <= set(paths)
    ports = json.loads((demo.state / "endpoints.json").read_text())["ports"]
    agent = plain_http.get(f"http://127.0.0.1:{ports['router.metrics']}/metrics").text
    assert f"cellplane_agent_applied_epoch {float(published)}" in agent
    assert 'envoy_cluster_upstream_rq_total{envoy_cluster_name="cell-1"}' in agent


def failed(answers: list[Answer]) -> list[Answer]:
    assert len(answers) > 5, "there was a load"
    return [answer for answer in answers if answer.status != 200]
