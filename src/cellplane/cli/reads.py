"""Commands that only read."""

import click

from cellplane.cli.options import control_option, json_option
from cellplane.cli.output import print_json, print_table
from cellplane.client import Client

ACTOR = "cli"

_HEALTH = {True: "healthy", False: "down", None: "unknown"}


@click.command()
@control_option
@json_option
def cells(control_url: str, *, as_json: bool) -> None:
    """List the cells: where they are, and whether routers reach them."""
    with Client(control_url, ACTOR) as client:
        answer = client.get("/v1/cells")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("CELL", "STATUS", "HEALTH", "ENDPOINT", "REGION", "JURISDICTION", "PINNED"),
        (
            (
                cell["id"],
                cell["status"],
                _HEALTH[cell["healthy"]],
                f"{cell['address']}:{cell['port']}",
                cell["region"],
                cell["jurisdiction"],
                cell["pinned_tenants"],
            )
            for cell in answer["items"]
        ),
        empty="There are no cells yet.",
    )


@click.command()
@control_option
@json_option
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Tenants on the page.")
@click.option("--after", default="", help="Only tenants whose id is behind this one.")
@click.option("--cell", default=None, help="Only tenants that are pinned to this cell.")
def tenants(control_url: str, limit: int, after: str, cell: str | None, *, as_json: bool) -> None:
    """List tenants, and the cell that serves each."""
    with Client(control_url, ACTOR) as client:
        params: dict[str, str | int] = {"limit": limit, "after": after}
        answer = client.get("/v1/tenants", **params, **({} if cell is None else {"cell": cell}))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("TENANT", "CELL", "BY", "STATE"),
        (
            (item["id"], item["placed"] or "-", "assignment" if item["cell"] else "slot", item["state"])
            for item in answer["items"]
        ),
        empty="There are no tenants here.",
    )
    if answer["next"] is not None:
        click.echo(f"There are more: cellplane tenants --after {answer['next']}")


@click.command()
@click.argument("tenant")
@control_option
@json_option
def route(tenant: str, control_url: str, *, as_json: bool) -> None:
    """Explain how TENANT is routed: key, slot or assignment, shard, cell."""
    with Client(control_url, ACTOR) as client:
        answer = client.get("/v1/route", tenant=tenant)
    if as_json:
        print_json(answer)
        return
    click.echo(answer["text"])
    if not answer["known"]:
        click.echo("The directory does not list this tenant; its slot places it all the same.")


@click.command()
@control_option
@json_option
def routers(control_url: str, *, as_json: bool) -> None:
    """List the routers: the epoch that each runs, and what it refused."""
    with Client(control_url, ACTOR) as client:
        answer = client.get("/v1/routers")
    if as_json:
        print_json(answer)
        return
    if answer["published_epoch"] is not None:
        click.echo(f"published epoch: {answer['published_epoch']}")
    print_table(
        ("ROUTER", "STATE", "EPOCH", "BEHIND", "PROXY", "LAST REPORT", "REJECTED"),
        (
            (
                item["id"],
                "lost" if item["lost"] else "ready" if item["ready"] else "not ready",
                item["epoch"],
                item["behind"],
                item["proxy"],
                f"{item['age_seconds']:.1f} s ago",
                "-" if item["rejected"] is None else f"{item['rejected']['epoch']}: {item['rejected']['reason']}",
            )
            for item in answer["items"]
        ),
        empty="No router has reported yet.",
    )
