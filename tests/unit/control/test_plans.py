"""Plans and reports about the fleet of a control plane."""

import csv
import json
import subprocess
import sys
from pathlib import Path

from unit.control.serving import Api

CELLPLANE = Path(sys.executable).with_name("cellplane")


def run(api: Api, *words: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [CELLPLANE, *words, "--control", f"http://127.0.0.1:{api.port}"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_plan_is_made_of_what_the_control_plane_has(shop: Api) -> None:
    shop.put("/v1/tenants/acme", {"cells": ["cell-1"], "attributes": {"pinned": "false"}})
    shop.put("/v1/tenants/bolt", {"cells": ["cell-1"]})
    done = run(shop, "plan", "evacuate", "cell-1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [(move["tenant"], move["target"]) for move in said["moves"]] == [("acme", "cell-2")]
    assert [(each["example"], each["reason"]) for each in said["stays"]] == [("bolt", "pinned by a person")]


def test_a_report_is_made_of_what_the_control_plane_has(shop: Api) -> None:
    shop.put("/v1/tenants/acme", {"cells": ["cell-1"]})
    done = run(shop, "residency", "report")
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert (row["tenant"], row["cells"], row["placed_by"], row["holds"]) == ("acme", "cell-1", "assignment", "true")


def test_a_control_plane_without_a_fleet_says_so(api: Api) -> None:
    done = run(api, "plan", "rebalance")
    assert done.returncode == 1
    assert "has no fleet yet" in done.stderr
