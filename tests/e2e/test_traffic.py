"""Policies through a real Envoy: what a down cell costs, balance, canaries, redirects, shadows."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.model import (
    Balance,
    Canary,
    CanaryBy,
    CellStatus,
    FailOpen,
    MissingKey,
    Mode,
    Policy,
    Pool,
    Reads,
    Tenant,
    TenantState,
    Writes,
)
from cellplane.router.board import Count
from cellplane.routing import Route, TableContents, decide
from e2e.acting_cell import ActingCell, acting_cells, patterned, sha256_of
from e2e.edge import start_edge
from e2e.harness import eventually
from e2e.shop import CELLS, FLEET, MEMBERS, Shop, of, store

PAIR = ("cell-1", "cell-2")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("traffic")
    options = {"access_log": folder / "access.log"}
    with acting_cells(CELLS) as cells, start_edge(folder / "router", store(folder, cells, ()), **options) as edge:
        yield Shop(folder, cells, edge)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    yield running
    running.mend()


def test_each_policy_says_what_reads_and_writes_get_while_the_first_cell_is_down(shop: Shop) -> None:
    shop.serve(
        Tenant("default", PAIR),
        Tenant("writes-fail", PAIR, policy=Policy(writes=Writes.FAIL)),
        Tenant("reads-fail", PAIR, policy=Policy(reads=Reads.FAIL)),
        Tenant("standby", PAIR, policy=Policy(reads=Reads.STANDBY, standby="apart")),
    )
    with shop.edge.client() as client:

        def served() -> dict[str, tuple[str, str]]:
            found = {}
            for tenant in ("default", "writes-fail", "reads-fail", "standby"):
                answers = (client.request(method, "/x", headers=of(tenant)) for method in ("GET", "POST"))
                read, write = (
                    answer.json()["cell"] if answer.status_code == 200 else answer.json()["code"] for answer in answers
                )
                found[tenant] = (read, write)
            return found

        assert set(served().values()) == {("cell-1", "cell-1")}
        shop.take_down("cell-1")
        assert served() == {
            "default": ("cell-2", "cell-2"),
            "writes-fail": ("cell-2", "cell-unavailable"),
            "reads-fail": ("cell-unavailable", "cell-2"),
            "standby": ("apart", "cell-2"),
        }
        shop.take_down("cell-2")
        assert served() == {
            "default": ("cell-unavailable", "cell-unavailable"),
            "writes-fail": ("cell-unavailable", "cell-unavailable"),
            "reads-fail": ("cell-unavailable", "cell-unavailable"),
            "standby": ("apart", "cell-unavailable"),
        }
        shop.take_down("apart")
        assert served()["standby"] == ("cell-unavailable", "cell-unavailable")


def test_no_standby_answers_under_another_law(shop: Shop) -> None:
    tenant = Tenant("acme", ("cell-1",), policy=Policy(reads=Reads.STANDBY, standby="us-1"))
    with pytest.raises(ValidationError, match="us-1"):
        shop.serve(tenant)

    def abroad(contents: TableContents) -> TableContents:
        cells = [replace(cell, jurisdiction="us") if cell.id == "apart" else cell for cell in contents.cells]
        return replace(contents, cells=cells)

    shop.serve(replace(tenant, policy=replace(tenant.policy, standby="apart")), alter=abroad)
    shop.take_down("cell-1")
    with shop.edge.client() as client:
        answer = client.get("/x", headers=of("acme"))
    assert (answer.status_code, answer.json()["code"], answer.json()["cell"]) == (503, "cell-unavailable", "cell-1")
    assert not shop.cells["apart"].seen


def test_a_cell_in_maintenance_says_so_to_people_and_to_programs(shop: Shop) -> None:
    page = 'Back at 6:00 <soon>.\n"Zürich" moves house.'
    shop.serve(
        Tenant("acme", ("cell-1",)), changes={"cell-1": {"status": CellStatus.MAINTENANCE, "maintenance_page": page}}
    )
    with shop.edge.client() as client:
        browser = client.get("/x", headers={**of("acme"), "accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        program = client.get("/x", headers={**of("acme"), "accept": "application/json"})
    for answer in (browser, program):
        assert (answer.status_code, answer.headers["retry-after"], answer.headers["x-cell-id"]) == (503, "1", "cell-1")
    assert browser.headers["content-type"] == "text/html; charset=utf-8"
    assert 'Back at 6:00 &lt;soon&gt;.<br>\n"Zürich" moves house.' in browser.text
    assert program.headers["content-type"] == "application/problem+json"
    assert (program.json()["code"], program.json()["detail"]) == ("cell-maintenance", page)


def test_round_robin_spreads_evenly_and_passes_over_what_is_down(shop: Shop) -> None:
    shop.serve(Tenant("acme", MEMBERS, policy=Policy(balance=Balance.ROUND_ROBIN)))
    with shop.edge.client() as client:

        def spread() -> Counter[str]:
            methods = ("GET", "POST") * 15
            return Counter(client.request(method, "/x", headers=of("acme")).json()["cell"] for method in methods)

        assert spread() == {"cell-1": 10, "cell-2": 10, "cell-3": 10}
        shop.take_down("cell-2")
        assert spread() == {"cell-1": 10, "cell-3": 20}


def test_least_loaded_avoids_the_cell_that_has_requests_under_way(shop: Shop) -> None:
    shop.serve(Tenant("acme", PAIR, policy=Policy(balance=Balance.LEAST_LOADED)))
    with shop.edge.client() as client, ThreadPoolExecutor() as threads:
        assert client.get("/x", headers=of("acme")).json()["cell"] == "cell-1"
        shop.cells["cell-1"].hold()
        slow = threads.submit(client.get, "/slow", headers=of("acme"))
        eventually(lambda: shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 1, "one is under way")
        for _ in range(10):
            assert client.get("/x", headers=of("acme")).json()["cell"] == "cell-2"
        shop.cells["cell-1"].release()
        assert slow.result().json()["cell"] == "cell-1"
        eventually(lambda: shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 0, "none is")
        assert client.get("/x", headers=of("acme")).json()["cell"] == "cell-1"


def test_without_a_key_reads_pass_where_the_fleet_says_so_and_writes_where_it_says_all(shop: Shop) -> None:
    fleet = replace(FLEET, missing_key=MissingKey.DEFAULT_CELL, default_cell="cell-3")
    with shop.edge.client() as client:
        shop.serve(fleet=fleet)
        read = client.get("/x").json()
        assert (read["cell"], read["headers"]["x-cell-reason"]) == ("cell-3", "default")
        assert "x-cell-pool" not in read["headers"]
        refused = client.post("/x")
        assert (refused.status_code, refused.json()["code"]) == (400, "missing-key")
        assert "retry-after" not in refused.headers
        shop.serve(fleet=replace(fleet, fail_open=FailOpen.ALL))
        assert [client.request(method, "/x").json()["cell"] for method in ("GET", "POST")] == ["cell-3", "cell-3"]


def test_a_canary_gets_always_the_same_tenants(shop: Shop) -> None:
    pool = Pool("default", MEMBERS, canary=Canary("apart", 25.0))
    table = shop.serve(pools=[pool])
    tenants = [f"tenant-{number}" for number in range(200)]
    with shop.edge.client() as client:
        chosen = []
        for tenant in tenants:
            decision = decide(table, tenant.encode(), writes=False, has_healthy_host=lambda _cell: True)
            assert isinstance(decision, Route)
            for method in ("GET", "POST"):
                reached = client.request(method, "/x", headers=of(tenant)).json()
                assert reached["cell"] == reached["headers"]["x-cell-id"] == decision.cell
                assert reached["headers"]["x-cell-reason"] == ("canary" if decision.cell == "apart" else "slot")
            chosen += [tenant] if decision.cell == "apart" else []
        assert 25 <= len(chosen) <= 75
        assert shop.edge.counts("apart")[Count.CANARY] == 2 * len(chosen)
        shop.take_down("apart")
        for tenant in chosen[:10]:
            assert client.get("/x", headers=of(tenant)).json()["cell"] in MEMBERS


def test_a_canary_gets_its_part_of_the_requests(shop: Shop) -> None:
    pool = Pool("default", ("cell-1",), canary=Canary("apart", 25.0, CanaryBy.REQUEST))
    shop.serve(pools=[pool])
    with shop.edge.client() as client:
        cells = Counter(client.get("/x", headers=of("acme")).json()["cell"] for _ in range(1_000))
        assert set(cells) == {"cell-1", "apart"}
        # Six standard deviations: √(0.25 × 0.75 × 1,000) = 13.7.
        assert abs(cells["apart"] - 250) < 83
        shop.cells["apart"].refuse()
        assert {client.get("/x", headers=of("acme")).status_code for _ in range(50)} == {200}


def test_a_redirect_sends_the_client_to_the_cell_and_nothing_is_proxied(shop: Shop) -> None:
    policy = Policy(mode=Mode.REDIRECT)
    urls = {"cell-1": "https://cell-1.shop.example", "cell-2": "http://127.0.0.1:8443/eu"}
    shop.serve(
        Tenant("acme", ("cell-1",), policy=policy),
        Tenant("globex", PAIR, policy=policy),
        Tenant("plain", ("cell-2",), policy=policy),
        Tenant("moving", ("cell-1",), TenantState.MOVING, policy=policy),
        changes={cell: {"public_url": url} for cell, url in urls.items()},
    )
    with shop.edge.client() as client:
        for method in ("GET", "POST", "HEAD"):
            answer = client.request(method, "/orders?page=2&q=%20", headers=of("acme"))
            assert (answer.status_code, answer.headers["location"]) == (
                307,
                "https://cell-1.shop.example/orders?page=2&q=%20",
            )
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert (answer.headers["x-cell-id"], answer.headers["cache-control"]) == ("cell-1", "no-store")
        plain = client.get("/", headers=of("plain"))
        assert plain.headers["location"] == "http://127.0.0.1:8443/eu/"
        assert "strict-transport-security" not in plain.headers
        # The path is the normalised one: it cannot name another host.
        assert (
            client.get("/..//evil.example/", headers=of("acme"))
            .headers["location"]
            .endswith("shop.example/evil.example/")
        )
        assert client.get("/", headers=of("moving")).status_code == 307
        assert client.post("/", headers=of("moving")).json()["code"] == "tenant-moving"
        shop.take_down("cell-1")
        assert client.get("/a", headers=of("globex")).headers["location"] == "http://127.0.0.1:8443/eu/a"
        assert client.get("/", headers=of("acme")).json()["code"] == "cell-unavailable"
    assert not any(cell.seen for cell in shop.cells.values())
    assert shop.edge.counts("cell-1")[Count.REDIRECTED] == 5
    assert shop.edge.counts("cell-1")[Count.REQUESTS] == 0


def seen_once(cell: ActingCell, path: str) -> dict[str, str]:
    eventually(lambda: len(cell.requests(path)) == 1, f"{cell.cell} has got {path}")
    return cell.requests(path)[0].headers


def test_a_shadow_gets_a_copy_as_if_it_were_meant_and_nobody_waits_for_it(shop: Shop) -> None:
    shop.serve(Tenant("acme", ("cell-1",), policy=Policy(shadow="apart")), Tenant("globex", ("cell-1",)))
    primary, shadow = shop.cells["cell-1"], shop.cells["apart"]
    with shop.edge.client() as client:
        answer = client.get("/read", headers=of("acme"))
        assert (answer.json()["cell"], answer.headers["x-cell-id"]) == ("cell-1", "cell-1")
        copied = seen_once(shadow, "/read")
        ours = {"x-cell-epoch": str(shop.epoch), "x-cell-pool": "default", "x-tenant-id": "acme"}
        assert {**ours, "x-cell-id": "apart", "x-cell-mirrored": "1"}.items() <= copied.items()
        (original,) = primary.requests("/read")
        assert {**ours, "x-cell-id": "cell-1"}.items() <= original.headers.items()
        assert "x-cell-mirrored" not in original.headers

        shadow.hold()
        body = b"order" * 1_000
        answer = client.post("/write", headers={**of("acme"), "x-cell-mirrored": "1"}, content=body)
        assert (answer.json()["cell"], answer.json()["body_bytes"]) == ("cell-1", len(body))
        assert seen_once(shadow, "/write")["content-length"] == str(len(body))
        assert "x-cell-mirrored" not in primary.requests("/write")[0].headers
        shadow.release()

        for number, how in enumerate((lambda: setattr(shadow, "status", 500), shadow.refuse)):
            how()
            assert client.get(f"/failing-{number}", headers=of("acme")).json()["cell"] == "cell-1"
        assert client.get("/no-copy", headers={**of("globex"), "x-cell-shadow": "apart"}).status_code == 200
        assert not shadow.requests("/no-copy")
    eventually(lambda: shop.edge.counts("cell-1")[Count.SHADOWED] == 4, "copies are counted at the cell that is meant")
    assert shop.edge.counts("apart")[Count.REQUESTS] == 0


def test_a_request_that_a_shadow_might_hold_back_is_not_copied(shop: Shop) -> None:
    shop.serve(Tenant("acme", ("cell-1",), policy=Policy(shadow="apart")))
    shop.cells["apart"].hold(before_body=True)
    sizes = {"/small": 10_000, "/large": 5_000_000}
    with shop.edge.client() as client:
        for path, size in sizes.items():
            answer = client.post(path, headers=of("acme"), content=b"".join(patterned(size))).json()
            assert (answer["body_bytes"], answer["body_sha256"]) == (size, sha256_of(size))
        answer = client.post("/unknown", headers=of("acme"), content=patterned(10_000)).json()
        assert (answer["cell"], answer["body_bytes"]) == ("cell-1", 10_000)
    seen_once(shop.cells["apart"], "/small")
    assert shop.edge.counts("cell-1")[Count.SHADOWED] == 1
    assert len(shop.cells["apart"].seen) == 1
