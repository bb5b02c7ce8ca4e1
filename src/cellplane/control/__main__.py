"""``python -m cellplane.control``: the control plane as a process of its own."""

from pathlib import Path

import click

from cellplane.control.app import serve
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError
from cellplane.logs import configure_logs


@click.command()
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder of the directory.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the API.")
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port of the API.")
@click.option(
    "--signing-key",
    "signing_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of a private key that signs tables (`cellplane keys create`); several, one a jurisdiction.",
)
@click.option(
    "--publish-to",
    multiple=True,
    help="Folder, or s3://bucket/prefix?endpoint=…&region=…, where tables are put beside the API; several.",
)
def main(state: Path, **options: object) -> None:
    """Run the control plane."""
    configure_logs("control")
    try:
        settings = ControlSettings(state_dir=state, **options)  # type: ignore[arg-type]  # click has checked the types
        serve(settings)
    except CellplaneError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
