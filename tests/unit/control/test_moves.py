"""Moves through the API: what movers report is kept and told, and what people want reaches them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellplane.directory import moving
from unit.control.serving import SHOP, Api, assert_problem, eventually, serving
from unit.control.test_watch import watching

WAY = ["planned", "prepared", "copied", "following", "verified", "fenced", "flipped", "released", "done"]
MOVE = {"tenant": "acme", "source": "cell-1", "target": "cell-2"}


@pytest.fixture
def api(tmp_path: Path, location: Path | str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A control plane on SQLite and on PostgreSQL, whose tenant acme is in cell-1."""
    with served(tmp_path, location) as api:
        monkeypatch.setenv("CELLPLANE_TOKEN", api.token)
        api.fill()
        api.published(api.put_epoch("/v1/tenants/acme", {"cell": "cell-1"}))
        yield api


def served(tmp_path: Path, location: Path | str, **overrides: Any) -> Any:
    url = location if isinstance(location, str) else None
    return serving(tmp_path / "state", database_url=url, move_look_seconds=0.05, **overrides)


def reach(api: Api, phase: str, move: str = "m1", **more: object) -> Any:
    response = api.put(f"/v1/moves/{move}", {**MOVE, "phase": phase, **more})
    assert response.status_code == 200, response.text
    return response.json()


def going(api: Api, move: str = "m1", **said: object) -> Any:
    response = api.http.post(f"/v1/moves/{move}/report", json=said)
    assert response.status_code == 200, response.text
    return response.json()


def want(api: Api, wish: str, move: str = "m1") -> Any:
    response = api.put(f"/v1/moves/{move}/wish", {"wish": wish})
    assert response.status_code == 200, response.text
    return response.json()


def metric(api: Api, line: str) -> bool:
    return line in api.get("/metrics").text.splitlines()


def test_each_phase_is_told_to_whoever_watches(api: Api) -> None:
    with watching(api, kind="move") as found:
        for phase in WAY:
            reach(api, phase, pause_seconds=0.12 if phase == "flipped" else None, flipped_epoch=9)
        eventually(lambda: len(found) == len(WAY), "all are told")
    assert [each["event"] for each in found] == [f"tenant.move.{phase}" for phase in WAY]
    assert {(each["kind"], each["id"]) for each in found} == {("move", "acme")}
    flipped = found[6]["after"]
    assert {name: flipped[name] for name in ("id", "source", "target", "flipped_epoch", "pause_seconds")} == {
        "id": "m1",
        "source": "cell-1",
        "target": "cell-2",
        "flipped_epoch": 9,
        "pause_seconds": 0.12,
    }
    assert found[0]["before"] is None
    assert found[7]["before"]["phase"] == "flipped"
    (only,) = api.get("/v1/events", id="acme", action="flipped").json()["items"]
    assert only["epoch"] == found[6]["epoch"]


def test_the_same_phase_again_changes_nothing(api: Api) -> None:
    first = reach(api, "planned")
    assert reach(api, "planned") == first
    assert len(api.get("/v1/events", kind="move").json()["items"]) == 1


def test_what_cannot_follow_is_refused(api: Api) -> None:
    reach(api, "planned")
    reach(api, "following")  # over phases of which nobody told, as behind a directory that was put back
    found = assert_problem(api.put("/v1/moves/m1", {**MOVE, "phase": "prepared"}), 409, "conflict")
    assert found["detail"] == "move 'm1' is following, and cannot become prepared"
    reach(api, "aborting")
    assert_problem(api.put("/v1/moves/m1", {**MOVE, "phase": "flipped"}), 409, "conflict")
    reach(api, "aborted")
    # Its mover died before it noted the end for itself.
    assert reach(api, "aborting")["phase"] == "aborted"
    assert_problem(api.put("/v1/moves/m1", {**MOVE, "phase": "planned"}), 409, "conflict")
    other = {**MOVE, "target": "cell-9", "phase": "done"}
    assert "another move needs another id" in assert_problem(api.put("/v1/moves/m1", other), 409, "conflict")["detail"]


def test_a_tenant_has_one_move_at_a_time(api: Api) -> None:
    reach(api, "planned")
    refused = assert_problem(api.put("/v1/moves/m2", {**MOVE, "phase": "planned"}), 409, "conflict")
    assert "cellplane move abort m1" in refused["detail"]
    assert_problem(api.http.post("/v1/moves/plan", json={"tenant": "acme", "target": "cell-2"}), 409, "conflict")
    reach(api, "aborting")
    reach(api, "aborted")
    reach(api, "planned", "m2")


