"""`cellplane cookie`: the keys of routing cookies, and the cookies themselves."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json
from cellplane.errors import CellplaneError, ValidationError
from cellplane.model import is_key
from cellplane.model.jwt import check_cookie_name
from cellplane.model.key import check_key, check_name
from cellplane.signed_cookie import CookieValue, Keyring, check_key_id, new_secret

EXIT_INVALID = 1

MAX_KEYS_BYTES = 64 * 1024
"""Largest file of keys: a few of them, with comments."""

MAX_TTL_SECONDS = 400 * 86_400
"""Longest life of a cookie: browsers keep none for longer (RFC 6265bis, 5.5)."""

_OTHERS = 0o077
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(context: click.Context, param: click.Parameter, value: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", value)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_TTL_SECONDS:
        message = f"expected 1 second to 400 days, such as 3600, 90s, 30m, 8h or 7d; found {value!r}"
        raise click.BadParameter(message, context, param)
    return seconds


def _key_id(context: click.Context, param: click.Parameter, value: str | None) -> str:
    key_id = datetime.now(UTC).date().isoformat() if value is None else value
    try:
        check_key_id("id", key_id)
    except ValidationError as error:
        raise click.BadParameter(error.message, context, param) from error
    return key_id


def _law(context: click.Context, param: click.Parameter, value: str | None) -> str:
    try:
        if value is not None:
            check_name("jurisdiction", value)
    except ValidationError as error:
        raise click.BadParameter(error.message, context, param) from error
    return value or ""


def _cookie_name(context: click.Context, param: click.Parameter, value: str) -> str:
    try:
        check_cookie_name("name", value)
    except ValidationError as error:
        raise click.BadParameter(error.message, context, param) from error
    return value


_keys_option = click.option(
    "--keys", "path", type=click.Path(path_type=Path), required=True, help="File of the keys, as routers have it."
)
_name_option = click.option("--name", required=True, callback=_cookie_name, help="Name of the cookie.")


@click.group()
def cookie() -> None:
    """Make keys for signed routing cookies, and sign and read cookies. Needs no control plane."""


@cookie.command()
@click.option("--id", "key_id", callback=_key_id, help="What the key is called. Not named: today's date.")
@click.option(
    "--jurisdiction", callback=_law, help="The one whose tenants the key speaks for alone. Not named: of all."
)
def key(key_id: str, jurisdiction: str) -> None:
    """Print a new key: a line of a file of keys. The first line of the file signs, all verify."""
    click.echo(" ".join(filter(None, (key_id, new_secret(), jurisdiction))))


@cookie.command()
@_keys_option
@_name_option
@click.option(
    "--ttl",
    "ttl_seconds",
    callback=_seconds,
    default="8h",
    show_default=True,
    help="How long it counts: 90s, 30m, 8h, 7d.",
)
@click.argument("tenant")
def sign(path: Path, name: str, ttl_seconds: int, tenant: str) -> None:
    """Print the value of a cookie that says TENANT. It is signed by the first key of the file."""
    check_key("tenant", tenant)
    click.echo(_read_keys(path).sign(name, tenant, expires=int(time.time()) + ttl_seconds))


@cookie.command()
@_keys_option
@_name_option
@json_option
@click.argument("value")
@click.pass_context
def read(context: click.Context, path: Path, name: str, value: str, *, as_json: bool) -> None:
    """Say what the VALUE of a cookie says, and whether a router with these keys would believe it now.

    Ends with 1 where it would not.
    """
    answer = _reading(_read_keys(path), name, value, now=int(time.time()))
    if as_json:
        print_json(answer)
    else:
        for field in ("tenant", "key", "jurisdiction", "expires"):
            click.echo(f"{field}: {'-' if answer[field] is None else answer[field]}")
        click.echo("valid" if answer["valid"] else f"not valid: {answer['reason']}")
    if not answer["valid"]:
        context.exit(EXIT_INVALID)


def _reading(keyring: Keyring, name: str, value: str, *, now: int) -> dict[str, Any]:
    said = CookieValue.of(value.encode("utf-8", "surrogateescape"))
    fault = keyring.fault(name, said, now=now)
    reason = None if fault is None else fault.value
    if said is not None and reason is None and not is_key(said.tenant_id):
        reason = "its tenant is no key: routers refuse the request with 400 invalid-key"
    return {
        "tenant": None if said is None else said.tenant_id.decode(),
        "key": None if said is None else said.key_id,
        "jurisdiction": None if said is None else keyring.jurisdictions.get(said.key_id),
        "expires": None if said is None else _moment(said.expires),
        "valid": reason is None,
        "reason": reason,
    }


def _moment(seconds: int) -> str:
    """A moment in UTC, or its seconds where a calendar has none for it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return str(seconds)


def _read_keys(path: Path) -> Keyring:
    try:
        with path.open("rb") as file:
            mode = path.stat().st_mode
            data = file.read(MAX_KEYS_BYTES + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        # What cannot be decoded may be a secret.
        what = error.strerror if isinstance(error, OSError) else "it is no text"
        raise CellplaneError(f"cannot read {path}: {what}") from None
    if len(data) > MAX_KEYS_BYTES:
        raise CellplaneError(f"{path}: expected at most {MAX_KEYS_BYTES:,} bytes")
    if mode & _OTHERS:
        click.echo(f"warning: others than its owner may open {path} (mode {mode & 0o777:04o}): chmod 600 it", err=True)
    return Keyring.parse(text)
