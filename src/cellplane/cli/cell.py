"""`cellplane cell`: make cells of a local fleet and remove them, and lead any cell through its life."""

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from cellplane.cli.boundary import check
from cellplane.cli.cell_argument import cell_argument
from cellplane.cli.changes import wait_live
from cellplane.cli.init import init
from cellplane.cli.lifecycle import VERBS
from cellplane.cli.options import Amount, capacity_of, connect, json_option, state_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.row_security import rls
from cellplane.cli.steps import Steps
from cellplane.client import Client
from cellplane.errors import ProvisionError, UnreachableError
from cellplane.faults import fault_point
from cellplane.model import CellStatus
from cellplane.provision import CellInstance, CellRequest, registration, require_destroyable
from cellplane.provision.local.folder import StateFolder, read_json
from cellplane.provision.local.provisioner import LocalProvisioner
from cellplane.provision.siblings import like


@click.group()
def cell() -> None:
    """Make cells and remove them, and lead them through their life.

    `create`, `destroy`, `start`, `stop`, `deploy`, `describe` and `list` are for the cells of a local fleet; `check` is
    for an app, wherever it runs, and `init` makes the files of a new one; `rls` prints a migration for a cell's
    database; the others are for the cells of any control plane.
    """


class _Local:
    """A local fleet: its folder, and its control plane, which is asked when it is needed."""

    def __init__(self, state_dir: Path, stack: ExitStack) -> None:
        self._folder = StateFolder(state_dir.absolute())
        self._stack = stack
        self._client: Client | None = None
        self.provisioner = LocalProvisioner(self._folder, lambda cell_id: registration.status_of(self.client, cell_id))

    @property
    def client(self) -> Client:
        """Of its control plane."""
        if self._client is None:
            endpoints = read_json(self._folder.endpoints)
            if endpoints is None:
                raise ProvisionError(
                    f"no local fleet is in {self._folder.root}: start one with `cellplane demo`, or name its folder "
                    "with --state"
                )
            self._client = self._stack.enter_context(connect(endpoints["control"]))
        return self._client


@cell.command()
@cell_argument
@click.option(
    "--pool",
    default=None,
    help="The pool that it joins; what is not said is as of its cells. Tenants of its slots come without their data.",
)
@click.option("--region", default=None, help="Where it runs.")
@click.option("--zone", default=None, help="Where it fails together with others.")
@click.option("--jurisdiction", default=None, help="Whose law its data is under.")
@click.option("--capacity", type=Amount(), multiple=True, help="The most that it is to hold, such as rps=200.")
@click.option("--release", default=None, help="What it runs.")
@state_option
@json_option
def create(
    cell_id: str,
    pool: str | None,
    capacity: tuple[tuple[str, float], ...],
    state_dir: Path,
    *,
    as_json: bool,
    **said: str | None,
) -> None:
    """Make CELL, wait until its API and the routers reach it, and register it: `provisioning`, then `active`.

    Who is cut short asks again: what is done already is not done twice.
    """
    steps = Steps(cell_id)
    with ExitStack() as stack:
        fleet = _Local(state_dir, stack)
        client = fleet.client
        if registration.status_of(client, cell_id) is CellStatus.RETIRED:
            raise ProvisionError(
                f"{cell_id} is retired: `cellplane cell destroy {cell_id}` removes it, "
                f"`cellplane cell activate {cell_id}` takes it back"
            )
        request = _request(fleet, cell_id, pool)
        given: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if capacity:
            given["capacity"] = capacity_of(capacity)
        with steps.step("provisioned"):
            instance = fleet.provisioner.create(replace(request, **given))
        fault_point("cell.create.provisioned")
        with steps.step("registered"):
            registration.register(client, instance)
        fault_point("cell.create.registered")
        if registration.status_of(client, cell_id) is CellStatus.PROVISIONING:
            with steps.step("reached by the routers"):
                registration.wait_reached(client, cell_id)
            registration.set_status(client, cell_id, CellStatus.ACTIVE)
            fault_point("cell.create.activated")
        if pool is not None:
            registration.join_pool(client, cell_id, pool)
        with steps.step("live on the routers"):
            routers = _wait_live(client)
        status = registration.status_of(client, cell_id)
    if as_json:
        print_json({**_row(instance), "status": None if status is None else status.value, "routers": routers})
        return
    where = f"{instance.address}:{instance.port}"
    joined = "" if pool is None else f", in pool {pool}"
    click.echo(f"{cell_id}: {'' if status is None else status.value} at {where}{joined}")


def _request(fleet: _Local, cell_id: str, pool: str | None) -> CellRequest:
    """What a cell is asked for as, where nothing else is said: what it is, to the provisioner or to the control plane,
    or else what others of the pool are.
    """
    known = fleet.provisioner.describe(cell_id)
    if known is not None:
        return replace(known.request, pool=pool or known.request.pool)
    registered = registration.find_cell(fleet.client, cell_id)
    if registered is not None:
        return registration.request_for(registered, pool or "")
    if pool is None:
        return CellRequest(cell_id)
    return like(registration.pool_cells(fleet.client, pool), cell_id, pool=pool)


