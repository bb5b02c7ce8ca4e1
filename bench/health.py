"""How soon a gray cell is found, and how often a healthy one is taken for it: the figures of ``docs/health.md``.

Prints seeded simulations of a pool whose router samples its cells, and the CPU time of a tick with many cells. All but
the times are the same on every machine.
"""

import argparse
import random
import time

import numpy as np

from cellplane.health import peers, pool_breakers
from cellplane.health.breaker import Observation
from cellplane.health.histogram import LATENCY_BOUNDS_SECONDS
from cellplane.health.peers import PeerState
from cellplane.health.pool_breakers import PoolBreakers
from cellplane.health.score import Declared, score, signals
from cellplane.health.window import Counters, Window, WindowSettings
from cellplane.model.health import BreakerSettings, HealthThresholds
from unit.health.simulation import ERRORS, HEALTHY, SETTINGS, SLOW, WEATHERS, Traffic, false_alarms, seconds_until_found

POOLS = (3, 5, 12)
"""Cells of a pool."""


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description="gray failures found and imagined, in simulated pools")
    parser.add_argument("--runs", type=int, default=300, help="runs of each fault (default 300)")
    parser.add_argument("--windows", type=int, default=10_000, help="windows without a fault (default 10000)")
    parser.add_argument("--cells", type=int, default=1_000, help="cells of the pool that is timed (default 1000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run (default 1)")
    options = parser.parse_args()
    detection(options.runs, options.seed)
    alarms(options.windows, options.seed)
    cost(options.cells, options.seed)


def detection(runs: int, seed: int) -> None:
    """One of a pool's cells becomes gray."""
    print(f"one gray cell, 20 requests/s each, {runs} runs: seconds until found, median, slowest; found within 60 s")
    for name, fault, healthy in (
        ("3 % errors, 0.1 % elsewhere", ERRORS, HEALTHY),
        ("3 % errors, 0.3 % elsewhere", ERRORS, Traffic(error_rate=0.003)),
        ("+2 s on 20 % of requests", SLOW, HEALTHY),
    ):
        for cells in POOLS:
            found = [seconds_until_found(cells, fault, healthy, seed + run) for run in range(runs)]
            taken = np.array([np.inf if seconds is None else seconds for seconds in found])
            row = f"{np.median(taken):6.1f} {taken.max():6.1f} {(taken <= 60).mean():8.1%}"
            print(f"  {name:28} {cells:3} cells {row}", flush=True)


def alarms(windows: int, seed: int) -> None:
    """No cell is gray."""
    print(f"no gray cell, {windows:,} windows of a pool: cells found gray, one number a pool of {POOLS}")
    for name, weather in WEATHERS.items():
        counts = [false_alarms(cells, weather, windows, seed) for cells in POOLS]
        print(f"  {name:28} {counts}", flush=True)


def cost(cells: int, seed: int) -> None:
    """CPU time of one tick with all of its parts."""
    rng = random.Random(seed)
    names = [f"cell-{number}" for number in range(cells)]
    totals = dict.fromkeys(names, Counters(0, 0, (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1), 0.0))
    windows = {name: Window(WindowSettings()) for name in names}
    gray, breakers = PeerState(), PoolBreakers()
    thresholds = HealthThresholds()
    spent: dict[str, list[float]] = {"sample": [], "score": [], "compare (every 2 s)": [], "breakers": []}
    for tick in range(60):
        now = float(tick)
        for name in names:
            bucket = rng.randrange(10, 20)
            before = totals[name]
            counts = tuple(count + 20 * (place == bucket) for place, count in enumerate(before.latency_counts))
            totals[name] = Counters(before.requests + 20, 0, counts, before.latency_seconds + 1, in_flight=1)
        began = time.process_time()
        for name in names:
            windows[name] = windows[name].observe(totals[name], now)
        sampled = time.process_time()
        seen = {}
        for name, window in windows.items():
            found = signals(window.rates(now, 10), Declared(concurrency=10), thresholds)
            seen[name] = Observation(score(found, thresholds).value, found)
        scored = time.process_time()
        breakers, _ = pool_breakers.step(breakers, seen, now, BreakerSettings())
        broken = time.process_time()
        spent["sample"].append(sampled - began)
        spent["score"].append(scored - sampled)
        spent["breakers"].append(broken - scored)
        if peers.compare_due(gray, now, SETTINGS):
            rates = {name: window.rates(now, SETTINGS.window_seconds) for name, window in windows.items()}
            gray, _ = peers.step(gray, rates, now, SETTINGS)
            spent["compare (every 2 s)"].append(time.process_time() - broken)
    print(f"CPU milliseconds of one tick, {cells} cells, median")
    for name, taken in spent.items():
        print(f"  {name:28} {np.median(taken) * 1000:6.1f}")


if __name__ == "__main__":
    main()
