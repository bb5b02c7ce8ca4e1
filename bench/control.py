"""``make bench-control``: what the control plane takes. A real process, real SQLite, loopback.

- a thousand routers that reconnect at once, and have the next table (``reconnecting``);
- reads: of one cell, of one tenant, of the table where nothing is new, and of a whole small table;
- assignments, by one client and by many at once;
- an import of a million tenants by ``cellplane tenant import``.

Reads stand beside a bare Starlette app that gives the same answer under the same server, writes beside sqlite3 that
does only the same writes; in the same run, in turn.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import measure
from bare import BareDatabase, bare_server
from cellplane.control.settings import DATABASE
from control_plane import CELLS, ControlPlane, describe
from e2e.harness import CELLPLANE
from reconnecting import make_tokens, measure_reconnecting

KNOWN_TENANTS = 1_000
READERS = 8
WRITERS = (1, 16)
IMPORT_SECONDS = 600.0
IMPORT_BATCH = 20_000

LIMITS: dict[str, tuple[str, float]] = {
    "storm_p99_s": ("≤", 10.0),
    "read_cell_rps": ("≥", 2_000),
    "read_tenant_rps": ("≥", 2_000),
    "read_unchanged_rps": ("≥", 2_000),
    "read_table_rps": ("≥", 2_000),
    "write_by_1_rps": ("≥", 300),
    "write_by_16_rps": ("≥", 300),
    "import_s": ("≤", 60.0),
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="what one control plane takes")
    parser.add_argument("--rounds", type=int, default=7, help="alternating rounds of reads and writes (default 7)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one load (default 3)")
    parser.add_argument("--routers", type=int, default=1_000, help="routers that reconnect (default 1,000)")
    parser.add_argument("--storms", type=int, default=3, help="how often they do (default 3)")
    parser.add_argument("--tenants", type=int, default=1_000_000, help="tenants to import (default 1,000,000)")
    parser.add_argument("--only", choices=("storm", "reads", "writes", "import"), help="one part; all by default")
    parser.add_argument("--seed", type=int, default=1, help="of pauses and of the choice of tenants (default 1)")
    options = parser.parse_args()
    measure.require_wrk()
    print(f"seed {options.seed}; {os.cpu_count()} cores", flush=True)
    parts: dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]] = {
        "reads": _reads,
        "writes": _writes,
        "storm": _storm,
        "import": _import,
    }
    results: dict[str, Any] = {"seed": options.seed, "rounds": options.rounds, "cores": os.cpu_count()}
    for name, part in parts.items():
        if options.only in {None, name}:
            with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as folder:
                results |= part(Path(folder), options)
    passed = _verdict(results)
    print(f"written to {measure.write_results('control', results)}")
    sys.exit(0 if passed else 1)


@contextmanager
def _control(folder: Path) -> Iterator[ControlPlane]:
    control = ControlPlane(folder)
    control.start()
    try:
        with control.client() as client:
            describe(client)
        yield control
    finally:
        control.stop()


def _lines(tenants: int) -> Iterator[str]:
    for number in range(tenants):
        cell = CELLS[number % len(CELLS)]
        yield f'{{"id":"tenant-{number:07}","cells":["{cell}"],"tier":"standard","load":{{"tenants":1,"rps":0.5}}}}\n'


def _reads(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    print(f"\n{'reads/s':24}{'median':>10}{'least':>10}{'most':>10}{'bare':>10}{'of it':>8}{'CPU µs':>9}")
    with _control(folder) as control, control.client() as client:
        body = "".join(_lines(KNOWN_TENANTS)).encode()
        client.post("/v1/bulk/tenants", content=body).raise_for_status()
        time.sleep(1)
        tag = client.get("/v1/table").headers["etag"]
        for name, path, headers in (
            ("cell", f"/v1/cells/{CELLS[3]}", {}),
            ("tenant", "/v1/tenants/tenant-0000007", {}),
            ("unchanged", "/v1/table", {"If-None-Match": tag}),
            ("table", "/v1/table", {"Accept-Encoding": "zstd"}),
        ):
            with client.stream("GET", path, headers=headers) as answer:
                answer._content = b"".join(answer.iter_raw())  # noqa: SLF001  # as it came, not decoded
            script = _wrk_script(folder / f"{name}.lua", {**control.admin(), **headers})
            ours: list[float] = []
            bare: list[float] = []
            cpu: list[float] = []
            with bare_server(answer, folder) as bare_url:
                for _ in range(options.rounds):
                    before = measure.cpu_us(control.pid)
                    load = measure.run_wrk(control.url + path, script, connections=READERS, seconds=options.seconds)
                    cpu.append((measure.cpu_us(control.pid) - before) / load.requests)
                    ours.append(load.requests_per_second)
                    load = measure.run_wrk(bare_url + path, script, connections=READERS, seconds=options.seconds)
                    bare.append(load.requests_per_second)
            results |= _rates(f"read_{name}", ours, bare, cpu)
    return results


def _writes(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, Any] = {}
    print(f"\n{'assignments/s':24}{'median':>10}{'least':>10}{'most':>10}{'sqlite3':>10}{'of it':>8}{'CPU µs':>9}")
    rng = random.Random(options.seed)
    # A load has less than three laps, of each tenant once: in the next, each gets another cell than it has.
    laps = itertools.count(1, 3)
    with _control(folder) as control, control.client() as client, ExitStack() as stack:
        client.post("/v1/bulk/tenants", content="".join(_lines(KNOWN_TENANTS)).encode()).raise_for_status()
        bare_database = BareDatabase(folder / "bare.sqlite3", control.state / DATABASE)
        stack.callback(bare_database.close)
        for writers in WRITERS:
            ours: list[float] = []
            bare: list[float] = []
            cpu: list[float] = []
            for _ in range(options.rounds):
                script = _assigning_script(folder / "assign.lua", control.admin(), next(laps))
                before = measure.cpu_us(control.pid)
                load = measure.run_wrk(control.url, script, connections=writers, seconds=options.seconds)
                cpu.append((measure.cpu_us(control.pid) - before) / load.requests)
                ours.append(load.requests_per_second)
                rows = [(f"tenant-{rng.randrange(KNOWN_TENANTS):07}", rng.choice(CELLS)) for _ in range(500)]
                bare.append(len(rows) / bare_database.assign(rows, at_once=1))
            results |= _rates(f"write_by_{writers}", ours, bare, cpu)
    return results


def _storm(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    print(
        f"\n{options.routers:,} routers lose the control plane, and find it again; {options.storms} times", flush=True
    )
    with _control(folder) as control:
        control.stop()
        tokens = make_tokens(control, options.routers)
        control.start()
        found = asyncio.run(measure_reconnecting(control, tokens, options.storms, options.seed))
    for each in found:
        print(json.dumps(each))
    return {
        "storms": found,
        "storm_p50_s": max(each["storm"]["p50_s"] for each in found),
        "storm_p99_s": max(each["storm"]["p99_s"] for each in found),
        "calm_p99_s": max(each["calm"]["p99_s"] for each in found),
        "storm_rss_peak_mib": max(each["rss_peak_mib"] for each in found),
        "storm_connections_peak": max(each["connections_peak"] for each in found),
    }


def _import(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    print(f"\nan import of {options.tenants:,} tenants", flush=True)
    file = folder / "tenants.ndjson"
    with file.open("w") as stream:
        stream.writelines(_lines(options.tenants))
    with _control(folder) as control:
        bare = [_bare_import(folder, control, options.tenants, 1)]
        before, began = measure.cpu_us(control.pid), time.perf_counter()
        shown = _run_on_terminal(
            [str(CELLPLANE), "tenant", "import", str(file), "--control", control.url],
            {"CELLPLANE_TOKEN": control.admin()["Authorization"].removeprefix("Bearer ")},
        )
        wall_s = time.perf_counter() - began
        cpu_s = (measure.cpu_us(control.pid) - before) / 1e6
        _, peak_mib = control.rss_mib()
        bare.append(_bare_import(folder, control, options.tenants, 2))
        with control.client() as client:
            client.get(f"/v1/tenants/tenant-{options.tenants - 1:07}").raise_for_status()
    assert f"{options.tenants:,} created" in shown, shown[-500:]
    print(f"{wall_s:.1f} s, of the control plane's processor {cpu_s:.1f} s; peak {peak_mib:.0f} MiB")
    print(f"sqlite3 alone, the same rows: {bare[0]:.1f} s before, {bare[1]:.1f} s after")
    return {
        "import_tenants": options.tenants,
        "import_s": round(wall_s, 1),
        "import_cpu_s": round(cpu_s, 1),
        "import_rss_peak_mib": round(peak_mib, 1),
        "import_bare_s": [round(each, 1) for each in bare],
        "import_ratio": [round(wall_s / each, 2) for each in bare],
    }


def _bare_import(folder: Path, control: ControlPlane, tenants: int, number: int) -> float:
    path = folder / f"bare-{number}.sqlite3"
    database = BareDatabase(path, control.state / DATABASE)
    rows = [(f"tenant-{each:07}", CELLS[each % len(CELLS)]) for each in range(tenants)]
    taken = database.assign(rows, at_once=IMPORT_BATCH)
    database.close()
    path.unlink()
    return taken


def _run_on_terminal(command: list[str], environment: dict[str, str]) -> str:
    """Run a command with its errors, where progress is shown, on a terminal; what it printed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, **environment})
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                return
            shown.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    output, _ = process.communicate(timeout=IMPORT_SECONDS)
    reader.join()
    os.close(ours)
    if process.returncode != 0 or b"tenants" not in shown:
        sys.exit(f"the import went wrong, or showed no progress:\n{output.decode()}{shown.decode()[-2000:]}")
    return output.decode()


