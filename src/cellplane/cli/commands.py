"""The command group, and how every command ends."""

import sys
from importlib import import_module
from typing import Any

import click

from cellplane import __version__
from cellplane.cli import changes, chaos, completion, fleet, plan, quarantine, reads
from cellplane.errors import CellplaneError, UnreachableError

EXIT_FAILED = 1
EXIT_UNREACHABLE = 3


_LATE = {
    **{
        name: f"cellplane.cli.{name}"
        for name in (
            "analytics",
            "apply",
            "audit",
            "capacity",
            "cell",
            "config",
            "cookie",
            "doctor",
            "export",
            "keys",
            "lint",
            "move",
            "publish",
            "residency",
            "shadow",
            "tenant",
            "token",
        )
    },
    **dict.fromkeys(("backup", "restore"), "cellplane.cli.backup"),
    "flag": "cellplane.cli.config",
    **dict.fromkeys(("history", "diff", "rollback"), "cellplane.cli.history"),
}
"""Commands by the module that has them, imported when asked for: others start quicker without NumPy or the model."""


class Group(click.Group):
    """Turns every error that Cellplane raises on purpose into one line and an exit code."""

    def list_commands(self, context: click.Context) -> list[str]:  # as click calls it
        """Every command's name."""
        return sorted({*super().list_commands(context), *_LATE})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name."""
        if name in _LATE:
            command: click.Command = getattr(import_module(_LATE[name]), name)
            return command
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(context)
        except UnreachableError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(EXIT_UNREACHABLE)
        except CellplaneError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(EXIT_FAILED)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cellplane")
def cli() -> None:
    """Cellplane: send every tenant to its own cell.

    Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no control plane answers or nobody confirmed.
    """


for command in (
    fleet.demo,
    fleet.up,
    reads.cells,
    reads.pools,
    reads.tenants,
    reads.route,
    reads.routers,
    changes.assign,
    changes.unassign,
    quarantine.quarantine,
    chaos.chaos,
    plan.plan,
    completion.completion,
):
    cli.add_command(command)