def test_what_the_directory_has_against_a_move_is_said_before_it_begins(api: Api) -> None:
    def refusal(status: int = 409, code: str = "conflict", **more: object) -> str:
        asked = {**MOVE, **more}
        detail = str(assert_problem(api.put("/v1/moves/m1", {**asked, "phase": "planned"}), status, code)["detail"])
        planned = api.http.post("/v1/moves/plan", json={"tenant": asked["tenant"], "target": asked["target"]})
        assert_problem(planned, status, code)
        return detail

    assert "no tenant is named 'nobody'" in refusal(404, "not-found", tenant="nobody")
    assert "there are cell-1, cell-2" in refusal(404, "not-found", target="cell-9")
    api.put_epoch("/v1/cells/cell-3", {"address": "127.0.0.1", "port": 8003, "jurisdiction": "us"})
    assert "'acme' is under none, cell 'cell-3' under us" in refusal(409, "foreign-law", target="cell-3")
    api.put_epoch("/v1/tenants/acme", {"cells": ["cell-1", "cell-2"]})
    assert "served by cell-1 + cell-2: a move is from one cell to another" in refusal()
    api.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
    assert "is in 'cell-2' already" in refusal()
    api.put_epoch("/v1/tenants/acme", {"cell": "cell-1", "state": "suspended"})
    assert "only an active tenant is moved" in refusal()
    api.put_epoch("/v1/tenants/acme", {"state": "active", "load": {"rps": 50}})
    api.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002, "capacity": {"rps": 40}})
    assert "would hold 50 of 40 rps" in refusal()
    api.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002, "status": "locked"})
    assert "is locked" in refusal()
    api.put_epoch("/v1/cells/cell-2", {"address": "127.0.0.1", "port": 8002})
    assert api.http.post("/v1/moves/plan", json={"tenant": "acme", "target": "cell-2"}).json() == MOVE
    assert_problem(
        api.put("/v1/moves/m1", {**MOVE, "target": "cell-1", "phase": "planned"}),
        422,
        "invalid-resource",
        field="target",
    )
    assert_problem(api.put("/v1/moves/m1", {**MOVE, "source": "cell-3", "phase": "planned"}), 409, "conflict")
    assert api.get("/v1/moves").json()["items"] == []


def test_a_move_under_another_law_is_on_record(api: Api) -> None:
    api.put_epoch("/v1/cells/cell-3", {"address": "127.0.0.1", "port": 8003, "jurisdiction": "us"})
    asked = {**MOVE, "target": "cell-3", "phase": "planned"}
    assert_problem(api.put("/v1/moves/m1", asked), 409, "foreign-law")
    assert metric(api, "cellplane_residency_refused_total 1.0")

    def on_record() -> bool:
        items = api.get("/v1/audit").json()["items"]
        return any(each["status"] == 409 and each["path"] == "/v1/moves/m1" for each in items)

    eventually(on_record, "the audit has it")


def test_a_tenant_that_its_slot_gives_to_several_cells_is_not_moved(api: Api) -> None:
    api.put_epoch("/v1/pools/default", {"cells": ["cell-1", "cell-2"], "strategy": "shuffle", "shard_size": 2})
    api.put_epoch("/v1/tenants/beta", {})
    refused = api.http.post("/v1/moves/plan", json={"tenant": "beta", "target": "cell-2"})
    assert "a move is from one cell to another" in assert_problem(refused, 409, "conflict")["detail"]


def test_how_far_it_is_can_be_seen_and_leaves_no_trace(api: Api) -> None:
    reach(api, "planned", hold_seconds=10)
    before = api.get("/v1/moves/m1").json()
    assert (before["progress"], before["report_age_seconds"], before["heard"]) == (None, None, False)
    order = going(api, doing="copying", rows=5, bytes=700, rows_expected=10, lag_seconds=0.2, eta_seconds=3.0)
    assert order == {"wish": "run", "wish_epoch": 0, "phase": "planned"}
    found = api.get("/v1/moves/m1").json()
    assert found["progress"]["rows"] == 5
    assert found["progress"]["eta_seconds"] == 3.0
    assert found["report_age_seconds"] < 60
    assert found["version"] == before["version"]
    assert found["hold_seconds"] == 10
    reach(api, "aborting")
    reach(api, "aborted", reason="by hand")
    assert api.get("/v1/moves/m1").json()["progress"] is None
    assert_problem(api.http.post("/v1/moves/m1/report", json={}), 409, "conflict")
    assert_problem(api.http.post("/v1/moves/nothing/report", json={}), 404, "not-found")
    assert_problem(api.get("/v1/moves/nothing"), 404, "not-found")


