"""`cellplane chaos`: break a local fleet on purpose."""

import time
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from cellplane.cli.options import state_option
from cellplane.provision.local import chaos as local_chaos
from cellplane.provision.local.folder import StateFolder
from cellplane.provision.local.settings import LocalSettings


@click.group()
def chaos() -> None:
    """Kill and restore parts of a local fleet: a cell, `control`, or `router`."""


def _complete_part(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    state = context.params.get("state_dir")
    folder = StateFolder(Path(state or ".cellplane/demo").absolute())
    return [CompletionItem(part) for part in local_chaos.parts(folder) if part.startswith(incomplete)]


@chaos.command()
@click.argument("part", shell_complete=_complete_part)
@state_option
def kill(part: str, state_dir: Path) -> None:
    """Kill PART with SIGKILL, and keep it down until it is restored."""
    pids = local_chaos.kill(StateFolder(state_dir.absolute()), part, now_ns=time.time_ns())
    click.echo(f"{part}: killed {', '.join(map(str, pids)) or 'nothing, it was down already'}")


@chaos.command()
@click.argument("part", shell_complete=_complete_part)
@state_option
def restore(part: str, state_dir: Path) -> None:
    """Start PART again."""
    timeout = LocalSettings(state_dir=state_dir).start_timeout_seconds
    folder = StateFolder(state_dir.absolute())
    seconds = local_chaos.restore(folder, part, now_ns=time.time_ns(), timeout_seconds=timeout)
    click.echo(f"{part}: up again after {seconds:.1f} s")
