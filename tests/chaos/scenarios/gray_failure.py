"""A cell answers its health checks and serves badly: routers find it, and send whoever has another cell there."""

import time
from pathlib import Path
from random import Random
from typing import Any

from cellplane.provision.local.load import Stream
from chaos.fleet import ChaosFleet, Resource, chaos_fleet, wait_seconds
from chaos.report import Report, Scale, between, failed, of, wrong
from e2e.harness import eventually

NAME = "gray-failure"
FULL = Scale(seed=1, rps=300.0, seconds=120.0)
CELLS = tuple(f"cell-{number}" for number in range(1, 6))
TENANTS = tuple(f"tenant-{number:02}" for number in range(60))
FAULTS: dict[str, dict[str, float]] = {"errors": {"errors": 0.03}, "slow": {"slow": 0.2, "delay": 2.0}}
BEFORE_SECONDS = 5.0
WARM_SECONDS = 10.0
"""Of load before the first fault."""

FOUND_SECONDS = 60.0
AFTER_SECONDS = 5.0
POLL_SECONDS = 0.1


def run(folder: Path, scale: Scale, faults: tuple[str, ...] = tuple(FAULTS)) -> Report:
    """Run it, for one cell and fault after the other.

    Args:
        scale: its seconds are how long a fault may go unnoticed until the run gives up.
    """
    report = Report(NAME, scale)
    pools: list[Resource] = [("Pool", "default", {"cells": list(CELLS), "strategy": "shuffle", "shardSize": 2})]
    with chaos_fleet(folder, CELLS, pools) as fleet:
        shards = fleet.shards(TENANTS)
        victims = Random(scale.seed).sample(CELLS, len(faults))
        with fleet.load(Stream("all", TENANTS, scale.rps), seed=scale.seed) as samples:
            wait_seconds(WARM_SECONDS - BEFORE_SECONDS)
            began = time.monotonic()
            wait_seconds(BEFORE_SECONDS)
            faulty = time.monotonic()
            found = []
            for victim, fault in zip(victims, faults, strict=True):
                eventually(lambda: not fleet.gray(), "no cell is gray", seconds=120)
                found.append(_suffer(fleet, victim, FAULTS[fault], scale.seconds))
        report.hold_load(between(samples, began, faulty), faulty - began, scale.rps)
        report.note_stalls(samples)
    for fault, victim, (is_found, seconds, since, until, others) in zip(faults, victims, found, strict=True):
        report.figures[f"{fault}_cell"] = victim
        report.hold(f"{fault}_found_after_s", seconds, FOUND_SECONDS, is_timing=True)
        report.hold(f"{fault}_never_found", int(not is_found))
        report.hold(f"{fault}_others_taken_for_gray", others)
        # Whose first cell it is, each of whom has another.
        theirs = of(between(samples, since, until), {tenant for tenant in TENANTS if shards[tenant][0] == victim})
        report.hold(f"{fault}_requests_of_its_tenants", len(theirs), 1, at_least=True)
        report.hold(f"{fault}_requests_that_it_still_got", sum(sample.cell == victim for sample in theirs))
        report.hold(f"{fault}_failed_once_found", len(failed(theirs)))
    report.hold("wrong", len(wrong(samples, shards)))
    return report


def _suffer(
    fleet: ChaosFleet, victim: str, fault: dict[str, Any], most_seconds: float
) -> tuple[bool, float, float, float, int]:
    """Let a cell be ill until it is found, and a little longer.

    Returns:
        Whether it was found; after how many seconds it was, or nobody waited any longer; from when to when it was
        known; how many other cells were taken for gray.
    """
    began = time.monotonic()
    fleet.act(victim, **fault)
    others: set[str] = set()
    is_found = False
    while not is_found and time.monotonic() < began + most_seconds:
        gray = fleet.gray()
        others |= gray - {victim}
        is_found = victim in gray
        wait_seconds(POLL_SECONDS)
    seconds = time.monotonic() - began
    # The report is a moment later than the judgement, and what is under way goes on.
    since = time.monotonic() + 0.5
    wait_seconds(AFTER_SECONDS)
    until = time.monotonic()
    fleet.act(victim)
    return is_found, seconds, since, until, len(others)
