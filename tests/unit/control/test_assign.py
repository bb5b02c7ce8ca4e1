"""`cellplane assign` says what is so: where the tenant goes, and which routers run that."""

import json
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from cellplane.cli import changes
from cellplane.cli.commands import cli
from unit.control.serving import Api

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
    monkeypatch.setattr(changes, "LIVE_TIMEOUT_SECONDS", 0.2)
    report(shop, **state)
    result = CliRunner().invoke(cli, ["assign", "acme", "cell-2", "--control", f"http://127.0.0.1:{shop.port}"])
    assert result.exit_code == 1
    assert "the change is made, but router-1 did not apply epoch 5" in result.output
