"""What ``docs/fleet-yaml.md`` shows is what is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cellplane.cli.apply import apply
from cellplane.cli.lint import READING, lint
from cellplane.manifest.files import check_whole, read
from cellplane.manifest.kinds import Kind
from cellplane.manifest.lint import RULES
from cellplane.manifest.schema import schema
from cellplane.manifest.settings import ManifestSettings
from cellplane.model import Tenant
from support.plan import plan_change
from unit.manifest.serving import fake_control

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "fleet-yaml.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FILES = [text for language, text in BLOCKS if language == "yaml"]
CONSOLE = re.compile(r"\$ (cellplane [^\n]+)\n(.*)", re.DOTALL)
SHOWN = dict(CONSOLE.findall(text)[0] for language, text in BLOCKS if language == "console")
QUOTE = '"'


def table(title: str) -> list[str]:
    """The rows of the table under a heading."""
    section = PAGE.split(f"\n{title}\n", 1)[1].split("\n#", 1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def rows_of(described: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """A row for each field of a schema, and for those below it."""
    for name, field in described["properties"].items():
        told = f"`{json.dumps(field['default']).strip(QUOTE)}`" if "default" in field else ""
        told = "required" if name in described.get("required", ()) else told
        yield f"| `{prefix}{name}` | {told} | {field['description']} |"
        below = field.get("items", field)
        if "properties" in below:
            yield from rows_of(below, f"{prefix}{name}{'[].' if 'items' in field else '.'}")


def field_rows(kind: Kind) -> list[str]:
    return list(rows_of(schema()["$defs"][kind.value]["properties"]["spec"]))


def lint_rows() -> list[str]:
    found = [(code, severity, meaning, remedy) for code, severity, meaning, remedy in READING]
    found += [(rule.code, rule.severity, rule.meaning, rule.remedy) for rule in RULES]
    return [f"| `{code}` | {severity.value} | {meaning} | {remedy} |" for code, severity, meaning, remedy in found]


@pytest.mark.parametrize("kind", Kind)
def test_every_field_is_on_the_page(kind: Kind) -> None:
    assert table(f"### {kind.value}") == field_rows(kind)


def test_every_lint_rule_is_on_the_page() -> None:
    assert table("## Lint") == lint_rows()


def test_the_bounds_on_the_page_are_the_settings() -> None:
    bounds = ManifestSettings()
    assert bounds.max_bytes == 8 * 1024 * 1024
    for said in (
        "8 MiB",
        f"{bounds.max_documents:,} documents",
        f"{bounds.max_nodes:,} values",
        f"{bounds.max_depth} levels",
    ):
        assert said in PAGE


def test_the_first_file_is_sound() -> None:
    manifest = read([("fleet.yaml", FILES[0])])
    assert manifest.problems == ()
    assert check_whole(manifest) == ()


def test_the_file_about_tokens_is_sound_and_has_every_field_of_an_issuer() -> None:
    manifest = read([("identity.yaml", FILES[1])])
    assert manifest.problems == ()
    (fleet,) = yaml.safe_load_all(FILES[1])
    named = {name for issuer in fleet["spec"]["jwt"] for name in issuer}
    assert all(f"| `jwt[].{name}` |" in PAGE for name in named)
    assert len(named) == sum(row.startswith("| `jwt[].") for row in table("### Fleet"))


@pytest.mark.parametrize(("name", "text"), [("fleet.yaml", FILES[0]), ("broken.yaml", FILES[2])])
def test_lint_prints_what_the_page_shows(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    assert CliRunner().invoke(lint, [name]).output == SHOWN[f"cellplane lint {name}"]


def applied(text: str) -> str:
    """What applying a file prints, where the fleet of the page with 300 tenants is there."""
    before = read([("fleet.yaml", text)])
    cell = FILES[0].split("---\n")[1].replace("cell-1", "cell-3").replace("zone: a", "zone: c")
    changed = text.replace("rendezvous, cells: [cell-1, cell-2]", "rendezvous, cells: [cell-1, cell-2, cell-3]")
    after = read([("fleet.yaml", f"{changed}---\n{cell}")])
    here = before.topology()
    tenants = (*here.tenants, *(Tenant(f"tenant-{number:03}") for number in range(1, 300)))
    current = type(here)(here.fleet, here.cells, here.pools, tenants)
    plan = plan_change(current, after.resources, prune=False)
    with fake_control({"epoch": 412, **plan.as_json()}) as control:
        Path("fleet.yaml").write_text(f"{changed}---\n{cell}")
        return CliRunner().invoke(apply, ["--control", control.url, "-f", "fleet.yaml"]).output


def test_apply_prints_what_the_page_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line.rstrip() for line in applied(FILES[0]).splitlines()]
    assert lines == SHOWN["cellplane apply -f fleet.yaml"].splitlines()
