"""A short slice of every scenario of `make chaos`, held to what a slow machine cannot break, with nothing beside it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.report import Report, Scale
from chaos.scenarios import (
    SCENARIOS,
    analytics_match,
    cell_killed,
    cell_overload,
    control_plane_cut_short,
    control_plane_killed,
    gray_failure,
    tenant_overload,
)

SEED = 4
RPS = 150.0
STOOD_STILL_MS = 250.0
"""A load that was sent later than this: whatever else happened meanwhile, happened on a machine that stood still."""

TRIES = 3


def correct(run: Callable[..., Report], folder: Path, scale: Scale, *further: object) -> Report:
    """Run a scenario, and require what a slow machine cannot break. Where the machine stood still, run it again."""
    report = Report(run.__module__, scale)
    for attempt in range(TRIES):
        place = folder / str(attempt)
        place.mkdir()
        report = run(place, scale, *further)
        stood_still = report.figures.get("latest_request_ms", 0.0) > STOOD_STILL_MS
        if not _wrong(report) or not stood_still:
            break
    assert not _wrong(report), json.dumps(report.figures)
    return report


def _wrong(report: Report) -> list[str]:
    return [str(limit) for limit in report.limits if not limit.holds and not limit.is_timing]


@pytest.mark.alone
def test_a_killed_cell_hurts_nobody_else_and_hardly_those_with_a_second(tmp_path: Path) -> None:
    report = correct(cell_killed.run, tmp_path, Scale(SEED, RPS, seconds=3.0))
    assert set(report.figures["single_failed"]) == {"503"}
    # Writes that were under way, and those by which it was found out.
    assert sum(report.figures["paired_failed"].values()) <= 10


@pytest.mark.alone
def test_a_tenant_far_over_its_limit_is_refused_and_nobody_else(tmp_path: Path) -> None:
    correct(tenant_overload.run, tmp_path, Scale(SEED, RPS, seconds=6.0))


@pytest.mark.alone
def test_an_overloaded_cell_serves_and_refuses_and_fails_nobody(tmp_path: Path) -> None:
    report = correct(cell_overload.run, tmp_path, Scale(SEED, RPS, seconds=3.0))
    assert report.figures["served_rps"] > 0
    assert set(report.figures["refused"]) == {"503"}


@pytest.mark.alone
def test_routers_restart_without_a_control_plane_and_lose_nothing(tmp_path: Path) -> None:
    correct(control_plane_killed.run, tmp_path, Scale(SEED, RPS, seconds=5.0))


@pytest.mark.long
def test_a_gray_cell_is_found_and_left_alone(tmp_path: Path) -> None:
    correct(gray_failure.run, tmp_path, Scale(SEED, RPS, seconds=120.0), ("slow",))


@pytest.mark.long
def test_the_analytics_of_a_fleet_match_its_cells_rows_after_kills(tmp_path: Path) -> None:
    report = correct(analytics_match.run, tmp_path, Scale(SEED, rps=20.0, seconds=1.0))
    assert set(report.figures["events_by_type"]) == {"notification.accepted", "notification.delivered"}


def test_every_scenario_has_a_slice_here() -> None:
    here = Path(__file__).read_text()
    assert all(f"{name.replace('-', '_')}.run, " in here for name in SCENARIOS)


def test_a_limit_that_does_not_hold_fails_the_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = Report("x", Scale(1, 2.0, 3.0))
    assert not report.passed, "nothing was held to anything"
    report.hold("some", 3, 3)
    report.hold("many", 9, 8, at_least=True)
    assert report.passed
    report.hold("lost", 1)
    assert not report.passed
    value = json.loads(report.write().read_text())
    assert (value["scenario"], value["passed"], value["seed"]) == ("x", False, 1)
    assert value["limits"][2] == {"figure": "lost", "value": 1, "at_most": 0, "holds": False}


def test_a_control_plane_that_dies_between_a_change_and_its_table_loses_nothing(tmp_path: Path) -> None:
    points = ("change.written", "publication.written")
    correct(control_plane_cut_short.run, tmp_path, Scale(SEED, 0.0, seconds=1.0), points)


@pytest.mark.parametrize(
    ("runs", "passes", "asked"),
    [
        ([(300.0, 1), (300.0, 0)], True, 2),
        ([(300.0, 1), (300.0, 1), (300.0, 1), (300.0, 0)], False, 3),
        ([(10.0, 1), (10.0, 0)], False, 1),
    ],
    ids=["stood still once", "stands still", "lost one in good time"],
)
def test_only_a_machine_that_stood_still_gets_another_run(
    runs: list[tuple[float, int]], passes: bool, asked: int, tmp_path: Path
) -> None:
    seen: list[Report] = []

    def run(_folder: Path, scale: Scale) -> Report:
        latest_ms, lost = runs[len(seen)]
        report = Report("x", scale, {"latest_request_ms": latest_ms})
        report.hold("lost", lost)
        seen.append(report)
        return report

    if passes:
        assert correct(run, tmp_path, Scale(1, 2.0, 3.0)) is seen[-1]
    else:
        with pytest.raises(AssertionError, match="lost 1"):
            correct(run, tmp_path, Scale(1, 2.0, 3.0))
    assert len(seen) == asked
