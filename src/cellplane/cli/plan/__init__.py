"""`cellplane plan`: answers before a fleet exists, and plans for one that does."""

import click

from cellplane.cli.plan.blast_radius import blast_radius
from cellplane.cli.plan.cost import cost
from cellplane.cli.plan.fit import fit
from cellplane.cli.plan.moves import evacuate, rebalance
from cellplane.cli.plan.overlap import overlap
from cellplane.cli.plan.size import size


@click.group()
def plan() -> None:
    """Answer questions before a fleet exists, and plan for one that does. Changes nothing."""


for command in (size, overlap, blast_radius, fit, cost, rebalance, evacuate):
    plan.add_command(command)
