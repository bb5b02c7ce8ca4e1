"""`cellplane chaos slow`, `errors` and `flood`, on a running demo."""

import json
import random

import pytest

from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.gray import read_faults
from e2e.harness import Demo, eventually
from support import plain_http

FEW = 16


def statuses(demo: Demo, tenant: str, count: int) -> list[int]:
    headers = {"X-Tenant-Id": tenant}
    with plain_http.client(base_url=demo.router, timeout=30) as client:
        return [client.get("/notifications?limit=1", headers=headers).status_code for _ in range(count)]


def test_errors_hit_one_cell_while_its_health_check_is_green_until_it_is_restored(demo: Demo) -> None:
    ill, well = demo.tenants_of("cell-2")[0], demo.tenants_of("cell-1")[0]
    said = demo.run("chaos", "errors", "cell-2", "50%")
    assert said.startswith("cell-2: 50% of its requests with an error; its health check is green.")
    # So few that no breaker opens: routers do not judge a cell by them. Chance misses neither in one of 30,000 runs.
    assert set(statuses(demo, ill, FEW)) == {200, 500}
    assert set(statuses(demo, well, 60)) == {200}
    eventually(demo.whole, "every cell is healthy")
    demo.run("chaos", "restore", "cell-2")
    assert set(statuses(demo, ill, FEW)) == {200}


def test_a_slow_cell_answers_late_and_what_it_does_wrong_adds_up(demo: Demo) -> None:
    ill = demo.tenants_of("cell-3")[0]
    folder = StateFolder(demo.state)
    try:
        demo.run("chaos", "slow", "cell-3", "--delay", "700ms", "--share", "100%")
        answer = demo.ask(ill)
        assert (answer.status_code, answer.elapsed.total_seconds() >= 0.7) == (200, True)
        demo.run("chaos", "errors", "cell-3", "100")
        answer = demo.ask(ill)
        assert (answer.status_code, answer.elapsed.total_seconds() >= 0.7) == (500, True)
        assert answer.json()["code"] == "injected"
        eventually(demo.whole, "every cell is healthy")
    finally:
        demo.run("chaos", "restore", "cell-3")
    assert demo.ask(ill).status_code == 200
    assert not folder.faults("cell-3").exists()
    assert not read_faults(folder, "cell-3").slow_share


@pytest.mark.long
def test_a_flood_is_refused_and_nobody_else_is(demo: Demo) -> None:
    seed = random.Random(1).getrandbits(16)
    # Five times and not twenty: this machine runs the whole fleet, and whatever else it does.
    arguments = ["chaos", "flood", "tenant-001", "--times", "5", "--seconds", "4", "--seed", str(seed)]
    report = json.loads(demo.run(*arguments, "--json"))
    assert report["seed"] == seed
    assert report["rate_rps"] == 5 * 100
    flood = report["flood"]["answers"]
    # Four seconds at its limit, and one more that it may have at once; a few for the time that answers take.
    assert 0 < flood["200"] <= 100 * (4 + 1) + 50
    assert flood["429"] > flood["200"]
    for others in (report["others_before"]["answers"], report["others"]["answers"]):
        assert others["200"] > 0
        assert "429" not in others
    told = demo.run("chaos", "flood", "tenant-001", "--times", "0.5", "--seconds", "2")
    assert "tenant-001 (limit 100) sends 50 requests a second for 2 s; seed " in told
    assert "others: 200 ×" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("slow", "cell-9"), "the fleet has no 'cell-9': it has analytics, cell-1"),
        (("errors", "router", "3%"), "router is no cell: expected cell-1, cell-2, cell-3"),
        (("errors", "cell-1", "0%"), "expected a percentage above 0 and up to 100, such as 3%, found '0%'"),
        (("errors", "cell-1", "many"), "expected a percentage"),
        (("slow", "cell-1", "--delay", "2"), "such as 2s or 300ms, found '2'"),
        (("flood", "tenant-001", "--times", "900"), "are 90,000, and a flood has at most 5,000"),
        (("flood", "a/b"), "a tenant id is"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(demo: Demo, arguments: tuple[str, ...], message: str) -> None:
    assert message in demo.run("chaos", *arguments, ok=False)


def test_a_dead_cell_is_not_made_ill(demo: Demo) -> None:
    demo.run("chaos", "kill", "cell-3")
    eventually(lambda: "down" in demo.run("chaos", "slow", "cell-3", ok=False), "it is known to be down")
    assert "start it with `cellplane chaos restore cell-3`" in demo.run("chaos", "errors", "cell-3", "3%", ok=False)
    demo.run("chaos", "restore", "cell-3")
