"""``make chaos``: what failures cost whom, held to figures; one JSON file a scenario in ``build/chaos``."""

import argparse
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from chaos.scenarios import SCENARIOS


def main() -> None:
    """Run the scenarios that were asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", choices=list(SCENARIOS), action="append", help="by default all")
    parser.add_argument("--seed", type=int, help="of all that is drawn (default 1)")
    parser.add_argument("--seconds", type=float, help="how long a fault is watched (default: the scenario's own)")
    options = parser.parse_args()
    # Whoever ends this ends the fleets too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    passed = True
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        chosen = {key: getattr(options, key) for key in ("seed", "seconds") if getattr(options, key) is not None}
        scale = replace(scenario.FULL, **chosen)
        print(f"\n{name}: {scenario.__doc__}\nseed {scale.seed}, {scale.rps:g} rps, {scale.seconds:g} s", flush=True)
        with tempfile.TemporaryDirectory(prefix="cellplane-chaos-") as folder:
            report = scenario.run(Path(folder), scale)
        for figure, value in report.figures.items():
            print(f"  {figure:<34} {value}")
        for limit in report.limits:
            print(f"  {limit}")
        print(f"  {'passed' if report.passed else 'FAILED'}: written to {report.write()}", flush=True)
        passed = passed and report.passed
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
