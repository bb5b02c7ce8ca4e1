"""``python -m cellplane.control``: the control plane as a process of its own."""

from pathlib import Path

import click

from cellplane.control.app import serve
from cellplane.control.settings import ControlSettings
from cellplane.errors import CellplaneError
from cellplane.logs import configure_logs
from cellplane.publishing.guard_rails import GuardRails


@click.command()
@click.option("--state", type=click.Path(path_type=Path), required=True, help="Folder of the directory.")
@click.option(
    "--database",
    "database_url",
    envvar="CELLPLANE_DIRECTORY_URL",
    help="URL of a PostgreSQL that several control planes share; by default a SQLite file in the state folder.",
)
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
@click.option(
    "--guard-rails/--no-guard-rails",
    "has_guard_rails",
    default=True,
    show_default=True,
    help="Hold a table that would move many tenants, empty a pool or leave a shard without a cell.",
)
@click.option(
    "--max-moved-share",
    type=click.FloatRange(0, 1),
    default=GuardRails().max_moved_share,
    show_default=True,
    help="Part of the tenants, or of a pool's slots, that a table may give another first cell unasked.",
)
def main(state: Path, *, has_guard_rails: bool, max_moved_share: float, **options: object) -> None:
    """Run the control plane."""
    configure_logs("control")
    rails = GuardRails(max_moved_share=max_moved_share) if has_guard_rails else None
    try:
        settings = ControlSettings(state_dir=state, guard_rails=rails, **options)  # type: ignore[arg-type]  # click has checked the types
        serve(settings)
    except CellplaneError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
