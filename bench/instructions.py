"""``make bench-instructions``: where a router's CPU goes, in instructions for each request, which no noise changes.

Envoy runs under callgrind, one request after the other on one connection, and only the instructions between the first
and the last counted request are taken: no start, no kernel. Ratios are those of the first router. Of the module's own
functions, and of what Envoy does for them, it prints what is spent inside of them.
"""

import argparse
import http.client
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import measure
import routers
import traffic

WARM_UP = 2
"""Requests of each tenant before any is counted: its token is remembered then, and connections are open."""
END_SECONDS = 60.0
SHOWN = 16
_SHOWN_NAME = re.compile(r"(envoy_dynamic_module_\w+|cellplane_envoy::\S+)")

Headers = Callable[[int], Mapping[str, str]]
"""Those of the request of a tenant, by its number."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Instructions per request with everything on, against the baseline")
    parser.add_argument("--requests", type=int, default=3_000, help="counted for each router (default 3000)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of tenants (default 1)")
    options = parser.parse_args()
    if shutil.which("callgrind_control") is None:
        sys.exit("missing: valgrind, which counts instructions\n    install it with: sudo apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="cellplane-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        backend = routers.BackendEnvoy(folder)
        stack.callback(backend.stop)
        counted = {
            label: _count(label, router, headers, folder, options)
            for label, router, headers in _compared(folder, backend)
        }
    base = counted[traffic.BASELINE]
    print(f"\n{'router':<26} {'instructions':>12} {'ratio':>7}")
    for label, count in counted.items():
        print(f"{label:<26} {count:>12,.0f} {count / base:>7.3f}")
    results = {f"ratio_{label.replace(', ', '_')}": round(count / base, 4) for label, count in counted.items()}
    print(f"written to {measure.write_results('instructions', {**results, 'requests': options.requests})}")


def _compared(folder: Path, backend: routers.BackendEnvoy) -> list[tuple[str, Callable[[], routers.Router], Headers]]:
    tokens = traffic.make_tokens(folder)
    plain = traffic.make_table(folder, backend.port, verified=False)
    verified = traffic.make_table(folder, backend.port, verified=True)

    def by_name(number: int) -> dict[str, str]:
        return {"x-tenant-id": f"tenant-{number:07}"}

    def named(number: int) -> dict[str, str]:
        return {**by_name(number), "x-cell-id": f"cell-{number % routers.CELLS + 1}"}

    def by_token(number: int, algorithm: str = traffic.SHORT) -> dict[str, str]:
        return {"authorization": f"Bearer {tokens[algorithm][number - 1]}"}

    route = {"cluster_header": "x-cell-id"}
    return [
        (traffic.BASELINE, lambda: routers.plain_router(traffic.BASELINE, plain, folder, route), named),
        (
            traffic.CARRIED,
            lambda: routers.plain_router(traffic.CARRIED, plain, folder, route),
            lambda number: {**named(number), **by_token(number)},
        ),
        ("decision", lambda: routers.module_router("decision", plain, folder), by_name),
        (
            "without_jwt",
            lambda: traffic.EngineRouter("without_jwt", routers.settings_of("without_jwt", folder), plain),
            by_name,
        ),
        ("full", lambda: traffic.EngineRouter("full", routers.settings_of("full", folder), verified), by_token),
        (
            traffic.FULL_LONG,
            lambda: traffic.EngineRouter("long", routers.settings_of("long", folder), verified),
            lambda number: by_token(number, traffic.LONG),
        ),
    ]


def _count(
    label: str, start: Callable[[], routers.Router], headers: Headers, folder: Path, options: argparse.Namespace
) -> float:
    """Instructions per request of the router's worker."""
    router = start()
    pid, url = router.pid(), router.url
    process = Path(f"/proc/{pid}")
    command = (process / "cmdline").read_bytes().decode().split("\0")[:-1]
    environment = dict(line.split("=", 1) for line in (process / "environ").read_bytes().decode().split("\0") if line)
    working = (process / "cwd").readlink()
    # The same Envoy once more, under valgrind, with the files that the first one has.
    os.kill(pid, signal.SIGKILL)
    routers.wait_until(lambda: not routers.answers(url), f"{label} ends")
    profile = folder / f"callgrind-{pid}"
    valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
    valgrind.append(f"--callgrind-out-file={profile}")
    with (folder / "valgrind.log").open("wb") as log:
        child = subprocess.Popen([*valgrind, *command], cwd=working, env=environment, stdout=log, stderr=log)
    try:
        routers.wait_until(lambda: routers.answers(url, dict(headers(1))), f"{label} under valgrind")
        everybody = range(1, traffic.TENANTS + 1)
        _ask(url, headers, [*everybody] * WARM_UP)
        _switch(child.pid, "on")
        _ask(url, headers, random.Random(options.seed).choices(everybody, k=options.requests))
        _switch(child.pid, "off")
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(END_SECONDS)
        router.stop()
    # One file a thread; the worker has done the most.
    totals = {path: _total(path) for path in folder.glob(f"{profile.name}-*")}
    worker = max(totals, key=lambda path: totals[path])
    print(f"\n{label}: instructions per request inside of")
    spent = _spent(worker, options.requests)
    for name, count in sorted(spent.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{count:>12,.0f}  {name}")
    return totals[worker] / float(options.requests)


def _total(profile: Path) -> int:
    found = re.findall(r"^(?:summary|totals): (\d+)", profile.read_text(), re.MULTILINE)
    return max(map(int, found), default=0)


def _ask(url: str, headers: Headers, tenants: Sequence[int]) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    for number in tenants:
        connection.request("GET", "/", headers=dict(headers(number)))
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"the router answered {answer.status}")
    connection.close()


def _switch(pid: int, state: str) -> None:
    subprocess.run(["callgrind_control", "-i", state, str(pid)], check=True, capture_output=True, timeout=30)
    time.sleep(0.2)


def _spent(profile: Path, requests: int) -> dict[str, float]:
    """Of functions that have a name: what is spent inside of them and of what they call."""
    command = ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--auto=no", str(profile)]
    spent: dict[str, float] = {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines():
        amount, name = re.match(r"\s*([\d,]+) ", line), _SHOWN_NAME.search(line)
        if amount and name:
            spent[name[1]] = max(int(amount[1].replace(",", "")) / requests, spent.get(name[1], 0.0))
    return spent


if __name__ == "__main__":
    main()
