"""CPU that the cell's door adds to a request, beside the bare app; and what importing the SDK costs a process.

Each round takes every way of serving in turn, in this process, without a server: what differs is the door. The figures
are CPU time of the process, so that others on the machine count little.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cellplane.cell import CellMiddleware, CellWsgiMiddleware, Moves
from cellplane.cell.door import RequestLine, Routing
from cellplane.cell.proof import ProofKeys, parse_keys, sign
from cellplane.signed_cookie import new_secret

GOAL_US = 15.0
GOAL_IMPORT_MS = 60.0
RESULT = Path("build/bench/sdk_middleware.json")
PATH = "/v1/orders/2026/page%202"
HEADERS = {
    "host": "shop.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-GB,en;q=0.9",
    "cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-proto": "https",
    "x-request-id": "6e7d1f9e-7c14-4f8e-9a64-0d0a7b6a1f3c",
    "x-cell-id": "cell-3",
    "x-cell-epoch": "812",
    "x-tenant-id": "tenant-000123",
}

Batch = Callable[[int], None]


async def asgi_app(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def wsgi_app(_environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return [b""]


def wsgi_stream(_environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"a"


async def _receive() -> Any:
    raise AssertionError("nobody reads the body")


async def _send(message: Any) -> None:
    assert message.get("status", 204) == 204, "the door refused what it should let in"


def _start(status: str, _headers: Any, _exc_info: Any = None) -> None:
    assert status[0] == "2", "the door refused what it should let in"


def asgi_batch(app: Any, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop) -> Batch:
    lines = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/v1/orders/2026/page 2", "raw_path": PATH.encode()}
    scope |= {"query_string": b"limit=20", "headers": lines}

    async def serve(count: int) -> None:
        for _ in range(count):
            await app(scope, _receive, _send)

    return lambda count: loop.run_until_complete(serve(count))


def wsgi_batch(app: Any, headers: Mapping[str, str]) -> Batch:
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    environ |= {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/v1/orders/2026/page 2"}
    environ["QUERY_STRING"] = "limit=20"

    def serve(count: int) -> None:
        for _ in range(count):
            for _part in app(environ, _start):
                pass

    return serve


def ways(folder: Path, loop: asyncio.AbstractEventLoop) -> dict[str, Batch]:
    """Every way of serving, by name; the first of a kind is without a door."""
    moves = Moves.create(folder / "moves", "cell-3")
    moves.note_all({f"gone-{number}": ("cell-7", number + 1) for number in range(1000)})
    (folder / "keys").write_text(f"a {new_secret()}\n")
    # A bench may take longer than a proof counts: the clock stands.
    now = int(time.time())
    proof = ProofKeys(folder / "keys", wall_clock=lambda: now)
    routing = Routing(b"cell-3", b"812", b"tenant-000123", b"")
    line = RequestLine(b"GET", b"/v1/orders/2026/page 2", b"limit=20")
    value = sign(parse_keys((folder / "keys").read_text()), routing, line, now).decode()
    proven = {**HEADERS, "x-cell-proof": value}
    guards: dict[str, Any] = {"moved": moves.moved, "proof": proof}
    return {
        "asgi, bare": asgi_batch(asgi_app, HEADERS, loop),
        "asgi, door": asgi_batch(CellMiddleware(asgi_app, "cell-3"), HEADERS, loop),
        "asgi, door and moves": asgi_batch(CellMiddleware(asgi_app, "cell-3", moved=moves.moved), HEADERS, loop),
        "asgi, door, moves and proof": asgi_batch(CellMiddleware(asgi_app, "cell-3", **guards), proven, loop),
        "wsgi, bare": wsgi_batch(wsgi_app, HEADERS),
        "wsgi, door": wsgi_batch(CellWsgiMiddleware(wsgi_app, "cell-3"), HEADERS),
        "wsgi, door and moves": wsgi_batch(CellWsgiMiddleware(wsgi_app, "cell-3", moved=moves.moved), HEADERS),
        "wsgi, door, moves and proof": wsgi_batch(CellWsgiMiddleware(wsgi_app, "cell-3", **guards), proven),
        "wsgi stream, bare": wsgi_batch(wsgi_stream, HEADERS),
        "wsgi stream, door": wsgi_batch(CellWsgiMiddleware(wsgi_stream, "cell-3"), HEADERS),
    }


def cpu_per_request_us(batch: Batch, count: int) -> float:
    began = time.process_time_ns()
    batch(count)
    return (time.process_time_ns() - began) / count / 1000


def overheads(rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Of each way that has a door: what it takes, and how much more than the bare one of its round."""
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        batches = ways(Path(folder), runner.get_loop())
        for batch in batches.values():
            batch(count)
        taken: dict[str, list[float]] = {name: [] for name in batches}
        for number in range(rounds):
            order = [*batches] if number % 2 else [*reversed(batches)]
            for name in order:
                taken[name].append(cpu_per_request_us(batches[name], count))
    found = {}
    for name, values in taken.items():
        bare = taken[f"{name.partition(',')[0]}, bare"]
        found[name] = summary([value - base for value, base in zip(values, bare, strict=True)], values)
    return found


