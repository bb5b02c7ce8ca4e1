"""`cellplane move batch`: many tenants to other cells: a few at once, stopped where too many fail, with one summary."""

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cellplane.cli.move_cells import cells_in
from cellplane.cli.move_planned import TOO_LARGE
from cellplane.cli.moves_elsewhere import duration
from cellplane.cli.options import Number, json_option, state_option
from cellplane.cli.output import print_json
from cellplane.cli.topologies import read_fleet
from cellplane.moves.batch import Batch, BatchBook, Item, State, items_of, least_held_seconds, run, summary
from cellplane.moves.book import MoveBook
from cellplane.moves.errors import MoveError
from cellplane.moves.outcomes import again, came_of, must_abort
from cellplane.moves.settings import BatchSettings, HoldSettings

Command = TypeVar("Command", bound=Callable[..., Any])

INTERRUPTED = 130
"""Exit status of a command that ended by Ctrl-C."""

FORCE = "--force"
"""Of `cellplane move start`: move also what is too large."""

BATCHES = "batches"
"""Folder of batches, beside those of the moves."""


def batch_options(command: Command) -> Command:
    """Add the options that all batches have."""
    limits = BatchSettings()
    for option in reversed(
        (
            click.option("--dry-run", is_flag=True, help="Only say who would move."),
            click.option(
                "--at-once",
                type=click.IntRange(1, 64),
                default=limits.at_once,
                show_default=True,
                help="Moves at once.",
            ),
            click.option(
                "--per-cell",
                type=click.IntRange(1, 64),
                default=limits.per_cell,
                show_default=True,
                help="Moves at once that one cell gives or takes.",
            ),
            click.option(
                "--max-failures",
                type=click.IntRange(1, 1_000_000),
                default=limits.max_failures,
                show_default=True,
                help="Begin no more after so many failures.",
            ),
            click.option(
                "--hold",
                type=Number(0, HoldSettings().max_seconds),
                help="As of `cellplane move start`, with its default: a move that is held counts as one at once.",
            ),
            click.option("--rate", type=Number(0.001), help="As of `cellplane move start`, for each move."),
            click.option("--hours", help="As of `cellplane move start`."),
            click.option("--shadow", type=Number(0), help="As of `cellplane move start`, for each move."),
            click.option("--force", "is_forced", is_flag=True, help="As of `cellplane move start`, for each move."),
            state_option,
            json_option,
        )
    ):
        command = option(command)
    return command


@click.group()
def batch() -> None:
    """Move many tenants: out of a cell, from full cells, a part of a cell, or all of a cell into another.

    Each move is one of `cellplane move status`. One that fails before its flip is aborted, so that its tenant stays
    where it was; the batch goes on until too many fail. One that somebody pauses is left as it is. Tenants beyond the
    limits of moves.yaml are left where they are without --force.
    """


@batch.command()
@click.argument("cell")
@click.option("--override-pins", is_flag=True, help="Move pinned tenants too.")
@batch_options
def evacuate(*, cell: str, override_pins: bool, **options: Any) -> None:
    """Move all tenants out of CELL, to the cells that `cellplane plan evacuate` names."""
    from cellplane.planning.move_plan import MoveSettings  # noqa: PLC0415  # loads NumPy
    from cellplane.planning.rebalance import evacuate as planned  # noqa: PLC0415

    plan = planned(_fleet(options), cell, MoveSettings(), override_pins=override_pins)
    for stays in plan.stays:
        click.echo(f"stays in {stays.cell}: {stays.tenants:,} ({stays.example} …): {stays.reason}", err=True)
    _begin(f"evacuate {cell}", [(move.tenant, move.source, move.target) for move in plan.moves], options)


@batch.command()
@click.option(
    "--over-at", type=Number(0), default=0.8, show_default=True, help="Move tenants from cells above this share."
)
@batch_options
def rebalance(*, over_at: float, **options: Any) -> None:
    """Move tenants away from full cells, as `cellplane plan rebalance` says."""
    from cellplane.planning.move_plan import MoveSettings  # noqa: PLC0415  # loads NumPy
    from cellplane.planning.rebalance import rebalance as planned  # noqa: PLC0415

    plan = planned(_fleet(options), MoveSettings(over_at=over_at))
    _begin("rebalance", [(move.tenant, move.source, move.target) for move in plan.moves], options)


