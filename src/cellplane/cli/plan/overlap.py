"""`cellplane plan overlap`: how many cells two tenants share, in theory and in real assignments."""

from dataclasses import dataclass
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options, whole_numbers
from cellplane.cli.plan.pictures import BLUE, GREEN, ORANGE, Wanted, picture_options
from cellplane.errors import ValidationError
from cellplane.planning.overlap import FailureShare, covered, failure_share, shard_count, shared_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cellplane.planning.blast_radius import Impact
    from cellplane.planning.enumeration import PairCounts


MAX_PAIRS = 2_000
"""Most pairs of cells whose failure is counted by the way: 63 cells have fewer. `blast-radius` counts more."""


@dataclass(frozen=True, slots=True)
class _Theory:
    cells: int
    shard_size: int
    shared: tuple[Fraction, ...]
    failures: tuple[FailureShare, ...]
    heavy: tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    pairs: "PairCounts"
    heavy: tuple[tuple[int, float], ...]
    worst: tuple["Impact", ...]


@click.command()
@click.option("--cells", type=int, default=None, help="Number of cells.")
@click.option("--shard-size", type=int, default=None, help="Cells that serve each tenant.")
@click.option(
    "--failed",
    callback=whole_numbers,
    metavar="N,…",
    default="1,2,3,4",
    show_default=True,
    help="Numbers of cells that fail together.",
)
@click.option(
    "--heavy",
    callback=whole_numbers,
    metavar="N,…",
    default="1,4,16",
    show_default=True,
    help="Numbers of heavy tenants.",
)
@click.option("--tenants", type=int, default=None, help="Deal shards to so many tenants, and count them too.")
@click.option("--seed", type=int, default=0, show_default=True, help="Deals the shards.")
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="Count the assignments of this compiled routing table.",
)
@json_option
@picture_options
def overlap(
    *,
    cells: int | None,
    shard_size: int | None,
    failed: tuple[int, ...],
    heavy: tuple[int, ...],
    tenants: int | None,
    seed: int,
    table: Path | None,
    svg: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Say how many cells two tenants share, and what failures and heavy tenants do to a shard.

    In theory every shard is a random set of cells. --tenants and --table count real assignments beside it; the heavy
    tenants are the first ones there.
    """
    if table is None and (cells is None or shard_size is None):
        raise click.UsageError("give --cells and --shard-size, or --table")
    if table is not None and (cells is not None or shard_size is not None):
        raise click.UsageError("--cells and --shard-size are the table's own: leave them out with --table")
    with naming_options():
        counted = None
        if table is not None or tenants is not None:
            cells, shard_size, counted = _count(
                cells=cells, shard_size=shard_size, heavy=heavy, tenants=tenants, seed=seed, table=table
            )
        assert cells is not None, "given, or read from the table"
        assert shard_size is not None, "given, or read from the table"
        theory = _theory(cells, shard_size, failed, heavy)
    Wanted(svg, png).draw((7.6, 3.4), lambda figure: _paint(figure, theory, counted))
    if as_json:
        print_json(_as_json(theory, counted))
        return
    _print_text(theory, counted)


def _theory(cells: int, shard_size: int, failed: tuple[int, ...], heavy: tuple[int, ...]) -> _Theory:
    shared = shared_cells(cells, shard_size)
    context = click.get_current_context()
    # The default reaches further than a small fleet does; a number that somebody gave is not dropped.
    given = context.get_parameter_source("failed") is not click.core.ParameterSource.DEFAULT
    fitting = failed if given else tuple(number for number in failed if number <= cells)
    return _Theory(
        cells=cells,
        shard_size=shard_size,
        shared=shared,
        failures=tuple(failure_share(cells, shard_size, number) for number in fitting),
        heavy=tuple((number, covered(cells, shard_size, number)) for number in heavy),
    )


def _count(
    *,
    cells: int | None,
    shard_size: int | None,
    heavy: tuple[int, ...],
    tenants: int | None,
    seed: int,
    table: Path | None,
) -> tuple[int, int, _Counted]:
    # NumPy is loaded when assignments are counted, not whenever the command line starts.
    from cellplane.cli.plan.fleets import assignments, fleet_of_table  # noqa: PLC0415
    from cellplane.planning.blast_radius import Exposure  # noqa: PLC0415
    from cellplane.planning.enumeration import count_pairs, covered_share  # noqa: PLC0415
    from cellplane.planning.planned import planned_placement  # noqa: PLC0415

    if table is not None:
        placement, _ = fleet_of_table(
            table, loads=None, rps=None, unlisted=tenants or 0, capacity_rps=float("inf"), seed=seed
        )
    else:
        assert cells is not None, "the command has checked it"
        assert shard_size is not None, "the command has checked it"
        assert tenants is not None, "the command has checked it"
        placement = planned_placement(
            cells=cells, shard_size=shard_size, tenants=tenants, rps=1.0, capacity_rps=float("inf"), seed=seed
        )
    exposure = Exposure(placement)
    rows = assignments(placement)
    worst = [max(exposure.fail_each(), key=_harm)]
    if 1 <= comb(len(placement.cells), 2) <= MAX_PAIRS:
        worst.append(max(exposure.fail_pairs(), key=_harm))
    for number in heavy:
        if not 0 <= number <= exposure.tenants:
            raise ValidationError("heavy", f"expected 0 to the {exposure.tenants} tenants, found {number}")
    counted = _Counted(
        pairs=count_pairs(rows),
        heavy=tuple((number, covered_share(rows, range(number))) for number in heavy),
        worst=tuple(worst),
    )
    return len(placement.cells), placement.shards.shape[1], counted


def _harm(impact: "Impact") -> tuple[int, int]:
    return impact.tenants_down, impact.tenants_degraded


def _print_text(theory: _Theory, counted: _Counted | None) -> None:
    shards = shard_count(theory.cells, theory.shard_size)
    click.echo(f"{theory.cells:,} cells, shards of {theory.shard_size}: {shards:,} different shards")
    real = ("COUNTED",) if counted else ()
    dealt = [(_percent(share),) for share in counted.pairs.shares()] if counted else [() for _ in theory.shared]
    click.echo("\nTwo tenants share")
    print_table(
        ("CELLS", "PROBABILITY", "ONE IN", *real),
        (
            (shared, _percent(chance), _one_in(chance), *counts)
            for (shared, chance), counts in zip(enumerate(theory.shared), dealt, strict=True)
        ),
        empty="",
    )
    click.echo("\nShare of tenants when cells fail together")
    print_table(
        ("FAILED", "DOWN", "DEGRADED", "UNTOUCHED"),
        (
            (one.failed, _percent(one.down), _percent(one.degraded), _percent(1 - one.down - one.degraded))
            for one in theory.failures
        ),
        empty="",
    )
    click.echo("\nA light tenant has all its cells in common with heavy ones")
    covered_real = [(f"{share:.3g}",) for _, share in counted.heavy] if counted else [() for _ in theory.heavy]
    print_table(
        ("HEAVY TENANTS", "PROBABILITY", *real),
        (
            (number, f"{float(chance):.3g}", *counts)
            for (number, chance), counts in zip(theory.heavy, covered_real, strict=True)
        ),
        empty="",
    )
    if counted is None:
        return
    pairs = counted.pairs
    click.echo(
        f"\nCounted: {pairs.tenants:,} tenants on {pairs.shards:,} different shards, {pairs.pairs:,} pairs; "
        f"two tenants share {pairs.largest_shared} cells at most."
    )
    for impact in counted.worst:
        click.echo(
            f"Worst failure of {len(impact.failed)}: {', '.join(impact.failed)} takes down {impact.tenants_down:,} "
            f"tenants and degrades {impact.tenants_degraded:,}."
        )


def _percent(chance: Fraction | float) -> str:
    return f"{float(chance) * 100:.4g} %"


def _one_in(chance: Fraction) -> str:
    if not chance:
        return "-"
    inverse = float(1 / chance)
    return f"{inverse:,.0f}" if inverse >= 100 else f"{inverse:.3g}"


def _as_json(theory: _Theory, counted: _Counted | None) -> dict[str, Any]:
    return {
        "cells": theory.cells,
        "shard_size": theory.shard_size,
        "shards": shard_count(theory.cells, theory.shard_size),
        "shared": [{"cells": shared, "probability": float(chance)} for shared, chance in enumerate(theory.shared)],
        "failures": [
            {"failed": one.failed, "down": float(one.down), "degraded": float(one.degraded)} for one in theory.failures
        ],
        "covered": [{"heavy": number, "probability": float(chance)} for number, chance in theory.heavy],
        "counted": None if counted is None else _counted_json(counted),
    }


def _counted_json(counted: _Counted) -> dict[str, Any]:
    pairs = counted.pairs
    return {
        "tenants": pairs.tenants,
        "shards": pairs.shards,
        "pairs": pairs.pairs,
        "largest_shared": pairs.largest_shared,
        "shared": [
            {"cells": shared, "pairs": number, "share": share}
            for (shared, number), share in zip(enumerate(pairs.by_shared), pairs.shares(), strict=True)
        ],
        "covered": [{"heavy": number, "share": share} for number, share in counted.heavy],
        "worst": [
            {
                "failed": list(impact.failed),
                "tenants_down": impact.tenants_down,
                "tenants_degraded": impact.tenants_degraded,
            }
            for impact in counted.worst
        ],
    }


def _paint(figure: "Figure", theory: _Theory, counted: _Counted | None) -> None:
    left, right = figure.subplots(1, 2)
    shared = [(number, float(chance)) for number, chance in enumerate(theory.shared) if chance]
    bars = left.bar([number for number, _ in shared], [chance for _, chance in shared], color=BLUE, label="theory")
    left.bar_label(bars, [f"{chance:.2g}" for _, chance in shared], fontsize=7, padding=2)
    if counted is not None:
        real = [(number, share) for number, share in enumerate(counted.pairs.shares()) if share]
        left.scatter([n for n, _ in real], [share for _, share in real], color=ORANGE, zorder=3, label="counted")
        left.legend()
    left.set_yscale("log")
    left.margins(y=0.12)
    left.set_xticks([number for number, _ in shared])
    left.set_xlabel("cells that two tenants share")
    left.set_ylabel("probability")
    left.set_title(f"{theory.cells} cells, shards of {theory.shard_size}", loc="left")
    left.grid(visible=False, axis="x")
    reach = range(1, min(theory.cells, 64) + 1)
    shares = [failure_share(theory.cells, theory.shard_size, number) for number in reach]
    touched = [float(one.down + one.degraded) * 100 for one in shares]
    right.plot(reach, touched, color=GREEN, label="down or degraded")
    right.plot(reach, [float(one.down) * 100 for one in shares], color=ORANGE, label="down")
    right.set_xlabel("cells that fail together")
    right.set_ylabel("% of tenants")
    right.set_ylim(0, 100)
    right.locator_params(axis="x", integer=True)
    right.set_title("Worst case of a failure", loc="left")
    right.legend()
