"""``make chaos-move``: a tenant moves while it is written, and whatever takes part is killed at each point of it."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import psycopg

from chaos_moves.report import LINES_MAX, Report, line_of
from chaos_moves.run import POINTS, VICTIMS, Plan, Runs, plan_of

FLEET_RUNS = 100
"""Runs in one fleet: then it is made anew, so that what they leave in it does not add up."""


def main() -> None:
    """Make the runs that were asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many, from that one on (default 1)")
    parser.add_argument("--point", choices=POINTS, action="append", help="where (by default at all)")
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="what is killed (by default all)")
    options = parser.parse_args()
    # Whoever ends this ends the fleet too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    seeds = range(options.seed, options.seed + options.seeds)
    report = Report(seeds, options.point or POINTS, options.victim or VICTIMS)
    print(f"seeds {seeds[0]} to {seeds[-1]}, {report.planned} runs", flush=True)
    left = [plan_of(*each) for each in _all(report)]
    while left:
        left = _in_one_fleet(left, report)
    print(report.table())
    figures = report.figures()
    print(f"settled in {figures['settle_p50_s']} s (p50), {figures['settle_max_s']} s at most: {figures['endings']}")
    print(f"{'passed' if report.passed else 'FAILED'}: written to {report.write()}")
    sys.exit(0 if report.passed else 1)


def _all(report: Report) -> Iterator[tuple[int, str, str]]:
    # The seeds outside: whoever ends it early has had all points and victims of some.
    for seed in report.seeds:
        for point in report.points:
            for victim in report.victims:
                yield seed, point, victim


def _in_one_fleet(plans: Sequence[Plan], report: Report) -> list[Plan]:
    """Make runs until there is none any more, or the fleet is worn out; returns those that are left."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cellplane-chaos-"))
        runs = stack.enter_context(Runs(Path(folder)))
        for done, plan in enumerate(plans[:FLEET_RUNS], 1):
            is_right = _made(runs, plan, report)
            report.write()
            if not is_right:
                # It may have left something behind.
                return list(plans[done:])
        return list(plans[FLEET_RUNS:])


def _made(runs: Runs, plan: Plan, report: Report) -> bool:
    began = time.monotonic()
    try:
        outcome = runs.run(plan)
    except (AssertionError, OSError, psycopg.Error) as error:
        print(f"BROKEN {plan}: {error}", flush=True)
        report.broken(plan.seed, plan.point, plan.victim, error)
        return False
    report.add(outcome)
    print(line_of(outcome, time.monotonic() - began), flush=True)
    for said in outcome.said()[:LINES_MAX]:
        print(f"        {said}", flush=True)
    return outcome.is_right


if __name__ == "__main__":
    main()
