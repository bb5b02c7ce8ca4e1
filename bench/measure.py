"""What all benchmarks share: CPU of a process, a bounded load, ratios with their spread, the result file."""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path("build/bench")
WRK_GRACE_SECONDS = 10


@dataclass(frozen=True)
class Load:
    """One run of wrk.

    Attributes:
        requests: answered with 2xx or 3xx; any other answer is an error of the benchmark.
        requests_per_second: as wrk counts them.
    """

    requests: int
    requests_per_second: float


def require_wrk() -> None:
    """End with the command that installs wrk, where it is missing."""
    if shutil.which("wrk") is None:
        sys.exit("missing: wrk, which makes the load\n    install it with: sudo apt-get install wrk")


def pair_options(description: str) -> argparse.Namespace:
    """The command line of a benchmark that compares in pairs: ``pairs``, ``seconds`` and ``seed``. Ends with the reason
    where pairs are too few, or wrk is missing.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=21, help="rounds (default 21, least 7)")
    parser.add_argument("--seconds", type=int, default=2, help="length of one load (default 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of tenants (default 1)")
    options = parser.parse_args()
    if options.pairs < 7:
        parser.error("a median of fewer than 7 pairs says too little")
    require_wrk()
    return options


def run_wrk(url: str, script: Path, *, connections: int, seconds: int) -> Load:
    """Load a server on this machine for a bounded time."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=seconds + WRK_GRACE_SECONDS
    ).stdout
    found = re.search(r"(\d+) requests in ", done)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    if found is None or rate is None or "Non-2xx" in done or "Socket errors" in done:
        sys.exit(f"the load went wrong:\n{done}")
    return Load(int(found[1]), float(rate[1]))


def cpu_us(pid: int) -> float:
    """CPU time that a process has used, in microseconds (proc(5), schedstat: nanoseconds on a CPU)."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def rss_mib(pid: int) -> dict[str, float]:
    """Resident memory of a process: what is its own, and what it maps of files, which the page cache shares."""
    fields = dict(re.findall(r"^(Rss\w+):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return {"anonymous": int(fields["RssAnon"]) / 1024, "file": int(fields["RssFile"]) / 1024}


def summary(values: Sequence[float]) -> dict[str, float | int]:
    """Median and spread of ratios, one a pair."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "pairs": len(values),
    }


def add_results(name: str, results: dict[str, Any]) -> Path:
    """Write one part of a benchmark into its result file, beside what other parts wrote there."""
    path = RESULTS / f"{name}.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    return write_results(name, {**before, **results})


def write_results(name: str, results: dict[str, Any]) -> Path:
    """Write a benchmark's result file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    return path