def test_a_wish_reaches_the_mover_once_and_its_own_wins_behind_it(api: Api) -> None:
    reach(api, "planned")
    asked = want(api, "pause")
    assert (asked["wish"], asked["heard"]) == ("pause", False)
    order = going(api)
    assert order["wish"] == "pause"
    assert order["wish_epoch"] == asked["version"]
    going(api, wish="pause", heard_epoch=order["wish_epoch"])
    assert api.get("/v1/moves/m1").json()["heard"]
    # At its machine somebody wants it to go on.
    going(api, wish="run", heard_epoch=order["wish_epoch"])
    found = api.get("/v1/moves/m1").json()
    assert (found["wish"], found["heard"]) == ("run", True)
    again = want(api, "pause")
    assert again["wish_epoch"] > order["wish_epoch"], "it is a new wish, though the same"
    assert api.get("/v1/events", kind="move").json()["items"][0]["event"] == "tenant.move.wish"


def test_a_wish_is_changed_as_other_resources_are(api: Api) -> None:
    reach(api, "planned")
    read = api.get("/v1/moves/m1")
    stale = {"if-match": '"1"'}
    assert api.http.put("/v1/moves/m1/wish", json={"wish": "pause"}, headers=stale).status_code == 412
    good = {"if-match": read.headers["etag"], "idempotency-key": "k1"}
    first = api.http.put("/v1/moves/m1/wish", json={"wish": "pause"}, headers=good)
    again = api.http.put("/v1/moves/m1/wish", json={"wish": "pause"}, headers=good)
    assert first.status_code == again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["etag"] == again.headers["etag"] != read.headers["etag"]


@pytest.mark.parametrize(
    ("phase", "wish", "advice"),
    [
        ("planned", "rollback", "is 'cell-1''s still; abort it"),
        ("flipped", "abort", "is 'cell-2''s already; roll it back"),
        ("fenced", "pause", "writes wait for it; wait a moment"),
        ("released", "rollback", "it cleans up"),
        ("done", "run", "it has ended"),
    ],
)
def test_a_wish_that_comes_too_late_or_too_early_is_refused(api: Api, phase: str, wish: str, advice: str) -> None:
    reach(api, phase)
    refused = assert_problem(api.put("/v1/moves/m1/wish", {"wish": wish}), 409, "conflict")
    assert advice in refused["detail"]
    assert_problem(api.put("/v1/moves/nothing/wish", {"wish": "run"}), 404, "not-found")


def test_moves_are_listed_by_what_they_are_about(api: Api) -> None:
    for number, tenant in enumerate(("acme", "beta", "gamma")):
        api.put_epoch(f"/v1/tenants/{tenant}", {"cell": "cell-1"})
        reach(api, "planned", f"z{9 - number}", tenant=tenant)
    for phase in ("aborting", "aborted"):
        reach(api, phase, "z8", tenant="beta")

    def listed(**wanted: str | int) -> list[str]:
        return [each["id"] for each in api.get("/v1/moves", **wanted).json()["items"]]

    assert listed() == ["z9", "z8", "z7"]
    assert listed(living="true") == ["z9", "z7"]
    assert listed(living="false") == listed(phase="aborted") == listed(tenant="beta") == ["z8"]
    assert listed(cell="cell-2") == ["z9", "z8", "z7"]
    assert listed(cell="cell-3") == []
    page = api.get("/v1/moves", limit=2).json()
    assert [each["id"] for each in page["items"]] == ["z9", "z8"]
    assert listed(after=page["next"], limit=2) == ["z7"]
    assert api.get("/v1/moves", after=page["next"], limit=2).json()["next"] is None
    last = api.get("/v1/moves", before=2**62, limit=2).json()
    assert [each["id"] for each in last["items"]] == ["z7", "z8"]
    assert listed(before=last["next"]) == ["z9"]


def test_moves_are_bounded(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "MAX_LIVING", 1)
    monkeypatch.setattr(moving, "MAX_ENDED", 2)
    api.put_epoch("/v1/tenants/beta", {"cell": "cell-1"})
    reach(api, "planned")
    refused = api.put("/v1/moves/m2", {**MOVE, "tenant": "beta", "phase": "planned"})
    assert "1 moves are under way already" in assert_problem(refused, 409, "conflict")["detail"]
    for number in range(4):
        reach(api, "aborted", f"old{number}")
    assert [each["id"] for each in api.get("/v1/moves").json()["items"]] == ["m1", "old2", "old3"]
    assert len(api.get("/v1/events", kind="move").json()["items"]) == 5, "the log keeps them all"


