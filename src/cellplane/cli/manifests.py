"""Reading manifests for commands: files from the disk or standard input, and every problem of them printed."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from cellplane.errors import CellplaneError
from cellplane.manifest.files import Manifest, read
from cellplane.manifest.problem import Problem
from cellplane.manifest.settings import ManifestSettings

STANDARD_INPUT = "-"


def read_manifest(paths: Sequence[str], settings: ManifestSettings | None = None) -> Manifest:
    """What files say; ``-`` is standard input.

    Raises:
        CellplaneError: a file cannot be read, or is too large.
    """
    bounds = settings or ManifestSettings()
    return read([_read_file(path, bounds) for path in paths], bounds)


def _read_file(path: str, settings: ManifestSettings) -> tuple[str, str]:
    name = "<stdin>" if path == STANDARD_INPUT else path
    try:
        if path == STANDARD_INPUT:
            data = sys.stdin.buffer.read(settings.max_bytes + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(settings.max_bytes + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CellplaneError(f"cannot read {name}: {error}") from error
    if len(data) > settings.max_bytes:
        raise CellplaneError(f"{name}: expected at most {settings.max_bytes:,} bytes: split the file")
    return name, text


def print_problems(problems: Iterable[Problem], settings: ManifestSettings | None = None) -> None:
    """Print problems to standard error, one a line, up to a bound."""
    bounds = settings or ManifestSettings()
    found = list(problems)
    for problem in found[: bounds.max_problems]:
        click.echo(str(problem), err=True)
    if len(found) > bounds.max_problems:
        click.echo(f"… and {len(found) - bounds.max_problems:,} more", err=True)


def count(number: int, what: str) -> str:
    """A number of things in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
