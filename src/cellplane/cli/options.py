"""Options that several commands share."""

import math
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from cellplane.client import Client
from cellplane.control_tls import ControlTls
from cellplane.credentials import find_token
from cellplane.model.capacity import Capacity

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CONTROL_URL = "http://127.0.0.1:8081"
DEFAULT_STATE = Path(".cellplane/demo")

ACTOR = "cli"
"""What the change log notes beside the token's name."""

_url_option: Callable[[Command], Command] = click.option(
    "--control",
    "control_url",
    envvar="CELLPLANE_CONTROL_URL",
    default=DEFAULT_CONTROL_URL,
    show_default=True,
    help="URL of the control plane.",
)


class Number(click.FloatRange):
    """A number of a range. NaN is in each to click, as it is less than no bound, and more than none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number. Fails as a usage error."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a number, found {value}", param, ctx)
        return number


def _keep(context: click.Context, param: click.Parameter, value: Any) -> None:
    context.meta[f"{__name__}.{param.name}"] = value


_token_option: Callable[[Command], Command] = click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    expose_value=False,
    callback=_keep,
    help="File with the token that says who asks; by default CELLPLANE_TOKEN, the file that CELLPLANE_TOKEN_FILE "
    "names, or the admin's of the local fleet.",
)


def _variable(option: str) -> str:
    return f"CELLPLANE_{option.upper().replace('-', '_')}"


def _tls_option(name: str, what: str) -> Callable[[Command], Command]:
    return click.option(
        f"--{name}",
        envvar=_variable(name),
        type=click.Path(dir_okay=False, path_type=Path),
        expose_value=False,
        callback=_keep,
        help=what,
    )


_ca_option = _tls_option("control-ca", "PEM file of the authorities that vouch for the control plane.")
_certificate_option = _tls_option("control-cert", "PEM file of the certificate that is shown to the control plane.")
_key_option = _tls_option("control-key", "PEM file of its private key.")


def control_option(command: Command) -> Command:
    """Options of a command that asks the control plane, for ``connect``."""
    return _url_option(_token_option(_ca_option(_certificate_option(_key_option(command)))))


def connect(control_url: str, reason: str = "") -> Client:
    """A client of the control plane, with the token that the command line or the environment names.

    Args:
        reason: why things are changed, for the change log.

    Raises:
        ControlPlaneError: the token, or a file of TLS, cannot be read.
    """
    context = click.get_current_context()
    token_file = context.meta.get(f"{__name__}.token_file")
    files = [_tls_file(context, name) for name in ("control-ca", "control-cert", "control-key")]
    state_dir = context.params.get("state_dir") or Path(os.environ.get("CELLPLANE_STATE") or DEFAULT_STATE)
    token = find_token(control_url, token_file, state_dir, os.environ)
    allow = bool(context.meta.get(f"{__name__}.allow"))
    return Client(control_url, ACTOR, token, reason=reason, allow=allow, tls=ControlTls(*files))


def _tls_file(context: click.Context, option: str) -> Path | None:
    """As the option says; of a command without it, as the environment does."""
    name = f"{__name__}.{option.replace('-', '_')}"
    if name in context.meta:
        found: Path | None = context.meta[name]
        return found
    said = os.environ.get(_variable(option))
    return Path(said) if said else None


def client_certificate() -> tuple[Path, Path] | None:
    """Files of the certificate, and of its key, that the control plane is shown; None where the command names none."""
    meta = click.get_current_context().meta
    certificate, key = (meta.get(f"{__name__}.{name}") for name in ("control_cert", "control_key"))
    return None if certificate is None or key is None else (certificate, key)


json_option: Callable[[Command], Command] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for scripts."
)

wait_option: Callable[[Command], Command] = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until every router runs the change."
)

reason_option: Callable[[Command], Command] = click.option(
    "--reason", envvar="CELLPLANE_REASON", default="", help="Why, for the change log."
)

allow_option: Callable[[Command], Command] = click.option(
    "--allow",
    is_flag=True,
    expose_value=False,
    callback=_keep,
    help="Let it be published whatever it does to tenants: guard rails hold what moves many, or leaves them no cell.",
)

state_option: Callable[[Command], Command] = click.option(
    "--state",
    "state_dir",
    envvar="CELLPLANE_STATE",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_STATE,
    show_default=True,
    help="Folder of the local fleet.",
)

files_option: Callable[[Command], Command] = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="FILE",
    help="Take the fleet from this file (repeatable; - for standard input), not from the control plane.",
)


class Amount(click.ParamType[tuple[str, float]]):
    """One amount of a capacity, such as ``rps=200``."""

    name = "name=number"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, float]:
        """Which amount, and how much."""
        if isinstance(value, tuple):
            return value
        name, _, number = str(value).partition("=")
        known = tuple(Capacity.__dataclass_fields__)
        wanted = r"\d{1,15}" if name in {"tenants", "concurrency"} else r"\d{1,15}(\.\d{1,6})?"
        if name not in known or re.fullmatch(wanted, number) is None:
            expected = f"expected one of {', '.join(known)}, = and a number, such as rps=200"
            self.fail(f"{expected}; found {value!r}", param, context)
        return name, (float if "." in number else int)(number)


def capacity_of(amounts: Iterable[tuple[str, float]]) -> Capacity:
    """The capacity of several amounts.

    Raises:
        ValidationError: one of them can be none.
    """
    capacity = Capacity(**dict(amounts))  # type: ignore[arg-type]  # whole numbers where they are, by Amount
    capacity.validate("capacity")
    return capacity
