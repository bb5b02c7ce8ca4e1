"""`cellplane move`: a tenant, with its rows, to another cell, while it is served."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cellplane.cli import moves_elsewhere
from cellplane.cli.move_batch import batch
from cellplane.cli.move_cells import cells_in
from cellplane.cli.move_planned import TooLargeError
from cellplane.cli.options import Number, control_option, json_option, state_option
from cellplane.cli.output import print_json
from cellplane.errors import ProvisionError
from cellplane.moves.book import MoveBook
from cellplane.moves.config import KEPT
from cellplane.moves.errors import MoveError
from cellplane.moves.hours import Hours
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.remains import Remnant
from cellplane.moves.settings import HoldSettings, ShadowSettings

if TYPE_CHECKING:
    from cellplane.cli.mover import Mover

WATCH_SECONDS = 0.25
"""How often what is shown of a move is read."""


class _Moves(click.Group):
    """`cellplane move TENANT CELL` is `cellplane move start TENANT CELL`."""

    usual = "start"
    """The command that is meant where none is named."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that these words name."""
        if args and args[0] not in self.commands:
            args = [self.usual, *args]
        return super().resolve_command(context, args)


@contextmanager
def _mover(state_dir: Path) -> Iterator["Mover"]:
    with _needs_drivers():
        from cellplane.cli.mover import Mover  # noqa: PLC0415  # loads database drivers, which other commands need not
    with ExitStack() as stack:
        yield Mover(state_dir, stack)


@contextmanager
def _needs_drivers() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MoveError(f"moves need {error.name}: pip install 'cellplane[moves]'") from error


@click.group(cls=_Moves)
def move() -> None:
    """Move tenants, with their rows, between cells while they are served.

    `cellplane move TENANT CELL` begins one and shows how far it is; the others look at moves, or change what is wanted
    of one. Tenants are moved between the cells of a local fleet, or between those that a cells.yaml in the folder that
    --state names says; moves that are made elsewhere are looked at and asked by way of the control plane that --control
    names.
    """


@move.command()
@click.argument("tenant")
@click.argument("cell", metavar="CELL")
@click.option("--dry-run", is_flag=True, help="Only say what would be moved, and about how long it takes.")
@click.option(
    "--hold",
    "hold_seconds",
    type=Number(0, HoldSettings().max_seconds),
    help="How long, in seconds, the former cell keeps up, so that `rollback` loses nothing; by default "
    f"{HoldSettings().seconds:g}, and {HoldSettings().local_seconds:g} in a local fleet.",
)
@click.option("--rate", type=Number(0.001), help="Copy at most so many MB in a second.")
@click.option(
    "--hours",
    default="",
    help="Begin to copy, to compare and to hold writes only then, such as 22:00-06:00, in UTC.",
)
@click.option(
    "--shadow",
    "shadow_seconds",
    type=Number(0, ShadowSettings().max_seconds),
    default=0.0,
    metavar="SECONDS",
    help="So long, before writes are held, let CELL answer what TENANT reads, too, and compare; by default not at all.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Which tables move, what moves beside rows, and hooks; moves.yaml in the fleet's folder, where it is there.",
)
@click.option("--force", "is_forced", is_flag=True, help="Move TENANT also beyond the limits of moves.yaml.")
@click.option("--id", "move_id", hidden=True, help="The move's id, for whoever has to know it before.")
@state_option
@json_option
def start(
    *,
    tenant: str,
    cell: str,
    hold_seconds: float | None,
    rate: float | None,
    hours: str,
    shadow_seconds: float,
    config: Path | None,
    move_id: str | None,
    state_dir: Path,
    dry_run: bool,
    is_forced: bool,
    as_json: bool,
) -> None:
    """Move TENANT to CELL."""
    if hours:
        Hours.parse(hours)
    options: dict[str, Any] = {
        "hours": hours,
        "copy_bytes_per_second": None if rate is None else round(rate * 1e6),
        "shadow_seconds": shadow_seconds,
    }
    if move_id is not None:
        options["id"] = move_id
    with _mover(state_dir) as mover:
        planned = mover.planned(mover.plan(tenant, cell, hold_seconds, **options), mover.config(config))
        if planned.too_large and not is_forced:
            if as_json:
                print_json(planned.refusal())
            raise TooLargeError(planned.too_large)
        if dry_run:
            if as_json:
                print_json(planned.view())
            else:
                held = moves_elsewhere.duration(planned.move.hold_seconds)
                click.echo(f"{planned}. The way back would be held for {held}. Nothing is moved (--dry-run).")
            return
        mover.book.add(planned.beginning, {KEPT: planned.configured.kept()})
        click.echo(f"move {planned.move.id}: {planned}", err=True)
        _go_on(mover, planned.move.id, as_json=as_json)


