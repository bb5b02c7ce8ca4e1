"""``make chaos-events``: writers, a relay and a consumer are killed; no event is lost, and none counts twice."""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from chaos_events.run import Run, Scale


def main() -> None:
    """Run it once, and hold it to its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (default 1)")
    parser.add_argument("--kills", type=int, default=200, help="of processes (default 200)")
    parser.add_argument("--outages", type=int, help="of servers (default: one for ten kills)")
    parser.add_argument("--away", type=float, default=1.5, help="seconds without a stream at the start (default 1.5)")
    parser.add_argument("--tps", type=float, default=40.0, help="transactions a second of each writer (default 40)")
    options = parser.parse_args()
    outages = options.kills // 10 if options.outages is None else options.outages
    # Whoever ends this ends the servers too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    print(f"seed {options.seed}, {options.kills} kills, {outages} outages", flush=True)
    scale = Scale(options.seed, options.kills, outages, options.away, options.tps)
    with tempfile.TemporaryDirectory(prefix="cellplane-chaos-") as folder:
        outcome = Run(Path(folder), scale).run()
    print(json.dumps(outcome.figures(), indent=1))
    passed = outcome.figures()["passed"]
    print(f"{'passed' if passed else 'FAILED'}: written to {outcome.write()}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
