"""Metrics of the board: text that Prometheus reads, and says what was counted."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cellplane.router.board import LATENCY_BOUNDS_SECONDS, Board, Count
from cellplane.router.board_metrics import MAX_TENANTS, BoardMetrics
from cellplane.router.judge import CellHealth
from cellplane.router.metrics import AgentMetrics
from unit.boards import board_of, count, note_tenant, serve, table_of

TABLE = table_of(["cell-1", "cell-2"])
Sample = tuple[str, tuple[tuple[str, str], ...]]


def scrape(board: Board | None, health: Mapping[str, CellHealth] | None = None) -> dict[Sample, float]:
    """Every sample, by name and labels, as Prometheus would read it."""
    registry = CollectorRegistry()
    registry.register(BoardMetrics(lambda: board, lambda: health or {}))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert len({family.name for family in families}) == len(families)
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def of_cell(name: str, cell: str, **more: str) -> Sample:
    return f"cellplane_router_{name}", tuple(sorted({"cell": cell, **more}.items()))


def test_before_the_first_table_there_are_names_and_no_samples() -> None:
    assert scrape(None) == {}


@pytest.mark.parametrize(
    ("what", "name"),
    [
        (Count.REQUESTS, "cell_requests_total"),
        (Count.ERRORS, "cell_errors_total"),
        (Count.UNREACHABLE, "cell_unreachable_total"),
        (Count.RETRIED, "cell_retried_total"),
        (Count.MISROUTED, "cell_misrouted_total"),
        (Count.SHED, "cell_shed_total"),
        (Count.LIMITED, "tenant_limited_total"),
        (Count.UNAVAILABLE, "cell_unavailable_total"),
        (Count.CANARY, "cell_canary_total"),
        (Count.PROBES, "cell_probes_total"),
        (Count.SHADOWED, "cell_shadowed_total"),
        (Count.REDIRECTED, "cell_redirected_total"),
        (Count.KEPT, "cell_kept_total"),
        (Count.KEPT_EVICTED, "cell_kept_evicted_total"),
        (Count.STALE, "cell_kept_given_total"),
        (Count.KEPT_MISSED, "cell_kept_missed_total"),
        (Count.IN_FLIGHT, "cell_in_flight"),
    ],
)
def test_each_count_is_a_metric_of_its_cell(tmp_path: Path, what: Count, name: str) -> None:
    board = board_of(tmp_path, TABLE, workers=2)
    count(board, "cell-1", what, 3)
    count(board, "cell-1", what, 4, worker=1)
    samples = scrape(board)
    assert samples[of_cell(name, "cell-1")] == 7
    assert samples[of_cell(name, "cell-2")] == 0
    assert [sample for sample, value in samples.items() if value] == [of_cell(name, "cell-1")]


def test_kept_bytes_are_those_of_all_cells_together(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    board._header[8] = 4096
    assert scrape(board)["cellplane_router_kept_bytes", ()] == 4096
    board.begin_run()
    assert scrape(board)["cellplane_router_kept_bytes", ()] == 0


def test_reasons_say_what_named_the_shard(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    reasons = {
        "assignment": Count.BY_ASSIGNMENT,
        "slot": Count.BY_SLOT,
        "default": Count.BY_DEFAULT,
        "source": Count.BY_SOURCE,
    }
    for amount, what in enumerate(reasons.values(), 1):
        count(board, "cell-1", what, amount)
    samples = scrape(board)
    found = [samples[of_cell("decisions_total", "cell-1", reason=reason)] for reason in reasons]
    assert found == [1, 2, 3, 4]


def test_durations_are_a_histogram(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    for requests, seconds in ((5, 0.0001), (3, 0.01), (2, 60.0)):
        serve(board, "cell-1", requests, seconds=seconds)
    samples = scrape(board)
    name = "cell_duration_seconds"
    buckets = [samples[of_cell(f"{name}_bucket", "cell-1", le=str(bound))] for bound in LATENCY_BOUNDS_SECONDS]
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (5, 8)
    assert samples[of_cell(f"{name}_bucket", "cell-1", le="+Inf")] == 10
    assert samples[of_cell(f"{name}_count", "cell-1")] == 10
    assert samples[of_cell(f"{name}_sum", "cell-1")] == pytest.approx(5 * 0.0001 + 3 * 0.01 + 2 * 60)


def test_more_ends_than_beginnings_are_none_under_way(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    board._counts[0, 0, Count.IN_FLIGHT] = 2**64 - 1
    assert scrape(board)[of_cell("cell_in_flight", "cell-1")] == 0


def test_of_many_tenants_those_have_a_metric_that_take_most_of_a_cells_time(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    for place in range(16):
        note_tenant(board, "cell-1", place, f"t-{place}", requests=1, errors=0, busy_us=1_000_000 * place)
    samples = scrape(board)
    tenants = {
        dict(labels)["tenant"]: value for (name, labels), value in samples.items() if name.endswith("busy_seconds")
    }
    assert tenants == {f"t-{place}": float(place) for place in range(16 - MAX_TENANTS, 16)}


def test_a_tenants_name_may_have_any_character_of_a_key(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    name = "a.b_c:d@e|f+g=h~i-j"
    note_tenant(board, "cell-1", 0, name, requests=1, errors=0, busy_us=2_000_000)
    assert scrape(board)[of_cell("tenant_busy_seconds", "cell-1", tenant=name)] == 2


def test_health_is_a_score_and_one_state_of_three(tmp_path: Path) -> None:
    health = {
        "cell-1": CellHealth(12.5, 1.0, "error rate", True, "half-open"),
        "cell-2": CellHealth(100.0, 0.0, "", False, "closed"),
    }
    samples = scrape(board_of(tmp_path, TABLE), health)
    assert samples[of_cell("cell_health_score", "cell-1")] == 12.5
    assert [samples[of_cell("cell_gray", cell)] for cell in health] == [1, 0]
    states = [samples[of_cell("cell_breaker", "cell-1", state=state)] for state in ("closed", "open", "half-open")]
    assert states == [0, 0, 1]


def test_they_stand_beside_those_of_the_agent_and_its_proxy(tmp_path: Path) -> None:
    board = board_of(tmp_path, TABLE)
    metrics = AgentMetrics()
    metrics.registry.register(BoardMetrics(lambda: board, dict))
    metrics.show_proxy(lambda: b"# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n")
    text = generate_latest(metrics.registry).decode()
    names = [family.name for family in text_string_to_metric_families(text)]
    assert {"cellplane_agent_applied_epoch", "cellplane_router_cell_requests", "envoy_server_live"} <= set(names)
    assert len(names) == len(set(names))
