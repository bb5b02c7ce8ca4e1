"""`cellplane plan rebalance`, `cellplane plan evacuate` and `cellplane residency report`, on a fleet of files."""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli.commands import cli

Plan = Callable[..., Result]

ROOT = Path(__file__).resolve().parents[3]
FULL = ROOT / "examples" / "fleet-full.yaml"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def answer(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def report(*words: object) -> Result:
    return CliRunner().invoke(cli, ["residency", "report", *(str(word) for word in words)])


def test_a_plan_says_that_nothing_is_moved(plan: Plan) -> None:
    for words in (("rebalance",), ("evacuate", "eu-1")):
        said = plan(*words, "-f", FULL)
        assert said.exit_code == 0, said.output
        assert "`cellplane move batch` makes it" in said.output
        assert answer(plan(*words, "-f", FULL, "--json"))["is_executed"] is False


def test_the_marks_and_bounds_are_options(plan: Plan) -> None:
    assert answer(plan("rebalance", "-f", FULL, "--over-at", 0.96, "--json"))["moves"] == []
    lower = answer(plan("rebalance", "-f", FULL, "--lock-at", 0.5, "--per-cell", 1, "--json"))
    assert [move["batch"] for move in lower["moves"]] == list(range(1, len(lower["moves"]) + 1))
    cut = plan("rebalance", "-f", FULL, "--max-moves", 1)
    assert "A bound of the plan is reached" in cut.output


def test_pins_are_overridden_when_told(plan: Plan) -> None:
    careful = answer(plan("evacuate", "eu-1", "-f", FULL, "--json"))
    assert [each["reason"] for each in careful["stays"] if each["example"] == "coil"] == ["pinned by a person"]
    told = answer(plan("evacuate", "eu-1", "-f", FULL, "--override-pins", "--lock-at", 1, "--json"))
    assert "coil" in {move["tenant"] for move in told["moves"]}


@pytest.mark.parametrize("words", [("rebalance",), ("evacuate", "eu-1")])
def test_a_picture_shows_cells_before_and_after(words: tuple[str, ...], plan: Plan, tmp_path: Path) -> None:
    png, svg = tmp_path / "cells.png", tmp_path / "cells.svg"
    assert plan(*words, "-f", FULL, "--png", png, "--svg", svg).exit_code == 0
    assert png.read_bytes().startswith(PNG_SIGNATURE)
    assert "eu-1" in svg.read_text()


def test_many_moves_and_cells_are_cut_short_in_text_and_picture(plan: Plan, tmp_path: Path) -> None:
    head = "---\napiVersion: cellplane.dev/v1alpha1\nkind: "
    cells = [f"cell-{number}" for number in range(25)]
    sources = "{kind: header, name: x-tenant-id, trusted: true}"
    documents = [
        f"{head}Fleet\nmetadata: {{name: shop}}\nspec: {{unknownTenant: reject, keySources: [{sources}]}}",
        f"{head}Pool\nmetadata: {{name: default}}\nspec: {{strategy: explicit, cells: [{', '.join(cells)}]}}",
        *(
            f"{head}Cell\nmetadata: {{name: {name}}}\nspec: {{address: h, port: 1, capacity: {{rps: 100}}}}"
            for name in cells
        ),
        *(
            f"{head}Tenant\nmetadata: {{name: t{number}}}\nspec: {{cells: [cell-0], load: {{rps: 3}}}}"
            for number in range(60)
        ),
    ]
    file = tmp_path / "fleet.yaml"
    file.write_text("\n".join(documents))
    said = plan("rebalance", "-f", file, "--png", tmp_path / "cells.png")
    assert said.exit_code == 0, said.output
    assert "The first 20 of 37; --json lists all." in said.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evacuate", "eu-9"), "no cell is named 'eu-9'; there are eu-1, eu-2, us-1"),
        (("rebalance", "--lock-at", 0.9), "expected less than over_at"),
        (("rebalance", "--gib-per-hour", 0), "expected a number above 0"),
        (("rebalance", "--per-cell", 0), "expected 1 to 1,000"),
    ],
)
def test_bad_input_is_wrong_usage(words: tuple[object, ...], message: str, plan: Plan) -> None:
    result = plan(*words, "-f", FULL)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_file_that_is_not_valid_is_refused(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(FULL.read_text().replace("cells: [eu-1], jurisdiction: eu", "cells: [eu-1], jurisdiction: us"))
    for result in (plan("rebalance", "-f", file), report("-f", file)):
        assert result.exit_code == 1
        assert "would be placed under eu" in result.output


def test_a_report_says_of_every_tenant_that_it_is_where_it_may_be() -> None:
    result = report("-f", FULL)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(result.output.splitlines()))
    assert [(row["tenant"], row["cells"], row["may_be"], row["holds"]) for row in rows][::6] == [
        ("acme", "eu-1", "eu-1 eu-2", "true"),
        ("gale", "us-1", "us-1", "true"),
    ]


def test_a_report_comes_with_a_seal_of_its_bytes(tmp_path: Path) -> None:
    out = tmp_path / "residency.ndjson"
    result = report("-f", FULL, "--format", "ndjson", "--out", out)
    assert result.exit_code == 0, result.output
    seal = json.loads((tmp_path / "residency.ndjson.seal.json").read_bytes())
    assert seal["signatures"] == [], "nobody signs what comes from files"
    said = seal["statement"]
    assert said["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (said["fleet"], said["tenants"], said["violations"]) == ("notifications", 7, 0)
    assert said["sha256"] in result.output


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    result = report("-f", FULL, "--out", tmp_path / "missing" / "report.csv")
    assert result.exit_code == 1
    assert "cannot write" in result.output
