"""What commands say of tenants, cells and pools is so: where a tenant goes, why, and which routers run that."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cellplane.cli import changes
from cellplane.cli.commands import cli
from unit.control.serving import SHOP, Api

REPORT: dict[str, Any] = {"sha256": "", "proxy": "envoy", "ready": True}


def assign(api: Api, *arguments: str) -> str:
    # A process of its own, as the control plane in this one logs to the same output.
    command = [sys.executable, "-c", "from cellplane.cli import main; main()", *arguments]
    command += ["--control", f"http://127.0.0.1:{api.port}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def report(api: Api, epoch: int, **more: Any) -> None:
    assert api.http.post("/v1/routers/router-1/report", json={**REPORT, "epoch": epoch, **more}).status_code == 200


def test_without_a_router_it_says_so_and_names_the_new_cell(shop: Api) -> None:
    for number in range(5):
        output = assign(shop, "assign", f"t-{number}", "cell-2")
        assert output == f"t-{number} → cell-2 (epoch {5 + number}), published, but no router reports\n"


def test_unassign_names_the_cell_of_the_slot(shop: Api) -> None:
    assign(shop, "assign", "acme", "cell-2")
    answer = json.loads(assign(shop, "unassign", "acme", "--json"))
    assert answer["cell"] is None
    assert answer["routers"] == 0
    assert f"acme → {shop.get('/v1/tenants/acme').json()['placed']} " in assign(shop, "unassign", "acme")


def test_a_suspended_tenant_is_called_suspended(shop: Api) -> None:
    shop.put_epoch("/v1/tenants/acme", {"state": "suspended"})
    assert assign(shop, "assign", "acme", "cell-2").startswith("acme → cell-2, suspended (epoch 6)")


@pytest.mark.parametrize(
    "state",
    [{"epoch": 2}, {"epoch": 99}, {"epoch": 5, "rejected": {"epoch": 6, "reason": "no"}}],
    ids=["behind", "ahead of a restored directory", "refused"],
)
def test_a_router_that_does_not_run_the_change_is_named(
    shop: Api, monkeypatch: pytest.MonkeyPatch, state: dict[str, Any]
) -> None:
    monkeypatch.setattr(changes, "LIVE_TIMEOUT_SECONDS", 2.0)
    report(shop, **state)
    result = CliRunner().invoke(cli, ["assign", "acme", "cell-2", "--control", f"http://127.0.0.1:{shop.port}"])
    assert result.exit_code == 1
    assert "the change is made, but router-1 did not apply epoch 5" in result.output


def test_a_shard_is_assigned_in_the_order_of_its_cells(shop: Api) -> None:
    output = assign(shop, "assign", "acme", "cell-2", "cell-1")
    assert output == "acme → cell-2 + cell-1 (epoch 5), published, but no router reports\n"
    assert "acme is assigned to cell-2 + cell-1 in pool default" in assign(shop, "route", "acme")
    tenants = [line.split() for line in assign(shop, "tenants").splitlines()]
    assert tenants == [
        ["TENANT", "CELL", "BY", "SHARD", "POOL", "TIER", "JURISDICTION", "STATE"],
        ["acme", "cell-2", "assignment", "cell-2", "cell-1", "default", "-", "-", "active"],
    ]


def test_pools_and_cells_say_what_they_are_for_and_what_they_hold(shop: Api) -> None:
    cell = {"address": "127.0.0.1", "port": 8003, "zone": "z-1", "release": "r7", "capacity": {"tenants": 4, "rps": 50}}
    shop.put_epoch("/v1/cells/cell-3", cell)
    own = {"cells": ["cell-3"], "strategy": "explicit", "dedicated": True, "overflow": "default"}
    shop.put_epoch("/v1/pools/own", own)
    wide = {"cells": ["cell-1", "cell-2"], "strategy": "shuffle", "spread": ["zone"], "max_overlap": 1}
    shop.put_epoch("/v1/pools/wide", wide)
    shop.put_epoch("/v1/tenants/acme", {"pool": "own", "load": {"rps": 12.5, "storage_gib": 3}})
    assert [line.rstrip() for line in assign(shop, "pools").splitlines()] == [
        "POOL     STRATEGY                          K  PLACES BY   OVERFLOW  CELLS",
        "default  ring                              1  slot        -         cell-1 cell-2",
        "own      explicit (dedicated)              1  assignment  default   cell-3",
        "wide     shuffle (over zone, overlap ≤ 1)  2  assignment  -         cell-1 cell-2",
    ]
    cells = assign(shop, "cells").splitlines()
    assert cells[0].split()[5:] == ["REGION", "ZONE", "JURISDICTION", "RELEASE", "PINNED", "LOAD"]
    assert cells[3].split(maxsplit=5)[5].split(maxsplit=5) == [
        "local",
        "z-1",
        "none",
        "r7",
        "1",
        "1/4 tenants, 12.5/50 rps, 3 GiB",
    ]


def test_a_route_is_told_in_a_sentence(shop: Api) -> None:
    assert "The directory does not list this tenant" in assign(shop, "route", "nobody")
    assert "is refused with 400 missing-key" in assign(shop, "route", "--source", "192.0.2.1")
    policy = {**SHOP, "missing_key": "source-hash", "unknown_tenant": "default-cell", "default_cell": "cell-1"}
    shop.published(shop.put_epoch("/v1/fleet", policy))
    assert "a request without a key from 192.0.2.1 hashes to slot" in assign(shop, "route", "--source", "192.0.2.1")
    assert "unknown ones go to the default cell" in assign(shop, "route", "nobody")
    assert json.loads(assign(shop, "route", "nobody", "--json"))["reason"] == "default"


FLEET_FILE = """
apiVersion: cellplane.dev/v1alpha1
kind: Cell
metadata: {name: cell-3}
spec: {address: 127.0.0.1, port: 8003}
---
apiVersion: cellplane.dev/v1alpha1
kind: Tenant
metadata: {name: acme}
spec: {cells: [cell-3, cell-1], tier: gold}
"""


def test_a_file_is_applied_once(shop: Api, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET_FILE)
    assert "+" in assign(shop, "apply", "--dry-run", "-f", str(path))
    assert shop.get("/healthz").json()["epoch"] == 4
    assert assign(shop, "apply", "--yes", "-f", str(path)).endswith("applied: epoch 6\n")
    assert shop.get("/v1/tenants/acme").json()["cells"] == ["cell-3", "cell-1"]
    assert "nothing to change" in assign(shop, "apply", "-f", str(path))


@pytest.mark.parametrize("arguments", [["route"], ["route", "acme", "--source", "192.0.2.1"], ["assign", "acme"]])
def test_wrong_usage_is_told_so(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, arguments).exit_code == 2
