"""One tenant sends twenty times what it may: it is refused, and all others are answered as fast as ever."""

import asyncio
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median

from cellplane.provision.local.load import Load, Outcome, Sample, Stream
from chaos.fleet import HOST, Resource, chaos_fleet, wait_seconds
from chaos.report import Report, Scale, between, failed, percentile, reasons, wrong

NAME = "tenant-overload"
FULL = Scale(seed=1, rps=400.0, seconds=120.0)
CELLS = tuple(f"cell-{number}" for number in range(1, 5))
OTHERS = tuple(f"calm-{number:02}" for number in range(40))
LOUD = "loud"
TIMES = 20.0
LIMIT_RPS = 25.0
LANES = 4
SERVICE_MS = 10.0
"""What a cell takes for a request, in each of its lanes: it can do 400 a second, so the flood alone is too much."""

WINDOW_SECONDS = 3.0
SETTLE_SECONDS = 0.5
"""Of each window, quiet or loud, that is not looked at: while connections of the flood are opened."""

MAX_RATIO = 1.2
_EXPECTED = ("200", "429", Outcome.UNSENT.value, Outcome.REFUSED.value)


def run(folder: Path, scale: Scale) -> Report:
    """Run it, in quiet and loud windows by turns: what else the machine does then hits both alike."""
    report = Report(NAME, scale)
    resources: list[Resource] = [
        ("Pool", "default", {"cells": list(CELLS), "policy": {"rps": LIMIT_RPS}}),
        *(("Tenant", tenant, {}) for tenant in OTHERS),
    ]
    with (
        chaos_fleet(folder, CELLS, resources, lanes=LANES, service_ms=SERVICE_MS) as fleet,
        # In a process of its own, so that it does not keep the others' load from reading its answers.
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as flooding,
    ):
        shards = fleet.shards([*OTHERS, LOUD])
        rate = TIMES * LIMIT_RPS
        flooding.submit(flood, fleet.router_port, rate, 0.5, scale.seed).result()
        windows: list[tuple[float, float]] = []
        loud: Counter[str] = Counter()
        with fleet.load(Stream("others", OTHERS, scale.rps, writes_share=0.2), seed=scale.seed) as samples:
            wait_seconds(1.0)
            for pair in range(max(1, round(scale.seconds / (2 * WINDOW_SECONDS)))):
                quiet = _window()
                began = time.monotonic()
                loud.update(flooding.submit(flood, fleet.router_port, rate, WINDOW_SECONDS, scale.seed + pair).result())
                windows += [quiet, (began, began + WINDOW_SECONDS)]
    ratios, near_ratios = [], []
    near = {tenant for tenant in OTHERS if shards[tenant][0] == shards[LOUD][0]}
    for quiet, noisy in zip(windows[::2], windows[1::2], strict=True):
        ratios.append(_p99_ms(samples, noisy) / _p99_ms(samples, quiet))
        near_ratios.append(_p99_ms(samples, noisy, near) / _p99_ms(samples, quiet, near))
    first = between(samples, *windows[0])
    report.hold_load(first, windows[0][1] - windows[0][0], scale.rps)
    report.note_stalls(samples)
    sent = (loud["200"] + loud["429"]) / (len(windows) / 2 * WINDOW_SECONDS)
    report.hold("sent_times_limit", sent / LIMIT_RPS, 0.95 * TIMES, at_least=True, is_timing=True)
    report.figures |= {
        "pairs": len(ratios),
        "p99_quiet_ms": [round(_p99_ms(samples, window), 2) for window in windows[::2]],
        "p99_loud_ms": [round(_p99_ms(samples, window), 2) for window in windows[1::2]],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_at_its_own_cell": round(median(near_ratios), 3),
        "loud_got": dict(loud),
        "others_requests": len(samples),
        "others_failed_how": reasons(samples),
    }
    report.hold("others_p99_ratio", median(ratios), MAX_RATIO, is_timing=True)
    report.hold("others_failed", len(failed(samples)))
    # What could not be sent is not the router's doing, and fails the limit above.
    report.hold("loud_got_something_else", loud.total() - sum(loud[name] for name in _EXPECTED))
    report.hold("loud_refused", loud["429"], 1, at_least=True)
    report.hold("wrong", len(wrong(samples, shards)))
    return report


def flood(port: int, rate_rps: float, seconds: float, seed: int) -> dict[str, int]:
    """Send, and return how often which status came, or what there was instead."""
    stream = Stream("loud", (LOUD,), rate_rps)
    samples = asyncio.run(Load(HOST, port, [stream], seconds=seconds, rng=Random(seed)).run())
    return Counter(
        str(sample.status) if sample.outcome is Outcome.ANSWERED else sample.outcome.value for sample in samples
    )


def _window() -> tuple[float, float]:
    began = time.monotonic()
    wait_seconds(WINDOW_SECONDS)
    return began, began + WINDOW_SECONDS


def _p99_ms(samples: list[Sample], window: tuple[float, float], tenants: set[str] | None = None) -> float:
    begin, end = window
    found = between(samples, begin + SETTLE_SECONDS, end)
    return percentile([each.seconds * 1000 for each in found if tenants is None or each.tenant in tenants], 0.99)
