"""The control plane is dead all the time, and the routers are restarted meanwhile: no request is lost or misrouted."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from cellplane.provision.local.load import Outcome, Stream
from chaos.fleet import START_SECONDS, Resource, RouterProc, chaos_fleet, wait_seconds
from chaos.report import Report, Scale, between, failed, reasons, wrong
from e2e.harness import eventually

NAME = "control-plane-killed"
FULL = Scale(seed=1, rps=1000.0, seconds=20.0)
CELLS = tuple(f"cell-{number}" for number in range(1, 5))
TENANTS = tuple(f"tenant-{number:02}" for number in range(60))
BEFORE_SECONDS = 3.0


def run(folder: Path, scale: Scale) -> Report:
    """Run it: two routers on one port, which are stopped and started one after the other; then an agent is killed;
    then a whole router.
    """
    report = Report(NAME, scale)
    pools: list[Resource] = [("Pool", "default", {"cells": list(CELLS), "strategy": "shuffle", "shardSize": 2})]
    with chaos_fleet(folder, CELLS, pools, routers=2) as fleet:
        shards = fleet.shards(TENANTS)
        pause_seconds = scale.seconds / 5
        fleet.control.kill()
        first, second = Random(scale.seed).sample(fleet.routers, 2)
        with fleet.load(Stream("all", TENANTS, scale.rps, writes_share=0.2), seed=scale.seed) as samples:
            wait_seconds(1.0)
            began = time.monotonic()
            wait_seconds(BEFORE_SECONDS)
            restarting = time.monotonic()
            restart_s = []
            for router in (first, second):
                restart_s.append(_again(router, router.stop))
                wait_seconds(pause_seconds)
            adopted = first.envoys()
            _again(first, first.kill)
            wait_seconds(pause_seconds)
            kept = first.envoys() == adopted
            killing = time.monotonic()
            # The first one: since the second was restarted, all connections are its own.
            first.kill()
            first.kill_envoy()
            killed = time.monotonic()
            first.start()
            eventually(first.serves, f"{first.name} serves again", seconds=START_SECONDS)
            wait_seconds(pause_seconds)
        assert not fleet.control.running, "the control plane was dead all the time"
    report.hold_load(between(samples, began, restarting), restarting - began, scale.rps)
    report.note_stalls(samples)
    # Also connections that it had not taken yet.
    under_way = [
        sample
        for sample in failed(samples)
        if sample.outcome in (Outcome.BROKEN, Outcome.REFUSED)
        and sample.due <= killed
        and sample.due + sample.lag_seconds + sample.seconds >= killing
    ]
    rest = [sample for sample in failed(samples) if sample not in under_way]
    report.figures |= {
        "requests": len(samples),
        "restart_s": [round(seconds, 2) for seconds in restart_s],
        "under_way_at_the_killed_router": len(under_way),
        "failed": reasons(rest),
    }
    report.hold("agent_killed_and_its_envoy_lost", int(not kept))
    report.hold("failed_requests", len(rest))
    report.hold("wrong", len(wrong(samples, shards)))
    report.hold("cells_that_served", len({sample.cell for sample in samples if sample.status == 200}), 2, at_least=True)
    return report


def _again(router: RouterProc, end: Callable[[], None]) -> float:
    """End a router and start it again; the seconds until it serves."""
    began = time.monotonic()
    end()
    router.start()
    eventually(router.serves, f"{router.name} serves again", seconds=START_SECONDS)
    return time.monotonic() - began
