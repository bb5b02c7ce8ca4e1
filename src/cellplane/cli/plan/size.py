"""`cellplane plan size`: how many cells a workload needs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options
from cellplane.cli.plan.pictures import BLUE, ORANGE, Wanted, picture_options
from cellplane.planning.bands import BANDS, Band, band_named
from cellplane.planning.sizing import DEFAULT_HEADROOM, Constraint, Sizing, Workload
from cellplane.planning.sizing import size as size_fleet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TITLES = {Constraint.RPS: "requests/s", Constraint.STORAGE: "storage, GiB", Constraint.TENANTS: "tenants"}


@click.command()
@click.option("--peak-rps", type=float, required=True, help="Requests a second of all tenants at the peak.")
@click.option("--cell-rps", type=float, required=True, help="Requests a second that one cell holds.")
@click.option(
    "--headroom", type=float, default=DEFAULT_HEADROOM, show_default=True, help="Factor on the cells that are needed."
)
@click.option("--storage-gib", type=float, default=None, help="Data of all tenants, in GiB.")
@click.option("--cell-storage-gib", type=float, default=None, help="Data that one cell holds, in GiB.")
@click.option("--tenants", type=int, default=None, help="Number of tenants.")
@click.option("--cell-tenants", type=int, default=None, help="Most tenants of one cell.")
@click.option("--largest-rps", type=float, default=None, help="Requests a second of the largest tenant.")
@click.option("--largest-storage-gib", type=float, default=None, help="Data of the largest tenant, in GiB.")
@click.option("--shard-size", type=int, default=1, show_default=True, help="Cells that serve each tenant.")
@click.option("--kind", type=click.Choice([band.name for band in BANDS]), default=None, help="Compare with this kind.")
@json_option
@picture_options
def size(kind: str | None, svg: Path | None, png: Path | None, *, as_json: bool, **workload: Any) -> None:
    """Say how many cells a workload needs, and what binds.

    The largest of ceil(ceil(demand / ceiling) × headroom) over requests, storage and tenants.
    """
    with naming_options():
        answer = size_fleet(Workload(**workload))
    band = None if kind is None else band_named(kind)
    beyond = () if band is None else band.findings(answer.cells, workload["tenants"])
    Wanted(svg, png).draw((7.0, 1.2 + 0.8 * len(answer.needs)), lambda figure: _paint(figure, answer))
    if as_json:
        print_json(_as_json(answer, band, (*answer.findings, *beyond)))
        return
    click.echo(
        f"{answer.cells} cells; {_TITLES[answer.binding]} binds. "
        f"One cell is {answer.blast_radius:.1%} of the fleet; with one down the others "
        f"{'hold' if answer.survives_one else 'do not hold'} the peak."
    )
    print_table(
        ("CONSTRAINT", "DEMAND", "PER CELL", "FULL CELLS", "WITH HEADROOM", "IN USE"),
        (
            (
                _TITLES[need.constraint],
                f"{need.demand:,.10g}",
                f"{need.ceiling:,.10g}",
                need.full_cells,
                need.cells,
                f"{need.utilisation:.0%}",
            )
            for need in answer.needs
        ),
        empty="",
    )
    if answer.fits:
        click.echo("The largest tenant fits.")
    for finding in (*answer.findings, *beyond):
        click.echo(f"- {finding}")
    click.echo("")
    print_table(
        ("USUAL FOR", "TENANTS PER CELL", "CELLS PER REGION", "SIZED BY"),
        (
            (
                f"{shown.title} ({shown.name})",
                f"{shown.cell_tenants[0]:,} to {shown.cell_tenants[1]:,} {shown.unit}",
                f"{shown.region_cells[0]} to {shown.region_cells[1]}",
                shown.sized_by,
            )
            for shown in (BANDS if band is None else (band,))
        ),
        empty="",
    )
    click.echo(f"Source: {BANDS[0].source}.")


def _as_json(answer: Sizing, band: Band | None, findings: tuple[str, ...]) -> dict[str, Any]:
    return {
        "cells": answer.cells,
        "binding": answer.binding.value,
        "blast_radius": answer.blast_radius,
        "survives_one": answer.survives_one,
        "largest_tenant_fits": answer.fits,
        "constraints": [
            {
                "constraint": need.constraint.value,
                "demand": need.demand,
                "ceiling": need.ceiling,
                "full_cells": need.full_cells,
                "cells": need.cells,
                "utilisation": need.utilisation,
            }
            for need in answer.needs
        ],
        "findings": list(findings),
        "bands": [
            {
                "kind": shown.name,
                "unit": shown.unit,
                "cell_tenants": list(shown.cell_tenants),
                "region_cells": list(shown.region_cells),
                "sized_by": shown.sized_by,
                "source": shown.source,
            }
            for shown in (BANDS if band is None else (band,))
        ],
    }


def _paint(figure: "Figure", answer: Sizing) -> None:
    axes = figure.add_subplot()
    needs = answer.needs[::-1]
    names = [_TITLES[need.constraint] for need in needs]
    full = [need.full_cells for need in needs]
    spare = [need.cells - need.full_cells for need in needs]
    axes.barh(names, full, color=BLUE, height=0.5, label="filled by the demand")
    axes.barh(names, spare, left=full, color=ORANGE, height=0.5, label="headroom")
    axes.axvline(answer.cells, color="black", linewidth=1, linestyle="--")
    axes.set_xlabel("cells")
    axes.locator_params(axis="x", integer=True)
    axes.set_title(f"{answer.cells} cells: {_TITLES[answer.binding]} binds", loc="left")
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=2)
