"""`cellplane export`: the fleet that runs, as fleet.yaml."""

from typing import Any

import click

from cellplane.cli.options import connect, control_option, json_option
from cellplane.cli.output import print_json
from cellplane.client import Client
from cellplane.manifest.dump import dump_resources

PAGE = 1000
"""Tenants that are asked for at once."""

HEAD = """# A fleet as it was when this was written. Change it, then:
#   cellplane lint fleet.yaml
#   cellplane apply -f fleet.yaml --dry-run
"""


@click.command()
@click.option("--tenants", "with_tenants", is_flag=True, help="The tenants too, not only fleet, cells and pools.")
@control_option
@json_option
def export(control_url: str, *, with_tenants: bool, as_json: bool) -> None:
    """Print the fleet that runs as fleet.yaml, for `cellplane lint` and `cellplane apply`."""
    with connect(control_url) as client:
        resources = read_resources(client, with_tenants=with_tenants)
    if as_json:
        print_json({"resources": resources})
    else:
        click.echo(as_file(resources), nl=False)


def read_resources(client: Client, *, with_tenants: bool) -> list[dict[str, Any]]:
    """Every resource of a control plane.

    Raises:
        CellplaneError: it cannot be reached, or refuses.
    """
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = client.get("/v1/resources", tenants=str(with_tenants).lower(), limit=PAGE, after=after)
        found += page["items"]
        after = page["next"]
    return found


def as_file(resources: list[dict[str, Any]]) -> str:
    """The text of fleet.yaml."""
    return HEAD + dump_resources(resources)
