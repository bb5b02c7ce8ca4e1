"""``make mutate``: a topology made wrong in a thousand ways, before and behind the control plane, and none that serves.

Exit status 0 where each was stopped, with an alarm in time. ``build/fuzz/topology.json`` has the figures.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from mutate.behind import attack_behind
from mutate.findings import ALARM_SECONDS
from mutate.operator import attack_as_operator

RESULTS = Path("build/fuzz/topology.json")
SHOWN = 10
"""Failures that are printed."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="wrong topologies against a real control plane and a real router")
    parser.add_argument("--ways", type=int, default=1000, help="how many, half of them behind (default 1,000)")
    parser.add_argument("--seed", type=int, default=1, help="of what is made wrong (default 1)")
    options = parser.parse_args()
    began = time.monotonic()
    half = options.ways // 2
    with tempfile.TemporaryDirectory(prefix="cellplane-mutate-") as name:
        folders = [Path(name) / part for part in ("operator", "behind")]
        for folder in folders:
            folder.mkdir()
        operator = attack_as_operator(folders[0], range(half), options.seed)
        print(f"operator: {operator.by()}, {len(operator.failures)} failures", flush=True)
        behind = attack_behind(folders[1], range(options.ways - half), options.seed)
        print(f"behind: {behind.by()}, {len(behind.failures)} failures", flush=True)
    failures = [*operator.failures, *behind.failures]
    passed = not failures and behind.slowest_alarm_s <= ALARM_SECONDS
    results = {
        "passed": passed,
        "seed": options.seed,
        "ways": operator.mutations + behind.mutations,
        "stopped_by": {**operator.by(), **behind.by()},
        "slowest_alarm_s": round(behind.slowest_alarm_s, 2),
        "slowest_sound_change_s": round(max(operator.slowest_sound_s, behind.slowest_sound_s), 2),
        "as_an_operator": dict(sorted(operator.counts.items())),
        "behind": dict(sorted(behind.counts.items())),
        "failures": failures,
        "seconds": round(time.monotonic() - began, 1),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    for failure in failures[:SHOWN]:
        print(json.dumps(failure, indent=1))
    told = ("ways", "stopped_by", "slowest_alarm_s", "slowest_sound_change_s", "seconds", "passed")
    print(json.dumps({name: results[name] for name in told}))
    print(f"seed {options.seed}; written to {RESULTS}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