def test_a_restart_keeps_moves_and_wishes(tmp_path: Path, location: Path | str) -> None:
    with served(tmp_path, location) as api:
        api.fill()
        api.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
        reach(api, "planned")
        reach(api, "prepared")
        asked = want(api, "abort")
        going(api, doing="copying")
    with served(tmp_path, location) as api:
        found = api.get("/v1/moves/m1").json()
        assert (found["phase"], found["wish"], found["heard"]) == ("prepared", "abort", False)
        assert going(api)["wish_epoch"] == asked["wish_epoch"]
        assert_problem(api.put("/v1/moves/m2", {**MOVE, "phase": "planned"}), 409, "conflict")
        reach(api, "aborting")
        reach(api, "aborted")


def test_what_a_mover_tells_one_control_plane_the_other_knows(database_url: str, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"database_url": database_url, "exchange_seconds": 0.05}
    with serving(tmp_path / "a", **quick) as one, serving(tmp_path / "b", **quick) as other:
        one.fill()
        one.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
        reach(one, "planned")
        going(one, doing="copying", rows=7)
        eventually(lambda: other.get("/v1/moves/m1").json()["progress"] is not None, "the other has heard")
        assert other.get("/v1/moves/m1").json()["progress"]["rows"] == 7
        want(other, "pause")
        assert going(one)["wish"] == "pause"


def test_metrics_tell_of_moves_that_are_stuck(api: Api) -> None:
    reach(api, "planned")
    eventually(lambda: metric(api, 'cellplane_moves{phase="planned"} 1.0'), "it is counted")

    def silence(name: str = "cellplane_move_silent_seconds") -> float:
        lines = [line for line in api.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(lines[0].split()[1])

    eventually(lambda: silence() > 0.2, "nobody speaks for it")
    want(api, "pause")
    eventually(lambda: silence() == 0.0, "one that is to pause may be silent")
    want(api, "run")
    reach(api, "fenced")
    api.put_epoch("/v1/tenants/acme", {"state": "moving"})
    eventually(lambda: silence("cellplane_move_writes_held_seconds") > 0.1, "its writes wait")
    api.put_epoch("/v1/tenants/acme", {"cell": "cell-2", "state": "active"})
    eventually(lambda: silence("cellplane_move_writes_held_seconds") == 0.0, "they go on")
    reach(api, "flipped", pause_seconds=0.12)
    reach(api, "flipped", pause_seconds=0.12)
    assert metric(api, 'cellplane_move_pause_seconds_bucket{le="0.2"} 1.0')
    assert metric(api, "cellplane_move_pause_seconds_count 1.0")
    reach(api, "released")
    reach(api, "done")
    reach(api, "done")
    assert metric(api, 'cellplane_moves_ended_total{phase="done"} 1.0')
    eventually(lambda: metric(api, 'cellplane_moves{phase="released"} 0.0'), "none lives")


def test_work_finds_the_cell_that_it_began_in(api: Api) -> None:
    before = api.get("/v1/events", id="acme").json()["items"][0]["epoch"]
    after = api.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})

    def cells(tenant: str, epoch: int) -> Any:
        return api.get(f"/v1/epochs/{epoch}/tenants/{tenant}").json()["cells"]

    assert cells("acme", before) == ["cell-1"]
    assert cells("acme", after) == ["cell-2"]
    by_slot = api.put_epoch("/v1/tenants/beta", {})
    (cell,) = cells("beta", by_slot)
    assert cell == api.get("/v1/route", tenant="beta").json()["cell"]
    api.put_epoch("/v1/tenants/beta", {"cell": "cell-1" if cell == "cell-2" else "cell-2"})
    assert cells("beta", by_slot) == [cell]
    assert len(cells("nobody", before)) == 1, "nobody lists it, and its slot places it"
    refusing = api.put_epoch("/v1/fleet", {**SHOP, "unknown_tenant": "reject"})
    found = api.get(f"/v1/epochs/{refusing}/tenants/nobody").json()
    assert found == {"tenant": "nobody", "epoch": refusing, "cells": [], "state": None}
    assert_problem(api.get("/v1/epochs/999/tenants/acme"), 404, "not-found")
