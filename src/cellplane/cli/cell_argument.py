"""The cell that a command is about, completed by the shell from those of the local fleet."""

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from cellplane.cli.options import DEFAULT_STATE, Command
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.provisioner import LocalProvisioner


def _complete_cell(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    folder = StateFolder(Path(context.params.get("state_dir") or DEFAULT_STATE).absolute())
    cells = LocalProvisioner(folder, lambda _cell: None).describe_all()
    return [CompletionItem(each.id) for each in cells if each.id.startswith(incomplete)]


cell_argument: Callable[[Command], Command] = click.argument("cell_id", metavar="CELL", shell_complete=_complete_cell)