@move.command()
@click.argument("move_id", metavar="MOVE")
@control_option
@state_option
@json_option
def resume(move_id: str, control_url: str, state_dir: Path, *, as_json: bool) -> None:
    """Go on with MOVE, after a pause, a failure or a crash. A mover elsewhere goes on if it runs."""
    _want(Wish.RUN, move_id, control_url, state_dir, as_json=as_json)


@move.command()
@click.argument("move_id", metavar="MOVE")
@control_option
@state_option
def pause(move_id: str, control_url: str, state_dir: Path) -> None:
    """Let MOVE stop behind the step that it is at, while writes go on; a copy begins anew when it is resumed."""
    if not _is_here(state_dir, move_id):
        moves_elsewhere.ask(control_url, move_id, Wish.PAUSE)
        return
    MoveBook(cells_in(state_dir).moves).ask(move_id, Wish.PAUSE)
    click.echo(f"{move_id} pauses; `cellplane move resume {move_id}` goes on")


@move.command()
@click.argument("move_id", metavar="MOVE")
@control_option
@state_option
@json_option
def abort(move_id: str, control_url: str, state_dir: Path, *, as_json: bool) -> None:
    """End MOVE before its flip: the tenant stays where it is, and nothing of the move is left."""

    def check(found: Move) -> None:
        if found.phase is Phase.FLIPPED:
            raise MoveError(
                f"{found.tenant_id} is {found.target}'s already: `cellplane move rollback {move_id}` takes it back"
            )

    _want(Wish.ABORT, move_id, control_url, state_dir, as_json=as_json, check=check)


@move.command()
@click.argument("move_id", metavar="MOVE")
@control_option
@state_option
@json_option
def rollback(move_id: str, control_url: str, state_dir: Path, *, as_json: bool) -> None:
    """Take the tenant of MOVE back behind its flip, with all that was written since, while the way is held open."""

    def check(found: Move) -> None:
        if found.phase is not Phase.FLIPPED:
            raise MoveError(
                f"{move_id} is {found.phase.value}, and the way back is open while it is flipped: "
                + ("abort it" if not found.phase.is_end else "move the tenant anew")
            )

    _want(Wish.ROLLBACK, move_id, control_url, state_dir, as_json=as_json, check=check)


@move.command()
@click.argument("move_id", metavar="MOVE")
@control_option
@click.option("--anyway", is_flag=True, help="Without the last check, whatever differs: the copy is deleted unseen.")
@state_option
@json_option
def release(move_id: str, control_url: str, state_dir: Path, *, anyway: bool, as_json: bool) -> None:
    """Give up the way back of MOVE now, and the copy that the former cell keeps for it, where both are the same."""

    def check(found: Move) -> None:
        if found.phase is not Phase.FLIPPED:
            raise MoveError(f"{move_id} is {found.phase.value}: only one that is flipped is released anyway")

    wish = Wish.RELEASE_ANYWAY if anyway else Wish.RELEASE
    _want(wish, move_id, control_url, state_dir, as_json=as_json, check=check if anyway else lambda _: None)


