"""`cellplane`, the command line."""

import sys


def main() -> None:
    """Run the command line; say what to install where its libraries are missing."""
    try:
        from cellplane.cli.commands import cli  # noqa: PLC0415  # the base package has no command line libraries
    except ModuleNotFoundError as error:
        sys.exit(f"the command line needs {error.name}: pip install 'cellplane[demo]'")
    cli()
