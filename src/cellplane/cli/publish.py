"""`cellplane publish`: what is published, what waits to be, and a word that lets it."""

import click

from cellplane.cli.options import connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json
from cellplane.errors import ControlPlaneError

EXIT_HELD = 1


@click.command()
@control_option
@json_option
@reason_option
@click.option("--allow", is_flag=True, help="Let what waits be published, whatever it does to tenants.")
@click.pass_context
def publish(context: click.Context, control_url: str, reason: str, *, as_json: bool, allow: bool) -> None:
    """Show whether a table is held since it would move many tenants, empty a pool or leave a shard without a cell.

    Exits with 1 where one is, and nobody allows it.
    """
    with connect(control_url, reason) as client:
        answer = client.get("/v1/epochs", limit=1)
        held = answer["held"]
        if held is None and allow:
            raise ControlPlaneError("nothing is held: what the directory says is published")
        allowed = client.post("/v1/epochs/allow", {"epoch": held["epoch"]}) if held is not None and allow else None
    last = answer["items"][0]["epoch"] if answer["items"] else None
    if as_json:
        print_json({"published": last, "held": held, "allowed": allowed})
    elif held is None:
        click.echo(f"published: epoch {last}" if last else "nothing is published yet")
    else:
        click.echo(f"published: epoch {last}; held: epoch {held['epoch']}")
        for each in held["violations"]:
            click.echo(f"  {each['text']}")
        click.echo("allowed" if allowed else "`cellplane publish --allow` lets it be published all the same")
    if held is not None and allowed is None:
        context.exit(EXIT_HELD)