@move.command()
@click.argument("move_id", metavar="MOVE")
@state_option
def repair(move_id: str, state_dir: Path) -> None:
    """Look what is so of MOVE in both cells and in the directory, and make who is to write able to, and nobody else."""
    with _mover(state_dir) as mover:
        found = mover.book.get(move_id)
        steps = mover.steps_of(found)
        with closing(steps.mover), mover.book.working_on(move_id) as is_free:
            if not is_free:
                raise MoveError(f"another process works on {move_id}: it mends by itself what it finds")
            facts = steps.mover.facts()
            mended = steps.mend()
        placed = mover.routes.placed(found.tenant_id)
        click.echo(f"{found.tenant_id} is served by {' + '.join(placed.cells)}; the move is {found.phase.value}")
        for name, closed in ((found.source, facts.source_closed), (found.target, facts.target_closed)):
            click.echo(f"{name}: {_GUARDS[closed]}")
        for leftover in facts.leftovers:
            click.echo(f"there is {leftover}")
        click.echo("mended: " + (", ".join(each.value for each in mended) or "nothing had to be"))


@move.command()
@click.argument("move_id", metavar="MOVE", required=False)
@control_option
@state_option
@json_option
def status(move_id: str | None, control_url: str, state_dir: Path, *, as_json: bool) -> None:
    """Show MOVE, or all moves: those of the local fleet, or those that a control plane knows."""
    if not _is_here(state_dir, move_id):
        found = moves_elsewhere.moves(control_url, move_id)
        if as_json:
            print_json({"items": found})
            return
        click.echo("\n".join(map(moves_elsewhere.line, found)) or "No tenant was moved.")
        return
    book = MoveBook(cells_in(state_dir).moves)
    moves = book.all() if move_id is None else [book.get(move_id)]
    if as_json:
        print_json({"items": [_view(book, each) for each in moves]})
        return
    if not moves:
        click.echo("No tenant was moved.")
    for each in moves:
        click.echo(_line(book, each))


@move.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@state_option
@json_option
def reap(state_dir: Path, *, dry_run: bool, as_json: bool) -> None:
    """Remove what moves left in the cells' databases and no move under way needs.

    Replication slots, publications, subscriptions, origins and guards are removed; rows are not. What a move that is
    under way has is left alone, also where that move is paused or nobody works on it: resume or abort it.
    """
    with _needs_drivers():
        from cellplane.moves.reaper import Reaper  # noqa: PLC0415  # loads database drivers, which others need not
    cells = cells_in(state_dir)
    reaper = Reaper(cells.databases, MoveBook(cells.moves))
    found = reaper.look()
    removed: list[Remnant] = []

    def told(remnant: Remnant) -> None:
        removed.append(remnant)
        if not as_json:
            click.echo(f"removed {remnant}")

    failed = {} if dry_run else reaper.reap(found, told)
    if as_json:
        print_json(
            {
                "found": [dataclasses.asdict(each) for each in found.remnants],
                "removed": [dataclasses.asdict(each) for each in removed],
                "unreached": dict(found.unreached),
            }
        )
    elif dry_run:
        for remnant in found.remnants:
            click.echo(str(remnant))
    if not found.remnants and not found.unreached and not as_json:
        click.echo("Nothing is left of moves that are not under way.")
    if failed or found.unreached:
        troubles = [*(f"{each}: {reason}" for each, reason in failed.items()), *found.unreached.values()]
        raise MoveError("not all could be looked at or removed, ask again:\n  " + "\n  ".join(troubles))


move.add_command(batch)


_GUARDS = {
    None: "not watched by the move",
    True: "refuses the tenant's writes",
    False: "takes the tenant's writes",
}


def _is_here(state_dir: Path, move_id: str | None) -> bool:
    """Whether a move, or all of them, are in the book of the local fleet, rather than made elsewhere."""
    source = click.get_current_context().get_parameter_source("control_url")
    if source is ParameterSource.DEFAULT:
        return True
    if source is ParameterSource.COMMANDLINE:
        return False
    try:
        book = MoveBook(cells_in(state_dir).moves)
    except ProvisionError:
        return False
    return move_id is None or any(each.id == move_id for each in book.all())


def _want(
    wish: Wish,
    move_id: str,
    control_url: str,
    state_dir: Path,
    *,
    as_json: bool,
    check: Callable[[Move], None] = lambda _: None,
) -> None:
    """Want something of a move, and see it done: here, or by asking the mover that is elsewhere.

    Args:
        check: raises where it is too late, or too early, for that.
    """
    if not _is_here(state_dir, move_id):
        moves_elsewhere.ask(control_url, move_id, wish, as_json=as_json)
        return
    with _mover(state_dir) as mover:
        check(mover.book.get(move_id))
        mover.book.ask(move_id, wish)
        _go_on(mover, move_id, as_json=as_json)


