"""What was: rebuilt, compared and made so again, by the API and by commands."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli
from cellplane.routing import RoutingTable
from unit.control.serving import Api, assert_problem

CELL = {"address": "127.0.0.1", "port": 8009}


def run(api: Api, *arguments: str) -> Result:
    return CliRunner().invoke(
        cli, [*arguments, "--control", f"http://127.0.0.1:{api.port}"], env={"CELLPLANE_TOKEN": api.token}
    )


def json_of(result: Result) -> Any:
    """What a command printed, between lines of the control plane's log: that runs in this process too."""
    return json.JSONDecoder().raw_decode(result.output[result.output.index("{") :])[0]


@pytest.fixture
def grown(shop: Api) -> Api:
    """Epoch 5: acme at cell-1; 6: at cell-2; 7: a third cell; 8: in the default pool."""
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-1"})
    shop.put_epoch("/v1/tenants/acme", {"cell": "cell-2"})
    shop.put_epoch("/v1/cells/cell-3", CELL)
    assert shop.put_epoch("/v1/pools/default", {"cells": ["cell-1", "cell-2", "cell-3"]}) == 8
    return shop


def says(table: RoutingTable) -> list[Any]:
    rows = [(row.key, row.shard, row.state) for row in table.tenants()]
    slots = table.slots_of(0)
    return [table.cells, table.pools, rows, None if slots is None else slots.tolist()]


def test_the_table_of_any_epoch_is_compiled_anew(shop: Api) -> None:
    published = {}
    for epoch, (path, body) in enumerate(
        [
            ("/v1/tenants/acme", {"cell": "cell-1"}),
            ("/v1/tenants/zeta", {"state": "suspended"}),
            ("/v1/cells/cell-3", CELL),
            ("/v1/tenants/acme", {}),
        ],
        start=5,
    ):
        assert shop.put_epoch(path, body) == epoch
        published[epoch] = says(shop.published(epoch))
    for epoch, expected in published.items():
        response = shop.get(f"/v1/epochs/{epoch}/table")
        table = RoutingTable(response.content)
        assert table.epoch == epoch == int(response.headers["x-cellplane-epoch"])
        assert says(table) == expected
    assert_problem(shop.get("/v1/epochs/1/table"), 404, "not-found")
    assert_problem(shop.get("/v1/epochs/99/table"), 404, "not-found")


def test_what_differs_between_two_epochs_is_told_with_whom_it_moves(grown: Api) -> None:
    found = grown.get("/v1/diff", before=5, after=8).json()
    assert [(each["action"], each["kind"], each["name"]) for each in found["changes"]] == [
        ("create", "Cell", "cell-3"),
        ("change", "Pool", "default"),
        ("change", "Tenant", "acme"),
    ]
    assert found["moves"]["tenants"] == 1
    assert found["moves"]["slots"] > 10_000
    back = grown.get("/v1/diff", before=8, after=5).json()
    assert [(each["action"], each["kind"], each["name"]) for each in back["changes"]] == [
        ("delete", "Cell", "cell-3"),
        ("change", "Pool", "default"),
        ("change", "Tenant", "acme"),
    ]
    assert back["moves"]["slots"] == found["moves"]["slots"]
    assert grown.get("/v1/diff", before=7, after=7).json()["changes"] == []
    assert_problem(grown.get("/v1/diff", before=5, after=9), 404, "not-found")


def test_epochs_before_the_fleet_was_whole_compare_too(api: Api) -> None:
    assert api.put_epoch("/v1/cells/cell-0", {"address": "127.0.0.1", "port": 8000}) == 1
    api.fill()
    assert {change["kind"] for change in api.get("/v1/diff", before=5, after=2).json()["changes"]} == {"Cell", "Pool"}
    assert api.get("/v1/diff", before=2, after=5).json()["moves"]["slots"] == 0
    assert {change["kind"] for change in api.get("/v1/diff", before=1, after=5).json()["changes"]} >= {"Fleet", "Pool"}
    for before in (1, 5):
        assert_problem(api.get("/v1/diff", before=before, after=1), 404, "not-found")
    for epoch in (1, 2):
        response = api.http.post("/v1/rollback", json={"epoch": epoch})
        assert response.status_code in {200, 404, 409}, response.text


def test_a_fleet_goes_back_to_an_epoch_as_a_new_one(grown: Api) -> None:
    dry = grown.http.post("/v1/rollback", json={"epoch": 5}, params={"dryRun": "true"}).json()
    assert dry["epoch"] == 8
    done = grown.http.post("/v1/rollback", json={"epoch": 5, "base_epoch": 8}).json()
    assert done["epoch"] > 8
    assert done["changes"] == dry["changes"]
    assert grown.get("/v1/tenants/acme").json()["cell"] == "cell-1"
    assert [cell["id"] for cell in grown.get("/v1/cells").json()["items"]] == ["cell-1", "cell-2"]
    assert grown.published(done["epoch"]).epoch >= done["epoch"]
    again = grown.http.post("/v1/rollback", json={"epoch": 5})
    assert again.json()["changes"] == []
    assert again.json()["epoch"] == done["epoch"], "nothing to do is no epoch"


def test_a_roll_back_from_an_epoch_that_is_gone_is_refused(grown: Api) -> None:
    assert_problem(grown.http.post("/v1/rollback", json={"epoch": 5, "base_epoch": 7}), 409, "conflict")
    assert_problem(grown.http.post("/v1/rollback", json={"epoch": 12}), 404, "not-found")
    assert_problem(grown.http.post("/v1/rollback", json={"epoch": 0}), 422, "invalid-request", field="body.epoch")


def test_history_is_a_command(grown: Api) -> None:
    grown.http.put("/v1/tenants/acme", json={"cell": "cell-1"}, headers={"x-cellplane-reason": "ticket 7"})
    result = run(grown, "history", "acme")
    assert result.exit_code == 0
    # The control plane logs in this process too.
    header, *lines = result.output[result.output.index("EPOCH") :].splitlines()
    assert header.split() == ["EPOCH", "WHEN", "WHO", "RESOURCE", "WHAT", "WHY"]
    assert [line.split()[0] for line in lines] == ["9", "6", "5"]
    assert 'shard: ["cell-2"] → ["cell-1"]' in lines[0]
    assert lines[0].endswith("ticket 7")
    assert "created" in lines[2]
    items = json_of(run(grown, "history", "--json", "--kind", "pool", "--limit", "1"))["items"]
    assert [item["epoch"] for item in items] == [8]


def test_diff_is_a_command(grown: Api) -> None:
    output = run(grown, "diff", "5", "8").output
    assert "Cell/cell-3" in output
    assert "cell-1" in output
    assert json_of(run(grown, "diff", "5", "8", "--json"))["after"] == 8
    assert run(grown, "diff", "7", "7").output == "nothing differs between epoch 7 and 7\n"
    late = run(grown, "diff", "5", "99")
    assert late.exit_code == 1


def test_rollback_is_a_command_that_asks(grown: Api) -> None:
    unasked = run(grown, "rollback", "5")
    assert unasked.exit_code == 3
    assert "nothing is rolled back" in unasked.output
    assert grown.service.directory.epoch() == 8
    done = run(grown, "rollback", "5", "--yes", "--reason", "a bad evening")
    assert done.exit_code == 0, done.output
    assert "as of epoch 5 again: epoch" in done.output
    assert {each["reason"] for each in grown.get("/v1/events", after=8).json()["items"]} == {"a bad evening"}
    assert "nothing to change" in run(grown, "rollback", "5", "--yes").output
