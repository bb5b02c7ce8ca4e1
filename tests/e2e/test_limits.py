"""Limits through a real Envoy: who is refused when a tenant, or all tenants of a cell, send too much."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx2
import pytest

from cellplane.model import Policy, Tenant
from cellplane.model.capacity import Capacity
from cellplane.model.policy import Priority
from cellplane.router.board import Count
from e2e.acting_cell import acting_cells
from e2e.edge import start_edge
from e2e.harness import eventually
from e2e.shop import CELLS, Shop, of, store

UNLIMITED = Policy(rps=1_000_000)
"""Of a tenant, whatever its cell holds."""

VIP = Policy(rps=1_000_000, priority=Priority.HIGH)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("limits")
    with acting_cells(CELLS) as cells, start_edge(folder / "router", store(folder, cells, ())) as edge:
        yield Shop(folder, cells, edge)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    yield running
    running.mend()


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_tenant_over_its_limit_is_told_when_to_come_again_and_others_are_not(shop: Shop, http2: bool) -> None:
    # Names of their own: limits are kept from one table to the next.
    loud, calm = f"loud-{http2}", f"calm-{http2}"
    limit = Policy(rps=0.5, burst_seconds=10)
    shop.serve(Tenant(loud, ("cell-1",), policy=limit), Tenant(calm, ("cell-1",), policy=limit))
    with shop.edge.client(http2=http2) as client:
        answers = [client.request(method, "/x", headers=of(loud)) for method in ("GET", "POST") * 4]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
        refused = answers[-1]
        assert refused.json()["code"] == "tenant-limited"
        assert refused.headers["content-type"] == "application/problem+json"
        # One in two seconds, so there is room again within two.
        assert refused.headers["retry-after"] in {"1", "2"}
        assert refused.headers["ratelimit"] == f'"tenant";r=0;t={refused.headers["retry-after"]}'
        assert refused.headers["ratelimit-policy"] == '"tenant";q=5;w=10'
        assert refused.headers["x-cell-id"] == "cell-1"
        calm_answer = client.get("/x", headers=of(calm))
        assert calm_answer.status_code == 200
        assert not [name for name in calm_answer.headers if name.startswith(("ratelimit", "retry-after"))]
    counts = shop.edge.counts("cell-1")
    assert (counts[Count.LIMITED], counts[Count.REQUESTS], counts[Count.ERRORS]) == (3, 6, 0)
    assert len(shop.cells["cell-1"].seen) == 6


def test_a_limit_outlives_a_new_table(shop: Shop) -> None:
    tenant = Tenant("moved", ("cell-1",), policy=Policy(rps=0.01))
    shop.serve(tenant)
    with shop.edge.client() as client:
        assert client.get("/x", headers=of("moved")).status_code == 200
        shop.serve(tenant, Tenant("other"))
        assert client.get("/x", headers=of("moved")).status_code == 429


def test_a_cell_over_its_limit_sheds_and_high_priority_last(shop: Shop) -> None:
    shop.serve(
        Tenant("many", ("cell-1",), policy=UNLIMITED),
        Tenant("vip", ("cell-1",), policy=VIP),
        Tenant("elsewhere", ("cell-2",), policy=UNLIMITED),
        changes={"cell-1": {"capacity": Capacity(rps=10)}},
    )
    with shop.edge.client() as client:

        def until_shed(tenant: str) -> httpx2.Response:
            for _ in range(100):
                answer = client.get("/x", headers=of(tenant))
                if answer.status_code != 200:
                    return answer
            raise AssertionError(f"{tenant} was never shed")

        shed = until_shed("many")
        assert (shed.status_code, shed.json()["code"]) == (503, "cell-overloaded")
        assert (shed.headers["x-cell-shed"], shed.headers["retry-after"]) == ("cell-1", "1")
        assert client.get("/x", headers=of("elsewhere")).status_code == 200
        # Whenever it sheds others, there is room for one of high priority; of which it sheds in the end, too.
        eventually(lambda: _passes_where_others_do_not(client), "high priority passes where normal is shed")
        assert until_shed("vip").headers["x-cell-shed"] == "cell-1"
        assert until_shed("many").status_code == 503
    counts = shop.edge.counts("cell-1")
    assert counts[Count.REQUESTS] == len(shop.cells["cell-1"].seen)
    assert counts[Count.SHED] >= 3
    assert counts[Count.ERRORS] == 0


def _passes_where_others_do_not(client: httpx2.Client) -> bool:
    answers = [client.get("/x", headers=of(tenant)).status_code for tenant in ("many", "vip", "many")]
    return answers == [503, 200, 503]


def test_as_many_are_under_way_as_the_cell_can_do_and_a_part_is_kept_for_high_priority(shop: Shop) -> None:
    shop.serve(
        Tenant("many", ("cell-1",), policy=UNLIMITED),
        Tenant("vip", ("cell-1",), policy=VIP),
        changes={"cell-1": {"capacity": Capacity(concurrency=10)}},
    )
    cell = shop.cells["cell-1"]
    with shop.edge.client() as client, ThreadPoolExecutor(32) as threads:

        def begin(tenant: str, count: int) -> list["Future[httpx2.Response]"]:
            return [threads.submit(client.get, "/x", headers=of(tenant)) for _ in range(count)]

        cell.hold()
        normal = begin("many", 15)
        eventually(lambda: len(cell.seen) == 9 and sum(each.done() for each in normal) == 6, "nine are under way")
        high = begin("vip", 3)
        eventually(lambda: len(cell.seen) == 10 and sum(each.done() for each in high) == 2, "and one of high priority")
        shed = [each.result() for each in (*normal, *high) if each.done()]
        for answer in shed:
            assert (answer.status_code, answer.json()["code"]) == (503, "cell-overloaded")
            assert (answer.headers["x-cell-shed"], answer.headers["x-cell-id"]) == ("cell-1", "cell-1")
            assert answer.headers["retry-after"] == "1"
        cell.release()
        assert Counter(each.result().status_code for each in (*normal, *high)) == {200: 10, 503: 8}
        assert client.get("/x", headers=of("many")).status_code == 200
    counts = shop.edge.counts("cell-1")
    # What the cell never saw says nothing about it.
    assert (counts[Count.REQUESTS], counts[Count.ERRORS], counts[Count.SHED]) == (11, 0, 8)
    assert counts[Count.IN_FLIGHT] == 0
