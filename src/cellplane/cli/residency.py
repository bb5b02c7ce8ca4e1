"""`cellplane residency`: whether every tenant is where its law lets it be, as a file for whoever asks."""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from cellplane.cli.options import connect, control_option, files_option, json_option
from cellplane.cli.output import print_json
from cellplane.cli.topologies import read_fleet
from cellplane.durable import written_durably
from cellplane.errors import CellplaneError, SignatureError
from cellplane.model.key import check_name
from cellplane.planning.residency import ResidencyReport, residents
from cellplane.planning.residency_files import Form, ResidencyFile
from cellplane.publishing.keys import PublicKey, read_public_keys
from cellplane.residency_seal import MAX_SEAL_BYTES, SEAL_HEADER, Seal

EXIT_VIOLATED = 1
SEAL_SUFFIX = ".seal.json"
"""Ends the name of the file that says what a report is, and who signed that."""

_MODE = 0o644


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
    help=f"Write it there, and its seal beside it, in FILE{SEAL_SUFFIX}.",
)
@click.option(
    "--jurisdiction",
    default="",
    help="Of tenants under this law, or that any cell under it has, alone; then keys of this one sign.",
)
@files_option
@control_option
@click.pass_context
def report(
    context: click.Context, *, form: str, out: Path | None, jurisdiction: str, files: tuple[str, ...], control_url: str
) -> None:
    """Write for every tenant where it may be, where it is, and whether that holds.

    The control plane writes it, of one moment, and signs its seal with its keys: the digest of the file, how many
    tenants and how many violations are in it. From files it is not signed. Ends with 1 where a tenant is under a law
    that is not its own.
    """
    if jurisdiction:
        check_name("jurisdiction", jurisdiction)
    make = _of_files(files, Form(form), jurisdiction) if files else _of_control_plane(control_url, form, jurisdiction)
    if out is None:
        seal = make(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    else:
        seal = _put(out, make)
        statement = seal.statement
        signers = ", ".join(each.key_id for each in seal.signatures) or "nobody"
        click.echo(
            f"{statement.tenants:,} tenants, {statement.violations:,} violations, sha256 {statement.sha256}, signed by "
            f"{signers}"
        )
    if seal.statement.violations:
        context.exit(EXIT_VIOLATED)


@residency.command()
@click.option(
    "--trust",
    "trusted",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="File of public keys (`cellplane keys create` writes it).",
)
@json_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def verify(context: click.Context, *, file: Path, trusted: tuple[Path, ...], as_json: bool) -> None:
    """Say what the seal of FILE says of it, and which of these keys signed that.

    A report on all tenants counts where a key of all jurisdictions signed it, or one of each that has a key among
    these. Ends with 1 where it does not count, the file is another, or it tells of violations.
    """
    try:
        with _seal_file(file).open("rb") as sealed:
            seal = Seal.parse(sealed.read(MAX_SEAL_BYTES + 1))
    except OSError as error:
        raise CellplaneError(f"cannot read {error.filename}: {error.strerror}") from error
    statement, reason = seal.statement, ""
    signers: tuple[PublicKey, ...] = ()
    try:
        keys = [key for path in trusted for key in read_public_keys(path)]
        with file.open("rb") as lines:
            signers = seal.require(lines, keys, now=int(time.time()))
    except SignatureError as error:
        reason = str(error)
    if as_json:
        said = {name: getattr(statement, name) for name in ("fleet", "jurisdiction", "epoch", "at", "tenants")}
        by = [{"key": key.id, "jurisdiction": key.use.jurisdiction} for key in signers]
        print_json({**said, "violations": statement.violations, "signed_by": by, "reason": reason or None})
    else:
        whose = f"tenants under {statement.jurisdiction}" if statement.jurisdiction else "all tenants"
        click.echo(
            f"{whose} of {statement.fleet}, epoch {statement.epoch or '-'}, {statement.at}: {statement.tenants:,} "
            f"tenants, {statement.violations:,} violations"
        )
        signed_by = ", ".join(f"{key.id} (of {key.use.jurisdiction or 'all jurisdictions'})" for key in signers)
        click.echo(f"not valid: {reason}" if reason else f"signed by {signed_by}")
    if reason or statement.violations:
        context.exit(EXIT_VIOLATED)


def _seal_file(file: Path) -> Path:
    return file.with_name(f"{file.name}{SEAL_SUFFIX}")


def _put(out: Path, make: Callable[[BinaryIO], Seal]) -> Seal:
    """Write a report and its seal in place of those before, or leave those as they are.

    The report is renamed first: a seal that stands beside a file that is not its own names the digest of another.
    """
    sealed = _seal_file(out)
    for path in (out, sealed):
        if path.exists() and not path.is_file():
            raise CellplaneError(f"{path} is there and is no file: name another, or leave --out away for the output")
    try:
        mode = stat.S_IMODE(out.stat().st_mode) if out.exists() else _MODE
        with written_durably(sealed, mode=_MODE) as seal_file, written_durably(out, mode=mode) as target:
            seal = make(target)
            seal_file.write(seal.to_header().encode() + b"\n")
            # A disk that is full says so before the report is in place.
            seal_file.flush()
            os.fsync(seal_file.fileno())
    except OSError as error:
        raise CellplaneError(f"cannot write {out}: {error.strerror}") from error
    return seal


def _of_files(files: Sequence[str], form: Form, jurisdiction: str) -> Callable[[BinaryIO], Seal]:
    """Writes the report of a fleet in files."""

    def make(target: BinaryIO) -> Seal:
        topology, quarantined = read_fleet(files, "")
        rows = ResidencyReport(topology).rows(residents(topology, quarantined), jurisdiction)
        made = ResidencyFile(rows, form)
        _write(made.lines(), target)
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return Seal(made.statement(topology.fleet.name, None, at, jurisdiction))

    return make


def _of_control_plane(control_url: str, form: str, jurisdiction: str) -> Callable[[BinaryIO], Seal]:
    """Writes the report of a control plane."""

    def make(target: BinaryIO) -> Seal:
        with (
            connect(control_url) as client,
            client.download("/v1/residency", format=form, jurisdiction=jurisdiction) as (headers, pieces),
        ):
            seal = Seal.parse(headers.get(SEAL_HEADER, "").encode())
            seal.require_digest(_write(pieces, target))
        return seal

    return make


def _write(pieces: Iterable[bytes], target: BinaryIO) -> str:
    """Write what comes, and return its SHA-256."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        target.write(piece)
    target.flush()
    return digest.hexdigest()
