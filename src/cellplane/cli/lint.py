"""`cellplane lint`: what is wrong in fleet.yaml, and what the fleet will be sorry for."""

from dataclasses import dataclass
from typing import Any

import click

from cellplane.cli.manifests import count, read_manifest
from cellplane.cli.options import json_option
from cellplane.cli.output import print_json
from cellplane.manifest.files import Manifest, check_whole, in_order
from cellplane.manifest.lint import Severity
from cellplane.manifest.lint import lint as lint_fleet
from cellplane.manifest.problem import Problem
from cellplane.manifest.settings import ManifestSettings

EXIT_FOUND = 1

INVALID = "CP001"
"""Code of what makes a file invalid."""

INCOMPLETE = "CP002"
"""Code of files without a Fleet."""

READING = (
    (INVALID, Severity.ERROR, "A file that is not valid.", "Mend what the message says."),
    (
        INCOMPLETE,
        Severity.WARNING,
        "No Fleet is among the files, so that each resource was judged by itself alone.",
        "Name all files of the fleet.",
    ),
)
"""What is found before any rule: code, severity, meaning, remedy."""

_REMEDY = {code: remedy for code, _severity, _meaning, remedy in READING}


@dataclass(frozen=True, slots=True)
class _Said:
    code: str
    severity: Severity
    problem: Problem
    remedy: str

    def as_json(self) -> dict[str, Any]:
        problem = self.problem
        return {
            "code": self.code,
            "severity": self.severity.value,
            "file": problem.file,
            "line": problem.mark.line if problem.mark else None,
            "column": problem.mark.column if problem.mark else None,
            "resource": problem.resource,
            "field": problem.path,
            "message": problem.message,
            "remedy": self.remedy,
        }


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.pass_context
def lint(context: click.Context, files: tuple[str, ...], *, as_json: bool, strict: bool) -> None:
    """Check fleet.yaml before anybody applies it; several FILEs are one fleet, and - is standard input.

    Ends with 1 where there is an error, or with --strict a warning.
    """
    said = _say(read_manifest(files))
    errors = sum(each.severity is Severity.ERROR for each in said)
    warnings = len(said) - errors
    if as_json:
        print_json({"errors": errors, "warnings": warnings, "findings": [each.as_json() for each in said]})
    else:
        _print(said, errors, warnings)
    if errors or (strict and warnings):
        context.exit(EXIT_FOUND)


def _say(manifest: Manifest) -> list[_Said]:
    if not manifest.has_fleet:
        found = [_Said(INVALID, Severity.ERROR, problem, _REMEDY[INVALID]) for problem in manifest.problems]
        alone = Problem("no Fleet is among the files: each resource was judged by itself alone")
        return found or [_Said(INCOMPLETE, Severity.WARNING, alone, _REMEDY[INCOMPLETE])]
    problems = in_order([*manifest.problems, *check_whole(manifest)])
    if problems:
        return [_Said(INVALID, Severity.ERROR, problem, _REMEDY[INVALID]) for problem in problems]
    return [
        _Said(
            finding.rule.code,
            finding.rule.severity,
            manifest.problem_at(finding.path, finding.message),
            finding.rule.remedy,
        )
        for finding in lint_fleet(manifest.topology())
    ]


def _print(said: list[_Said], errors: int, warnings: int) -> None:
    for each in said[: ManifestSettings().max_problems]:
        place = f"{each.problem.place}: " if each.problem.place else ""
        what = " ".join(part for part in (each.problem.resource, each.problem.path) if part)
        click.echo(f"{place}{each.severity.value} {each.code}: {what + ': ' if what else ''}{each.problem.message}")
        if each.code != INVALID:
            click.echo(f"    {each.remedy}")
    more = len(said) - ManifestSettings().max_problems
    if more > 0:
        click.echo(f"… and {more:,} more")
    click.echo(f"{count(errors, 'error')}, {count(warnings, 'warning')}")
