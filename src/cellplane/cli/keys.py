"""`cellplane keys`: the keys that sign tables, and what they signed."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.errors import CellplaneError, SignatureError
from cellplane.model import is_name
from cellplane.publishing.keys import PUBLIC_SUFFIX, KeyUse, PublicKey, create_key, read_keys, read_public_keys
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.settings import MAX_MANIFEST_BYTES
from cellplane.publishing.trust import Trust

EXIT_INVALID = 1
_MAX_DAYS = 36_500


def _jurisdiction(context: click.Context, param: click.Parameter, value: str) -> str:
    if value and not is_name(value):
        raise click.BadParameter(f"expected a name such as eu, found {value!r}", context, param)
    return value


def _days(context: click.Context, param: click.Parameter, value: str) -> int | None:
    """Days, or None for no end."""
    if value == "never":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,4}", value) or int(value) > _MAX_DAYS:
        raise click.BadParameter(f"expected 1 to {_MAX_DAYS} days or never, found {value!r}", context, param)
    return int(value)


@click.group()
def keys() -> None:
    """Make and look at the keys that sign tables. Needs no control plane."""


@keys.command()
@click.option(
    "--jurisdiction", default="", callback=_jurisdiction, help="Whose routers are to trust it; not named: all."
)
@click.option(
    "--valid-days", default="365", show_default=True, callback=_days, help="Days until it counts no more, or never."
)
@click.argument("path", type=click.Path(path_type=Path))
def create(path: Path, jurisdiction: str, valid_days: int | None) -> None:
    """Make a key: PATH for the control plane (`--signing-key`), a secret, and PATH.pub for routers (`--trust`)."""
    not_after = None if valid_days is None else int(time.time()) + valid_days * 86_400
    key = create_key(path, KeyUse(jurisdiction, not_after))
    click.echo(f"{key.id}: {path} signs, {path}{PUBLIC_SUFFIX} is for routers")


@keys.command(name="list")
@json_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_context
def list_keys(context: click.Context, paths: tuple[Path, ...], *, as_json: bool) -> None:
    """List the keys of files, secret or public: whose they are, and until when they count.

    Ends with 1 where one has expired.
    """
    now = int(time.time())
    rows = [_described(path, key, now=now) for path in paths for key in read_keys(path)]
    if as_json:
        print_json({"items": rows})
    else:
        print_table(
            ("KEY", "JURISDICTION", "COUNTS UNTIL", "FILE"),
            (
                (
                    row["id"],
                    row["jurisdiction"] or "all",
                    f"{row['not_after'] or 'ever'}{' (expired)' if row['expired'] else ''}",
                    row["file"],
                )
                for row in rows
            ),
            empty="There are no keys.",
        )
    if any(row["expired"] for row in rows):
        context.exit(EXIT_INVALID)


@keys.command()
@click.option(
    "--trust", "paths", multiple=True, required=True, type=click.Path(path_type=Path), help="File of public keys."
)
@json_option
@click.argument("manifest", type=click.Path(path_type=Path))
@click.pass_context
def verify(context: click.Context, manifest: Path, paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Say what a MANIFEST says, and whether a router that trusts these keys would take its table now.

    Ends with 1 where it would not.
    """
    found = Manifest.parse(_read(manifest))
    reason = None
    try:
        Trust([key for path in paths for key in read_public_keys(path)]).verify(found, now=int(time.time()))
    except SignatureError as error:
        reason = str(error)
    statement = found.statement
    answer: dict[str, Any] = {
        "fleet": statement.fleet,
        "epoch": statement.epoch,
        "published": _moment(statement.published_at),
        "files": [part.file_name for part in statement.parts],
        "signed_by": [signature.key_id for signature in found.signatures],
        "valid": reason is None,
        "reason": reason,
    }
    if as_json:
        print_json(answer)
    else:
        for field in ("fleet", "epoch", "published"):
            click.echo(f"{field}: {answer[field]}")
        click.echo(f"files: {' '.join(answer['files'])}\nsigned by: {' '.join(answer['signed_by']) or '-'}")
        click.echo("valid" if reason is None else f"not valid: {reason}")
    if reason is not None:
        context.exit(EXIT_INVALID)


def _described(path: Path, key: PublicKey, *, now: int) -> dict[str, Any]:
    not_after = key.use.not_after
    return {
        "id": key.id,
        "jurisdiction": key.use.jurisdiction,
        "not_after": None if not_after is None else _moment(not_after),
        "expired": key.use.expired_at(now),
        "file": str(path),
    }


def _moment(seconds: int) -> str:
    """A moment in UTC, or its seconds where a calendar has none for it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise CellplaneError(f"cannot read {path}: {error.strerror}") from error