@batch.command()
@click.argument("cell")
@click.argument("into")
@click.option("--share", type=Number(0.01, 0.99), default=0.5, show_default=True, help="Of CELL's weight.")
@batch_options
def split(*, cell: str, into: str, share: float, **options: Any) -> None:
    """Move a part of CELL's tenants INTO another cell, such as a new one: half of what they weigh, if not said."""
    _leave(f"split {cell}", cell, into, share, options)


@batch.command()
@click.argument("cell")
@click.argument("into")
@batch_options
def merge(*, cell: str, into: str, **options: Any) -> None:
    """Move all tenants that CELL serves alone INTO another cell."""
    _leave(f"merge {cell} into {into}", cell, into, 1.0, options)


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--force", "is_forced", is_flag=True, help="From now on as of `cellplane move start`, for each move.")
@state_option
@json_option
def resume(batch_id: str, state_dir: Path, *, is_forced: bool, as_json: bool) -> None:
    """Go on with BATCH, after a crash or Ctrl-C, and with what was paused.

    What failed, or was refused for its size, is tried again.
    """
    book = _book(state_dir)
    moves = MoveBook(cells_in(state_dir).moves)

    def tried(item: Item) -> Item:
        if item.state in {State.WAITING, State.MOVING, State.DONE}:
            return item
        return again(item, moves.get(item.move_id) if moves.has(item.move_id) else None, _new_id)

    with book.working_on(batch_id):
        found = book.get(batch_id)
        options = (*found.options, FORCE) if is_forced and FORCE not in found.options else found.options
        found = replace(found, items=tuple(map(tried, found.items)), options=options)
        book.put(found)
        _work(found, book, state_dir, as_json=as_json)


@batch.command()
@click.argument("batch_id", metavar="BATCH", required=False)
@state_option
@json_option
def status(batch_id: str | None, state_dir: Path, *, as_json: bool) -> None:
    """Show BATCH, or all batches."""
    book = _book(state_dir)
    found = book.all() if batch_id is None else [book.get(batch_id)]
    if as_json:
        print_json({"items": [_view(each) for each in found]})
        return
    if not found:
        click.echo("No batch was begun.")
    for each in found:
        click.echo(_line(each))


def _fleet(options: dict[str, Any]) -> Any:
    from cellplane.planning.loaded import load_fleet  # noqa: PLC0415  # loads NumPy
    from cellplane.planning.residency import residents  # noqa: PLC0415

    url = cells_in(options["state_dir"]).control_url
    topology, quarantined = read_fleet((), url)
    return load_fleet(topology, residents(topology, quarantined))


def _leave(what: str, cell: str, into: str, share: float, options: dict[str, Any]) -> None:
    from cellplane.planning.halves import leaving  # noqa: PLC0415  # loads NumPy

    if cell == into:
        raise MoveError(f"{cell} is named twice: name the cell that its tenants go to")
    _begin(what, [(tenant, cell, into) for tenant in leaving(_fleet(options), cell, share)], options)


def _begin(what: str, moves: Sequence[tuple[str, str, str]], options: dict[str, Any]) -> None:
    state_dir: Path = options["state_dir"]
    as_json: bool = options["as_json"]
    hold_seconds = cells_in(state_dir).hold_seconds if options["hold"] is None else options["hold"]
    settings = BatchSettings(**{name: options[name] for name in ("at_once", "per_cell", "max_failures")})
    least = least_held_seconds(moves, settings, hold_seconds)
    held = f"; each is held for {duration(hold_seconds)} and counts as one, so they take {duration(least)} and more"
    if options["dry_run"]:
        if as_json:
            names = ("tenant", "source", "target")
            wanted = [dict(zip(names, move, strict=True)) for move in moves]
            print_json({"what": what, "moves": wanted, "hold_seconds": hold_seconds, "least_seconds": least})
            return
        for tenant, source, target in moves:
            click.echo(f"{tenant}: {source} → {target}")
        click.echo(f"{what}: {len(moves):,} tenants would move{held if least else ''}. Nothing is moved (--dry-run).")
        return
    words = []
    for name in ("hold", "rate", "hours", "shadow"):
        if options[name] is not None:
            words += [f"--{name}", str(options[name])]
    words += [FORCE] if options["is_forced"] else []
    found = Batch(_new_id(), what, time.time(), items_of(moves, _new_id), settings, tuple(words))
    book = _book(state_dir)
    book.put(found)
    with book.working_on(found.id):
        click.echo(f"batch {found.id}: {what}, {len(moves):,} tenants{held if least else ''}", err=True)
        _work(found, book, state_dir, as_json=as_json)


