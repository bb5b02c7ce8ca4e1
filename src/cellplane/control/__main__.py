"""``python -m cellplane.control``: the control plane as a process of its own."""

from pathlib import Path

import click

from cellplane.control.app import serve
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError
from cellplane.logs import configure_logs


@click.command()
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder of the directory.")
@click.option(
    "--database",
    envvar="CELLPLANE_DIRECTORY_URL",
    help="URL of a PostgreSQL that several control planes share; by default a SQLite file in the state folder.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port of the API.")
def main(state: Path, database: str | None, host: str, port: int) -> None:
    """Run the control plane."""
    configure_logs("control")
    try:
        serve(ControlSettings(state_dir=state, database_url=database, host=host, port=port))
    except CellplaneError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
