"""`cellplane plan rebalance` and `cellplane plan evacuate`: which tenants would move where. Nothing is moved."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import click

from cellplane.cli.options import control_option, files_option, json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options
from cellplane.cli.plan.pictures import BLUE, GREY, ORANGE, Wanted, picture_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellplane.planning.loaded import LoadedFleet
    from cellplane.planning.move_plan import MovePlan, MoveSettings

Command = TypeVar("Command", bound=Callable[..., Any])

SHOWN = 20
"""Moves in the text; JSON has them all."""

PAINTED = 60
"""Cells in the picture: the fullest."""

GIB = 2**30
"""Bytes."""

NOT_MOVED = "Nothing is moved: this is a plan. `cellplane move batch` makes it, with the tenants' rows."


class _Limits(TypedDict):
    """What both commands take of ``MoveSettings``."""

    lock_at: float
    per_cell: int
    at_once: int
    gib_per_hour: float
    max_moves: int


def move_options(command: Command) -> Command:
    """Add the options that both commands have."""
    for option in reversed(
        (
            click.option(
                "--lock-at", type=float, default=0.7, show_default=True, help="Fill no cell beyond this share."
            ),
            click.option("--per-cell", type=int, default=2, show_default=True, help="Moves at once that a cell is in."),
            click.option("--at-once", type=int, default=8, show_default=True, help="Moves at once in the fleet."),
            click.option(
                "--gib-per-hour", type=float, default=100.0, show_default=True, help="GiB an hour that all moves copy."
            ),
            click.option("--max-moves", type=int, default=10_000, show_default=True, help="Moves of the plan."),
            files_option,
            control_option,
            json_option,
            picture_options,
        )
    ):
        command = option(command)
    return command


@click.command()
@click.option("--over-at", type=float, default=0.8, show_default=True, help="Move tenants from cells above this share.")
@move_options
def rebalance(
    *,
    over_at: float,
    files: tuple[str, ...],
    control_url: str,
    as_json: bool,
    svg: Path | None,
    png: Path | None,
    **limits: Unpack[_Limits],
) -> None:
    """Plan moves of tenants away from full cells, the least data first. Moves nothing.

    A cell is as full as the largest share of what its capacity declares, by what its tenants declare. Tenants stay in
    their pool and under their law; pinned ones stay where they are.
    """
    from cellplane.planning.move_plan import MoveSettings  # noqa: PLC0415
    from cellplane.planning.rebalance import rebalance as planned  # noqa: PLC0415

    settings = MoveSettings(over_at=over_at, **limits)
    fleet = _load(files, control_url)
    with naming_options():
        plan = planned(fleet, settings)
    _show(fleet, plan, settings, Wanted(svg, png), as_json=as_json)


@click.command()
@click.argument("cell")
@click.option("--override-pins", is_flag=True, help="Move pinned tenants too.")
@move_options
def evacuate(
    *,
    cell: str,
    override_pins: bool,
    files: tuple[str, ...],
    control_url: str,
    as_json: bool,
    svg: Path | None,
    png: Path | None,
    **limits: Unpack[_Limits],
) -> None:
    """Plan moves of all tenants away from CELL, and say who cannot go and why. Moves nothing."""
    from cellplane.planning.move_plan import MoveSettings  # noqa: PLC0415
    from cellplane.planning.rebalance import evacuate as planned  # noqa: PLC0415

    settings = MoveSettings(**limits)
    fleet = _load(files, control_url)
    with naming_options():
        plan = planned(fleet, cell, settings, override_pins=override_pins)
    _show(fleet, plan, settings, Wanted(svg, png), as_json=as_json)


def _load(files: Sequence[str], control_url: str) -> "LoadedFleet":
    # NumPy is loaded when something is counted, not whenever the command line starts.
    from cellplane.cli.topologies import read_fleet  # noqa: PLC0415
    from cellplane.planning.loaded import load_fleet  # noqa: PLC0415
    from cellplane.planning.residency import residents  # noqa: PLC0415

    topology, quarantined = read_fleet(files, control_url)
    return load_fleet(topology, residents(topology, quarantined))


def _show(fleet: "LoadedFleet", plan: "MovePlan", settings: "MoveSettings", wanted: Wanted, *, as_json: bool) -> None:
    wanted.draw((7.0, 3.6), lambda figure: _paint(figure, plan, settings))
    if as_json:
        print_json(_as_json(fleet, plan))
        return
    moves, batches = len(plan.moves), len(plan.batch_hours)
    click.echo(
        f"{moves:,} of {len(fleet.tenants):,} tenants would move, in {batches:,} batch{'' if batches == 1 else 'es'}: "
        f"{plan.data_bytes / GIB:,.1f} GiB, {plan.hours:,.1f} hours at {settings.gib_per_hour:g} GiB an hour"
    )
    print_table(
        ("BATCH", "TENANT", "FROM", "", "TO", "", "GIB", "WHY"),
        (
            (
                move.batch,
                move.tenant,
                move.source,
                _change(move.source_before, move.source_after),
                move.target,
                _change(move.target_before, move.target_after),
                f"{move.data_bytes / GIB:,.1f}",
                move.reason,
            )
            for move in plan.moves[:SHOWN]
        ),
        empty="No move is needed, or none can be made.",
    )
    if moves > SHOWN:
        click.echo(f"The first {SHOWN} of {moves:,}; --json lists all.")
    for stays in plan.stays:
        who = stays.example if stays.tenants == 1 else f"{stays.tenants:,} tenants ({stays.example} …)"
        click.echo(f"Stays in {stays.cell}: {who}: {stays.reason}.")
    if plan.is_cut:
        click.echo("A bound of the plan is reached: plan again after these moves.")
    click.echo(
        f"Beyond {settings.lock_at:.0%}, summed over cells: {plan.excess_before:.2f} before, {plan.excess_after:.2f} "
        "after."
    )
    click.echo(NOT_MOVED)


def _as_json(fleet: "LoadedFleet", plan: "MovePlan") -> dict[str, Any]:
    return {
        "tenants": len(fleet.tenants),
        "moves": [asdict(move) for move in plan.moves],
        "batch_hours": list(plan.batch_hours),
        "hours": plan.hours,
        "data_bytes": plan.data_bytes,
        "cells": [{"cell": cell, "before": before, "after": plan.after[cell]} for cell, before in plan.before.items()],
        "excess_before": plan.excess_before,
        "excess_after": plan.excess_after,
        "stays": [asdict(stays) for stays in plan.stays],
        "is_cut": plan.is_cut,
        "is_executed": False,
    }


def _change(before: float | None, after: float | None) -> str:
    return "-" if before is None or after is None else f"{before:.0%} → {after:.0%}"


def _paint(figure: "Figure", plan: "MovePlan", settings: "MoveSettings") -> None:
    known = [
        (before, after, cell)
        for cell, before in plan.before.items()
        if before is not None and (after := plan.after[cell]) is not None
    ]
    shown = sorted(known, key=lambda each: (-each[0], each[2]))[:PAINTED]
    axes = figure.add_subplot()
    places = range(len(shown))
    axes.bar([place - 0.2 for place in places], [each[0] * 100 for each in shown], 0.4, color=ORANGE, label="before")
    axes.bar([place + 0.2 for place in places], [each[1] * 100 for each in shown], 0.4, color=BLUE, label="after")
    axes.axhline(settings.lock_at * 100, color=GREY, linewidth=1, linestyle="--", label="filled no further")
    if len(shown) <= 20:
        axes.set_xticks(list(places), [each[2] for each in shown], rotation=60, ha="right")
    else:
        axes.set_xlabel(f"the {len(shown)} fullest of {len(known):,} cells")
    axes.set_ylabel("% of capacity in use")
    axes.set_title(f"{len(plan.moves):,} moves, {plan.data_bytes / GIB:,.1f} GiB", loc="left")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=3)