def _go_on(mover: "Mover", move_id: str, *, as_json: bool) -> None:
    """Take a move on in this process, or watch the one that does, and say how it ended."""
    book = mover.book
    while True:
        with book.working_on(move_id) as is_ours:
            if is_ours:
                _work(mover, move_id)
                break
            _watch(book, move_id, lambda: _is_worked_on(book, move_id))
        if book.get(move_id).phase.is_end:
            break
    found = book.get(move_id)
    if as_json:
        print_json(_view(book, found))
    else:
        click.echo(_line(book, found))
    if found.reason and not found.phase.is_end:
        raise MoveError(f"{found.reason}\n  `cellplane move resume {move_id}` goes on, `abort` gives up")


def _is_worked_on(book: MoveBook, move_id: str) -> bool:
    with book.working_on(move_id) as is_free:
        return not is_free


def _work(mover: "Mover", move_id: str) -> None:
    from cellplane.moves import workflow  # noqa: PLC0415  # loads DBOS, which other commands need not

    with ThreadPoolExecutor(1, thread_name_prefix="move") as pool:
        work = pool.submit(workflow.run, mover.driver, mover.book, move_id)
        try:
            _watch(mover.book, move_id, lambda: not work.done())
        except KeyboardInterrupt:
            # As any death at any moment: whoever resumes goes on from what is so.
            click.echo(f"\nstopped here: `cellplane move resume {move_id}` goes on, `abort` gives up", err=True)
            os._exit(130)
        work.result()


def _watch(book: MoveBook, move_id: str, works: Callable[[], bool]) -> None:
    console = Console(stderr=True)
    if not console.is_terminal:
        last = ""
        while works():
            said = book.get(move_id).phase.value
            if said != last:
                click.echo(f"{move_id}: {said}", err=True)
                last = said
            time.sleep(WATCH_SECONDS)
        return
    with Live(console=console, refresh_per_second=1 / WATCH_SECONDS, transient=True) as live:
        while works():
            live.update(_table(book, book.get(move_id)))
            time.sleep(WATCH_SECONDS)


def _table(book: MoveBook, found: Move) -> Table:
    progress = book.progress(found.id)
    table = Table(box=None, show_header=False)
    table.add_row("tenant", f"{found.tenant_id}: {found.source} → {found.target}")
    table.add_row("reached", found.phase.value)
    table.add_row("doing", moves_elsewhere.doing(asdict(progress)))
    return table


def _line(book: MoveBook, found: Move) -> str:
    paused = "" if found.pause_seconds is None else f", writes waited {1000 * found.pause_seconds:.0f} ms"
    reason = f" ({found.reason})" if found.reason else ""
    doing = "" if found.phase.is_end else f", {book.progress(found.id).doing or 'not begun'}"
    way = f"{found.source} → {found.target}, {found.phase.value}"
    return f"{found.id} {found.tenant_id}: {way}{doing}{_shadowed(found)}{paused}{reason}"


def _shadowed(found: Move) -> str:
    if found.shadow_compared is None:
        return ""
    too_large = f", {found.shadow_too_large:,} too large to compare" if found.shadow_too_large else ""
    return f", {found.shadow_compared:,} answers compared, of which {found.shadow_differing:,} differed{too_large}"


def _view(book: MoveBook, found: Move) -> dict[str, Any]:
    progress = book.progress(found.id)
    return {
        "id": found.id,
        "tenant": found.tenant_id,
        "source": found.source,
        "target": found.target,
        "phase": found.phase.value,
        "reason": found.reason,
        "flipped_epoch": found.flipped_epoch or None,
        "shadow": None
        if found.shadow_compared is None
        else {
            "compared": found.shadow_compared,
            "differing": found.shadow_differing,
            "too_large": found.shadow_too_large,
        },
        "pause_ms": None if found.pause_seconds is None else round(1000 * found.pause_seconds, 1),
        "progress": {name: value for name, value in asdict(progress).items() if name != "at"},
    }
