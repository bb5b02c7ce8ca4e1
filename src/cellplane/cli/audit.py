"""Who changed something, and who was refused."""

import click

from cellplane.cli.options import connect, control_option, json_option
from cellplane.cli.output import print_json, print_table


@click.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="Calls on the page.")
@click.option("--before", type=click.IntRange(min=0), default=None, help="Only calls older than this one.")
@click.option("--caller", default=None, help="Only those of this caller.")
@click.option("--source", default=None, help="Only those from this address.")
@click.option("--refused/--changed", default=None, help="Only those that were refused, or that changed something.")
@click.option("--since", default=None, help="Only those since this time, such as 2026-01-31T00:00:00Z.")
@control_option
@json_option
def audit(
    *,
    limit: int,
    before: int | None,
    caller: str | None,
    source: str | None,
    refused: bool | None,
    since: str | None,
    control_url: str,
    as_json: bool,
) -> None:
    """List the calls that changed something, and those that were refused, the newest first."""
    asked: dict[str, str | int | None] = {"before": before, "caller": caller, "source": source, "since": since}
    if refused is not None:
        asked["refused"] = "true" if refused else "false"
    params = {name: value for name, value in asked.items() if value is not None}
    with connect(control_url) as client:
        answer = client.get("/v1/audit", limit=limit, **params)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("CALL", "AT", "CALLER", "ROLE", "FROM", "METHOD", "PATH", "STATUS", "EPOCH", "REASON"),
        (
            (
                item["id"],
                item["at"],
                item["caller"] or "-",
                item["role"] or "-",
                item["source"],
                item["method"],
                item["path"],
                item["status"],
                "-" if item["epoch"] is None else item["epoch"],
                item["reason"] or "-",
            )
            for item in answer["items"]
        ),
        empty="No call is on record.",
    )
    if answer["next"] is not None:
        click.echo(f"There are more: cellplane audit --before {answer['next']}")
