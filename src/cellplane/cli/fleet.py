"""`cellplane demo` and `cellplane up`: a whole fleet on this machine."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

import click

from cellplane.cli.options import ACTOR, DEFAULT_CONTROL_URL, DEFAULT_STATE, Amount, capacity_of, state_option
from cellplane.cli.progress import FleetProgress
from cellplane.cli.stopping import asked_to_stop
from cellplane.client import Client
from cellplane.credentials import ADMIN_TOKEN, local_admin_token
from cellplane.durable import write_durably
from cellplane.provision.local.settings import MAX_CELLS, MAX_TENANTS, LocalSettings
from cellplane.provision.local.stopped import StoppedError
from cellplane.provision.local.supervisor import Supervisor
from cellplane.provision.settings import ProvisionLimits

_PORT = click.IntRange(1, 65535)

MANIFEST = "fleet.yaml"
"""The fleet as a file, in the state folder, written when it is ready."""

MAX_MANIFEST_TENANTS = 100
"""Most tenants that this file lists: it is there to be read and copied."""


class _Chosen(TypedDict):
    """What both commands take and pass on as it is."""

    state_dir: Path
    router_port: int
    control_port: int
    cells: int
    health_timeout_seconds: float


def _fleet_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--cells", type=click.IntRange(1, MAX_CELLS), default=3, show_default=True, help="Cells to run."),
        click.option("--control-port", type=_PORT, default=8081, show_default=True, help="Port of the control plane."),
        click.option("--router-port", type=_PORT, default=8080, show_default=True, help="Port of the router."),
        click.option(
            "--max-cells",
            type=click.IntRange(1, MAX_CELLS),
            default=MAX_CELLS,
            show_default=True,
            help="Most cells that there may ever be.",
        ),
        click.option(
            "--max-capacity",
            type=Amount(),
            multiple=True,
            help="Most that all cells together may declare, such as rps=900; new cells then have to.",
        ),
        click.option(
            "--health-timeout",
            "health_timeout_seconds",
            type=click.FloatRange(0.05, 60),
            default=0.4,
            show_default=True,
            help="How long a cell may take to answer the router's health check: more on a machine that is busy.",
        ),
        state_option,
    ):
        command = option(command)
    return command


@click.command()
@_fleet_options
@click.option("--tenants", type=click.IntRange(0, MAX_TENANTS), default=12, show_default=True, help="Tenants to seed.")
def demo(
    max_cells: int, max_capacity: tuple[tuple[str, float], ...], tenants: int, **settings: Unpack[_Chosen]
) -> None:
    """Run the example fleet, with tenants to try it on, until Ctrl-C."""
    limits = ProvisionLimits(max_cells=max_cells, max_total=capacity_of(max_capacity))
    _run(LocalSettings(**settings, limits=limits, tenants=tenants), _next_steps if tenants else None)


@click.command()
@_fleet_options
def up(max_cells: int, max_capacity: tuple[tuple[str, float], ...], **settings: Unpack[_Chosen]) -> None:
    """Run the example fleet with no tenants but your own, until Ctrl-C."""
    limits = ProvisionLimits(max_cells=max_cells, max_total=capacity_of(max_capacity))
    _run(LocalSettings(**settings, limits=limits), None)


def _run(settings: LocalSettings, epilogue: Callable[[LocalSettings], str] | None) -> None:
    # A terminal and make may both pass a signal on, and stopping takes seconds at most.
    stopping = asked_to_stop()
    began = time.monotonic()
    with FleetProgress() as progress:
        supervisor = Supervisor(settings, progress, stopping)
        try:
            supervisor.start()
            progress.finish()
            seconds = time.monotonic() - began
            _write_manifest(settings, supervisor.control_url)
            progress.say(f"ready router={supervisor.router_url} control={supervisor.control_url} ({seconds:.1f} s)")
            if epilogue is not None:
                progress.say(epilogue(settings))
            supervisor.watch()
            progress.say("stopping …")
        except StoppedError:
            pass
        finally:
            # Before anything is shown: whatever becomes of the output, nothing is left running.
            supervisor.stop()
        progress.finish()
        progress.say("stopped: nothing is left running")


def _write_manifest(settings: LocalSettings, control_url: str) -> None:
    """Leave the fleet as a file that the user can copy."""
    from cellplane.cli.export import as_file, read_resources  # noqa: PLC0415  # loads NumPy, which most commands need not

    with Client(control_url, ACTOR, local_admin_token(control_url, settings.state_dir)) as client:
        text = as_file(read_resources(client, with_tenants=settings.tenants <= MAX_MANIFEST_TENANTS))
    write_durably(settings.state_dir / MANIFEST, text.encode())


def _next_steps(settings: LocalSettings) -> str:
    command = _own_command()
    router = f"http://{settings.host}:{settings.router_port}"
    control_url = f"http://{settings.host}:{settings.control_port}"
    control = "" if control_url == DEFAULT_CONTROL_URL else f" --control {control_url}"
    if settings.state_dir != DEFAULT_STATE:
        control += f" --token-file {settings.state_dir / ADMIN_TOKEN}"
    state = "" if settings.state_dir == DEFAULT_STATE else f" --state {settings.state_dir}"
    last = f"cell-{settings.cells}"
    return f"""
Try, in another terminal:

  curl -i {router}/notifications -H 'X-Tenant-Id: tenant-001' \\
       -H 'Content-Type: application/json' -d '{{"channel": "email", "to": "ada@example.org", "body": "Hello"}}'

  {command} analytics query --by tenant --by cell --by type{state}     (what the cells tell of it)

  {command} move tenant-001 {last}{state}     (with its rows, while it is served; `assign` changes its route alone)

  {command} flag on delivery-seconds --cell {last}{control}     (its tenants' answers say more)

  {command} cell create cell-{settings.cells + 1} --pool default{state}     (one cell more, while the fleet serves)

  {command} chaos kill {last}{state}     (and `… chaos restore {last}{state}`)

  {command} chaos slow {last}{state}     (or `errors {last} 3%`: ill, though its health check is green)
  {command} chaos flood tenant-001 --seconds 60{state}     (and who notices: `{command} cells{control}`)

The fleet is {settings.state_dir / MANIFEST}; logs are in {settings.state_dir / "logs"}. Ctrl-C stops everything.
"""


def _own_command() -> str:
    """How the user called this program, so that what is printed can be pasted."""
    path = Path(sys.argv[0])
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
