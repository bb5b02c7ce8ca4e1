"""What shadows cost a router: CPU per request where nobody has one, where all requests are copied, and compared.

``PYTHONPATH=tests .venv/bin/python bench/shadow.py``; everything is on loopback and ends by itself. Copies go to the
same backend as the requests. What the module hands over is read, and not compared: that is the agent's time.
"""

import argparse
import socket
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import measure
import routers
from cellplane.model import Cell, Compare, Fleet, KeySource, Policy, Pool, Tenant, Topology
from cellplane.router.captures import SOCKET
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from traffic import _BY_HEADER, CONNECTIONS, SCRIPT, TENANTS, EngineRouter

SHADOW = "shadow"
BASELINE = "no shadow"
POLICIES: dict[str, tuple[Policy, int]] = {
    BASELINE: (Policy(), TENANTS),
    "one tenant's compared": (Policy(shadow=SHADOW, compare=Compare(100)), 1),
    "all copied": (Policy(shadow=SHADOW), TENANTS),
    "10 % compared": (Policy(shadow=SHADOW, compare=Compare(10)), TENANTS),
    "all compared": (Policy(shadow=SHADOW, compare=Compare(100)), TENANTS),
}
"""A policy, and how many of the tenants have it."""

MAX_DATAGRAM_BYTES = 65_536


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="CPU per request with shadows, against none")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default 9)")
    parser.add_argument("--seconds", type=int, default=1, help="length of one load (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of tenants (default 1)")
    options = parser.parse_args()
    measure.require_wrk()
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, ExitStack() as stack:
        _compare(Path(name), stack, options)


def _table(path: Path, port: int, policy: Policy, having: int) -> StoredTable:
    ids = routers.cell_ids()
    topology = Topology(
        Fleet("bench", key_sources=(KeySource.trusted_header("x-tenant-id"),)),
        tuple(Cell(cell, routers.HOST, port) for cell in (*ids, SHADOW)),
        (Pool("default", tuple(ids)),),
        tuple(
            Tenant(f"tenant-{n:07}", (ids[n % len(ids)],), policy=policy if n <= having else Policy())
            for n in range(1, TENANTS + 1)
        ),
    )
    path.write_bytes(encode(compile_table(topology, 1)))
    return StoredTable(RoutingTable(path.read_bytes()), path)


def _listen(path: Path) -> socket.socket:
    """An agent's socket, of which everything is read."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(path))

    def read() -> None:
        with suppress(OSError):
            while listening.recv(MAX_DATAGRAM_BYTES):
                pass

    threading.Thread(target=read, daemon=True).start()
    return listening


def _compare(folder: Path, stack: ExitStack, options: argparse.Namespace) -> None:
    backend = routers.BackendEnvoy(folder)
    stack.callback(backend.stop)
    script = folder / "load.lua"
    script.write_text(SCRIPT.format(seed=options.seed, tokens="", tenants=TENANTS, headers=_BY_HEADER))
    running: dict[str, EngineRouter] = {}
    for number, (label, (policy, having)) in enumerate(POLICIES.items()):
        settings = routers.settings_of(f"router-{number}", folder)
        stored = _table(folder / f"table-{number}.cpt", backend.port, policy, having)
        running[label] = EngineRouter(label, settings, stored)
        stack.callback(running[label].stop)
        stack.callback(_listen(settings.state_dir / "envoy" / SOCKET).close)
    labels, costs = list(running), {label: list[float]() for label in running}
    print(f"seed {options.seed}; {options.rounds} rounds of {options.seconds} s for each of {', '.join(labels)}")
    for round_number in range(-1, options.rounds):
        turn = round_number % len(labels)
        for label in labels[turn:] + labels[:turn]:
            before = measure.cpu_us(running[label].pid())
            load = measure.run_wrk(running[label].url, script, connections=CONNECTIONS, seconds=options.seconds)
            if round_number >= 0:
                costs[label].append((measure.cpu_us(running[label].pid()) - before) / load.requests)
    print(f"{'requests':<22} {'least µs':>9} {'median µs':>9} {'ratio':>7} {'least':>7} {'most':>7}")
    results: dict[str, object] = {}
    for label, of_label in costs.items():
        ratio = measure.summary([cost / base for cost, base in zip(of_label, costs[BASELINE], strict=True)])
        cost = measure.summary(of_label)
        results[label] = {"ratio": ratio, "cpu_us": cost}
        print(
            f"{label:<22} {cost['min']:>9.1f} {cost['median']:>9.1f} {ratio['median']:>7.3f} {ratio['min']:>7.3f} "
            f"{ratio['max']:>7.3f}"
        )
    print(f"written to {measure.write_results('shadow', results)}")


if __name__ == "__main__":
    main()
