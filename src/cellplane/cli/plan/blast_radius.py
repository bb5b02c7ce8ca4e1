"""`cellplane plan blast-radius`: whom the failure of cells takes down, and whether the others hold it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options
from cellplane.cli.plan.pictures import BLUE, GREY, ORANGE, Wanted, picture_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellplane.planning.blast_radius import Exposure, Impact
    from cellplane.planning.placement import Placement

SHOWN = 10
"""Failures in the text; JSON has them all."""

PAINTED = 400
"""Failures in the picture: more bars than it has dots show nothing."""

_HOLDS = {True: "yes", False: "no", None: "unknown"}


@click.command("blast-radius")
@click.option("--cells", type=int, default=None, help="Plan a fleet of so many cells.")
@click.option("--shard-size", type=int, default=None, help="Cells of each tenant of a planned fleet. [default: 2]")
@click.option("--tenants", type=int, default=None, help="Tenants; with --table, further ones that it does not list.")
@click.option("--rps", type=float, default=None, help="Requests a second of all tenants. [default: 1 each]")
@click.option("--capacity", "capacity_rps", type=float, default=None, help="Requests a second that a cell holds.")
@click.option("--seed", type=int, default=0, show_default=True, help="Deals the shards of a planned fleet.")
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="Take cells, shards and tenants from this compiled routing table.",
)
@click.option(
    "--loads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="CSV of tenant,rps for the table's tenants.",
)
@click.option("--fail", default=None, metavar="CELL,…", help="Fail these cells together, instead of each by itself.")
@click.option("--all-pairs", is_flag=True, help="Fail every pair of cells.")
@click.option(
    "--split",
    type=click.Choice(["first", "even"]),
    default="first",
    show_default=True,
    help="Load of a shard: on its first cell that is up, as routers do, or even on all.",
)
@json_option
@picture_options
def blast_radius(
    *,
    cells: int | None,
    shard_size: int | None,
    tenants: int | None,
    rps: float | None,
    capacity_rps: float | None,
    seed: int,
    table: Path | None,
    loads: Path | None,
    fail: str | None,
    split: str,
    svg: Path | None,
    png: Path | None,
    all_pairs: bool,
    as_json: bool,
) -> None:
    """Say whom failures take down and degrade, where their load goes, and whether it is held.

    For a planned fleet (--cells, --tenants) or a real one (--table). Down: every cell of the tenant's shard failed.
    Degraded: some did.
    """
    if (cells is None) == (table is None):
        raise click.UsageError("give --cells for a planned fleet, or --table for a real one")
    if fail is not None and all_pairs:
        raise click.UsageError("give --fail or --all-pairs, not both")
    if loads is not None and (table is None or rps is not None):
        raise click.UsageError("--loads goes with --table, and without --rps")
    if table is not None and shard_size is not None:
        raise click.UsageError("--shard-size is for a planned fleet: a table has shards of its own")
    # NumPy is loaded when something is counted, not whenever the command line starts.
    from cellplane.planning.blast_radius import Exposure, LoadSplit  # noqa: PLC0415

    with naming_options():
        placement, unserved = _fleet(
            cells=cells,
            shard_size=shard_size,
            tenants=tenants,
            rps=rps,
            capacity_rps=capacity_rps,
            seed=seed,
            table=table,
            loads=loads,
        )
        exposure = Exposure(placement, LoadSplit(split))
        if fail is not None:
            impacts: Sequence[Impact] = (exposure.fail(name.strip() for name in fail.split(",")),)
        else:
            impacts = exposure.fail_pairs() if all_pairs else exposure.fail_each()
    ranked = sorted(impacts, key=lambda impact: (-impact.tenants_down, -impact.tenants_degraded, -impact.rps_moved))
    Wanted(svg, png).draw((7.0, 3.6), lambda figure: _paint(figure, exposure, ranked))
    if as_json:
        print_json(_as_json(exposure, impacts, ranked, unserved))
        return
    _print_text(exposure, ranked, unserved)


def _fleet(
    *,
    cells: int | None,
    shard_size: int | None,
    tenants: int | None,
    rps: float | None,
    capacity_rps: float | None,
    seed: int,
    table: Path | None,
    loads: Path | None,
) -> "tuple[Placement, int]":
    from cellplane.cli.plan.fleets import fleet_of_table  # noqa: PLC0415
    from cellplane.planning.checks import check_positive  # noqa: PLC0415
    from cellplane.planning.planned import planned_placement  # noqa: PLC0415

    if capacity_rps is not None:
        check_positive("capacity_rps", capacity_rps)
    capacity = math.inf if capacity_rps is None else capacity_rps
    if table is not None:
        return fleet_of_table(table, loads=loads, rps=rps, unlisted=tenants or 0, capacity_rps=capacity, seed=seed)
    assert cells is not None, "the command has checked that one of the two is given"
    if tenants is None:
        raise click.UsageError("a planned fleet needs --tenants")
    placement = planned_placement(
        cells=cells,
        shard_size=2 if shard_size is None else shard_size,
        tenants=tenants,
        rps=float(tenants) if rps is None else rps,
        capacity_rps=capacity,
        seed=seed,
    )
    return placement, 0


def _print_text(exposure: "Exposure", ranked: Sequence["Impact"], unserved: int) -> None:
    placement = exposure.placement
    click.echo(
        f"{len(placement.cells):,} cells, {exposure.tenants:,} tenants on {len(placement.shards):,} different shards "
        f"in order, {exposure.rps:,.0f} requests/s; {len(ranked):,} failure{'' if len(ranked) == 1 else 's'}"
    )
    if unserved:
        click.echo(f"{unserved:,} more tenants are down already: no cell of their shard serves.")
    if over := exposure.overloaded_before():
        click.echo(f"Over capacity while all are up: {_listed(over)}.")
    print_table(
        ("FAILED", "DOWN", "", "DEGRADED", "", "RPS LOST", "RPS MOVED", "HELD", "OVERLOADED"),
        (
            (
                _listed(impact.failed),
                f"{impact.tenants_down:,}",
                _share(impact.tenants_down, exposure.tenants),
                f"{impact.tenants_degraded:,}",
                _share(impact.tenants_degraded, exposure.tenants),
                f"{impact.rps_down:,.0f}",
                f"{impact.rps_moved:,.0f}",
                _HOLDS[impact.holds],
                _listed([f"{over.cell} ({over.rps / over.capacity_rps:.0%})" for over in impact.overloaded]) or "-",
            )
            for impact in ranked[:SHOWN]
        ),
        empty="",
    )
    if len(ranked) > SHOWN:
        click.echo(f"The {SHOWN} worst of {len(ranked):,}; --json lists all.")
    held = sum(impact.holds is True for impact in ranked)
    unknown = sum(impact.holds is None for impact in ranked)
    if unknown:
        click.echo("Give --capacity to learn whether the survivors hold the load.")
    else:
        click.echo(f"The survivors hold {held:,} of {len(ranked):,} failures.")


def _as_json(
    exposure: "Exposure", impacts: Sequence["Impact"], ranked: Sequence["Impact"], unserved: int
) -> dict[str, Any]:
    placement = exposure.placement
    return {
        "cells": len(placement.cells),
        "tenants": exposure.tenants,
        "tenants_unserved": unserved,
        "shards": len(placement.shards),
        "rps": _rounded(exposure.rps),
        "split": exposure.split.value,
        "overloaded_before": list(exposure.overloaded_before()),
        "worst": _impact_json(ranked[0], exposure.tenants),
        "held": sum(impact.holds is True for impact in impacts),
        "failures": [_impact_json(impact, exposure.tenants) for impact in impacts],
    }


def _impact_json(impact: "Impact", tenants: int) -> dict[str, Any]:
    return {
        "failed": list(impact.failed),
        "tenants_down": impact.tenants_down,
        "tenants_degraded": impact.tenants_degraded,
        "share_down": impact.tenants_down / tenants if tenants else 0.0,
        "share_degraded": impact.tenants_degraded / tenants if tenants else 0.0,
        "rps_down": _rounded(impact.rps_down),
        "rps_moved": _rounded(impact.rps_moved),
        "holds": impact.holds,
        "overloaded": [
            {
                "cell": over.cell,
                "rps": _rounded(over.rps),
                "before_rps": _rounded(over.before_rps),
                "capacity_rps": over.capacity_rps,
            }
            for over in impact.overloaded
        ],
    }


def _rounded(rps: float) -> float:
    """To a millionth of a request a second: the order of summation shows behind it."""
    return round(rps, 6)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _paint(figure: "Figure", exposure: "Exposure", all_ranked: Sequence["Impact"]) -> None:
    ranked = all_ranked[:PAINTED]
    axes = figure.add_subplot()
    whole = max(exposure.tenants, 1) / 100
    places = range(1, len(ranked) + 1)
    down = [impact.tenants_down / whole for impact in ranked]
    degraded = [impact.tenants_degraded / whole for impact in ranked]
    overloaded = [place for place, impact in zip(places, ranked, strict=True) if impact.holds is False]
    axes.bar(places, down, width=0.9, color=ORANGE, label="down")
    axes.bar(places, degraded, width=0.9, bottom=down, color=BLUE, label="degraded")
    if overloaded:
        tops = [down[place - 1] + degraded[place - 1] for place in overloaded]
        axes.scatter(overloaded, tops, marker="v", s=18, color="black", label="survivors overloaded", zorder=3)
    axes.axhline(
        100 / len(exposure.placement.cells), color=GREY, linewidth=1, linestyle="--", label="one cell's even share"
    )
    if len(ranked) <= 20:
        axes.set_xticks(list(places), [_listed(impact.failed, 2) for impact in ranked], rotation=60, ha="right")
    else:
        shown = f"the {PAINTED} worst" if len(all_ranked) > PAINTED else "the worst first"
        axes.set_xlabel(f"{len(all_ranked):,} failures, {shown}")
    axes.set_ylabel("% of tenants")
    axes.set_ylim(bottom=0)
    cells = len(exposure.placement.cells)
    axes.set_title(f"Whom each failure hurts: {cells:,} cells, {exposure.tenants:,} tenants", loc="left")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=4)
