"""`cellplane apply`: make the fleet what fleet.yaml says, after showing what that would change."""

import json
import sys
from typing import Any

import click

from cellplane.cli.manifests import count, print_problems, read_manifest
from cellplane.cli.options import allow_option, connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json, print_table
from cellplane.errors import CellplaneError
from cellplane.manifest.settings import ApplySettings
from cellplane.placement import SLOT_COUNT

EXIT_UNCONFIRMED = 3

_SIGNS = {"create": "+", "change": "~", "delete": "-"}
_MAX_VALUE_CHARS = 60


@click.command()
@click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE", help="A manifest; - is standard input."
)
@control_option
@json_option
@reason_option
@allow_option
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option(
    "--prune", is_flag=True, help="Delete cells, pools and tenants that the files do not name, of kinds that they do."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--threshold",
    "threshold_percent",
    type=click.FloatRange(0, 100),
    default=ApplySettings().threshold_percent,
    show_default=True,
    metavar="PERCENT",
    help="Ask when more than this share of tenants would change their preferred cell.",
)
@click.pass_context
def apply(
    context: click.Context,
    files: tuple[str, ...],
    control_url: str,
    reason: str,
    threshold_percent: float,
    *,
    as_json: bool,
    dry_run: bool,
    prune: bool,
    yes: bool,
) -> None:
    """Make the fleet what the files say, and show before what changes and whom it moves.

    Asks before it deletes anything, and before it moves more tenants than the threshold. Routing moves at once; data
    does not move with it.
    """
    manifest = read_manifest(files)
    if manifest.problems:
        print_problems(manifest.problems)
        raise CellplaneError(f"nothing is applied: {count(len(manifest.problems), 'problem')} in {', '.join(files)}")
    body: dict[str, Any] = {"resources": [resource.as_json() for resource in manifest.resources], "prune": prune}
    with connect(control_url, reason) as client:
        plan = client.post("/v1/apply", {**body, "base_epoch": None}, dryRun="true")
        if not as_json:
            print_plan(plan, nothing="nothing to change: the fleet is as the files say")
        applied = None
        if plan["changes"] and not dry_run:
            asked = _why_ask(plan, threshold_percent)
            if asked and not yes:
                _confirm(context, asked, as_json=as_json)
            # What was shown is what is done: where the fleet has changed since, the control plane refuses.
            applied = client.post("/v1/apply", {**body, "base_epoch": plan["epoch"]}, dryRun="false")
    if as_json:
        print_json({**(applied or plan), "applied": applied is not None})
    elif applied is not None:
        click.echo(f"applied: epoch {applied['epoch']}")


def _why_ask(plan: dict[str, Any], threshold_percent: float) -> str:
    """Why somebody has to confirm the plan; empty where nobody has to."""
    reasons = []
    if deleted := sum(change["action"] == "delete" for change in plan["changes"]):
        reasons.append(f"{count(deleted, 'resource')} would be deleted")
    if (percent := _share(plan["moves"]) * 100) > threshold_percent:
        reasons.append(f"{percent:.1f} % of tenants would change their cell, more than {threshold_percent:g} %")
    return ", and ".join(reasons)


def _share(moves: dict[str, Any]) -> float:
    """The share of tenants that move: what the control plane says, else by tenants, else by slots."""
    if "share" in moves:
        return float(moves["share"])
    if moves["tenants_total"]:
        return float(moves["tenants"]) / float(moves["tenants_total"])
    return min(1.0, float(moves["slots"]) / SLOT_COUNT)


def _confirm(context: click.Context, reason: str, *, as_json: bool) -> None:
    if as_json or not is_terminal():
        click.echo(f"error: {reason}: nothing is applied. Look at --dry-run, then say --yes", err=True)
        context.exit(EXIT_UNCONFIRMED)
    if not click.confirm(f"{reason[0].upper()}{reason[1:]}. Apply?"):
        click.echo("nothing is applied")
        context.exit(EXIT_UNCONFIRMED)


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def print_plan(plan: dict[str, Any], *, nothing: str) -> None:
    """Print what would change, or differs, and whom that moves; ``nothing`` is said where nothing does."""
    if not plan["changes"]:
        click.echo(nothing)
        return
    print_table(
        ("", "RESOURCE", "FIELD", "BEFORE", "AFTER"),
        (row for change in plan["changes"] for row in _rows(change)),
        empty="",
    )
    moves = plan["moves"]
    click.echo(
        f"\n{moves['tenants']:,} of {moves['tenants_total']:,} known tenants and {moves['slots']:,} slots "
        "would have another preferred cell"
    )
    if unknown := moves.get("unknown_share"):
        click.echo(f"tenants that nobody lists: {unknown * 100:.1f} % would be served by another cell, or by none")
    if moves["by_cell"]:
        print_table(
            ("FROM", "TO", "TENANTS", "SLOTS"),
            (
                (flow["from"] or "-", flow["to"] or "-", f"{flow['tenants']:,}", f"{flow['slots']:,}")
                for flow in moves["by_cell"]
            ),
            empty="",
        )


def _rows(change: dict[str, Any]) -> list[tuple[str, ...]]:
    resource = (_SIGNS[change["action"]], f"{change['kind']}/{change['name']}")
    fields = [(name, *_both(before, after)) for name, (before, after) in change["fields"].items()]
    first, *others = fields or [("", "", "")]
    return [(*resource, *first), *(("", "", *field) for field in others)]


def _both(before: Any, after: Any) -> tuple[str, str]:
    """Two values; of two lists that are too long to be shown, what is in one of them alone."""
    lists = isinstance(before, list) and isinstance(after, list)
    if lists and max(len(json.dumps(before)), len(json.dumps(after))) > _MAX_VALUE_CHARS:
        lost = [each for each in before if each not in after]
        new = [each for each in after if each not in before]
        if lost or new:
            return f"without {_shown(lost)}" if lost else "", f"with {_shown(new)}" if new else ""
    return _shown(before), _shown(after)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"
