"""A cell is killed under load: tenants with a second cell hardly notice, all others not at all."""

import time
from pathlib import Path
from random import Random

from cellplane.provision.local.load import Stream
from chaos.fleet import START_SECONDS, Resource, chaos_fleet, wait_seconds
from chaos.report import Report, Scale, between, failed, of, reasons, wrong
from e2e.harness import eventually

NAME = "cell-killed"
FULL = Scale(seed=1, rps=1000.0, seconds=15.0)
CELLS = tuple(f"cell-{number}" for number in range(1, 7))
PAIRED = tuple(f"pair-{number:02}" for number in range(60))
SINGLE = tuple(f"single-{number:02}" for number in range(30))
BEFORE_SECONDS = 5.0
AFTER_SECONDS = 3.0
NONE_AFTER_SECONDS = 2.0


def run(folder: Path, scale: Scale) -> Report:
    """Run it."""
    report = Report(NAME, scale)
    pools: list[Resource] = [
        ("Pool", "default", {"cells": list(CELLS), "strategy": "shuffle", "shardSize": 2}),
        ("Pool", "single", {"cells": list(CELLS), "strategy": "ring"}),
        *(("Tenant", tenant, {"pool": "single"}) for tenant in SINGLE),
    ]
    with chaos_fleet(folder, CELLS, pools) as fleet:
        shards = fleet.shards([*PAIRED, *SINGLE])
        victim = Random(scale.seed).choice(CELLS)
        hurt = {tenant for tenant, shard in shards.items() if victim in shard}
        with fleet.load(Stream("all", list(shards), scale.rps, writes_share=0.2), seed=scale.seed) as samples:
            wait_seconds(1.0)
            began = time.monotonic()
            wait_seconds(BEFORE_SECONDS)
            killed = time.monotonic()
            fleet.cells[victim].kill()
            wait_seconds(scale.seconds)
            fleet.cells[victim].start()
            eventually(lambda: fleet.cell(victim)["healthy"], f"{victim} is healthy again", seconds=START_SECONDS)
            back = time.monotonic()
            wait_seconds(AFTER_SECONDS)
    report.hold_load(between(samples, began, killed), killed - began, scale.rps)
    report.note_stalls(samples)
    # What was under way when it died is part of what it cost.
    after = between(samples, killed - 0.1, back)
    paired = of(after, hurt.intersection(PAIRED))
    lost = failed(paired)
    report.figures |= {"victim": victim, "paired_requests": len(paired), "paired_failed": reasons(paired)}
    report.figures["single_failed"] = reasons(of(after, hurt.intersection(SINGLE)))
    report.hold("paired_requests_seen", len(paired), 1, at_least=True)
    report.hold("paired_failed_share", len(lost) / max(1, len(paired)), 0.005, is_timing=True)
    last = max((sample.due + sample.lag_seconds - killed for sample in lost), default=0.0)
    report.hold("paired_last_failure_after_s", last, NONE_AFTER_SECONDS, is_timing=True)
    others = of(samples, shards.keys() - hurt)
    report.figures["others_requests"] = len(others)
    report.hold("others_failed", len(failed(others)))
    report.hold("failed_before_and_after", len(failed(between(samples, 0, killed - 0.1) + between(samples, back))))
    report.hold("wrong", len(wrong(samples, shards)))
    return report
