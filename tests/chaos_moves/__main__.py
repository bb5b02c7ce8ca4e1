"""``make chaos-move``: a tenant moves while it is written, and whatever takes part is killed at each point of it."""

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from chaos_moves.report import LINES_MAX, Report, line_of
from chaos_moves.run import POINTS, VICTIMS, Plan, Runs, plan_of

FLEET_RUNS = 100
"""Runs in one fleet: then it is made anew, so that what they leave in it does not add up."""
FLEETS_MAX = 8


def main() -> None:
    """Make the runs that were asked for, one after the other in each fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from that one on (default 1)")
    parser.add_argument("--point", choices=POINTS, action="append", help="where (by default at all)")
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="what is killed (by default all)")
    parser.add_argument(
        "--fleets", type=int, default=1, choices=range(1, FLEETS_MAX + 1), help="at once, beside each other (default 1)"
    )
    options = parser.parse_args()
    # Whoever ends this ends the fleets too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    seeds = range(options.seed, options.seed + options.seeds)
    report = Report(seeds, options.point or POINTS, options.victim or VICTIMS)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {report.planned} runs", flush=True)
    Sweep(report).run(options.fleets)
    print(report.table())
    figures = report.figures()
    print(f"settled in {figures['settle_p50_s']} s (p50), {figures['settle_max_s']} s at most: {figures['endings']}")
    print(f"{'passed' if report.passed else 'FAILED'}: written to {report.write()}")
    sys.exit(0 if report.passed else 1)


class Sweep:
    """All runs that a report plans.

    Args:
        report: which they are, and where they are counted.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._left = self._plans()
        self._lock = threading.Lock()

    def run(self, fleets: int) -> None:
        """Make them, in so many fleets beside each other."""
        with ThreadPoolExecutor(fleets) as pool:
            try:
                works = [pool.submit(self._work) for _ in range(fleets)]
                for work in works:
                    work.result()
            finally:
                # Where one gives up, or somebody ends it, the others come to the end of the runs that they are at.
                with self._lock:
                    self._left = iter(())

    def _plans(self) -> Iterator[Plan]:
        # The seeds outside: whoever ends it early has had all points and victims of some.
        for seed in self._report.seeds:
            for point in self._report.points:
                for victim in self._report.victims:
                    yield plan_of(seed, point, victim)

    def _next(self) -> Plan | None:
        with self._lock:
            return next(self._left, None)

    def _work(self) -> None:
        """Make runs until there is none any more, in one fleet after the other."""
        plan = self._next()
        while plan is not None:
            with ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cellplane-chaos-"))
                runs = stack.enter_context(Runs(Path(folder)))
                for _ in range(FLEET_RUNS):
                    is_right = self._made(runs, plan)
                    plan = self._next()
                    # One that is not right may have left something behind.
                    if plan is None or not is_right:
                        break

    def _made(self, runs: Runs, plan: Plan) -> bool:
        began = time.monotonic()
        try:
            outcome = runs.run(plan)
        except (AssertionError, OSError, psycopg.Error) as error:
            with self._lock:
                print(f"BROKEN {plan}: {error}", flush=True)
                self._report.broken(plan.seed, plan.point, plan.victim, error)
                self._report.write()
            return False
        with self._lock:
            self._report.add(outcome)
            self._report.write()
            print(line_of(outcome, time.monotonic() - began), flush=True)
            for said in outcome.said()[:LINES_MAX]:
                print(f"        {said}", flush=True)
        return outcome.is_right


if __name__ == "__main__":
    main()