def summary(more: Sequence[float], all_of_it: Sequence[float]) -> dict[str, float]:
    low, _, high = statistics.quantiles(more, n=4)
    return {
        "overhead_us": round(statistics.median(more), 2),
        "quartiles_low_us": round(low, 2),
        "quartiles_high_us": round(high, 2),
        "least_us": round(min(more), 2),
        "all_us": round(statistics.median(all_of_it), 2),
    }


def process_cpu_ms(code: str) -> float:
    """CPU of a whole process that runs this."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def imports(rounds: int) -> dict[str, dict[str, float]]:
    """What a process takes more than one that imports nothing; the standard library's share beside it."""
    codes = {
        "what it imports of the standard library": "import contextlib,dataclasses,functools,re,time,typing",
        "cellplane.cell": "import cellplane.cell",
        "cellplane.cell with moves and proof": "import cellplane.cell.moves, cellplane.cell.proof",
    }
    more: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(rounds):
        bare = process_cpu_ms("pass")
        for name, code in codes.items():
            more[name].append(process_cpu_ms(code) - bare)
    return {
        name: {"median_ms": round(statistics.median(values), 1), "least_ms": round(min(values), 1)}
        for name, values in more.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21, help="of each way of serving (default 21, least 7)")
    parser.add_argument("--requests", type=int, default=5000, help="in one round (default 5000)")
    parser.add_argument("--imports", type=int, default=15, help="processes of each kind (default 15)")
    options = parser.parse_args()
    if options.rounds < 7:
        parser.error("a median of fewer than 7 rounds says too little")
    served = overheads(options.rounds, options.requests)
    print(f"{'':32}{'µs more':>9}{'quartiles':>16}{'least':>8}{'in all':>8}")
    for name, row in served.items():
        between = f"{row['quartiles_low_us']:.2f}–{row['quartiles_high_us']:.2f}"
        print(f"{name:32}{row['overhead_us']:9.2f}{between:>16}{row['least_us']:8.2f}{row['all_us']:8.2f}")
    imported = imports(options.imports)
    print()
    for name, times in imported.items():
        print(f"import {name:44}{times['median_ms']:7.1f} ms{times['least_ms']:7.1f} least")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"served": served, "imports": imported}, indent=1) + "\n")
    missed = [name for name, row in served.items() if row["overhead_us"] > GOAL_US]
    if imported["cellplane.cell"]["median_ms"] > GOAL_IMPORT_MS:
        missed.append("import cellplane.cell")
    print(f"\ngoals: {GOAL_US:g} µs a request, {GOAL_IMPORT_MS:g} ms an import; missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
