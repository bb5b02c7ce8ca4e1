"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

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
