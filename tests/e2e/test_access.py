"""Tokens on the real demo: nobody passes without one, and routers go on without theirs."""

import pytest

from e2e.harness import Demo, eventually
from support import plain_http


def test_nobody_passes_without_a_token(demo: Demo) -> None:
    assert plain_http.get(f"{demo.control}/healthz").json() == {"status": "ok"}
    for path in ("/v1/cells", "/v1/table", "/metrics", "/v1/tokens", "/openapi.json"):
        answer = plain_http.get(f"{demo.control}{path}")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    put = plain_http.put(f"{demo.control}/v1/tenants/tenant-001", json={"cell": "cell-2"})
    assert put.status_code == 401
    assert (demo.state / "control" / "admin-token").stat().st_mode & 0o777 == 0o600
    assert (demo.state / "router-token").stat().st_mode & 0o777 == 0o600


def test_the_routers_token_is_for_its_table_and_its_reports_alone(demo: Demo) -> None:
    token = (demo.state / "router-token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    statuses = {
        path: plain_http.get(f"{demo.control}{path}", headers=headers).status_code
        for path in ("/v1/table", "/v1/cells", "/v1/tenants", "/v1/tokens", "/v1/audit", "/metrics")
    }
    assert statuses.pop("/v1/table") == 200
    assert set(statuses.values()) == {403}


@pytest.mark.long
def test_a_router_goes_on_over_a_revoked_token_and_takes_a_renewed_one_without_a_restart(demo: Demo) -> None:
    path = demo.state / "router-token"
    old = path.read_text().split("_")[1]
    agent = demo.pids()["agent"]
    tenant = demo.tenants[0]
    there = next(cell for cell in ("cell-1", "cell-2") if cell != demo.placed()[tenant])
    demo.run("token", "revoke", old)
    with demo.load(demo.tenants) as answers:
        eventually(lambda: "lost" in demo.run("routers"), "the router is not heard any more", seconds=30)
        demo.put(f"/v1/tenants/{tenant}", {"cell": there})
        renewed = demo.run("token", "create", "router-1", "--role", "router", "--subject", "router-1").split()[0]
        new = path.with_name("router-token.new")
        new.write_text(f"{renewed}\n")
        new.chmod(0o600)
        new.rename(path)
        eventually(lambda: demo.ask(tenant).headers.get("x-cell-id") == there, "it takes tables again", seconds=30)
    demo.run("unassign", tenant)
    assert {answer.status for answer in answers} == {200}
    eventually(demo.whole, "its reports are heard again", seconds=30)
    assert demo.pids()["agent"] == agent, "without a restart"
    logs = "".join(log.read_text(errors="replace") for log in (demo.state / "logs").glob("*.log"))
    assert "needs a token of the role router" in logs
    for secret in (renewed, (demo.state / "control" / "admin-token").read_text()):
        assert secret.strip().split("_")[2] not in logs
