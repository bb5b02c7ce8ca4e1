"""`cellplane doctor`: what is wrong with an installation, and what to do."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cellplane.cli.manifests import count
from cellplane.cli.options import client_certificate, connect, control_option, json_option, state_option
from cellplane.cli.output import ROW_COLUMNS, print_json
from cellplane.client import Client
from cellplane.doctor.checks import CHECKS
from cellplane.doctor.examination import Places, examine, state_of
from cellplane.doctor.facts import Missing
from cellplane.doctor.finding import Finding, Severity
from cellplane.doctor.gather.folders import State
from cellplane.doctor.judging import judge
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import CellplaneError

EXIT_FOUND = 1

CHECK_COLUMNS = 30
"""Widest that the names of checks are, in characters."""

_STYLES = {Severity.OK: "green", Severity.SKIPPED: "dim", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_FILE = click.Path(dir_okay=False, path_type=Path)


def _address(_context: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    found = []
    for value in values:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise click.BadParameter(f"expected HOST:PORT, found {value!r}")
        found.append((host.strip("[]"), int(port)))
    return tuple(found)


@click.command()
@click.option(
    "--only",
    multiple=True,
    metavar="CODE",
    type=click.Choice([check.code for check in CHECKS], case_sensitive=False),
    help="Only the check of this code, such as CPD10 (docs/doctor.md lists them); may be repeated.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option("--router", "agents", multiple=True, metavar="URL", help="Of a router's metrics, asked too; several.")
@click.option("--key", "keys", multiple=True, type=_FILE, help="File of keys, of tables or cookies, to check; several.")
@click.option(
    "--certificate", "certificates", multiple=True, type=_FILE, help="PEM file of certificates to check; several."
)
@click.option(
    "--tls",
    multiple=True,
    metavar="HOST:PORT",
    callback=_address,
    help="Address that shows clients a certificate, such as a router's; several.",
)
@click.option("--backup", "backups", multiple=True, type=_FILE, help="File of a backup, for its age; several.")
@state_option
@control_option
@json_option
@click.pass_context
def doctor(
    context: click.Context,
    *,
    only: tuple[str, ...],
    strict: bool,
    agents: tuple[str, ...],
    keys: tuple[Path, ...],
    certificates: tuple[Path, ...],
    tls: tuple[tuple[str, int], ...],
    backups: tuple[Path, ...],
    state_dir: Path,
    control_url: str,
    as_json: bool,
) -> None:
    """Check an installation, and say what to do about what is wrong.

    Asks the control plane, the cells, and what is in --state of this machine; what cannot be asked is skipped, and says
    why. Ends with 1 where there is an error, or with --strict a warning.
    """
    settings = DoctorSettings()
    client = _client(control_url)
    try:
        places = Places(
            control_url=control_url,
            client=client,
            state=_state(context, state_dir, control_url),
            agents=agents,
            keys=keys,
            certificates=certificates,
            tls=tls,
            client_certificate=client_certificate(),
            backups=backups,
        )
        findings = judge(examine(places, settings), settings, only)
    finally:
        if isinstance(client, Client):
            client.close()
    counts = Counter(finding.severity for finding in findings)
    if as_json:
        print_json(
            {
                **{severity.value: counts[severity] for severity in Severity},
                "findings": [_as_json(each) for each in findings],
            }
        )
    else:
        _print(findings, counts)
    if counts[Severity.ERROR] or (strict and counts[Severity.WARNING]):
        context.exit(EXIT_FOUND)


def _client(control_url: str) -> Client | Missing:
    try:
        return connect(control_url)
    except CellplaneError as error:
        return Missing(str(error))


def _state(context: click.Context, state_dir: Path, control_url: str) -> State | Missing:
    """The state folder; not that of another fleet which only happens to be where one is by default."""
    found = state_of(state_dir)
    if context.get_parameter_source("state_dir") is not ParameterSource.DEFAULT or isinstance(found, Missing):
        return found
    if found.control_url() not in {None, control_url.rstrip("/")}:
        return Missing(
            f"{state_dir} is of the fleet at {found.control_url()}: ask that with --control, or name --state"
        )
    return found


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "title": finding.title,
        "severity": finding.severity.value,
        "about": finding.about,
        "found": finding.found,
        "remedy": finding.remedy or None,
    }


def _print(findings: tuple[Finding, ...], counts: Counter[Severity]) -> None:
    """What is well, what could not be checked, and last, by the prompt, what is wrong and what to do."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, soft_wrap=True, width=ROW_COLUMNS)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=CHECK_COLUMNS)
    table.add_column()
    for severity in Severity:
        for what, found in _rows([each for each in findings if each.severity is severity]):
            # As text, not as markup: what others say may have brackets.
            table.add_row(Text(severity.value, _STYLES[severity]), Text(what), Text(found))
    console.print(table)
    console.print(
        f"{count(counts[Severity.ERROR], 'error')}, {count(counts[Severity.WARNING], 'warning')}, "
        f"{counts[Severity.OK]:,} fine, {counts[Severity.SKIPPED]:,} skipped"
    )


def _rows(findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """Checks and what they found; those that were skipped for one reason are one row."""
    skipped: dict[str, list[Finding]] = {}
    for each in findings:
        if each.severity is Severity.SKIPPED:
            skipped.setdefault(each.found, []).append(each)
            continue
        about = f"{each.about}: " if each.about else ""
        remedy = f"\n→ {each.remedy}" if each.remedy else ""
        yield f"{each.code} {each.title}", f"{about}{each.found}{remedy}"
    for reason, checks in skipped.items():
        codes = dict.fromkeys(each.code for each in checks)
        yield " ".join(codes) + (f" {checks[0].title}" if len(codes) == 1 else ""), reason
