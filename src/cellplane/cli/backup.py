"""`cellplane backup` and `restore`: everything that a control plane's directory knows, in one file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cellplane.cli.options import DEFAULT_STATE, json_option
from cellplane.cli.output import print_json
from cellplane.errors import CellplaneError

Command = TypeVar("Command", bound=Callable[..., Any])


def _location_options(command: Command) -> Command:
    command = click.option(
        "--directory",
        "directory_file",
        type=click.Path(dir_okay=False, path_type=Path),
        default=DEFAULT_STATE / "control" / "directory.sqlite3",
        show_default=True,
        help="SQLite file of the directory.",
    )(command)
    return click.option(
        "--database", envvar="CELLPLANE_DIRECTORY_URL", help="URL of its PostgreSQL, where it is there."
    )(command)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_location_options
@json_option
def backup(file: Path, directory_file: Path, database: str | None, *, as_json: bool) -> None:
    """Write everything that a directory knows to FILE: of one moment, while its control plane goes on.

    The file has no secrets of routers or cells, but who your tenants are: keep it as you keep the database.
    """
    module = _backups()
    with _progress() as progress:
        found = module.back_up(database or directory_file, file, progress)
    if as_json:
        print_json({"epoch": found.epoch, "taken_at": found.taken_at, "rows": found.rows, "bytes": file.stat().st_size})
    else:
        click.echo(f"{file}: epoch {found.epoch} of {found.taken_at}, {found.rows:,} rows")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_location_options
@json_option
@click.option(
    "--after-epoch",
    type=click.IntRange(min=1),
    default=None,
    help="Largest epoch that a router may have seen; by default one far behind the backup's.",
)
def restore(file: Path, directory_file: Path, database: str | None, *, as_json: bool, after_epoch: int | None) -> None:
    """Make an empty directory what FILE says, all of it or nothing; start its control plane afterwards."""
    module = _backups()
    with _progress() as progress:
        found, epoch = module.restore(database or directory_file, file, after_epoch=after_epoch, progress=progress)
    if as_json:
        print_json({"of_epoch": found.epoch, "taken_at": found.taken_at, "rows": found.rows, "epoch": epoch})
    else:
        click.echo(
            f"restored: epoch {found.epoch} of {found.taken_at}, {found.rows:,} rows; it goes on at epoch {epoch}"
        )


def _backups() -> Any:
    try:
        from cellplane.directory import backup as module  # noqa: PLC0415  # only where it is installed
    except ImportError as error:
        raise CellplaneError(
            f"this needs the control plane's packages ({error.name} is missing): pip install 'cellplane[control]'"
        ) from error
    return module


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("rows", total=None)
        yield lambda rows: bars.update(task, completed=rows)
