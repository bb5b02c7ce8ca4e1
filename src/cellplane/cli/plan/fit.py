"""`cellplane plan fit`: whether cells are worth it."""

from typing import Any

import click

from cellplane.cli.options import json_option
from cellplane.cli.output import print_json, print_table
from cellplane.cli.plan.arguments import naming_options
from cellplane.planning.fit import FIRST_CELLS, PHASES, YES_POINTS, Fit, Situation, begin_with, judge


@click.command()
@click.option("--tenants", type=int, required=True, help="Number of tenants.")
@click.option("--engineers", type=int, required=True, help="People who operate the product.")
@click.option("--noise-incidents", type=int, default=0, show_default=True, help="A quarter's, by a noisy tenant.")
@click.option("--deploy-incidents", type=int, default=0, show_default=True, help="A quarter's, by a release, for all.")
@click.option(
    "--noisiest-share", type=float, default=None, help="Load of the noisiest tenant, as a share of all, 0 to 1."
)
@click.option("--jurisdictions", type=int, default=1, show_default=True, help="Laws that data must stay under.")
@click.option("--database-share", type=float, default=0.0, show_default=True, help="How full one database is, 0 to 1.")
@click.option("--stable-key/--no-stable-key", default=True, show_default=True, help="Every request names its tenant.")
@click.option(
    "--automated-deploys/--manual-deploys", default=True, show_default=True, help="Releases need no manual step."
)
@click.option("--cross-tenant-queries", is_flag=True, help="Features read many tenants in one query.")
@click.option("--incident-hours", type=float, default=1.0, show_default=True, help="Mean duration of an incident.")
@click.option("--revenue-usd-hour", type=float, default=0.0, show_default=True, help="At risk while all are down.")
@click.option("--extra-usd-month", type=float, default=None, help="What the first cells cost in addition.")
@json_option
def fit(*, as_json: bool, **situation: Any) -> None:
    """Say whether cells are worth it: no, not yet, or yes, with the reasons and the way."""
    with naming_options():
        answer = judge(Situation(**situation))
    begin = begin_with(answer.verdict)
    if as_json:
        print_json(_as_json(answer))
        return
    click.echo(
        f"Verdict: {answer.verdict.value} ({answer.points:+d} points; yes from {YES_POINTS:+d}, not yet from +1)"
    )
    print_table(
        ("POINTS", "REASON"),
        (
            (f"{reason.points:+d}", f"{reason.text}{' Blocks a yes.' if reason.blocks else ''}")
            for reason in sorted(answer.reasons, key=lambda reason: -reason.points)
        ),
        empty="No reason either way.",
    )
    click.echo(
        f"Incidents put ${answer.loss_usd_quarter:,.0f} a quarter at risk; {FIRST_CELLS} cells keep "
        f"${answer.saved_usd_quarter:,.0f} of it. The team can look after {answer.cells_by_hand} cells by hand."
    )
    for number, phase in enumerate(PHASES, 1):
        click.echo(f"\n{number}. {phase.title} ({phase.cells}){' <- begin here' if phase is begin else ''}")
        click.echo(f"   {phase.result}")
        click.echo("   Have before:")
        for item in phase.before:
            click.echo(f"   - {item}")


def _as_json(answer: Fit) -> dict[str, Any]:
    begin = begin_with(answer.verdict)
    return {
        "verdict": answer.verdict.value,
        "points": answer.points,
        "yes_points": YES_POINTS,
        "reasons": [
            {"points": reason.points, "text": reason.text, "blocks": reason.blocks} for reason in answer.reasons
        ],
        "loss_usd_quarter": answer.loss_usd_quarter,
        "saved_usd_quarter": answer.saved_usd_quarter,
        "cells_by_hand": answer.cells_by_hand,
        "begin_with": None if begin is None else PHASES.index(begin) + 1,
        "phases": [
            {"title": phase.title, "cells": phase.cells, "result": phase.result, "before": list(phase.before)}
            for phase in PHASES
        ],
    }
