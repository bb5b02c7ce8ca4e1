"""Breakers and counts through a real Envoy: the board between the module and the agent."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cellplane.cell.load import LOAD_HEADER, CellLoad
from cellplane.health.pool_breakers import BreakerChange, BreakerEvent
from cellplane.model import Capacity, Policy, Reads, Tenant, TenantState, Writes
from cellplane.model.health import BreakerSettings, Health, HealthThresholds
from cellplane.router.board import BUCKETS, FIRST_BUCKET, BreakerState, Count
from cellplane.router.board_metrics import BoardMetrics
from cellplane.router.judge import Judge, JudgeSettings
from e2e.acting_cell import acting_cells
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.shop import CELLS, FLEET, Shop, of, store

PAIR = ("cell-1", "cell-2")
TENANTS = (
    Tenant("both", PAIR),
    Tenant("alone", ("cell-1",)),
    Tenant("careful", PAIR, policy=Policy(writes=Writes.FAIL, reads=Reads.FAIL)),
    Tenant("cached", ("cell-1",), policy=Policy(reads=Reads.CACHE)),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("breakers")
    with acting_cells(CELLS) as cells, start_edge(folder / "router", store(folder, cells, TENANTS)) as edge:
        yield Shop(folder, cells, edge)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    running.serve(*TENANTS)
    yield running
    running.mend()
    for cell in CELLS:
        running.edge.board.set_breaker(cell, BreakerState.CLOSED)


def served(client: httpx2.Client, tenant: str, method: str = "GET") -> str:
    """The cell that answered, or why none did."""
    answer = client.request(method, "/x", headers=of(tenant))
    return str(answer.json()["cell"] if answer.status_code == 200 else answer.json()["code"])


def test_a_breaker_is_followed_at_once(shop: Shop) -> None:
    board = shop.edge.board
    with shop.edge.client() as client:
        for _ in range(3):
            assert [served(client, tenant) for tenant in ("both", "alone", "careful")] == ["cell-1"] * 3
            board.set_breaker("cell-1", BreakerState.OPEN)
            assert [served(client, "both", method) for method in ("GET", "POST")] == ["cell-2", "cell-2"]
            assert served(client, "alone") == served(client, "careful", "POST") == "cell-unavailable"
            board.set_breaker("cell-1", BreakerState.CLOSED)
    assert shop.edge.counts("cell-1")[Count.UNAVAILABLE] == 6


@pytest.mark.long
def test_a_half_open_cell_gets_its_share_as_probes(shop: Shop) -> None:
    shop.edge.board.set_breaker("cell-1", BreakerState.HALF_OPEN, 0.2)
    with shop.edge.client() as client:
        cells = Counter(served(client, "both") for _ in range(1_000))
        # Six standard deviations: √(0.2 × 0.8 × 1,000) = 12.6.
        assert abs(cells["cell-1"] - 200) < 76
        assert cells["cell-2"] == 1_000 - cells["cell-1"]
        assert set(Counter(served(client, "alone") for _ in range(100))) == {"cell-1", "cell-unavailable"}
        shop.edge.board.set_breaker("cell-1", BreakerState.HALF_OPEN, 0.0)
        assert {served(client, "both") for _ in range(50)} == {"cell-2"}
    counts = shop.edge.counts("cell-1")
    assert counts[Count.PROBES] == counts[Count.REQUESTS] == len(shop.cells["cell-1"].seen)


def test_an_avoided_cell_gets_what_no_other_can_take(shop: Shop) -> None:
    shop.edge.board.set_breaker("cell-1", BreakerState.AVOIDED)
    with shop.edge.client() as client:
        for method in ("GET", "POST"):
            found = [served(client, tenant, method) for tenant in ("both", "alone", "careful", "cached")]
            assert found == ["cell-2", "cell-1", "cell-1", "cell-1"]
        shop.edge.board.set_breaker("cell-2", BreakerState.AVOIDED)
        assert served(client, "both") == "cell-1"
        shop.take_down("cell-1")
        assert served(client, "both") == "cell-2"


def test_breakers_outlive_a_new_table_and_counts_begin_anew(shop: Shop) -> None:
    shop.edge.board.set_breaker("cell-1", BreakerState.OPEN)
    with shop.edge.client() as client:
        assert served(client, "both") == "cell-2"
        shop.serve(*TENANTS, Tenant("new", ("cell-1",)))
        assert shop.edge.board.breaker("cell-1") == (BreakerState.OPEN, 0.0)
        assert served(client, "both") == "cell-2"
        assert served(client, "new") == "cell-unavailable"
    assert shop.edge.counts("cell-2")[Count.REQUESTS] == 1
    assert len(list(shop.edge.board.path.parent.iterdir())) == 1


def test_a_cell_that_fails_is_taken_out_and_brought_back_when_it_is_mended(shop: Shop) -> None:
    """The whole loop, with a second of the judge for each round of requests."""
    health = Health(
        score=HealthThresholds(min_requests=20),
        breaker=BreakerSettings(open_seconds=3, jitter_share=0.0, probe_one_in=4, probes_to_close=5),
    )
    table = shop.serve(*TENANTS, fleet=replace(FLEET, health=health))
    judge, now = Judge(JudgeSettings(), random.Random(7)), 1_000.0
    events: list[BreakerChange] = []
    cell = shop.cells["cell-1"]
    with shop.edge.client() as client:

        def rounds(count: int) -> Counter[tuple[str, str, int]]:
            nonlocal now
            found: Counter[tuple[str, str, int]] = Counter()
            for _ in range(count):
                for tenant in ("both", "alone", "both", "alone"):
                    for _ in range(10):
                        answer = client.get("/x", headers=of(tenant))
                        found[tenant, answer.headers["x-cell-id"], answer.status_code] += 1
                now += 1
                for event in judge.tick(shop.edge.board, table, now):
                    assert event.cell == "cell-1"
                    events.extend([event.change] if isinstance(event, BreakerEvent) else [])
            return found

        assert rounds(3) == {("both", "cell-1", 200): 60, ("alone", "cell-1", 200): 60}
        cell.status = 500
        found = rounds(6)
        assert events == [BreakerChange.OPENED]
        assert judge.health()["cell-1"].breaker == "open"
        assert found["both", "cell-2", 200] > 0
        # While it is open, nobody waits for it: those who have another cell go on, those who have none are refused.
        assert rounds(1) == {("both", "cell-2", 200): 20, ("alone", "cell-1", 503): 20}
        cell.status = 200
        eventually(lambda: bool(rounds(1)) and events[-1] is BreakerChange.CLOSED, "it is closed", seconds=60)
        assert BreakerChange.HALF_OPENED in events
        assert shop.edge.board.breaker("cell-1")[0] in {BreakerState.CLOSED, BreakerState.AVOIDED}
        assert rounds(1)["alone", "cell-1", 200] == 20


def test_what_a_cell_says_of_its_load_reaches_the_judge_and_no_client(shop: Shop) -> None:
    table = shop.serve(*TENANTS)
    load = CellLoad(queue_lag_seconds=155.0, pool_use=0.5)
    shop.cells["cell-1"].said = {LOAD_HEADER.decode(): load.to_header().decode()}
    judge = Judge(JudgeSettings(), random.Random(7))
    with shop.edge.client() as client:
        for now in range(4):
            answer = client.get("/x", headers=of("alone"))
            assert answer.status_code == 200
            assert LOAD_HEADER.decode() not in answer.headers
            judge.tick(shop.edge.board, table, 1_000.0 + now)
    health = judge.health()
    assert (health["cell-1"].score, health["cell-1"].worst) == (50.0, "queue lag")
    assert health["cell-2"].score == 100


def test_counts_are_exactly_what_was_sent(shop: Shop) -> None:
    shop.serve(
        *TENANTS,
        Tenant("gone", PAIR, TenantState.SUSPENDED),
        Tenant("slow", ("cell-3",), policy=Policy(rps=0.01)),
        Tenant("by-slot"),
    )
    sent: Counter[str] = Counter()
    with shop.edge.client() as client, ThreadPoolExecutor(8) as threads:

        def send(number: int) -> None:
            tenant = ("both", "alone", "gone", "by-slot")[number % 4]
            method = ("GET", "POST")[number // 4 % 2]
            answer = client.request(method, "/x", headers=of(tenant))
            sent[f"{tenant} {answer.status_code}"] += 1

        list(threads.map(send, range(400)))
        shop.cells["cell-1"].status = 500
        list(threads.map(send, range(400)))
        assert [client.get("/x", headers=of("slow")).status_code for _ in range(4)] == [200, 429, 429, 429]
    assert {name for name in sent if name.startswith("gone")} == {"gone 403"}
    total = {cell: shop.edge.counts(cell) for cell in CELLS}
    for cell in CELLS:
        assert total[cell][Count.REQUESTS] == len(shop.cells[cell].seen)
        assert total[cell][Count.IN_FLIGHT] == 0
        assert total[cell][Count.UNREACHABLE] == total[cell][Count.RETRIED] == 0
        assert histogram(shop.edge, cell) == total[cell][Count.REQUESTS]
    assert sum(counts[Count.REQUESTS] for counts in total.values()) == 600 + 1
    assert total["cell-1"][Count.ERRORS] == sum(count for name, count in sent.items() if name.endswith(" 500"))
    assert total["cell-1"][Count.BY_ASSIGNMENT] == 400
    assert sum(counts[Count.BY_SLOT] for counts in total.values()) == 200
    assert total["cell-3"][Count.LIMITED] == 3
    tenants = {found.tenant: found for found in shop.edge.board.tenants("cell-1")}
    assert (tenants["both"].requests, tenants["both"].errors) == (200, 100)
    assert (tenants["alone"].requests, tenants["alone"].errors) == (200, 100)
    check_metrics(shop.edge, total)


def histogram(edge: Edge, cell: str) -> int:
    row = edge.board.counts()[edge.board.cells.index(cell)]
    return int(row[FIRST_BUCKET : FIRST_BUCKET + BUCKETS].sum())


def check_metrics(edge: Edge, total: dict[str, dict[Count, int]]) -> None:
    """They are text that Prometheus reads, and say the same."""
    registry = CollectorRegistry()
    registry.register(BoardMetrics(lambda: edge.board, dict))
    samples = {
        (sample.name, sample.labels.get("cell"), sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }
    for cell, counts in total.items():
        for name, what in (("requests", Count.REQUESTS), ("errors", Count.ERRORS)):
            assert samples[f"cellplane_router_cell_{name}_total", cell, None] == counts[what]
        assert samples["cellplane_router_cell_duration_seconds_bucket", cell, "+Inf"] == counts[Count.REQUESTS]
        assert samples["cellplane_router_cell_duration_seconds_sum", cell, None] == counts[Count.BUSY_US] / 1e6


def test_how_long_requests_take_is_in_the_histogram(shop: Shop) -> None:
    with shop.edge.client() as client, ThreadPoolExecutor(1) as threads:
        shop.cells["cell-1"].hold()
        slow = threads.submit(client.get, "/x", headers=of("alone"))
        eventually(lambda: shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 1, "it is under way")
        with pytest.raises(TimeoutError):
            slow.result(timeout=0.3)
        shop.cells["cell-1"].release()
        slow.result()
    eventually(lambda: shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 0, "it has ended")
    assert shop.edge.counts("cell-1")[Count.BUSY_US] >= 300_000
    row = shop.edge.board.counts()[shop.edge.board.cells.index("cell-1")][FIRST_BUCKET : FIRST_BUCKET + BUCKETS]
    # Bucket 19 begins at 262 ms.
    assert row.sum() == 1
    assert row[19:].sum() == 1


def test_several_workers_count_together(tmp_path: Path, shop: Shop) -> None:
    with start_edge(tmp_path / "router", store(tmp_path, shop.cells, TENANTS), workers=4) as edge:

        def send(_number: int) -> int:
            with edge.client() as client:
                return sum(client.get("/x", headers=of("both")).status_code == 200 for _ in range(20))

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(send, range(16))) == 320
        eventually(lambda: edge.counts("cell-1")[Count.IN_FLIGHT] == 0, "nothing is under way")
        assert edge.counts("cell-1")[Count.REQUESTS] == histogram(edge, "cell-1") == 320
        (tenant,) = edge.board.tenants("cell-1")
        assert (tenant.tenant, tenant.requests) == ("both", 320)


def test_a_proxy_that_died_leaves_nothing_under_way_and_no_limit_used_up(tmp_path: Path, shop: Shop) -> None:
    stored = store(
        tmp_path,
        shop.cells,
        [Tenant("acme", ("cell-1",), policy=Policy(rps=1_000))],
        changes={"cell-1": {"capacity": Capacity(rps=1_000, concurrency=100)}},
    )
    cell = shop.cells["cell-1"]
    with start_edge(tmp_path / "router", stored) as edge, edge.client() as client, ThreadPoolExecutor(3) as threads:
        assert served(client, "acme") == "cell-1"
        cell.hold()
        left = [threads.submit(client.get, "/x", headers=of("acme")) for _ in range(3)]
        eventually(lambda: edge.counts("cell-1")[Count.IN_FLIGHT] == 3, "three are under way")
        edge.runner.run(edge.engine.kill())
        assert all(isinstance(each.exception(10), httpx2.TransportError) for each in left)
        eventually(lambda: not edge.engine.alive(), "the proxy has gone")
        cell.release()
        # As after a start of the machine, whose clock begins anew.
        edge.board._limits[:] = 2**62
        edge.runner.run(edge.engine.start(stored))
        assert edge.counts("cell-1")[Count.IN_FLIGHT] == 0
        with edge.client() as again:
            assert served(again, "acme") == "cell-1"
        assert edge.counts("cell-1")[Count.REQUESTS] == 2