@cell.command()
@cell_argument
@click.option("--force", is_flag=True, help="Also one that is not retired, or whose control plane does not answer.")
@state_option
@json_option
def destroy(cell_id: str, state_dir: Path, *, force: bool, as_json: bool) -> None:
    """Remove CELL with all its data: out of the control plane, then its processes, then its folder.

    It has to be retired, and neither a pool nor a tenant may name it.
    """
    steps = Steps(cell_id)
    with ExitStack() as stack:
        fleet = _Local(state_dir, stack)
        was_there = fleet.provisioner.describe(cell_id) is not None
        if not force:
            status = registration.status_of(fleet.client, cell_id)
            require_destroyable(cell_id, status)
            was_there = was_there or status is not None
        with steps.step("deregistered"):
            _deregister(fleet, cell_id, force=force)
        fault_point("cell.destroy.deregistered")
        with steps.step("destroyed"):
            fleet.provisioner.destroy(cell_id, force=force)
    if as_json:
        print_json({"id": cell_id, "destroyed": was_there})
    else:
        click.echo(f"{cell_id}: {'destroyed, with its data' if was_there else 'there is none'}")


def _deregister(fleet: _Local, cell_id: str, *, force: bool) -> None:
    try:
        if registration.deregister(fleet.client, cell_id) is not None:
            _wait_live(fleet.client)
    except UnreachableError:
        if not force:
            raise
        click.echo(f"{cell_id}: no control plane answers; it stays registered there", err=True)


@cell.command()
@cell_argument
@state_option
@json_option
def start(cell_id: str, state_dir: Path, *, as_json: bool) -> None:
    """Run CELL again, with the data that it had."""
    with ExitStack() as stack, Steps(cell_id).step("started"):
        instance = _Local(state_dir, stack).provisioner.start(cell_id)
    _show(instance, as_json=as_json)


@cell.command()
@cell_argument
@state_option
@json_option
def stop(cell_id: str, state_dir: Path, *, as_json: bool) -> None:
    """End CELL's processes and keep its data. Its tenants get 503 meanwhile, unless they were moved off."""
    with ExitStack() as stack, Steps(cell_id).step("stopped"):
        instance = _Local(state_dir, stack).provisioner.stop(cell_id)
    _show(instance, as_json=as_json)


@cell.command()
@cell_argument
@click.argument("release")
@state_option
@json_option
def deploy(cell_id: str, release: str, state_dir: Path, *, as_json: bool) -> None:
    """Restart CELL's API and worker with RELEASE, and tell the control plane.

    Its tenants get 503, or the next cell of their shard, for as long as the restart takes.
    """
    steps = Steps(cell_id)
    with ExitStack() as stack:
        fleet = _Local(state_dir, stack)
        with steps.step("restarted"):
            instance = fleet.provisioner.deploy(cell_id, release)
        known = registration.find_cell(fleet.client, cell_id)
        if known is not None and known["release"] != release:
            with steps.step("live on the routers"):
                registration.change_cell(fleet.client, cell_id, {"release": release})
                _wait_live(fleet.client)
    _show(instance, as_json=as_json)


@cell.command()
@cell_argument
@state_option
@json_option
def describe(cell_id: str, state_dir: Path, *, as_json: bool) -> None:
    """Show CELL as its provisioner sees it."""
    with ExitStack() as stack:
        instance = _Local(state_dir, stack).provisioner.describe(cell_id)
    if instance is None:
        raise ProvisionError(f"there is no {cell_id}: `cellplane cell create {cell_id}` makes it")
    if as_json:
        print_json(_row(instance))
        return
    for name, value in _row(instance).items():
        shown = (
            " ".join(f"{key}={amount:g}" for key, amount in value.items() if amount) if name == "capacity" else value
        )
        click.echo(f"{name:<13} {shown or '-'}")


@cell.command("list")
@state_option
@json_option
def list_(state_dir: Path, *, as_json: bool) -> None:
    """List the cells as their provisioner sees them; `cellplane cells` shows them as the control plane does."""
    with ExitStack() as stack:
        instances = _Local(state_dir, stack).provisioner.describe_all()
    if as_json:
        print_json({"items": [_row(each) for each in instances]})
        return
    rows = [
        (
            each.id,
            each.state.value,
            f"{each.address}:{each.port}" if each.port else "-",
            each.release or "-",
            each.request.region,
            each.request.zone or "-",
            each.request.jurisdiction,
            (each.reason.splitlines() or ["-"])[0],
        )
        for each in instances
    ]
    columns = ("CELL", "STATE", "ENDPOINT", "RELEASE", "REGION", "ZONE", "JURISDICTION", "REASON")
    print_table(columns, rows, empty="There are no cells here.")


for verb in (*VERBS, check, init, rls):
    cell.add_command(verb)


def _wait_live(client: Client) -> int:
    """Wait until every router runs all that the directory holds by now, and return how many do."""
    return wait_live(client, client.get("/healthz")["epoch"])


def _show(instance: CellInstance, *, as_json: bool) -> None:
    if as_json:
        print_json(_row(instance))
        return
    release = f", release {instance.release}" if instance.release else ""
    click.echo(f"{instance.id}: {instance.state.value} at {instance.address}:{instance.port}{release}")


def _row(instance: CellInstance) -> dict[str, Any]:
    """An instance as JSON."""
    request = instance.request
    return {
        "id": instance.id,
        "state": instance.state.value,
        "reason": instance.reason,
        "address": instance.address,
        "port": instance.port,
        "release": instance.release,
        "region": request.region,
        "zone": request.zone,
        "jurisdiction": request.jurisdiction,
        "capacity": asdict(request.capacity),
        "pool": request.pool,
    }
