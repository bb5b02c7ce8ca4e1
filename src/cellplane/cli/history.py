"""`cellplane history`, `diff` and `rollback`: what was changed, what differs between two epochs, and back to one."""

import json
from typing import Any

import click

from cellplane.cli.apply import EXIT_UNCONFIRMED, is_terminal, print_plan
from cellplane.cli.options import allow_option, connect, control_option, json_option, reason_option
from cellplane.cli.output import print_json, print_table

MAX_CHANGE_CHARS = 60
"""How much of what changed is shown in a line."""


@click.command()
@click.argument("name", required=False)
@control_option
@json_option
@click.option(
    "--kind",
    default=None,
    help="Only changes of this kind: fleet, cell, pool, tenant, quarantine, move, config or table.",
)
@click.option("--actor", default=None, help="Only changes that this one asked for.")
@click.option("--before", type=click.IntRange(min=1), default=None, help="Only changes before this epoch.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
def history(
    name: str | None,
    control_url: str,
    *,
    kind: str | None,
    actor: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show who changed what, when and why, the last first; of the resource NAME, or of all."""
    wanted = {"id": name, "kind": kind, "actor": actor, "before": before}
    params = {key: value for key, value in wanted.items() if value is not None}
    with connect(control_url) as client:
        answer = client.get("/v1/events", limit=limit, **params)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("EPOCH", "WHEN", "WHO", "RESOURCE", "WHAT", "WHY"),
        (
            (
                change["epoch"],
                change["at"],
                change["actor"],
                f"{change['kind']}/{change['id']}",
                _what(change),
                change["reason"] or "-",
            )
            for change in answer["items"]
        ),
        empty="Nothing was changed.",
    )


@click.command()
@click.argument("before", metavar="EPOCH", type=click.IntRange(min=1))
@click.argument("after", metavar="EPOCH", type=click.IntRange(min=1))
@control_option
@json_option
def diff(before: int, after: int, control_url: str, *, as_json: bool) -> None:
    """Show what differs between the fleet at one EPOCH and at another, and whom that moves."""
    with connect(control_url) as client:
        answer = client.get("/v1/diff", before=before, after=after)
    if as_json:
        print_json(answer)
    else:
        print_plan(answer, nothing=f"nothing differs between epoch {before} and {after}")


@click.command()
@click.argument("epoch", type=click.IntRange(min=1))
@control_option
@json_option
@reason_option
@allow_option
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def rollback(
    context: click.Context, epoch: int, control_url: str, reason: str, *, as_json: bool, dry_run: bool, yes: bool
) -> None:
    """Make the fleet, its cells, pools and tenants what they were at EPOCH, as a new epoch.

    Routing moves at once; data does not move with it. Quarantines stay as they are.
    """
    with connect(control_url, reason) as client:
        plan = client.post("/v1/rollback", {"epoch": epoch}, dryRun="true")
        if not as_json:
            print_plan(plan, nothing=f"nothing to change: the fleet is as it was at epoch {epoch}")
        done = None
        if plan["changes"] and not dry_run:
            if not yes and not _is_confirmed(epoch, as_json=as_json):
                context.exit(EXIT_UNCONFIRMED)
            # What was shown is what is done: where the fleet has changed since, the control plane refuses.
            done = client.post("/v1/rollback", {"epoch": epoch, "base_epoch": plan["epoch"]}, dryRun="false")
    if as_json:
        print_json({**(done or plan), "applied": done is not None})
    elif done is not None:
        click.echo(f"as of epoch {epoch} again: epoch {done['epoch']}")


def _is_confirmed(epoch: int, *, as_json: bool) -> bool:
    if as_json or not is_terminal():
        click.echo("error: nothing is rolled back. Look at --dry-run, then say --yes", err=True)
        return False
    if click.confirm(f"Roll back to epoch {epoch}?"):
        return True
    click.echo("nothing is rolled back")
    return False


def _what(change: dict[str, Any]) -> str:
    """What a change did, in a few words."""
    before, after = change["before"], change["after"]
    if before is None or after is None:
        return str({"put": "created", "delete": "removed"}.get(change["action"], change["action"]))
    changed = [
        f"{name}: {json.dumps(before.get(name))} → {json.dumps(value)}"
        for name, value in after.items()
        if before.get(name) != value
    ]
    text = "; ".join(changed)
    return text if len(text) <= MAX_CHANGE_CHARS else f"{text[:MAX_CHANGE_CHARS]}…"