def _work(found: Batch, book: BatchBook, state_dir: Path, *, as_json: bool) -> None:
    moves = MoveBook(cells_in(state_dir).moves)

    def make(item: Item) -> Item:
        return _made(item, moves, state_dir, found.options)

    console = Console(stderr=True)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        said = ""

        def told(now: Batch) -> None:
            nonlocal said
            if console.is_terminal:
                live.update(_table(now, moves), refresh=True)
            elif _line(now) != said:
                said = _line(now)
                click.echo(said, err=True)

        try:
            found = run(found, book, make, told)
        except KeyboardInterrupt:
            raise MoveError(f"stopped here: `cellplane move batch resume {found.id}` goes on") from None
    if as_json:
        print_json(_view(found))
    else:
        click.echo(_line(found))
        for reason in summary(found).reasons:
            click.echo(f"  {reason}")
    if any(item.state is not State.DONE for item in found.items):
        raise MoveError(
            f"not all moved: `cellplane move batch resume {found.id}` goes on with those that pause, and tries those "
            "again that failed or, with --force, are too large"
        )


def _made(item: Item, moves: MoveBook, state_dir: Path, options: Sequence[str]) -> Item:
    """Make one move in a process of its own: each is one durable workflow, and one that dies harms no other."""
    if moves.has(item.move_id):
        words = ["resume", item.move_id]
    else:
        words = ["start", item.tenant_id, item.target, "--id", item.move_id, *options]
    ended = _run(words, state_dir)
    if not moves.has(item.move_id):
        refused = _refused(ended.stdout)
        if refused:
            return replace(item, state=State.REFUSED, reason=refused)
        return replace(item, state=State.FAILED, reason=_last_line(ended.stderr))
    move = moves.get(item.move_id)
    wish = moves.wish(item.move_id)
    came = came_of(item, move, wish)
    if must_abort(move, wish):
        aborted = _run(["abort", item.move_id], state_dir)
        if aborted.returncode:
            came = replace(came, reason=f"{came.reason}; and it could not be aborted: {_last_line(aborted.stderr)}")
    return came


def _run(words: Sequence[str], state_dir: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cellplane.cli", "move", *words, "--json", "--state", str(state_dir)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode == INTERRUPTED:
        raise MoveError("stopped by Ctrl-C")
    return ended


def _refused(text: str) -> str:
    """Why a move that may be forced was not begun, by what it said as JSON; empty where it did not say so."""
    if not text:
        return ""
    said = json.loads(text)
    return str(said["reason"]) if said.get("refused") == TOO_LARGE else ""


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")


def _table(found: Batch, moves: MoveBook) -> Table:
    table = Table(box=None, title=_line(found), title_justify="left")
    for item in found.items:
        if item.state is State.MOVING and moves.has(item.move_id):
            phase = moves.get(item.move_id).phase.value
            table.add_row(item.move_id, item.tenant_id, f"{item.source} → {item.target}", phase)
    return table


def _line(found: Batch) -> str:
    came = summary(found)
    counts = ", ".join(f"{count:,} {state}" for state, count in came.counts.items() if count)
    paused = (
        "" if came.pause_p50_ms is None else f"; writes waited {came.pause_p50_ms:g} ms, at most {came.pause_max_ms:g}"
    )
    stopped = "; stopped: too many failed" if came.is_stopped else ""
    return f"{found.id} {found.what}: {counts or 'nobody'}{paused}{stopped}"


def _view(found: Batch) -> dict[str, Any]:
    items = [{**asdict(item), "state": item.state.value} for item in found.items]
    return {"id": found.id, "what": found.what, **asdict(summary(found)), "items": items}


def _book(state_dir: Path) -> BatchBook:
    return BatchBook(cells_in(state_dir).moves.parent / BATCHES)


def _new_id() -> str:
    return secrets.token_hex(4)
