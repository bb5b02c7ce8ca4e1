"""The verbs of `cellplane cell` that lead a cell of any control plane through its life."""

import time
from collections.abc import Callable

import click

from cellplane.cli.cell_argument import cell_argument
from cellplane.cli.changes import show_change, wait_live
from cellplane.cli.options import allow_option, connect, control_option, json_option, reason_option, wait_option
from cellplane.client import Client
from cellplane.errors import ControlPlaneError
from cellplane.model import CellStatus
from cellplane.provision import registration

_force_option = click.option(
    "--force", is_flag=True, help="Also where a pool is left without a cell that is active or locked."
)


def _verb(name: str, status: CellStatus, text: str, *, yields: bool = False) -> click.Command:
    """A command that gives a cell a status; where it ``yields``, what is in the way gives way to ``--force``."""

    @click.command(name, help=text)
    @cell_argument
    @control_option
    @json_option
    @reason_option
    @allow_option
    @wait_option
    def run(cell_id: str, control_url: str, reason: str, *, as_json: bool, wait: bool, force: bool = False) -> None:
        def change(client: Client) -> int:
            return registration.set_status(client, cell_id, status, force=force)

        _change(cell_id, control_url, reason, change, as_json=as_json, wait=wait)

    return _force_option(run) if yields else run


@click.command()
@cell_argument
@control_option
@json_option
@reason_option
@allow_option
@wait_option
def unlock(cell_id: str, control_url: str, reason: str, *, as_json: bool, wait: bool) -> None:
    """Let CELL, which is locked, take new tenants again."""

    def change(client: Client) -> int:
        status = registration.status_of(client, cell_id)
        if status is not None and status is not CellStatus.LOCKED:
            raise ControlPlaneError(f"{cell_id} is {status.value}, not locked: `cellplane cell activate {cell_id}`")
        return registration.set_status(client, cell_id, CellStatus.ACTIVE)

    _change(cell_id, control_url, reason, change, as_json=as_json, wait=wait)


@click.command()
@cell_argument
@click.option(
    "--leave-pools",
    is_flag=True,
    help="Also take it out of its pools: tenants whose slots it had go to other cells at once, without their data.",
)
@_force_option
@control_option
@json_option
@reason_option
@allow_option
@wait_option
def drain(
    cell_id: str, control_url: str, reason: str, *, leave_pools: bool, force: bool, as_json: bool, wait: bool
) -> None:
    """Let CELL serve those that it has until they are moved off, and take no new tenants."""

    def change(client: Client) -> int:
        epoch = registration.set_status(client, cell_id, CellStatus.DRAINING, force=force)
        left = registration.leave_pools(client, cell_id) if leave_pools else None
        return epoch if left is None else left

    _change(cell_id, control_url, reason, change, as_json=as_json, wait=wait)


VERBS = (
    _verb("activate", CellStatus.ACTIVE, "Let CELL serve, and take new tenants."),
    _verb("lock", CellStatus.LOCKED, "Let CELL serve those that it has, and take no new tenants."),
    unlock,
    drain,
    _verb(
        "maintenance",
        CellStatus.MAINTENANCE,
        "Take CELL out for a while: its tenants get what the fleet says.",
        yields=True,
    ),
    _verb("retire", CellStatus.RETIRED, "End CELL's life: it serves nobody any more, and can be destroyed."),
)
"""All of them."""


def _change(
    cell_id: str, control_url: str, reason: str, change: Callable[[Client], int], *, as_json: bool, wait: bool
) -> None:
    """Change a cell, and show what became of it."""
    began = time.monotonic()
    with connect(control_url, reason) as client:
        epoch = change(client)
        routers = wait_live(client, epoch) if wait else None
        status = registration.status_of(client, cell_id)
    found = {"id": cell_id, "status": None if status is None else status.value, "epoch": epoch}
    show_change(found, f"{cell_id} → {found['status']}", routers, began, as_json=as_json)
