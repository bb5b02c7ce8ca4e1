"""`cellplane quarantine`: who is kept away from the others of a cell, by routers or by hand."""

import re
import time
from typing import Any
from urllib.parse import quote

import click

from cellplane.cli.changes import show_change, wait_live
from cellplane.cli.options import connect, control_option, json_option, wait_option
from cellplane.cli.output import print_json, print_table

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[float]):
    """Seconds, or a number with s, m, h or d behind it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd]?)", str(value))
        if found is None:
            self.fail(f"expected seconds, or a number with s, m, h or d, such as 90s; found {value!r}", param, context)
        return float(found[1]) * _UNITS[found[2]]


@click.group()
def quarantine() -> None:
    """Keep tenants away that make their cell ill for all others."""


@quarantine.command("list")
@control_option
@json_option
def list_(control_url: str, *, as_json: bool) -> None:
    """List who is in quarantine and why, who is held out of it, and which poison tenants are left alone."""
    with connect(control_url) as client:
        answer = client.get("/v1/quarantine")
    if as_json:
        print_json(answer)
        return
    rows = [
        (each["tenant"], "quarantined", each["cell"], _clock(each["until"]), each["reason"]) for each in answer["items"]
    ]
    rows += [(each["tenant"], "held", "-", _clock(each["held_until"]), each["end_reason"]) for each in answer["held"]]
    rows += [
        (each["tenant"], "left alone", "-", "-", f"{each['found']}; {each['reason']}") for each in answer["left_alone"]
    ]
    print_table(("TENANT", "STATE", "CELL", "UNTIL", "REASON"), rows, empty="Nobody is in quarantine.")


@quarantine.command()
@click.argument("tenant")
@click.option("--for", "seconds", type=Duration(), default=None, help="How long; by default as the fleet says.")
@click.option("--reason", default="by hand", show_default=True, help="Why, for whoever looks at it later.")
@click.option("--cell", default=None, help="The quarantine cell; by default one of the tenant's jurisdiction.")
@control_option
@json_option
@wait_option
def add(
    tenant: str, seconds: float | None, reason: str, cell: str | None, control_url: str, *, as_json: bool, wait: bool
) -> None:
    """Send TENANT to the quarantine cell of its jurisdiction.

    Its requests go there from now on; its data does not move, and where it is at home does not change.
    """
    began = time.monotonic()
    with connect(control_url) as client:
        found = client.put(_path(tenant), {"seconds": seconds, "reason": reason, "cell": cell})
        routers = wait_live(client, found["epoch"]) if wait else None
    text = f"{tenant} → {found['cell']}, quarantined until {_clock(found['until'])}"
    show_change(found, text, routers, began, as_json=as_json)


@quarantine.command()
@click.argument("tenant")
@click.option(
    "--hold",
    type=Duration(),
    default=None,
    help="How long no router's finding sends it back; by default as the fleet says.",
)
@control_option
@json_option
@wait_option
def release(tenant: str, hold: float | None, control_url: str, *, as_json: bool, wait: bool) -> None:
    """Let TENANT go home."""
    began = time.monotonic()
    with connect(control_url) as client:
        found = client.delete(_path(tenant), **({} if hold is None else {"hold": hold}))
        routers = wait_live(client, found["epoch"]) if wait else None
    held = "" if found["held_until"] is None else f", not sent back before {_clock(found['held_until'])}"
    show_change(found, f"{tenant} → home{held}", routers, began, as_json=as_json)


def _path(tenant: str) -> str:
    return f"/v1/quarantine/{quote(tenant, safe='')}"


def _clock(at: str) -> str:
    """A time of the API for people: to the second, UTC."""
    return f"{at[:19].replace('T', ' ')} UTC"