def _wrk_script(path: Path, headers: dict[str, str]) -> Path:
    path.write_text(
        "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in headers.items())
    )
    return path


def _assigning_script(path: Path, headers: dict[str, str], lap: int) -> Path:
    """Each request assigns the next tenant to another cell than it has."""
    _wrk_script(path, {**headers, "Content-Type": "application/json"})
    path.write_text(
        path.read_text()
        + f"""local n = {lap * KNOWN_TENANTS}
request = function()
  n = n + 1
  local cell = (n + math.floor(n / {KNOWN_TENANTS})) % {len(CELLS)}
  local path = string.format("/v1/tenants/tenant-%07d", n % {KNOWN_TENANTS})
  return wrk.format("PUT", path, nil, string.format('{{"cell":"cell-%02d"}}', cell))
end
"""
    )
    return path


def _rates(name: str, ours: list[float], bare: list[float], cpu_us: list[float]) -> dict[str, Any]:
    ratios = measure.summary([one / other for one, other in zip(ours, bare, strict=True)])
    median, cpu = statistics.median(ours), statistics.median(cpu_us)
    print(
        f"{name:24}{median:>10,.0f}{min(ours):>10,.0f}{max(ours):>10,.0f}{statistics.median(bare):>10,.0f}"
        f"{ratios['median']:>7.2f}×{cpu:>9,.0f}",
        flush=True,
    )
    return {
        f"{name}_rps": round(median, 1),
        f"{name}_rps_spread": [round(min(ours), 1), round(max(ours), 1)],
        f"{name}_bare_rps": round(statistics.median(bare), 1),
        f"{name}_ratio": ratios,
        f"{name}_cpu_us": round(cpu, 1),
    }


def _verdict(results: dict[str, Any]) -> bool:
    print()
    passed = True
    for name, (relation, limit) in LIMITS.items():
        if name in results:
            holds = results[name] <= limit if relation == "≤" else results[name] >= limit
            print(f"{'holds' if holds else 'DOES NOT HOLD'}: {name} {relation} {limit:,}, found {results[name]:,}")
            passed &= holds
    return passed


if __name__ == "__main__":
    main()
