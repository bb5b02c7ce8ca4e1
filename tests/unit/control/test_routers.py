"""What routers report: listed with its age, lost after silence, and the source of cells' health."""

from pathlib import Path
from typing import Any

import pytest

from cellplane.control.registry import RouterRegistry
from cellplane.control.schemas import CellHealth, RouterReport
from cellplane.control.settings import ControlSettings
from cellplane.errors import ConflictError
from unit.control.serving import Api, assert_problem, serving

REPORT: dict[str, Any] = {"epoch": 4, "sha256": "ab", "proxy": "envoy/1.40", "ready": True}


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def report_of(epoch: int = 1, **healthy: int) -> RouterReport:
    cells = {name.replace("_", "-"): CellHealth(hosts=1, healthy_hosts=hosts) for name, hosts in healthy.items()}
    return RouterReport(epoch=epoch, sha256="", proxy="fake", ready=True, cells=cells)


def registry_of(clock: Clock, **settings: Any) -> RouterRegistry:
    return RouterRegistry(ControlSettings(state_dir=Path("unused"), port=1, **settings), clock)


def post(api: Api, router_id: str, **changes: Any) -> int:
    return api.http.post(f"/v1/routers/{router_id}/report", json={**REPORT, **changes}).status_code


def test_the_age_of_a_report_is_that_of_the_clock() -> None:
    clock = Clock()
    registry = registry_of(clock)
    registry.report("b", report_of())
    clock.now += 2
    registry.report("a", report_of())
    clock.now += 1
    assert [(known.id, age) for known, age in registry.routers()] == [("a", 1.0), ("b", 3.0)]


def test_a_silent_router_is_forgotten_in_the_end() -> None:
    clock = Clock()
    registry = registry_of(clock, router_forget_seconds=60.0)
    registry.report("a", report_of())
    clock.now += 60
    assert len(registry.routers()) == 1
    clock.now += 0.1
    assert registry.routers() == []


def test_a_cell_is_healthy_when_any_fresh_router_reaches_it() -> None:
    clock = Clock()
    registry = registry_of(clock, router_stale_seconds=5.0)
    assert registry.cell_health() == {}
    registry.report("old", report_of(cell_1=0, cell_2=1, cell_3=1))
    clock.now += 4
    registry.report("new", report_of(cell_1=1, cell_2=0))
    assert registry.cell_health() == {"cell-1": True, "cell-2": True, "cell-3": True}
    clock.now += 2
    assert registry.cell_health() == {"cell-1": True, "cell-2": False}
    clock.now += 5
    assert registry.cell_health() == {}


def test_the_registry_has_a_limit_and_makes_room_for_the_living() -> None:
    clock = Clock()
    registry = registry_of(clock, max_routers=2, router_forget_seconds=60.0)
    registry.report("a", report_of())
    registry.report("b", report_of())
    with pytest.raises(ConflictError, match="limit"):
        registry.report("c", report_of())
    registry.report("a", report_of(2))
    clock.now += 50
    registry.report("b", report_of(2))
    clock.now += 20
    registry.report("c", report_of())
    assert [known.id for known, _ in registry.routers()] == ["b", "c"]


def test_a_report_is_listed_with_how_far_behind_the_router_is(shop: Api) -> None:
    assert shop.get("/v1/routers").json() == {
        "published_epoch": 4,
        "known": 0,
        "converged": 0,
        "lost": 0,
        "items": [],
        "next": None,
    }
    rejected = {"epoch": 4, "reason": "bad"}
    response = shop.http.post("/v1/routers/router-1/report", json={**REPORT, "epoch": 3, "rejected": rejected})
    assert response.json() == {"status": "ok", "epoch": 4, "published_epoch": 4}
    assert post(shop, "router-2", epoch=9) == 200
    first, second = shop.get("/v1/routers").json()["items"]
    assert 0 <= first.pop("age_seconds") < 60
    assert first == {
        "id": "router-1",
        "epoch": 3,
        "sha256": "ab",
        "proxy": "envoy/1.40",
        "ready": True,
        "version": "",
        "clock_offset_seconds": None,
        "rejected": rejected,
        "lost": False,
        "behind": 1,
    }
    assert second["behind"] == -5


def test_a_router_without_news_is_lost_and_its_word_no_longer_counts(tmp_path: Path) -> None:
    with serving(tmp_path, router_stale_seconds=0.0) as api:
        api.fill()
        assert post(api, "router-1", cells={"cell-1": {"hosts": 1, "healthy_hosts": 1}}) == 200
        (router,) = api.get("/v1/routers").json()["items"]
        assert router["lost"] is True
        assert [cell["healthy"] for cell in api.get("/v1/cells").json()["items"]] == [None, None]


