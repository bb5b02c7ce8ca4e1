"""Options that several commands share."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from cellplane.model.capacity import Capacity

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_CONTROL_URL = "http://127.0.0.1:8081"
DEFAULT_STATE = Path(".cellplane/demo")

control_option: Callable[[Command], Command] = click.option(
    "--control",
    "control_url",
    envvar="CELLPLANE_CONTROL_URL",
    default=DEFAULT_CONTROL_URL,
    show_default=True,
    help="URL of the control plane.",
)

json_option: Callable[[Command], Command] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for scripts."
)

wait_option: Callable[[Command], Command] = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until every router runs the change."
)

reason_option: Callable[[Command], Command] = click.option(
    "--reason", envvar="CELLPLANE_REASON", default="", help="Why, for the change log."
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
