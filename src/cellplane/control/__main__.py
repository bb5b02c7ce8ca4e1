"""``python -m cellplane.control``: the control plane as a process of its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    help="A Host header that is answered beside those of loopback; may be repeated.",
)
@click.option(
    "--tls-cert",
    "tls_certificate",
    type=click.Path(path_type=Path),
    help="PEM file of the API's certificate, with its chain; followed when it changes.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="PEM file of its private key.")
@click.option(
    "--tls-client-ca",
    type=click.Path(path_type=Path),
    help="PEM file of the authorities whose certificates clients must show.",
)
@click.option(
    "--allow-plain-http",
    is_flag=True,
    help="Serve another address than loopback without TLS, as something in front speaks it.",
)
def main(state: Path, database: str | None, allowed_hosts: tuple[str, ...], **options: Any) -> None:
    """Run the control plane."""
    configure_logs("control")
    settings = ControlSettings(state_dir=state, database_url=database, **options)
    hosts = (*settings.allowed_hosts, *(host.lower() for host in allowed_hosts))
    try:
        serve(replace(settings, allowed_hosts=hosts))
    except CellplaneError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
