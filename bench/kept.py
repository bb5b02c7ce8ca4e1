"""``make bench-router``, third part: CPU of Envoy for each request whose answer is kept, and for those beside it.

The baseline is a table in which nobody reads what was kept. Beside it run, in turn: one in which a single other tenant
does, and one in which all do: then every answer is copied, and takes the place of the one before. Ratios count.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

import measure
import routers
from cellplane.model import Cell, Fleet, KeySource, Policy, Pool, Reads, Tenant, Topology
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from traffic import CONNECTIONS, SCRIPT, TENANTS, EngineRouter

BODY_BYTES = (2, 4000)
PLAIN, BESIDE, KEPT = "nobody", "another tenant", "all"
"""Whose answers are kept."""


def main() -> None:
    """Run the benchmark."""
    options = measure.pair_options("CPU per request whose answer is kept, and beside them")
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, ExitStack() as stack:
        _compare(Path(name), stack, options)


def _table(folder: Path, port: int, whose: str, name: str) -> StoredTable:
    cache = Policy(reads=Reads.CACHE)
    ids = routers.cell_ids()
    source = KeySource.trusted_header("x-tenant-id")
    topology = Topology(
        Fleet("bench", key_sources=(source,), policy=cache if whose == KEPT else Policy()),
        tuple(Cell(cell, routers.HOST, port) for cell in ids),
        (Pool("default", tuple(ids)),),
        (
            *(Tenant(f"tenant-{n:07}", (ids[n % len(ids)],)) for n in range(1, TENANTS + 1)),
            Tenant("another", (ids[0],), policy=cache),
        )[: TENANTS + (whose == BESIDE)],
    )
    path = folder / f"table-{name}.cpt"
    path.write_bytes(encode(compile_table(topology, 1)))
    return StoredTable(RoutingTable(path.read_bytes()), path)


def _compare(folder: Path, stack: ExitStack, options: argparse.Namespace) -> None:
    compared: dict[str, EngineRouter] = {}
    script = folder / "load.lua"
    script.write_text(SCRIPT.format(seed=options.seed, tokens="", tenants=TENANTS, headers='["x-tenant-id"] = name'))
    for body_bytes in BODY_BYTES:
        backend = routers.BackendEnvoy(folder, "x" * body_bytes)
        stack.callback(backend.stop)
        for whose in (PLAIN, BESIDE, KEPT):
            label = f"{whose}, {body_bytes} bytes"
            name = f"{whose.replace(' ', '-')}-{body_bytes}"
            stored = _table(folder, backend.port, whose, name)
            compared[label] = EngineRouter(label, routers.settings_of(name, folder), stored)
            stack.callback(compared[label].stop)
    costs: dict[str, list[float]] = {label: [] for label in compared}
    labels = list(compared)
    print(f"seed {options.seed}; {options.pairs} rounds of {options.seconds} s for each of {'; '.join(labels)}")
    for round_number in range(-1, options.pairs):
        turn = round_number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            seconds = 1 if round_number < 0 else options.seconds
            before = measure.cpu_us(compared[label].pid())
            load = measure.run_wrk(compared[label].url, script, connections=CONNECTIONS, seconds=seconds)
            if round_number >= 0:
                costs[label].append((measure.cpu_us(compared[label].pid()) - before) / load.requests)
    _report(costs)


def _report(costs: dict[str, list[float]]) -> None:
    results: dict[str, object] = {}
    print(f"{'kept of':<28} {'least µs':>9} {'median µs':>9} {'ratio':>7} {'least':>7} {'most':>7}")
    for label, of_label in costs.items():
        base = costs[f"{PLAIN}, {label.partition(', ')[2]}"]
        ratio = measure.summary([cost / plain for cost, plain in zip(of_label, base, strict=True)])
        cost = measure.summary(of_label)
        print(
            f"{label:<28} {cost['min']:>9.1f} {cost['median']:>9.1f} {ratio['median']:>7.3f} {ratio['min']:>7.3f} "
            f"{ratio['max']:>7.3f}"
        )
        results[label] = {"ratio": ratio, "cpu_us": cost}
    print(f"written to {measure.write_results('kept', results)}")


if __name__ == "__main__":
    main()
