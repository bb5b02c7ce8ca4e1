"""``make fuzz``: a million made-up requests against real routers, and not one at the wrong cell.

Exit status 0 where nothing was wrong. ``build/fuzz/requests.json`` has the figures, and each failure with its number;
``--replay`` sends it again, alone.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from fuzz.attack import Attacker
from fuzz.clients import run
from fuzz.corpus import build
from fuzz.generate import draft
from fuzz.town import Town, town

RESULTS = Path("build/fuzz/requests.json")
SHOWN = 10
"""Failures that are printed."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="made-up requests against real routers and cells that take note")
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is made up (default 1)")
    parser.add_argument("--clients", type=int, default=4, help="processes that send (default 4)")
    parser.add_argument("--replay", type=int, metavar="N", help="send request N alone, and show what comes of it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellplane-fuzz-") as name:
        corpus = build()
        with town(Path(name), corpus) as found:
            if options.replay is not None:
                sys.exit(_replay(found, options.seed, options.replay))
            results = run(found, options.seed, options.requests, options.clients)
        results["reached_cells"] = sum(cell.requests for cell in found.cells)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for failure in [*results["failures"], *results["violations"]][:SHOWN]:
        print(json.dumps(failure, indent=1))
    for fault in results["faults"]:
        print(f"FAULT: {fault}")
    told = ("requests", "served", "failed", "wrong_at_cells", "statuses", "seconds", "passed")
    print(json.dumps({name: results[name] for name in told}))
    print(f"seed {options.seed}; written to {RESULTS}")
    sys.exit(0 if results["passed"] else 1)


def _replay(found: Town, seed: int, number: int) -> int:
    made = draft(seed, number, found.corpus)
    print(f"request {number} of seed {seed}, to {made.variant.name}: {', '.join(made.tricks)}")
    print(f"expected: {made.outcome()}\n{made.render()!r}")
    attacker = Attacker(seed, found.corpus, found.ports)
    attacker.run([number])
    attacker.close()
    print(f"became: {dict(attacker.tally.counts)}, {dict(attacker.tally.statuses)}")
    for told in (*attacker.tally.failures, *found.violations(), *found.faults()):
        print(json.dumps(told, indent=1))
    return 1 if attacker.tally.failed or found.violations() or found.faults() else 0


if __name__ == "__main__":
    main()
