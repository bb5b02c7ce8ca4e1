"""`cellplane completion`: shell completion."""

import click
from click.shell_completion import get_completion_class

from cellplane.errors import CellplaneError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL: `eval "$(cellplane completion bash)"`."""
    completer = get_completion_class(shell)
    if completer is None:
        raise CellplaneError(f"there is no completion for {shell}")
    root = context.find_root().command
    click.echo(completer(root, {}, "cellplane", "_CELLPLANE_COMPLETE").source())
