"""What a cell's record of moves costs who moves tenants, and the processes that follow: figures of ``docs/sdk.md``.

Each round begins with a new record. It takes a bulk of tenants in one note, then tenants one by one, with the bulk
there; another process's record looks after each of them. Times are those that a caller waits, with the disk's: they
are the machine's more than the code's. What a request pays that finds nothing new is in CPU of this process.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cellplane.cell.moves import Moves
from measure import write_results

CELL = "cell-3"
ASKED = 50_000
"""Requests of which the mean is one round's cost of asking."""


def main() -> None:
    """Measure, print, and write ``build/bench/sdk_moves.json``."""
    parser = argparse.ArgumentParser(description="the record of moves")
    parser.add_argument("--rounds", type=int, default=11, help="default 11, least 7")
    parser.add_argument("--bulk", type=int, default=10_000, help="tenants of one note (default 10,000)")
    parser.add_argument("--single", type=int, default=100, help="tenants that are noted one by one (default 100)")
    options = parser.parse_args()
    if options.rounds < 7:
        parser.error("a median of fewer than 7 rounds says too little")
    taken: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            for name, value in measure(Path(folder) / "moves", options.bulk, options.single).items():
                taken.setdefault(name, []).append(value)
    results = {
        name: {"median": round(statistics.median(values), 4), "least": round(min(values), 4)}
        for name, values in taken.items()
    }
    for name, row in results.items():
        print(f"{name:58}{row['median']:14.3f}{row['least']:14.3f} least")
    write_results("sdk_moves", results)


def measure(path: Path, bulk: int, single: int) -> dict[str, float]:
    """One round; each name says in which unit."""
    moving = Moves.create(path, CELL)
    serving = Moves(path, CELL)
    found: dict[str, float] = {}
    gone = {f"tenant-{number:06}": ("cell-7", 812) for number in range(bulk)}
    found[f"note {bulk:,} tenants at once, ms"] = milliseconds(lambda: moving.note_all(gone))
    found["the file then, kB"] = path.stat().st_size / 1000
    found["another process's next request, ms"] = milliseconds(lambda: serving.moved("tenant-000123"))
    assert serving.moved("tenant-000123") == 812
    notes, looks = [], []
    for number in range(single):
        tenant_id = f"single-{number}"
        notes.append(milliseconds(partial(moving.note, tenant_id, "cell-7", 813)))
        looks.append(milliseconds(partial(serving.moved, tenant_id)))
        assert serving.moved(tenant_id) == 813
    found["note one more tenant, ms"] = statistics.median(notes)
    found["another process's next request after it, ms"] = statistics.median(looks)
    found["note the same again, ms"] = milliseconds(lambda: moving.note("single-0", "cell-7", 813))
    found["read it at a start, ms"] = milliseconds(lambda: Moves(path, CELL))
    began = time.process_time_ns()
    for _ in range(ASKED):
        serving.moved("somebody-else")
    found["ask of a tenant that has not moved, µs of CPU"] = (time.process_time_ns() - began) / ASKED / 1000
    return found


def milliseconds(call: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


if __name__ == "__main__":
    main()
