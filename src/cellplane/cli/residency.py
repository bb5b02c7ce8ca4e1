"""`cellplane residency`: whether every tenant is where its law lets it be, as a file for whoever asks."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from cellplane.cli.options import control_option, files_option
from cellplane.cli.topologies import read_fleet
from cellplane.errors import CellplaneError
from cellplane.planning.residency import ResidencyReport, residents
from cellplane.planning.residency_files import Form, ResidencyFile

EXIT_VIOLATED = 1


@click.group()
def residency() -> None:
    """Show under whose law tenants are."""


@residency.command()
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.CSV.value,
    show_default=True,
    help="How it is written.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="Write it there, and a statement about it beside it, in FILE.statement.json.",
)
@files_option
@control_option
@click.pass_context
def report(context: click.Context, *, form: str, out: Path | None, files: tuple[str, ...], control_url: str) -> None:
    """Write for every tenant where it may be, where it is, and whether that holds.

    Ends with 1 where one is under a law that is not its own. The statement has the digest of the file, how many tenants
    and how many violations are in it.
    """
    topology, quarantined = read_fleet(files, control_url)
    file = ResidencyFile(ResidencyReport(topology).rows(residents(topology, quarantined)), Form(form))
    if out is None:
        _write(file, sys.stdout.buffer)
    else:
        try:
            with out.open("wb") as target:
                _write(file, target)
            statement = file.statement(topology.fleet.name, None, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
            out.with_name(f"{out.name}.statement.json").write_bytes(statement.to_bytes() + b"\n")
        except OSError as error:
            raise CellplaneError(f"cannot write {error.filename or out}: {error.strerror}") from error
        click.echo(f"{statement.tenants:,} tenants, {statement.violations:,} violations, sha256 {statement.sha256}")
    if file.violations:
        context.exit(EXIT_VIOLATED)


def _write(file: ResidencyFile, target: BinaryIO) -> None:
    for line in file.lines():
        target.write(line)
    target.flush()
