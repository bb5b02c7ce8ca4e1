"""``make bench-fleet``: how fast a fleet takes a change, and what a failure costs whom.

Starts a demo of its own, and measures through its router, under load:

- a pinned tenant's change, from the request to the control plane until the router answers from the new cell;
- a cell that is killed: how long until its tenants are told, and what everybody else sees;
- a dead control plane, and a router that is restarted meanwhile: how many answers change.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2

import measure
from e2e.harness import Answer, Demo, eventually, start_demo

CELLS = ("cell-1", "cell-2", "cell-3")
LIVE_LIMIT_MS = 1000
KILLED_LIMIT_S = 2.0
OBSERVED_SECONDS = 5.0
LOADS = 2
LOAD_RPS = 100.0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="changes and failures of a local fleet, under load")
    parser.add_argument("--changes", type=int, default=50, help="assignments to measure (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of tenants and cells (default 1)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, start_demo(Path(name) / "state") as demo:
        results: dict[str, Any] = {"seed": options.seed, "ready_s": round(demo.ready_seconds, 1)}
        print(f"the demo was ready after {demo.ready_seconds:.1f} s; seed {options.seed}", flush=True)
        results |= _changes(demo, options.changes, random.Random(options.seed))
        results |= _killed_cell(demo)
        results |= _dead_control_plane(demo)
    passed = _verdict(results)
    print(f"written to {measure.write_results('fleet', results)}")
    sys.exit(0 if passed else 1)


def _changes(demo: Demo, changes: int, rng: random.Random) -> dict[str, Any]:
    live_ms: list[float] = []
    with ExitStack() as stack, httpx2.Client(trust_env=False, timeout=10) as client:
        loads = [stack.enter_context(demo.load(demo.tenants, requests_per_second=LOAD_RPS)) for _ in range(LOADS)]
        for _ in range(changes):
            tenant = rng.choice(demo.tenants)
            headers = {"X-Tenant-Id": tenant}
            url = f"{demo.router}/notifications?limit=1"
            here = client.get(url, headers=headers).headers["x-cell-id"]
            there = rng.choice([cell for cell in CELLS if cell != here])
            began = time.monotonic()
            demo.put(f"/v1/tenants/{tenant}", {"cell": there})
            while client.get(url, headers=headers).headers.get("x-cell-id") != there:
                assert time.monotonic() < began + OBSERVED_SECONDS, f"{tenant} did not get to {there}"
            live_ms.append((time.monotonic() - began) * 1000)
    answers = [answer for load in loads for answer in load]
    live_ms.sort()
    return {
        "changes": changes,
        "change_live_p50_ms": round(statistics.median(live_ms), 1),
        "change_live_p99_ms": round(live_ms[min(len(live_ms) - 1, int(0.99 * len(live_ms)))], 1),
        "change_load_requests": len(answers),
        "change_failed_requests": len(_failed(answers)),
    }


def _killed_cell(demo: Demo) -> dict[str, Any]:
    placed = demo.placed()
    hurt = [tenant for tenant, cell in placed.items() if cell == "cell-2"]
    others = [tenant for tenant, cell in placed.items() if cell != "cell-2"]
    with ExitStack() as stack:
        hurt_answers = stack.enter_context(demo.load(hurt, requests_per_second=LOAD_RPS))
        other_answers = stack.enter_context(demo.load(others, requests_per_second=LOAD_RPS))
        time.sleep(1)
        killed = time.monotonic()
        for pid in demo.pids()["cells"]["cell-2"].values():
            os.kill(pid, signal.SIGKILL)
        time.sleep(OBSERVED_SECONDS)
    after = [answer for answer in hurt_answers if answer.at > killed]
    last_other = max((answer.at - killed for answer in after if answer.status != 503), default=0.0)
    demo.run("chaos", "restore", "cell-2")
    eventually(demo.whole, "the fleet is whole again")
    return {
        "killed_cell_all_503_after_s": round(last_other, 3),
        "killed_cell_refused_requests": sum(answer.status == 503 for answer in after),
        "others_requests": len(other_answers),
        "others_failed_requests": len(_failed(other_answers)),
        "others_changed_answers": sum(answer.cell != placed[answer.tenant] for answer in other_answers),
    }


def _dead_control_plane(demo: Demo) -> dict[str, Any]:
    placed = demo.served_by()
    os.kill(demo.pids()["control"], signal.SIGKILL)
    with demo.load(demo.tenants, requests_per_second=LOAD_RPS) as before:
        time.sleep(OBSERVED_SECONDS)
    old = demo.pids()
    for role in ("agent", "envoy"):
        os.kill(old[role], signal.SIGKILL)
    down = time.monotonic()
    eventually(lambda: _serves(demo) and demo.pids()["envoy"] not in {None, old["envoy"]}, "the router is back")
    back_after = time.monotonic() - down
    with demo.load(demo.tenants, requests_per_second=LOAD_RPS) as after:
        time.sleep(OBSERVED_SECONDS)
    demo.run("chaos", "restore", "control")
    answers = [*before, *after]
    return {
        "control_dead_requests": len(answers),
        "control_dead_failed_requests": len(_failed(answers)),
        "control_dead_changed_answers": sum(
            answer.cell != placed[answer.tenant] for answer in answers if answer.status == 200
        ),
        "router_back_after_kill_s": round(back_after, 2),
    }


def _serves(demo: Demo) -> bool:
    try:
        return all(demo.ask(tenant).status_code == 200 for tenant in demo.tenants)
    except httpx2.HTTPError:
        return False


def _failed(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status != 200]


def _verdict(results: dict[str, Any]) -> bool:
    print()
    for name, value in results.items():
        print(f"{name:<32} {value}")
    limits = {
        f"a change is live in < {LIVE_LIMIT_MS} ms (p99)": results["change_live_p99_ms"] < LIVE_LIMIT_MS,
        "no request failed while tenants were reassigned": results["change_failed_requests"] == 0,
        f"a killed cell's tenants get 503 within {KILLED_LIMIT_S} s": (
            results["killed_cell_all_503_after_s"] <= KILLED_LIMIT_S and results["killed_cell_refused_requests"] > 0
        ),
        "nobody else saw an error or another cell": (
            results["others_failed_requests"] == 0 and results["others_changed_answers"] == 0
        ),
        "a dead control plane changed no answer": (
            results["control_dead_failed_requests"] == 0 and results["control_dead_changed_answers"] == 0
        ),
    }
    print()
    for limit, holds in limits.items():
        print(f"{'holds' if holds else 'DOES NOT HOLD'}: {limit}")
    return all(limits.values())


if __name__ == "__main__":
    main()