def test_the_health_of_cells_is_what_routers_say(shop: Api) -> None:
    cells = {"cell-1": {"hosts": 1, "healthy_hosts": 1}, "cell-2": {"hosts": 1, "healthy_hosts": 0}}
    assert post(shop, "router-1", cells=cells) == 200
    assert [cell["healthy"] for cell in shop.get("/v1/cells").json()["items"]] == [True, False]


def test_before_a_table_a_report_is_taken(api: Api) -> None:
    response = api.http.post("/v1/routers/router-1/report", json=REPORT)
    assert response.json() == {"status": "ok", "epoch": 0, "published_epoch": None}
    assert api.get("/v1/routers").json()["items"][0]["behind"] == 0


def test_a_forgotten_router_leaves_the_metrics(tmp_path: Path) -> None:
    with serving(tmp_path, router_forget_seconds=0.0) as api:
        assert post(api, "router-1") == 200
        assert api.get("/v1/routers").json()["items"] == []
        assert "router-1" not in api.get("/metrics").text


def test_too_many_routers_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path, max_routers=1) as api:
        assert post(api, "router-1") == 200
        assert_problem(api.http.post("/v1/routers/router-2/report", json=REPORT), 409, "conflict")
        assert post(api, "router-1") == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"epoch": -1}, "body.epoch"),
        ({"epoch": "4"}, "body.epoch"),
        ({"sha256": "a" * 65}, "body.sha256"),
        ({"proxy": "p" * 201}, "body.proxy"),
        ({"ready": 1}, "body.ready"),
        ({"rejected": {"epoch": 1, "reason": "r" * 2001}}, "body.rejected.reason"),
        ({"cells": {"cell-1": {"hosts": 1, "healthy_hosts": -1}}}, "body.cells.cell-1.healthy_hosts"),
        ({"other": 1}, "body.other"),
    ],
)
def test_a_report_that_cannot_be_is_refused(steady_shop: Api, change: dict[str, Any], field: str) -> None:
    response = steady_shop.http.post("/v1/routers/router-9/report", json={**REPORT, **change})
    assert_problem(response, 422, "invalid-request", field=field)
    assert steady_shop.get("/v1/routers").json()["items"] == []


@pytest.mark.parametrize("router_id", ["UP", "%00", "x" * 64, "a_b"])
def test_a_router_that_has_no_name_is_refused(steady_shop: Api, router_id: str) -> None:
    response = steady_shop.http.post(f"/v1/routers/{router_id}/report", json=REPORT)
    assert_problem(response, 422, "invalid-resource", field="router_id")


def raw_report(api: Api, **members: str) -> int:
    whole = {"epoch": "1", "sha256": '""', "proxy": '""', "ready": "true", **members}
    body = "{" + ", ".join(f'"{name}": {value}' for name, value in whole.items()) + "}"
    headers = {"content-type": "application/json"}
    return api.http.post("/v1/routers/router-9/report", content=body.encode(), headers=headers).status_code


def test_an_epoch_beyond_64_bits_is_refused(shop: Api) -> None:
    assert raw_report(shop, epoch="9" * 400) == 422


@pytest.mark.parametrize(
    "members",
    [{"sha256": '"\\ud800"'}, {"proxy": '"\\ud800"'}, {"rejected": '{"epoch": 1, "reason": "\\ud800"}'}],
    ids=lambda members: next(iter(members)),
)
def test_a_lone_surrogate_in_a_report_is_refused(shop: Api, members: dict[str, str]) -> None:
    assert raw_report(shop, **members) == 422
    assert shop.get("/v1/routers").status_code == 200


def test_a_lone_surrogate_as_a_cells_name_breaks_no_list(shop: Api) -> None:
    assert raw_report(shop, cells='{"\\ud800": {"hosts": 1, "healthy_hosts": 1}}') in {200, 422}
    assert shop.get("/v1/cells").status_code == 200


def test_what_many_routers_say_is_added_up_now_and_then() -> None:
    seconds = [100.0]

    def clock() -> float:
        """Each look takes a tenth of a second."""
        seconds[0] += 0.1
        return seconds[0]

    registry = RouterRegistry(ControlSettings(state_dir=Path("unused"), port=1, router_stale_seconds=60), clock)

    def report(healthy_hosts: int) -> None:
        cells = {"cell-1": CellHealth(hosts=1, healthy_hosts=healthy_hosts)}
        registry.report("router-1", RouterReport(epoch=1, sha256="", proxy="", ready=True, cells=cells))

    report(0)
    assert registry.unhealthy_cells() == {"cell-1"}
    report(1)
    assert registry.unhealthy_cells() == {"cell-1"}, "it took long, so it counts for a while"
    seconds[0] += 0.5
    assert registry.unhealthy_cells() == frozenset(), "but never for long"
    assert registry.cell_judgements()["cell-1"].healthy_hosts == 1
