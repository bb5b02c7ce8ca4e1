"""`cellplane plan cost`: what N cells cost, in all and for each tenant."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options, whole_numbers
from cellplane.cli.plan.pictures import BLUE, GREEN, GREY, ORANGE, Wanted, picture_options
from cellplane.cli.plan.prices import read_prices, shipped_prices
from cellplane.planning.cost import CellShape, Comparison, Cost, Demand, Prices, Traffic, compare

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _print_prices(context: click.Context, _param: click.Parameter, asked: bool) -> None:  # noqa: FBT001  # click's
    if asked:
        click.echo(shipped_prices(), nl=False)
        context.exit()


@click.command()
@click.option("--tenants", type=int, required=True, help="Number of tenants.")
@click.option("--peak-rps", type=float, required=True, help="Requests a second of all tenants at the peak.")
@click.option(
    "--cells",
    callback=whole_numbers,
    metavar="N,…",
    default="1,2,4,8,16,32",
    show_default=True,
    help="Numbers of cells to compare.",
)
@click.option("--headroom", type=float, default=1.5, show_default=True, help="Factor on the peak that is bought for.")
@click.option("--rps-per-instance", type=float, default=500.0, show_default=True, help="Requests/s of one instance.")
@click.option("--rps-per-database", type=float, default=2500.0, show_default=True, help="Requests/s of one database.")
@click.option("--least-instances", type=int, default=2, show_default=True, help="Instances of an empty cell.")
@click.option("--database-copies", type=int, default=2, show_default=True, help="Copies of each database.")
@click.option(
    "--operations-usd-month", type=float, default=0.0, show_default=True, help="Work and licences for one cell."
)
@click.option(
    "--internal-gb-month", type=float, default=0.0, show_default=True, help="Traffic between parts in a region."
)
@click.option(
    "--cross-region-gb-month", type=float, default=0.0, show_default=True, help="Traffic between regions now."
)
@click.option("--zones", type=int, default=3, show_default=True, help="Zones that the shared stack spreads over.")
@click.option("--zones-per-cell", type=int, default=1, show_default=True, help="Zones that one cell spreads over.")
@click.option(
    "--prices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="Your price file instead of the one that ships with Cellplane.",
)
@click.option(
    "--print-prices",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_prices,
    help="Print the price file that ships with Cellplane, to edit, and exit.",
)
@json_option
@picture_options
def cost(
    *,
    tenants: int,
    peak_rps: float,
    cells: tuple[int, ...],
    headroom: float,
    rps_per_instance: float,
    rps_per_database: float,
    least_instances: int,
    database_copies: int,
    operations_usd_month: float,
    internal_gb_month: float,
    cross_region_gb_month: float,
    zones: int,
    zones_per_cell: int,
    prices: Path | None,
    svg: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Compare what fleets of different size cost in a month.

    The shared stack is one stack over all zones. A fleet buys whole instances and databases for each cell, and pays
    for traffic between zones only where its cells spread over several.
    """
    with naming_options():
        price_list = read_prices(prices)
        answer = compare(
            Demand(tenants, peak_rps, headroom),
            CellShape(rps_per_instance, rps_per_database, least_instances, database_copies, operations_usd_month),
            Traffic(internal_gb_month, cross_region_gb_month, zones, zones_per_cell),
            price_list,
            cells,
        )
    Wanted(svg, png).draw((7.0, 3.8), lambda figure: _paint(figure, answer))
    if as_json:
        print_json(_as_json(answer, price_list))
        return
    print_table(
        ("CELLS", "INSTANCES", "DATABASES", "FIXED", "VARIABLE", "TRANSFER", "TOTAL", "SAVED", "PER TENANT"),
        (_row("shared", answer.shared), *(_row(str(fleet.cells), fleet) for fleet in answer.fleets)),
        empty="",
    )
    click.echo("US dollars a month. SAVED is traffic between zones and regions that these cells do not pay for.")
    dates = sorted({price.as_of for price in _each(price_list).values()})
    click.echo(f"Prices noted {dates[0]}{'' if len(dates) == 1 else f' to {dates[-1]}'}; check them at their source:")
    for name, price in _each(price_list).items():
        click.echo(f"  {name} ${price.usd:g} per {price.unit}: {price.what}, {price.source}")


def _each(prices: Prices) -> dict[str, Any]:
    return {name: getattr(prices, name) for name in asdict(prices)}


def _row(name: str, month: Cost) -> tuple[object, ...]:
    amounts = (month.fixed_usd, month.variable_usd, month.transfer_usd, month.total_usd, month.saved_usd)
    return (name, month.instances, month.databases, *(f"{usd:,.0f}" for usd in amounts), f"{month.tenant_usd:,.4f}")


def _as_json(answer: Comparison, prices: Prices) -> dict[str, Any]:
    return {
        "shared": asdict(answer.shared),
        "fleets": [asdict(fleet) for fleet in answer.fleets],
        "cheapest_cells": answer.cheapest.cells,
        "prices": asdict(prices),
    }


def _paint(figure: "Figure", answer: Comparison) -> None:
    axes = figure.add_subplot()
    months = (answer.shared, *answer.fleets)
    names = ["shared", *(str(fleet.cells) for fleet in answer.fleets)]
    places = range(len(months))
    below = [0.0] * len(months)
    for label, colour, amounts in (
        ("fixed", BLUE, [month.fixed_usd for month in months]),
        ("by load", GREEN, [month.variable_usd for month in months]),
        ("transfer", ORANGE, [month.transfer_usd for month in months]),
    ):
        axes.bar(places, amounts, bottom=below, color=colour, label=label, width=0.7)
        below = [base + amount for base, amount in zip(below, amounts, strict=True)]
    axes.axhline(answer.shared.total_usd, color=GREY, linewidth=1, linestyle="--", zorder=0.5)
    for place, month in zip(places, months, strict=True):
        text = f"${month.tenant_usd:,.2f}"
        spot, white = (place, month.total_usd), {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.annotate(text, spot, (0, 4), textcoords="offset points", ha="center", fontsize=7, bbox=white)
    axes.set_xticks(places, names)
    axes.set_xlabel("cells")
    axes.set_ylabel("US dollars a month")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_title("Cost of a month; above each bar for one tenant", loc="left")
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=3)
