"""Tenants by the thousands: all lines of a request or none, and the same command again does nothing twice."""

import json
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner, Result

from cellplane.cli import tenant as module
from cellplane.cli.commands import cli
from unit.control.serving import Api, assert_problem

NDJSON = {"Content-Type": "application/x-ndjson"}


def post(api: Api, *lines: object, **params: str) -> httpx2.Response:
    body = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    return api.http.post("/v1/bulk/tenants", content=body.encode(), headers=NDJSON, params=params)


def run(api: Api, *arguments: str, text: bytes | None = None) -> Result:
    return CliRunner().invoke(
        cli, [*arguments, "--control", f"http://127.0.0.1:{api.port}"], env={"CELLPLANE_TOKEN": api.token}, input=text
    )


def test_lines_create_and_change_tenants(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/b", {"tier": "gold"})
    answer = post(shop, {"id": "a", "tier": "iron"}, {"id": "b", "cells": ["cell-2"]}, "", {"id": "b2"})
    assert answer.json() == {"lines": 3, "created": 2, "changed": 1, "unchanged": 0, "epoch": 8}
    assert shop.get("/v1/tenants/a").json()["tier"] == "iron"
    b = shop.get("/v1/tenants/b").json()
    assert (b["tier"], b["cells"]) == ("gold", ["cell-2"]), "what a line does not say stays"
    assert post(shop, {"id": "a", "tier": "iron"}, {"id": "b2"}).json()["unchanged"] == 2


def test_a_line_that_cannot_be_is_named_and_nothing_is_done(shop: Api) -> None:
    epoch = shop.service.directory.epoch()
    for line, field in (
        ({"id": "x", "cells": ["cell-9"]}, "line 2: tenant.cells[0]"),
        ({"id": "x", "colour": 1}, "line 2: colour"),
        ({"tier": "gold"}, "line 2: id"),
        ("{", "line 2"),
        ({"id": "ok"}, "line 2: id"),
        ({"id": "é"}, "line 2: tenant.id"),
    ):
        assert_problem(post(shop, {"id": "ok"}, line), 422, "invalid-resource", field=field)
    assert shop.service.directory.epoch() == epoch


def test_quiet_lines_are_published_with_those_that_follow(shop: Api) -> None:
    before = shop.service.publisher.require_current().epoch
    assert post(shop, {"id": "a"}, more="true").json()["epoch"] == before + 1
    last = post(shop, {"id": "b"}).json()["epoch"]
    assert shop.published(last).epoch == last


def test_what_is_exported_can_be_imported(shop: Api, tmp_path: Path) -> None:
    lines = [
        {"id": "a", "tier": "gold", "attributes": {"k": "v"}, "load": {"tenants": 2, "rps": 1.5, "storage_gib": 0.0}},
        {"id": "b", "cells": ["cell-2", "cell-1"], "state": "suspended"},
        {"id": "c", "policy": {"rps": 3.0}},
        {"id": "d"},
    ]
    post(shop, *lines)
    file = tmp_path / "tenants.ndjson"
    exported = run(shop, "tenant", "export", "--out", str(file))
    assert exported.output.splitlines()[-1] == f"4 tenants in {file}"
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    for tenant in "abcd":
        shop.http.delete(f"/v1/tenants/{tenant}")
    imported = run(shop, "tenant", "import", str(file))
    assert "4 created, 0 changed, 0 as they were (epoch " in imported.output
    assert run(shop, "tenant", "export").output.endswith(file.read_text())


def test_pages_of_an_export_say_where_the_next_begins(shop: Api) -> None:
    post(shop, *({"id": f"t-{n}"} for n in range(5)))
    first = shop.get("/v1/bulk/tenants", limit=3)
    assert first.headers["x-cellplane-next"] == "t-2"
    second = shop.get("/v1/bulk/tenants", limit=3, after="t-2")
    assert "x-cellplane-next" not in second.headers
    assert (first.text + second.text).count("\n") == 5


def test_an_import_goes_in_batches_and_again_does_nothing_twice(
    shop: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH_LINES", 4)
    file = tmp_path / "tenants.ndjson"
    good = [json.dumps({"id": f"t-{n:02}"}) for n in range(10)]
    file.write_text("\n".join([*good[:9], '{"id": "t-09", "cells": ["cell-9"]}']) + "\n")
    failed = run(shop, "tenant", "import", str(file))
    assert failed.exit_code == 1
    assert "lines 9 and on: line 2: tenant.cells[0]" in failed.output
    assert "; 8 before are done" in failed.output
    file.write_text("\n".join(good) + "\n")
    again = run(shop, "tenant", "import", str(file), "--json")
    answer = json.JSONDecoder().raw_decode(again.output[again.output.index("{") :])[0]
    assert (answer["created"], answer["changed"], answer["unchanged"]) == (2, 0, 8)
    assert [item["id"] for item in shop.get("/v1/tenants").json()["items"]] == [f"t-{n:02}" for n in range(10)]


def test_lines_from_standard_input(shop: Api) -> None:
    result = run(shop, "tenant", "import", "-", text=b'{"id": "a"}\n{"id": "b"}')
    assert "2 created" in result.output
    assert "0 created, 0 changed, 0 as they were" in run(shop, "tenant", "import", "-", text=b"").output
