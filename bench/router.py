"""``make bench-router``: CPU of Envoy for each routed request, with 100,000 and 1,000,000 pinned tenants.

The baseline is the same Envoy, with the same listener, clusters and health checks, where the client names the cluster
(``cluster_header``). All routers run at once and are loaded in turn, so that each round is a pair under one state of
the machine; the ratio of each pair counts, not the time. Many short rounds say more than few long ones. What is
only a reference, a plain Envoy and HAProxy, is loaded in every third round.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2

import measure
import routers

SIZES = {"100k": 100_000, "1m": 1_000_000}
LIMIT = 1.10
SAMPLE = 200
CONNECTIONS = 16
BASELINE = "baseline"
REFERENCE_EVERY = 3

TENANT_SCRIPT = """
math.randomseed({seed})
request = function()
  return wrk.format("GET", "/", {{["x-tenant-id"] = string.format("tenant-%07d", math.random({tenants}))}})
end
"""

NAMED_SCRIPT = """
math.randomseed({seed})
request = function()
  local n = math.random({tenants})
  return wrk.format("GET", "/", {{
    ["x-tenant-id"] = string.format("tenant-%07d", n), ["x-cell-id"] = "cell-" .. (n % {cells} + 1)}})
end
"""


def main() -> None:
    """Run the benchmark."""
    options = measure.pair_options("CPU per routed request, against the client-named-cluster baseline")
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, ExitStack() as stack:
        passed = _compare(Path(name), stack, options)
    sys.exit(0 if passed else 1)


def _compare(folder: Path, stack: ExitStack, options: argparse.Namespace) -> bool:
    backend = routers.BackendEnvoy(folder)
    stack.callback(backend.stop)
    compared: dict[str, routers.Router] = {}
    scripts: dict[str, Path] = {}
    stored = None
    for label, tenants in SIZES.items():
        print(f"compiling a table of {tenants:,} pinned tenants …", flush=True)
        stored = routers.make_table(tenants, backend.port, folder)
        compared[label] = routers.module_router(f"module {label}", stored, folder)
        scripts[label] = _script(folder, label, TENANT_SCRIPT, tenants, options.seed)
        print(f"  {stored.path.stat().st_size / 2**20:.1f} MiB", flush=True)
    assert stored is not None
    most = max(SIZES.values())
    compared[BASELINE] = routers.plain_router(BASELINE, stored, folder, {"cluster_header": "x-cell-id"})
    scripts[BASELINE] = _script(folder, BASELINE, NAMED_SCRIPT, most, options.seed)
    compared["plain"] = routers.plain_router("plain", stored, folder, {"cluster": "cell-1"})
    scripts["plain"] = scripts["1m"]
    if routers.haproxy_installed():
        compared["haproxy"] = routers.HAProxyRouter(SIZES["100k"], backend.port, folder)
        scripts["haproxy"] = scripts["100k"]
    for router in compared.values():
        stack.callback(router.stop)
    for label, tenants in SIZES.items():
        _check_answers(compared[label].url, tenants, options.seed)
    costs = _measure(compared, scripts, options)
    return _report(compared, costs)


def _measure(
    compared: dict[str, routers.Router], scripts: dict[str, Path], options: argparse.Namespace
) -> dict[str, list[float]]:
    """CPU microseconds per request, by router, one a round."""
    costs: dict[str, list[float]] = {label: [] for label in compared}
    paired = [BASELINE, *SIZES]
    references = [label for label in compared if label not in paired]
    print(f"seed {options.seed}; {options.pairs} rounds of {options.seconds} s for each of {', '.join(paired)}")
    for round_number in range(-1, options.pairs):
        # Each round begins with another, so that none always runs after the same one.
        turn = round_number % len(paired)
        labels = paired[turn:] + paired[:turn] + (references if round_number % REFERENCE_EVERY == 0 else [])
        for label in labels:
            router = compared[label]
            before = measure.cpu_us(router.pid())
            load = measure.run_wrk(
                router.url, scripts[label], connections=CONNECTIONS, seconds=1 if round_number < 0 else options.seconds
            )
            cost = (measure.cpu_us(router.pid()) - before) / load.requests
            if round_number >= 0:
                costs[label].append(cost)
        if round_number >= 0:
            shown = ", ".join(f"{label} {costs[label][-1]:.1f}" for label in compared if label in labels)
            print(f"round {round_number + 1}: µs per request: {shown}", flush=True)
    return costs


def _report(compared: dict[str, routers.Router], costs: dict[str, list[float]]) -> bool:
    results: dict[str, object] = {}
    print(
        f"\n{'router':<12} {'µs/request: least':>18} {'median':>8} {'ratio to baseline':>20} {'least':>7} {'most':>7}"
    )
    for label, router in compared.items():
        step = 1 if label == BASELINE or label in SIZES else REFERENCE_EVERY
        ratios = [cost / base for cost, base in zip(costs[label], costs[BASELINE][::step], strict=True)]
        ratio = measure.summary(ratios)
        cost = measure.summary(costs[label])
        print(
            f"{label:<12} {cost['min']:>18.1f} {cost['median']:>8.1f} "
            f"{ratio['median']:>20.3f} {ratio['min']:>7.3f} {ratio['max']:>7.3f}"
        )
        results[f"cpu_us_{label}"] = cost
        if label != BASELINE:
            results[f"ratio_{label}"] = ratio
        results[f"rss_mib_{label}"] = measure.rss_mib(router.pid())
    print("\nresident memory, MiB: of its own + mapped from files")
    for label, router in compared.items():
        rss = measure.rss_mib(router.pid())
        print(f"{label:<12} {rss['anonymous']:>8.1f} + {rss['file']:.1f}")
    path = measure.write_results("router", results)
    medians = {label: _median(results[f"ratio_{label}"]) for label in SIZES}
    passed = all(median <= LIMIT for median in medians.values())
    verdict = "holds" if passed else "DOES NOT HOLD"
    print(f"\n≤ {LIMIT:.2f} of the baseline {verdict}: {medians}; written to {path}")
    return passed


def _median(value: object) -> float:
    assert isinstance(value, dict)
    return float(value["median"])


def _check_answers(url: str, tenants: int, seed: int) -> None:
    """Every sampled tenant reaches the cell that it is pinned to, or the figures mean nothing."""
    rng = random.Random(seed)
    cells: Sequence[str] = routers.cell_ids()
    with httpx2.Client(trust_env=False) as client:
        for _ in range(SAMPLE):
            number = rng.randint(1, tenants)
            headers = {"x-tenant-id": f"tenant-{number:07}", "x-cell-id": "cell-spoofed"}
            served_by = client.get(url, headers=headers).headers["served-by"]
            assert served_by == cells[number % routers.CELLS], f"tenant {number} was sent to {served_by}"


def _script(folder: Path, label: str, text: str, tenants: int, seed: int) -> Path:
    path = folder / f"{label}.lua"
    path.write_text(text.format(tenants=tenants, seed=seed, cells=routers.CELLS))
    return path


if __name__ == "__main__":
    main()
