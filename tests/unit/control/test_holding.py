"""A table that would do more than may be done unasked waits until somebody allows it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.publishing.guard_rails import GuardRails
from unit.control.serving import Api, assert_problem, eventually, serving

TENANTS = 40


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Api]:
    """The fleet `shop` with forty tenants at cell-1, published, behind guard rails."""
    with serving(tmp_path / "state", guard_rails=GuardRails(max_moved_share=0.1, free_tenants=3)) as api:
        api.fill()
        tenants = [{"kind": "Tenant", "name": f"t-{n:02}", "spec": {"cells": ["cell-1"]}} for n in range(TENANTS)]
        api.http.post("/v1/apply", json={"resources": tenants}, params={"allow": "true"}).raise_for_status()
        # The word that allows it has an epoch of its own.
        api.published(4 + TENANTS + 1)
        yield api


def held(api: Api) -> Any:
    found: Any = api.get("/v1/epochs", limit=1).json()["held"]
    return found


def rails(api: Api) -> set[str]:
    """Which guard rails hold what is held."""
    found = held(api)
    return set() if found is None else {each["rail"] for each in found["violations"]}


def move(api: Api, count: int, **params: str) -> int:
    """Move tenants in one change, and return its epoch."""
    resources = [{"kind": "Tenant", "name": f"t-{n:02}", "spec": {"cells": ["cell-2"]}} for n in range(count)]
    response = api.http.post("/v1/apply", json={"resources": resources}, params=params)
    assert response.status_code == 200, response.text
    return int(response.json()["epoch"])


def run(api: Api, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli, [*arguments, "--control", f"http://127.0.0.1:{api.port}"], env={"CELLPLANE_TOKEN": api.token}
    )


def test_what_moves_many_is_held_while_the_table_before_goes_on(guarded: Api) -> None:
    before = guarded.get("/v1/table").headers["etag"]
    epoch = move(guarded, 20)
    eventually(lambda: held(guarded) is not None, "it is held")
    found = held(guarded)
    assert found is not None
    assert found["epoch"] == epoch
    (violation,) = found["violations"]
    assert (violation["rail"], violation["found"], violation["of"]) == ("tenants-moved", 20, TENANTS)
    assert guarded.get("/v1/table").headers["etag"] == before
    assert "cellplane_publication_held 1.0" in guarded.get("/metrics").text


def test_it_is_published_once_it_is_allowed(guarded: Api) -> None:
    epoch = move(guarded, 20)
    eventually(lambda: held(guarded) is not None, "it is held")
    assert_problem(guarded.http.post("/v1/epochs/allow", json={"epoch": epoch - 1}), 409, "conflict")
    allowed = guarded.http.post("/v1/epochs/allow", json={"epoch": epoch}).json()["epoch"]
    assert guarded.published(allowed).epoch >= allowed
    assert held(guarded) is None
    (entry,) = guarded.get("/v1/events", after=epoch).json()["items"]
    assert (entry["kind"], entry["action"]) == ("table", "allow")


def test_it_is_published_once_it_is_undone(guarded: Api) -> None:
    epoch = move(guarded, 20)
    eventually(lambda: held(guarded) is not None, "it is held")
    back = guarded.http.post("/v1/rollback", json={"epoch": 4 + TENANTS + 1})
    assert guarded.published(back.json()["epoch"]).epoch > epoch
    assert held(guarded) is None


def test_a_change_may_say_that_it_is_meant(guarded: Api) -> None:
    epoch = move(guarded, 20, allow="true")
    assert guarded.published(epoch).epoch >= epoch
    assert held(guarded) is None


def test_a_few_may_move_unasked(guarded: Api) -> None:
    epoch = move(guarded, 4)
    assert guarded.published(epoch).epoch >= epoch


def test_an_emptied_pool_and_a_shard_without_a_cell_are_held(guarded: Api) -> None:
    for cell in ("cell-1", "cell-2"):
        response = guarded.http.post(f"/v1/cells/{cell}/status", json={"status": "maintenance", "force": True})
        assert response.status_code == 200, response.text
    # A table of the first of these alone may be held before.
    eventually(lambda: rails(guarded) >= {"tenants-unserved", "pool-empty"}, "that of both is held")


def test_publish_is_a_command(guarded: Api) -> None:
    assert run(guarded, "publish").exit_code == 0
    refused = run(guarded, "publish", "--allow")
    assert refused.exit_code == 1
    assert "nothing is held" in refused.output
    epoch = move(guarded, 20)
    eventually(lambda: held(guarded) is not None, "it is held")
    shown = run(guarded, "publish")
    assert shown.exit_code == 1
    assert f"held: epoch {epoch}" in shown.output
    assert "20 of 40 known tenants would get another first cell" in shown.output
    allowed = run(guarded, "publish", "--allow", "--json", "--reason", "agreed")
    assert allowed.exit_code == 0
    text = allowed.output[allowed.output.index("{") :]
    answer = json.JSONDecoder().raw_decode(text)[0]
    assert guarded.published(answer["allowed"]["epoch"])


def test_commands_say_what_is_held_and_take_allow(guarded: Api, tmp_path: Path) -> None:
    file = tmp_path / "tenants.ndjson"
    file.write_text("".join(json.dumps({"id": f"t-{n:02}", "cells": ["cell-2"]}) + "\n" for n in range(30)))
    assert run(guarded, "tenant", "import", str(file)).exit_code == 0
    eventually(lambda: held(guarded) is not None, "it is held")
    back = run(guarded, "rollback", str(4 + TENANTS + 1), "--yes")
    assert back.exit_code == 0
    eventually(lambda: held(guarded) is None, "what undoes it is published")
    epoch = guarded.service.directory.epoch()
    assert run(guarded, "tenant", "import", str(file), "--allow").exit_code == 0
    assert guarded.published(epoch + 30).epoch > epoch
    assert held(guarded) is None


def test_a_command_that_waits_tells_that_it_is_held(guarded: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellplane.cli.changes.LIVE_TIMEOUT_SECONDS", 0.5)
    move(guarded, 20)
    eventually(lambda: held(guarded) is not None, "it is held")
    waited = run(guarded, "assign", "t-39", "cell-2")
    assert waited.exit_code == 1
    assert "known tenants would get another first cell" in waited.output
    assert "`cellplane publish --allow`" in waited.output
