"""``make bench-move``, the other half: for how long a tenant's writes wait when it moves, and what that costs others.

A small fleet of real parts (Envoy, control plane, two cells with a PostgreSQL each), all on this machine. One tenant is
written and read without end, and moves from cell to cell; one tenant of each cell does nothing but go on. Between two
moves is a pause as long as the last move, so that quiet and moves alternate.

- the pause is what clients see: from the last write that the source acknowledged to the first that the target did;
- some moves are taken back behind their flip, once the tenant was written at the target: the same the other way round;
- ``others``: how slow the slowest hundredth of the others' requests is while a tenant moves, beside the quiet; the
  fleet, its clients and the move share this machine's cores, so that this is more than it would be elsewhere;
- the same judge as of ``make chaos-move`` looks whether anything was lost.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
from cellplane.moves.book import MoveBook
from cellplane.moves.move import Move, Phase, Wish
from chaos_moves.clients import Clients, Load
from chaos_moves.fleet import CELLS, POSTGRES, MovesFleet, fill, moves_fleet, rows_of
from chaos_moves.judge import Outcome, Write, judge
from chaos_moves.mover import Mover, World
from e2e.harness import eventually

TENANT = "acme"
ROWS = 20_000
GOAL_P50_MS = 300
GOAL_P99_MS = 1_000
GOAL_OTHERS = 1.2
LOAD_WRITES_PER_S = 200
"""Without that load nothing is shown."""

MOVE_SECONDS = 120.0
MIN_WRITES = 20
"""Writes that the target has acknowledged when a move is taken back."""

LOAD = Load(writers=18, readers=2, pause_seconds=0.033)
OTHERS = Load(writers=1, readers=1, pause_seconds=0.01)


@dataclass
class Seen:
    """What was seen of all moves."""

    pauses_ms: list[float] = field(default_factory=list)
    back_ms: list[float] = field(default_factory=list)
    """Of those that were taken back, on their way back."""

    said_ms: list[float] = field(default_factory=list)
    """What the moves themselves say."""

    moving: list[tuple[float, float]] = field(default_factory=list)
    quiet: list[tuple[float, float]] = field(default_factory=list)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="for how long a moving tenant's writes wait")
    parser.add_argument("--moves", type=int, default=24, help="to and fro (default 24)")
    parser.add_argument("--rollbacks", type=int, default=5, help="behind these, taken back (default 5)")
    parser.add_argument("--seed", type=int, default=1, help="of what clients do (default 1)")
    options = parser.parse_args()
    if min(options.moves, options.rollbacks) < 1:
        parser.error("expected one or more of --moves and of --rollbacks")
    print(
        f"seed {options.seed}; {os.cpu_count()} cores; {options.moves} moves of {ROWS:,} rows, "
        f"and {options.rollbacks} that are taken back",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as folder, moves_fleet(Path(folder), POSTGRES) as fleet:
        results = _measure(fleet, options)
    holds = True
    for name, found, goal in (
        ("pause_p50_ms", results["pause_p50_ms"], GOAL_P50_MS),
        ("pause_p99_ms", results["pause_p99_ms"], GOAL_P99_MS),
        ("rollback_pause_p50_ms", results["rollback_pause_p50_ms"], GOAL_P50_MS),
        ("rollback_pause_max_ms", results["rollback_pause_max_ms"], GOAL_P99_MS),
        ("others_p99_ratio", results["others_p99_ratio"]["median"], GOAL_OTHERS),
        ("reads_failed", results["reads_failed"], 0),
        ("lost", results["lost"], 0),
    ):
        holds &= found <= goal
        print(f"{'holds' if found <= goal else 'DOES NOT HOLD'}: {name} ≤ {goal:,}, found {found:,}")
    is_loaded = results["writes_per_s"] >= LOAD_WRITES_PER_S
    holds &= is_loaded
    print(
        f"{'holds' if is_loaded else 'DOES NOT HOLD'}: writes_per_s ≥ {LOAD_WRITES_PER_S}, "
        f"found {results['writes_per_s']}"
    )
    print(f"written to {measure.add_results('move', results)}")
    sys.exit(0 if holds else 1)


def _measure(fleet: MovesFleet, options: argparse.Namespace) -> dict[str, Any]:
    seed = str(options.seed)
    records = {cell: parts.record for cell, parts in fleet.cells.items()}
    world = World(
        fleet.control_url, fleet.token, fleet.databases, records, fleet.folder / "moves", fleet.folder / "mover.log"
    )
    home = CELLS[0]
    fleet.put_tenant(TENANT, cell=home)
    history = fill(fleet.databases[home], TENANT, home, ROWS)
    clients = Clients(fleet.router_port, TENANT, seed, history, LOAD)
    others = []
    for cell in CELLS:
        fleet.put_tenant(f"near-{cell}", cell=cell)
        filled = fill(fleet.databases[cell], f"near-{cell}", cell, 100)
        others.append(Clients(fleet.router_port, f"near-{cell}", seed, filled, OTHERS))
    seen = Seen()
    turns = [home]
    with ExitStack() as stack:
        for each in (clients, *others):
            stack.enter_context(each.busy())
        eventually(lambda: clients.acknowledged > 100, "it is written")
        began = time.monotonic()
        for number in range(options.moves):
            turns.append(_move(world, clients, f"b{number}", turns[-1], seen))
        for number in range(options.rollbacks):
            turns += [_move(world, clients, f"r{number}", turns[-1], seen, goes_back=True), turns[-1]]
        took = time.monotonic() - began
    home = turns[-1]
    (other,) = {*CELLS} - {home}
    home_rows, other_rows = (rows_of(fleet.databases[cell], TENANT) for cell in (home, other))
    verdict = judge(clients.writes, clients.reads, home=home_rows, other=other_rows, cells=turns)
    for line in verdict.said[:10]:
        print(line)
    failed = sum(
        count for each in (clients, *others) for said, count in each.answers.items() if said.startswith("GET ")
    ) - sum(each.answers["GET 200"] for each in (clients, *others))
    ratios = [_ratio(each, seen) for each in others]
    return {
        "pause_p50_ms": round(statistics.median(seen.pauses_ms), 1),
        "pause_p99_ms": round(_percentile(seen.pauses_ms, 0.99), 1),
        "pause_max_ms": round(max(seen.pauses_ms), 1),
        "pause_said_p50_ms": round(statistics.median(seen.said_ms), 1),
        "rollback_pause_p50_ms": round(statistics.median(seen.back_ms), 1),
        "rollback_pause_max_ms": round(max(seen.back_ms), 1),
        "moves": options.moves,
        "rollbacks": options.rollbacks,
        "writes_per_s": round(clients.acknowledged / took),
        "reads_failed": failed,
        "others_p99_ratio": measure.summary(ratios),
        "lost": verdict.lost + verdict.duplicated + verdict.stale + verdict.two_writers,
    }


def _move(world: World, clients: Clients, move_id: str, home: str, seen: Seen, *, goes_back: bool = False) -> str:
    """Make one, and take it back where that is asked for; returns the cell that it was to."""
    (target,) = {*CELLS} - {home}
    book = world.book
    hold_seconds = MOVE_SECONDS if goes_back else 0.0
    book.add(Move(move_id, TENANT, home, target, was_pinned=True, hold_seconds=hold_seconds, began=time.time()))
    first = len(clients.writes)
    began = time.monotonic()
    mover = Mover(world, move_id)
    try:
        if goes_back:
            first = _want_back(book, move_id, clients)
        eventually(lambda: book.get(move_id).phase.is_end or not mover.is_running, "it ends", seconds=MOVE_SECONDS)
    finally:
        mover.kill()
    ended = time.monotonic()
    move = book.get(move_id)
    if move.phase is not (Phase.ROLLED_BACK if goes_back else Phase.DONE) or move.pause_seconds is None:
        sys.exit(f"a move ended otherwise: {move}")
    seen.moving.append((began, ended))
    # Whoever waits for an answer when the move ends has written where it came from.
    time.sleep(ended - began)
    seen.quiet.append((ended, time.monotonic()))
    if goes_back:
        pause = _pause_ms(clients.writes[first:], target, home)
        seen.back_ms.append(pause)
        print(
            f"{move_id}: {home} → {target} and back in {ended - began:.1f} s: back, no write for {pause:.0f} ms",
            flush=True,
        )
        return target
    pause = _pause_ms(clients.writes[first:], home, target)
    seen.pauses_ms.append(pause)
    seen.said_ms.append(1000 * move.pause_seconds)
    print(
        f"{move_id}: {home} → {target} in {ended - began:.1f} s: no write for {pause:.0f} ms, "
        f"of which the move itself says {1000 * move.pause_seconds:.0f}",
        flush=True,
    )
    return target


def _want_back(book: MoveBook, move_id: str, clients: Clients) -> int:
    """Ask for the way back, once the tenant is written where it is; returns how many writes there were by then."""
    eventually(lambda: book.get(move_id).phase is Phase.FLIPPED, "it is flipped", seconds=MOVE_SECONDS)
    written = clients.acknowledged
    eventually(lambda: clients.acknowledged > written + MIN_WRITES, "it is written there")
    before = len(clients.writes)
    book.ask(move_id, Wish.ROLLBACK)
    return before


def _pause_ms(writes: Sequence[Write], source: str, target: str) -> float:
    done = [write for write in writes if write.outcome is Outcome.ACKNOWLEDGED]
    last = max(write.ended for write in done if write.cell == source)
    return 1000 * (min(write.ended for write in done if write.cell == target) - last)


def _ratio(clients: Clients, seen: Seen) -> float:
    requests = [(write.began, write.ended) for write in clients.writes if write.began]
    requests += [(read.began, read.ended) for read in clients.reads]
    slow = []
    for windows in (seen.moving, seen.quiet):
        times = [ended - began for began, ended in requests if any(a <= began < b for a, b in windows)]
        slow.append(_percentile(times, 0.99))
    return slow[0] / slow[1]


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
