"""Commands that change the directory."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from cellplane.cli.options import allow_option, connect, control_option, json_option, reason_option, wait_option
from cellplane.cli.output import print_json
from cellplane.client import LIVE_POLL_SECONDS, LIVE_TIMEOUT_SECONDS, Client
from cellplane.errors import ControlPlaneError


@click.command()
@click.argument("tenant")
@click.argument("cells", metavar="CELL...", nargs=-1, required=True)
@control_option
@json_option
@reason_option
@allow_option
@wait_option
def assign(tenant: str, cells: tuple[str, ...], control_url: str, reason: str, *, as_json: bool, wait: bool) -> None:
    """Pin TENANT to CELL, or to a shard of several, the preferred first.

    Its requests go there from now on; its data does not move.
    """
    body: dict[str, Any] = {"cell": cells[0]} if len(cells) == 1 else {"cells": cells}
    _put(control_url, reason, tenant, body, as_json=as_json, wait=wait)


@click.command()
@click.argument("tenant")
@control_option
@json_option
@reason_option
@allow_option
@wait_option
def unassign(tenant: str, control_url: str, reason: str, *, as_json: bool, wait: bool) -> None:
    """Let TENANT's pool place it again: its slot, or a new assignment. Its data does not move."""
    _put(control_url, reason, tenant, {}, as_json=as_json, wait=wait)


def _put(control_url: str, reason: str, tenant: str, body: dict[str, Any], *, as_json: bool, wait: bool) -> None:
    began = time.monotonic()
    with connect(control_url, reason) as client:
        changed = client.put(f"/v1/tenants/{quote(tenant, safe='')}", body)
        routers = wait_live(client, changed["epoch"]) if wait else None
        placed = client.get(f"/v1/tenants/{quote(tenant, safe='')}")["placed"] if wait else None
    target = " + ".join(changed["cells"]) or placed or "its slot"
    state = "" if changed["state"] == "active" else f", {changed['state']}"
    show_change(changed, f"{tenant} → {target}{state}", routers, began, as_json=as_json)


def show_change(changed: Mapping[str, Any], text: str, routers: int | None, began: float, *, as_json: bool) -> None:
    """Print what became of a change.

    Args:
        changed: the API's answer.
        text: what it says, for people.
        routers: how many run it; None where nobody waited for them.
        began: monotonic seconds.
        as_json: whether for scripts.
    """
    milliseconds = round((time.monotonic() - began) * 1000)
    if as_json:
        print_json({**changed, "routers": routers, "milliseconds": milliseconds})
        return
    click.echo(f"{text} (epoch {changed['epoch']}), {liveness(routers, milliseconds)}")


def liveness(routers: int | None, milliseconds: int) -> str:
    """What to say of how many routers run a change; None where nobody waited for them."""
    if routers is None:
        return "not waited for"
    if routers == 0:
        return "published, but no router reports"
    return f"live on {routers} router{'' if routers == 1 else 's'} after {milliseconds} ms"


def wait_live(client: Client, epoch: int) -> int:
    """Wait until this epoch is published and every router that reports runs it, and return how many do."""
    deadline = time.monotonic() + LIVE_TIMEOUT_SECONDS
    while True:
        found = client.list("/v1/routers")
        published: int = found["published_epoch"] or 0
        routers: list[dict[str, Any]] = [item for item in found["items"] if not item["lost"]]
        # A router beyond the published epoch runs what another directory said: it does not count as having the change.
        late = [item["id"] for item in routers if not epoch <= item["epoch"] <= published or item["rejected"]]
        if published >= epoch and not late:
            return len(routers)
        if time.monotonic() > deadline:
            found_late = f"{', '.join(late)} did not apply epoch {epoch}"
            problem = found_late if published >= epoch else _why_not_published(client, epoch)
            raise ControlPlaneError(
                f"the change is made, but {problem} in {LIVE_TIMEOUT_SECONDS:.0f} s: see `cellplane routers`"
            )
        time.sleep(LIVE_POLL_SECONDS)


def _why_not_published(client: Client, epoch: int) -> str:
    held = client.get("/v1/epochs", limit=1)["held"]
    if held is None:
        return f"epoch {epoch} was not published"
    why = "; ".join(each["text"] for each in held["violations"])
    return f"it is held, since {why} (`cellplane publish --allow`); nothing of it was live"
