"""A cell is sent three times what it declares: it goes on serving what it can, soon, and refuses the rest at once."""

import time
from pathlib import Path

from cellplane.provision.local.load import Outcome, Sample, Stream
from chaos.fleet import Resource, chaos_fleet, wait_seconds
from chaos.report import Report, Scale, between, failed, of, percentile, reasons, wrong

NAME = "cell-overload"
FULL = Scale(seed=1, rps=900.0, seconds=20.0)
CELLS = ("cell-1", "cell-2")
CROWD = tuple(f"crowd-{number:02}" for number in range(30))
CALM = tuple(f"calm-{number:02}" for number in range(10))
TIMES = 3.0
CALM_SHARE = 0.1
LANES = 8
CONCURRENCY = 60
BEFORE_SECONDS = 5.0
AFTER_SECONDS = 5.0
SERVED_SHARE = 0.9
MAX_SERVED_MS = 500.0
MAX_REFUSED_MS = 100.0


def run(folder: Path, scale: Scale) -> Report:
    """Run it. The cell can do a third more than it declares, and queues without a bound whatever it is sent."""
    report = Report(NAME, scale)
    capacity = scale.rps / TIMES
    resources: list[Resource] = [
        ("Pool", "default", {"cells": list(CELLS), "policy": {"rps": 1_000_000}}),
        *(("Tenant", tenant, {"cells": ["cell-1"]}) for tenant in CROWD),
        *(("Tenant", tenant, {"cells": ["cell-2"]}) for tenant in CALM),
    ]
    specs = {cell: {"capacity": {"rps": capacity, "concurrency": CONCURRENCY}} for cell in CELLS}
    service_ms = LANES * 1000 / (capacity * 4 / 3)
    with chaos_fleet(folder, CELLS, resources, lanes=LANES, service_ms=service_ms, cell_specs=specs) as fleet:
        shards = fleet.shards([*CROWD, *CALM])
        calm = Stream("calm", CALM, CALM_SHARE * scale.rps)
        usual = Stream("crowd", CROWD, 0.8 * capacity)
        with fleet.load(calm, usual, seed=scale.seed) as before:
            wait_seconds(1.0)
            began = time.monotonic()
            wait_seconds(BEFORE_SECONDS)
            ended = time.monotonic()
        with fleet.load(calm, Stream("crowd", CROWD, scale.rps), seed=scale.seed) as samples:
            wait_seconds(1.0)
            overloaded = time.monotonic()
            wait_seconds(scale.seconds)
            done = time.monotonic()
        with fleet.load(calm, usual, seed=scale.seed) as after:
            wait_seconds(AFTER_SECONDS)
    report.hold_load(between(before, began, ended), ended - began, calm.rate_rps + usual.rate_rps)
    report.note_stalls(samples)
    crowd = of(between(samples, overloaded, done), CROWD)
    report.hold("sent_times_capacity", len(crowd) / (done - overloaded) / capacity, 0.95 * TIMES, at_least=True)
    served = [sample for sample in crowd if sample.status == 200]
    refused = [sample for sample in crowd if sample.outcome is Outcome.ANSWERED and sample.status == 503]
    report.figures |= {"capacity_rps": capacity, "served_rps": round(len(served) / (done - overloaded), 1)}
    report.figures["refused"] = reasons(crowd)
    report.figures["before_p99_ms"] = round(percentile(_ms(of(before, CROWD)), 0.99), 1)
    report.hold(
        "served_share_of_capacity",
        len(served) / (done - overloaded) / capacity,
        SERVED_SHARE,
        at_least=True,
        is_timing=True,
    )
    report.hold("served_p99_ms", percentile(_ms(served), 0.99), MAX_SERVED_MS, is_timing=True)
    report.hold("refused_p99_ms", percentile(_ms(refused), 0.99), MAX_REFUSED_MS, is_timing=True)
    report.hold("neither_served_nor_refused", len(crowd) - len(served) - len(refused))
    report.hold("others_failed", len(failed(of([*before, *samples, *after], CALM))))
    # What a tenth of a second may bring at once is used up when the load falls.
    settled = of(between(after, after[0].due + 1.0), CROWD)
    report.hold("failed_when_it_is_over", len(failed(settled)))
    report.hold("wrong", len(wrong([*before, *samples, *after], shards)))
    return report


def _ms(samples: list[Sample]) -> list[float]:
    return [sample.seconds * 1000 for sample in samples]
