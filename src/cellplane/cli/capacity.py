"""`cellplane capacity`: how full cells and pools are, for how long their room lasts, and what is done about it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from cellplane.cli.cell_argument import cell_argument
from cellplane.cli.options import connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json, print_table

NEWS_SECONDS = 86_400
"""How long a cell that was made is told of."""


@click.group(invoke_without_command=True)
@click.option("--pool", default=None, help="Of this pool and its cells alone.")
@control_option
@json_option
@click.pass_context
def capacity(context: click.Context, pool: str | None, control_url: str, *, as_json: bool) -> None:
    """Show how full pools and cells are, for how many days their room lasts, and who is locked and why."""
    if context.invoked_subcommand is not None:
        return
    with connect(control_url) as client:
        answer = client.list("/v1/capacity", "cells", **({} if pool is None else {"pool": pool}))
    if as_json:
        print_json(answer)
        return
    print_table(
        ("POOL", "CELLS", "OPEN", "UNKNOWN", "HEADROOM", "BY", "DAYS LEFT", "WANTS"),
        (
            (
                each["name"],
                each["cells"],
                each["open_cells"],
                each["unknown_cells"],
                _share(each["headroom"]),
                each["resource"] or "-",
                _days(each["days_left"]),
                _wants(each),
            )
            for each in answer["pools"]
        ),
        empty="There are no pools yet.",
    )
    click.echo()
    print_table(
        ("CELL", "STATUS", "LOCK", "FULL", "BY", "ROOM LEFT", "DAYS LEFT", "REPORTED", ""),
        (
            (
                each["id"],
                each["status"],
                each["lock"],
                _share(each["utilisation"]),
                each["resource"] or "-",
                _room(each),
                _days(each["days_left"]),
                _age(each["report_age_seconds"]),
                each["kept_open"],
            )
            for each in answer["cells"]
        ),
        empty="There are no cells yet.",
    )
    click.echo()
    locking = (
        f"Cells are locked at {answer['lock_at']:.0%}, and opened again below {answer['unlock_at']:.0%}."
        if answer["locks_cells"]
        else "Cells are not locked by what they report."
    )
    click.echo(locking)
    if all(each["report_age_seconds"] is None for each in answer["cells"]):
        click.echo("No cell has reported yet: see docs/capacity.md for how they do.")


@capacity.command()
@cell_argument
@control_option
@json_option
@reason_option
def release(cell_id: str, control_url: str, reason: str, *, as_json: bool) -> None:
    """Take back what a person ordered of CELL's lock: what it reports decides again."""
    with connect(control_url, reason) as client:
        answer = client.delete(f"/v1/cells/{quote(cell_id, safe='')}/hold")
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{cell_id}: locked and opened by what it reports")


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _days(days: Mapping[str, Any]) -> str:
    if days["outlook"] != "days":
        return "-" if days["outlook"] == "unknown" else str(days["outlook"])
    bounds = [f"{bound:g}" if bound is not None else "…" for bound in (days["earliest"], days["latest"])]
    return f"{days['days']:g} ({'–'.join(bounds)})"


def _wants(pool: Mapping[str, Any]) -> str:
    ask = pool["ask"]
    found = [f"one more cell: {pool['wants']}"] if pool["wants"] else []
    found += [pool["kept"]] if pool["kept"] else []
    if ask is not None and ask["failure"]:
        found.append(f"the last ask failed: {ask['failure']}")
    elif ask is not None and not ask["done"]:
        found.append("a cell is being made")
    elif ask is not None and ask["age_seconds"] < NEWS_SECONDS:
        found.append(f"{ask['cell']} was made {_age(ask['age_seconds'])} ago")
    return "; ".join(found) or "-"


def _room(cell: Mapping[str, Any]) -> str:
    room = cell["rooms"].get(cell["resource"])
    return "-" if room is None else f"{room['left']:g} of {room['whole']:g}"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
