"""What the apps in cells are told: through the API and the commands, and by what a cell reads of it."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cell.config import ConfigFetcher, Document, LiveConfig
from cellplane.cli.commands import cli
from unit.cell.config.test_live import Settings
from unit.control.serving import Api, as_holder, assert_problem


def said(api: Api, cell: str = "cell-1") -> dict[str, Any]:
    answer = api.get(f"/v1/cells/{cell}/config")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def put(api: Api, setting: str, value: object) -> int:
    return api.put_epoch(f"/v1/config/{setting}", {"value": value})


def test_nothing_is_said_at_first(shop: Api) -> None:
    assert said(shop) == {
        "version": 1,
        "revision": 0,
        "cell": "cell-1",
        "layers": {"fleet": {}, "pool": {}, "cell": {}},
        "tenants": {},
        "flags": {},
    }
    assert shop.get("/v1/config").json() == {"items": [], "next": None}
    assert_problem(shop.get("/v1/cells/nowhere/config"), 404, "not-found")


def test_a_cell_is_told_what_is_its_own_and_of_all(shop: Api) -> None:
    put(shop, "fleet/batch", 200)
    put(shop, "pool/default/batch", 100)
    put(shop, "pool/other/batch", 1)
    put(shop, "cell/cell-1/batch", 50)
    put(shop, "cell/cell-2/batch", 60)
    epoch = put(shop, "tenant/acme/names", ["a", None, 1.5, True])
    found = said(shop)
    assert found["revision"] == epoch
    assert found["layers"] == {"fleet": {"batch": 200}, "pool": {"batch": 100}, "cell": {"batch": 50}}
    assert found["tenants"] == {"acme": {"names": ["a", None, 1.5, True]}}
    assert said(shop, "cell-2")["layers"]["cell"] == {"batch": 60}


def test_of_two_pools_of_a_cell_the_first_by_name_counts(shop: Api) -> None:
    shop.put_epoch("/v1/pools/big", {"cells": ["cell-1"]})
    put(shop, "pool/default/batch", 100)
    put(shop, "pool/big/batch", 7)
    put(shop, "pool/default/limit", 8)
    assert said(shop)["layers"]["pool"] == {"batch": 7, "limit": 8}
    assert said(shop, "cell-2")["layers"]["pool"] == {"batch": 100, "limit": 8}


def test_a_cell_learns_nothing_of_tenants_that_may_not_be_there(shop: Api) -> None:
    shop.put_epoch("/v1/cells/cell-eu", {"address": "127.0.0.1", "port": 8003, "jurisdiction": "eu"})
    shop.put_epoch("/v1/pools/eu", {"cells": ["cell-eu"]})
    shop.put_epoch("/v1/tenants/berlin", {"cell": "cell-eu", "pool": "eu"})
    put(shop, "tenant/berlin/batch", 1)
    epoch = put(shop, "tenant/boston/batch", 2)
    shop.put_epoch("/v1/flags/new", {"tenants": {"berlin": True, "boston": False}, "percent": 5, "cells": ["cell-1"]})
    shop.published(epoch)
    here, there = said(shop), said(shop, "cell-eu")
    assert (here["tenants"], there["tenants"]) == ({"boston": {"batch": 2}}, {"berlin": {"batch": 1}})
    assert here["flags"]["new"]["tenants"] == {"boston": False}
    assert there["flags"]["new"]["tenants"] == {"berlin": True}
    assert there["flags"]["new"]["cells"] == ["cell-1"], "which cells there are is no secret among them"


def test_the_revision_grows_also_when_something_is_said_no_more(shop: Api) -> None:
    put(shop, "fleet/batch", 1)
    before = put(shop, "fleet/limit", 2)
    answer = shop.http.delete("/v1/config/fleet/limit")
    assert answer.status_code == 200
    assert answer.json()["epoch"] == said(shop)["revision"] == before + 1
    assert_problem(shop.http.delete("/v1/config/fleet/limit"), 404, "not-found")


def test_it_is_not_sent_again_where_nothing_changed(shop: Api) -> None:
    put(shop, "fleet/batch", 1)
    first = shop.get("/v1/cells/cell-1/config")
    known = {"if-none-match": first.headers["etag"]}
    assert shop.http.get("/v1/cells/cell-1/config", headers=known).status_code == 304
    shop.put_epoch("/v1/tenants/other", {})
    assert shop.http.get("/v1/cells/cell-1/config", headers=known).status_code == 304
    put(shop, "fleet/batch", 2)
    assert shop.http.get("/v1/cells/cell-1/config", headers=known).status_code == 200


def test_settings_have_versions_a_history_and_pages(shop: Api) -> None:
    for number in range(5):
        put(shop, f"tenant/t-{number}/batch", number)
    shop.put_epoch("/v1/flags/new", {"percent": 5})
    page = shop.get("/v1/config", limit=3).json()
    assert [each["id"] for each in page["items"]] == [f"tenant/t-{number}/batch" for number in range(3)]
    rest = shop.get("/v1/config", limit=3, after=page["next"]).json()
    assert [each["value"] for each in rest["items"]] == [3, 4]
    assert rest["next"] is None
    assert [each["name"] for each in shop.get("/v1/flags").json()["items"]] == ["new"]
    assert [each["id"] for each in shop.get("/v1/config", layer="tenant", owner="t-1").json()["items"]] == [
        "tenant/t-1/batch"
    ]
    one = shop.get("/v1/config/tenant/t-1/batch")
    assert one.headers["etag"] == f'"{one.json()["version"]}"'
    stale = shop.http.put("/v1/config/tenant/t-1/batch", json={"value": 9}, headers={"if-match": '"1"'})
    assert_problem(stale, 412, "precondition-failed")
    put(shop, "tenant/t-1/batch", 9)
    (last,) = shop.get("/v1/events", kind="config", id="tenant/t-1/batch", newest="true").json()["items"][:1]
    assert (last["before"]["said"], last["after"]["said"]) == ({"value": 1}, {"value": 9})


def test_a_change_of_it_makes_no_new_base(shop: Api) -> None:
    before = shop.published(4)
    epoch = put(shop, "fleet/batch", 1)
    after = shop.published(epoch)
    assert after.sha256 == before.sha256
    assert len(after) == len(before)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/config/batch", {"value": 1}, "config.id"),
        ("/v1/config/region/eu/batch", {"value": 1}, "config.id"),
        ("/v1/config/fleet/a-b", {"value": 1}, "config.id"),
        ("/v1/config/fleet/x/batch", {"value": 1}, "config.id"),
        ("/v1/config/cell/Cell/batch", {"value": 1}, "config.id"),
        ("/v1/config/flag/new", {"value": 1}, "config.id"),
        ("/v1/config/fleet/batch", {"value": {"a": 1}}, None),
        ("/v1/config/fleet/batch", {"value": [[1]]}, None),
        ("/v1/config/fleet/batch", {"value": "x" * 5_000}, "value"),
        ("/v1/config/fleet/batch", {"value": [1] * 1_001}, "value"),
        ("/v1/config/fleet/batch", {}, None),
        ("/v1/flags/New", {}, "flag.name"),
        ("/v1/flags/new", {"percent": 101}, None),
        ("/v1/flags/new", {"cells": ["A"]}, "flag.cells"),
        ("/v1/flags/new", {"tenants": {"-": True}}, "flag.tenants"),
        ("/v1/flags/new", {"tenants": {"acme": 1}}, None),
    ],
)
def test_what_cannot_be_is_refused(shop: Api, path: str, body: object, field: str | None) -> None:
    answer = shop.put(path, body)
    assert answer.status_code == 422, answer.text
    if field is not None:
        assert answer.json()["field"] == field


def test_a_cell_reads_its_own_and_no_others(shop: Api) -> None:
    token = as_holder(shop.holder(name="cell-1", role="cell", subject="cell-1"))
    assert shop.http.get("/v1/cells/cell-1/config", headers=token).status_code == 200
    assert_problem(shop.http.get("/v1/cells/cell-2/config", headers=token), 403, "forbidden")
    assert_problem(shop.http.get("/v1/config", headers=token), 403, "forbidden")


def test_what_is_said_is_in_force_in_the_cell(shop: Api, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(shop.holder(name="cell-1", role="cell", subject="cell-1"))
    path = tmp_path / "config.json"
    fetcher = ConfigFetcher(f"http://127.0.0.1:{shop.port}", "cell-1", tmp_path / "token", path)
    put(shop, "fleet/batch", 7)
    shop.put_epoch("/v1/flags/new", {"tenants": {"acme": True}, "percent": 0})
    put(shop, "tenant/acme/factor", 2)
    assert fetcher.fetch()
    live = LiveConfig(path, "cell-1", Settings, flags=("new",))
    assert live.values("acme") == Settings(batch=7, factor=2.0)
    assert live.flag("new", "acme")
    assert not live.flag("new", "other")
    assert not fetcher.fetch()
    shop.http.delete("/v1/config/fleet/batch").raise_for_status()
    assert fetcher.fetch()
    assert live.look()
    assert live.values().batch == 100
    assert Document.parse(path.read_bytes()).cell_id == "cell-1"


def run(api: Api, *arguments: str) -> Result:
    options = [*arguments, "--control", f"http://127.0.0.1:{api.port}"]
    return CliRunner().invoke(cli, options, env={"CELLPLANE_TOKEN": api.token})


def test_the_commands_say_and_show_it(shop: Api) -> None:
    assert "fleet/batch = 7 (epoch " in run(shop, "config", "set", "fleet/batch", "7").output
    assert run(shop, "config", "set", "tenant/acme/provider", "two", "--reason", "a trial").exit_code == 0
    listed = run(shop, "config", "list").output
    assert 'tenant/acme/provider  "two"' in listed
    assert "fleet/batch" not in run(shop, "config", "list", "--layer", "tenant", "--owner", "acme").output
    assert run(shop, "config", "list", "--owner", "acme").exit_code == 2
    shown = run(shop, "config", "show", "cell-1").output
    assert "tenant acme" in shown
    assert '"fleet": { "batch": 7 }' in " ".join(run(shop, "config", "show", "cell-1", "--json").output.split())
    assert "not said any more" in run(shop, "config", "unset", "fleet/batch").output
    refused = run(shop, "config", "unset", "fleet/batch")
    assert refused.exit_code == 1
    assert "error: no config is named 'fleet/batch' (404)" in refused.output


def test_the_commands_turn_flags_on_and_off(shop: Api) -> None:
    on = ("flag", "on", "new", "--cell", "cell-1", "--percent", "5", "--tenant", "acme", "--not-tenant", "globex")
    said_of_it = "in cell-1, for 5 % of the tenants, for acme, but not for globex"
    assert said_of_it in run(shop, *on).output
    assert said_of_it in run(shop, "flag", "list").output
    assert "new is off (epoch " in run(shop, "flag", "off", "new").output
    assert "nowhere" in run(shop, "flag", "list").output
    assert shop.get("/v1/flags/new").json()["percent"] == 0
    assert "forgotten" in run(shop, "flag", "remove", "new").output
    assert "There are no flags" in run(shop, "flag", "list").output
    assert run(shop, "flag", "on", "new").exit_code == 2
    assert run(shop, "flag", "on", "new", "--tenant", "a", "--not-tenant", "a").exit_code == 2
