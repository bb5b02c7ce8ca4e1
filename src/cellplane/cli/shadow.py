"""``cellplane shadow``: what comparing the answers of cells and their shadows came to."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from cellplane.cli.options import connect, control_option, json_option
from cellplane.cli.output import print_json, print_table


@click.command()
@click.argument("cell", required=False)
@click.option(
    "--tenant",
    metavar="NAME",
    help="Count this tenant's requests alone. With --json, items that have some are shown whole.",
)
@control_option
@json_option
def shadow(cell: str | None, tenant: str | None, control_url: str, *, as_json: bool) -> None:
    """Show what comparing the answers of cells and shadows came to; of one CELL or shadow, where it is named."""
    with connect(control_url) as client:
        answer = client.get("/v1/shadows")
    items = [item for item in answer["items"] if cell in {None, item["cell"], item["shadow"]}]
    if tenant is not None:
        items = [item for item in items if _of_tenant(item, tenant)]
    if as_json:
        print_json({"items": items})
        return
    counted = [(item, item if tenant is None else _of_tenant(item, tenant)) for item in items]
    print_table(
        ("CELL", "SHADOW", "COMPARED", "MATCHES", "MISMATCHES", "UNANSWERED", "TOO LARGE", "SKIPPED"),
        (
            (
                item["cell"],
                item["shadow"],
                counts["match"] + counts["mismatch"],
                counts["match"],
                counts["mismatch"],
                counts["unanswered"],
                counts["too_large"],
                counts["skipped"],
            )
            for item, counts in counted
        ),
        empty="Nothing has been compared yet." if tenant is None else f"Nothing of {tenant} has been compared lately.",
    )
    for item in items:
        for sample in item["samples"]:
            if tenant not in {None, sample["tenant"]}:
                continue
            click.echo(f"\n{item['cell']} and {item['shadow']}: {_request(sample)}")
            for line in _differences(sample):
                click.echo(f"  {line}")


def _of_tenant(item: Mapping[str, Any], tenant: str) -> Mapping[str, Any]:
    """The counts of a tenant; empty where none is known."""
    return next((counts for counts in item["tenants"] if counts["tenant"] == tenant), {})


def _request(sample: Mapping[str, Any]) -> str:
    at = datetime.fromtimestamp(sample["at"], UTC)
    whose = f" of {sample['tenant']}" if sample["tenant"] else ""
    return f"{sample['method']} {sample['path']}{whose}, {at:%Y-%m-%d %H:%M:%S} UTC"


def _differences(sample: Mapping[str, Any]) -> Iterator[str]:
    for difference in sample["differences"]:
        yield f"{difference['path']}: {difference['cell']}, shadow {difference['shadow']}"
