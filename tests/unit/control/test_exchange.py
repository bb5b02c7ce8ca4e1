"""Control planes that share a directory know what routers report to any of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cellplane.control.registry import RouterRegistry
from cellplane.control.schemas import CellHealth, RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.directory.reports import Reporter
from support.directory import Directory
from unit.control.serving import Api, eventually, serving

KEEP_SECONDS = 3600.0


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def directory(database_url: str) -> Iterator[Directory]:
    directory = Directory(database_url)
    yield directory
    directory.close()


def report(epoch: int, healthy_hosts: int = 1) -> RouterReport:
    health = CellHealth(hosts=1, healthy_hosts=healthy_hosts)
    return RouterReport(epoch=epoch, sha256="", proxy="fake", ready=True, cells={"cell-1": health})


def registries(clock: Clock) -> tuple[RouterRegistry, RouterRegistry]:
    settings = ControlSettings(state_dir=Path("unused"), port=1)
    return RouterRegistry(settings, clock), RouterRegistry(replace(settings, port=2), clock)


def give_and_get(directory: Directory, replica: str, registry: RouterRegistry) -> int:
    return len(
        registry.reports.absorb(
            directory.exchange_reports(Reporter.ROUTER, replica, registry.reports.own(), KEEP_SECONDS)
        )
    )


def test_what_one_is_told_the_other_knows(directory: Directory) -> None:
    clock = Clock()
    first, second = registries(clock)
    first.report("router-1", report(5, healthy_hosts=0))
    assert give_and_get(directory, "first", first) == 0
    assert give_and_get(directory, "second", second) == 1
    ((known, age),) = second.routers()
    assert (known.id, known.report) == ("router-1", report(5, healthy_hosts=0))
    assert age < 5
    assert second.unhealthy_cells() == {"cell-1"}
    assert give_and_get(directory, "second", second) == 0, "the same again is nothing new"


def test_a_router_that_asks_another_is_known_by_its_last_word(directory: Directory) -> None:
    clock = Clock()
    first, second = registries(clock)
    first.report("router-1", report(5))
    give_and_get(directory, "first", first)
    give_and_get(directory, "second", second)
    clock.seconds += 2
    second.report("router-1", report(6))
    give_and_get(directory, "second", second)
    assert give_and_get(directory, "first", first) == 1
    assert [known.report.epoch for known, _ in first.routers()] == [6]
    assert give_and_get(directory, "second", second) == 0, "its own word does not come back"
    assert [known.report.epoch for known, _ in second.routers()] == [6]


def test_a_word_of_another_release_is_left_out(directory: Directory) -> None:
    clock = Clock()
    first, _ = registries(clock)
    directory.exchange_reports(Reporter.ROUTER, "other", {"router-9": ({"weather": "fine"}, 0.0)}, KEEP_SECONDS)
    assert give_and_get(directory, "first", first) == 0
    assert first.routers() == []


def test_a_router_that_is_silent_for_long_is_forgotten(directory: Directory) -> None:
    clock = Clock()
    _, second = registries(clock)
    directory.exchange_reports(
        Reporter.ROUTER, "first", {"router-1": (report(5).model_dump(mode="json"), 50.0)}, KEEP_SECONDS
    )
    directory.exchange_reports(Reporter.ROUTER, "second", {}, keep_seconds=10.0)
    assert give_and_get(directory, "second", second) == 0


def test_two_control_planes_list_all_routers(database_url: str, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"database_url": database_url, "exchange_seconds": 0.05}
    with serving(tmp_path / "a", **quick) as one, serving(tmp_path / "b", **quick) as other:
        body = {"epoch": 3, "sha256": "", "proxy": "fake", "ready": True}

        def routers(api: Api) -> list[str]:
            return [item["id"] for item in api.get("/v1/routers").json()["items"]]

        for api, router in ((one, "router-1"), (other, "router-2")):
            api.http.post(f"/v1/routers/{router}/report", json=body).raise_for_status()
        for api in (one, other):
            eventually(lambda api=api: routers(api) == ["router-1", "router-2"], "both are listed")  # type: ignore[misc]
