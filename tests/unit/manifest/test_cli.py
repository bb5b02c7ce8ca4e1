"""`cellplane lint` and `cellplane apply`: what they print, ask and end with."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cellplane.cli import manifests
from cellplane.cli.apply import EXIT_UNCONFIRMED, _rows, apply
from cellplane.cli.lint import lint
from cellplane.errors import CellplaneError, ControlPlaneError, UnreachableError
from cellplane.manifest.files import read
from cellplane.manifest.settings import ManifestSettings
from unit.manifest.building import CELLS, FLEET, POOL, document
from unit.manifest.serving import FakeControl, fake_control

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SOUND = (EXAMPLES / "fleet.yaml").read_text()
PLAN: dict[str, Any] = {
    "epoch": 41,
    "changes": [
        {"kind": "Cell", "name": "cell-3", "action": "create", "fields": {"address": [None, "h"], "port": [None, 3]}},
        {"kind": "Fleet", "name": "shop", "action": "change", "fields": {"rules": [[], [{"name": "x" * 80}]]}},
        {"kind": "Pool", "name": "default", "action": "change", "fields": {"cells": [["cell-1"], ["cell-1", "[b]"]]}},
    ],
    "moves": {
        "tenants": 50,
        "tenants_total": 1000,
        "slots": 3000,
        "by_cell": [
            {"from": "cell-1", "to": "cell-3", "tenants": 50, "slots": 3000},
            {"from": "cell-2", "to": None, "tenants": 0, "slots": 7},
        ],
    },
}


@pytest.fixture
def control() -> Iterator[FakeControl]:
    with fake_control(deepcopy(PLAN)) as control:
        yield control


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET + CELLS + POOL)
    return path


def run_lint(*words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(lint, [str(word) for word in words], input=text)


def run_apply(control: FakeControl, *words: object, text: str | None = None) -> Result:
    return CliRunner().invoke(apply, ["--control", control.url, *(str(word) for word in words)], input=text)


def test_lint_says_where_what_and_what_to_do(file: Path) -> None:
    file.write_text(FLEET + CELLS + document("Pool", "default", "{cells: [cell-1, cell-2], strategy: modulo}"))
    result = run_lint(file)
    assert result.exit_code == 0
    said = f"{file}:24:43: warning CP303: Pool/default spec.strategy: with one cell more, 67 % of the slots of "
    assert f"{said}'default' move\n    Choose `rendezvous` or `ring`, unless the cells never change.\n" in result.output
    assert result.output.endswith("0 errors, 3 warnings\n")


def test_lint_fails_on_errors_and_when_strict_on_warnings(file: Path) -> None:
    assert run_lint(file, "--strict").exit_code == 1
    file.write_text(FLEET + CELLS)
    result = run_lint(file)
    assert result.exit_code == 1
    assert result.output == (
        f"{file}:6:7: error CP001: Fleet/shop spec.defaultPool: no pool is named 'default'\n1 error, 0 warnings\n"
    )


def test_lint_answers_in_json(file: Path) -> None:
    file.write_text(FLEET + CELLS + POOL.replace("cell-2", "cell-9"))
    result = run_lint(file, "--json")
    assert json.loads(result.output) == {
        "errors": 1,
        "warnings": 0,
        "findings": [
            {
                "code": "CP001",
                "severity": "error",
                "file": str(file),
                "line": 24,
                "column": 24,
                "resource": "Pool/default",
                "field": "spec.cells[1]",
                "message": "no cell is named 'cell-9': did you mean cell-2?",
                "remedy": "Mend what the message says.",
            }
        ],
    }
    empty = json.loads(run_lint("-", "--json", text="").output)
    assert [(found["code"], found["line"]) for found in empty["findings"]] == [("CP002", None)]


def test_lint_takes_several_files_as_one_fleet(tmp_path: Path) -> None:
    one, two = tmp_path / "fleet.yaml", tmp_path / "cells.yaml"
    one.write_text(FLEET + POOL)
    two.write_text(CELLS)
    assert run_lint(one).exit_code == 1
    assert run_lint(one, two).exit_code == 0


def test_lint_says_that_a_part_was_judged_alone(file: Path) -> None:
    file.write_text(CELLS)
    result = run_lint(file)
    assert result.exit_code == 0
    assert result.output.startswith("warning CP002: no Fleet is among the files")
    file.write_text(document("Cell", "a", "{address: h}"))
    assert "error CP001: Cell/a spec.port: is missing" in run_lint(file).output


def test_lint_lists_problems_to_a_bound() -> None:
    text = "".join(document("Cell", f"c{number}", "{address: h, port: 0}") for number in range(130))
    result = run_lint("-", text=text)
    assert result.output.splitlines()[-2:] == ["… and 30 more", "130 errors, 0 warnings"]


def test_lint_without_a_file_is_wrong_usage() -> None:
    assert run_lint().exit_code == 2


@pytest.mark.parametrize(
    ("name", "codes"),
    [("fleet.yaml", ["CP307"]), ("fleet-regions.yaml", ["CP201"]), ("fleet-full.yaml", ["CP201", "CP304", "CP307"])],
    ids=["fleet", "regions", "full"],
)
def test_the_examples_have_the_findings_that_they_state(name: str, codes: list[str]) -> None:
    path = EXAMPLES / name
    said = json.loads(run_lint(path, "--json").output)
    assert [finding["code"] for finding in said["findings"]] == codes
    assert said["errors"] == 0
    assert all(code in path.read_text() for code in codes)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        assert isinstance(run_lint(path).exception, CellplaneError)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\n")
    assert "cannot read" in str(run_lint(tmp_path / "latin.yaml").exception)
    with pytest.raises(CellplaneError, match="expected at most 3 bytes: split the file"):
        manifests.read_manifest([str(EXAMPLES / "fleet.yaml")], ManifestSettings(max_bytes=3))


def test_apply_shows_the_plan_and_does_it(control: FakeControl, file: Path) -> None:
    result = run_apply(control, "-f", file)
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert lines[0].split() == ["RESOURCE", "FIELD", "BEFORE", "AFTER"]
    assert lines[1].split() == ["+", "Cell/cell-3", "address", "-", "h"]
    assert lines[2].split() == ["port", "-", "3"]
    assert lines[3].endswith("…")
    assert '["cell-1", "[b]"]' in lines[4]
    assert "50 of 1,000 known tenants and 3,000 slots would have another preferred cell" in lines
    assert lines[-3].split() == ["cell-1", "cell-3", "50", "3,000"]
    assert lines[-2].split() == ["cell-2", "-", "0", "7"]
    assert lines[-1] == "applied: epoch 41"
    (dry, asked), (real, done) = control.asked
    assert (dry, real) == ("/v1/apply?dryRun=true", "/v1/apply?dryRun=false")
    assert (asked["base_epoch"], done["base_epoch"]) == (None, 41), "what was shown is what is done"
    assert asked["resources"] == done["resources"]
    assert asked["resources"][1] == {"kind": "Cell", "name": "cell-1", "spec": {"address": "h", "port": 1}}
    assert not asked["prune"]


def test_apply_says_how_many_of_those_that_nobody_lists_would_move(control: FakeControl, file: Path) -> None:
    said = "tenants that nobody lists: 80.0 % would be served by another cell, or by none\n"
    assert said not in run_apply(control, "-f", file).output
    control.answer["moves"]["unknown_share"] = 0.8
    assert said in run_apply(control, "-f", file).output


def test_a_dry_run_changes_nothing(control: FakeControl, file: Path) -> None:
    result = run_apply(control, "-f", file, "--dry-run", "--prune")
    assert result.exit_code == 0
    assert [path for path, _ in control.asked] == ["/v1/apply?dryRun=true"]
    assert control.asked[0][1]["prune"]
    assert "applied" not in result.output


def test_nothing_to_change_is_said(control: FakeControl, file: Path) -> None:
    control.answer["changes"] = []
    result = run_apply(control, "-f", file)
    assert (result.exit_code, result.output) == (0, "nothing to change: the fleet is as the files say\n")
    assert len(control.asked) == 1


def test_a_plan_that_moves_nobody_has_no_table_of_moves(control: FakeControl, file: Path) -> None:
    control.answer["moves"] |= {"tenants": 0, "slots": 0, "by_cell": []}
    assert "FROM" not in run_apply(control, "-f", file).output


@pytest.mark.parametrize(
    ("moves", "words", "code"),
    [
        ({"tenants": 100}, [], 0),
        ({"tenants": 101}, [], EXIT_UNCONFIRMED),
        ({"tenants": 101}, ["--yes"], 0),
        ({"tenants": 101}, ["--threshold", "11"], 0),
        ({"tenants": 1}, ["--threshold", "0"], EXIT_UNCONFIRMED),
        ({"share": 0.2, "tenants": 0}, [], EXIT_UNCONFIRMED),
        ({"tenants": 0, "tenants_total": 0, "slots": 6553}, [], 0),
        ({"tenants": 0, "tenants_total": 0, "slots": 6554}, [], EXIT_UNCONFIRMED),
    ],
)
def test_a_large_move_has_to_be_confirmed(
    control: FakeControl, file: Path, moves: dict[str, float], words: list[str], code: int
) -> None:
    control.answer["moves"] |= moves
    result = run_apply(control, "-f", file, *words)
    assert result.exit_code == code, result.output
    assert len(control.asked) == (2 if code == 0 else 1)
    if code:
        assert "% of tenants would change their cell, more than" in result.stderr
        assert "nothing is applied. Look at --dry-run, then say --yes" in result.stderr


def test_a_deletion_has_to_be_confirmed(control: FakeControl, file: Path) -> None:
    control.answer["changes"].append({"kind": "Tenant", "name": "a", "action": "delete", "fields": {}})
    result = run_apply(control, "-f", file, "--prune")
    assert result.exit_code == EXIT_UNCONFIRMED
    assert result.stderr == (
        "error: 1 resource would be deleted: nothing is applied. Look at --dry-run, then say --yes\n"
    )


@pytest.mark.parametrize(("said", "code"), [("y\n", 0), ("n\n", EXIT_UNCONFIRMED)])
def test_somebody_at_a_terminal_is_asked(
    control: FakeControl, file: Path, said: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellplane.cli.apply.is_terminal", lambda: True)
    control.answer["moves"]["share"] = 0.5
    result = run_apply(control, "-f", file, text=said)
    assert result.exit_code == code
    assert "50.0 % of tenants would change their cell, more than 10 %. Apply? [y/N]" in result.output
    assert len(control.asked) == (2 if code == 0 else 1)


def test_json_is_all_that_is_printed(control: FakeControl, file: Path) -> None:
    assert json.loads(run_apply(control, "-f", file, "--json").output) == {**PLAN, "applied": True}
    assert json.loads(run_apply(control, "-f", file, "--json", "--dry-run").output) == {**PLAN, "applied": False}


def test_a_wrong_file_is_not_sent(control: FakeControl, file: Path) -> None:
    result = run_apply(control, "-f", file, "-f", "-", text=document("Cell", "x", "{address: h, port: 0}"))
    assert result.stderr == "<stdin>:6:26: Cell/x spec.port: expected 1 to 65535, found 0\n"
    assert str(result.exception) == f"nothing is applied: 1 problem in {file}, -"
    assert control.asked == []


def test_problems_are_printed_to_a_bound(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(document("Cell", f"c{number}", "{address: h, port: 0}") for number in range(4))
    found = read([("f", text)])
    manifests.print_problems(found.problems, ManifestSettings(max_problems=1))
    assert capsys.readouterr().err.splitlines()[1] == "… and 3 more"


def test_a_fleet_that_changed_meanwhile_is_said(control: FakeControl, file: Path) -> None:
    control.refuse_real = True
    result = run_apply(control, "-f", file)
    assert isinstance(result.exception, ControlPlaneError)
    assert "the fleet has changed since (409)" in str(result.exception)


def test_no_control_plane_is_said(file: Path) -> None:
    result = CliRunner().invoke(apply, ["--control", "http://127.0.0.1:1", "-f", str(file)])
    assert isinstance(result.exception, UnreachableError)


def test_apply_without_a_file_is_wrong_usage(control: FakeControl) -> None:
    assert run_apply(control).exit_code == 2


def test_of_long_lists_what_differs_is_shown() -> None:
    cells = [f"cell-{number}" for number in range(1, 20)]
    change = {
        "kind": "Pool",
        "name": "wide",
        "action": "change",
        "fields": {"cells": [cells, [*cells[:-1], "cell-99"]], "spread": [["zone"], ["zone", "region"]]},
    }
    assert _rows(change) == [
        ("~", "Pool/wide", "cells", 'without ["cell-19"]', 'with ["cell-99"]'),
        ("", "", "spread", '["zone"]', '["zone", "region"]'),
    ]
