"""What a scenario found, what it is held to, and the file that says so."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellplane.provision.local.load import Outcome, Sample

NO_VALUE = 1e9
"""Stands for a figure that there is none of, and holds to no limit."""

RESULTS = Path("build/chaos")
LOAD_SHARE = 0.95
"""Part of the load that a scenario asks for that must have been answered before its fault."""

MAX_LAG_MS = 50.0
"""How late the load may send, 99th percentile, milliseconds: beyond it the load itself would be what is measured."""


@dataclass(frozen=True)
class Scale:
    """How much of a scenario is run.

    Attributes:
        seed: of all that is drawn.
        rps: requests per second of the load.
        seconds: how long a fault is watched.
    """

    seed: int
    rps: float
    seconds: float


@dataclass(frozen=True)
class Limit:
    """Something that a scenario is held to.

    Attributes:
        figure: name of the figure.
        value: what it was.
        bound: what it may be at most, or must be at least.
        at_least: which of the two.
        is_timing: whether a slow machine, or a small load, can break it.
    """

    figure: str
    value: float
    bound: float
    at_least: bool = False
    is_timing: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{'holds' if self.holds else 'DOES NOT HOLD'}: {self.figure} {self.value:g} {sign} {self.bound:g}"


@dataclass
class Report:
    """The outcome of one scenario.

    Attributes:
        figures: by name, units last.
        limits: on some of them.
    """

    scenario: str
    scale: Scale
    figures: dict[str, Any] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.limits) and all(limit.holds for limit in self.limits)

    def hold(
        self, figure: str, value: float, bound: float = 0, *, at_least: bool = False, is_timing: bool = False
    ) -> None:
        """Note a figure, and what it is held to; by default it has to be 0."""
        value = round(value, 6)
        self.figures[figure] = value
        self.limits.append(Limit(figure, value, bound, at_least, is_timing))

    def hold_load(self, before: Sequence[Sample], seconds: float, rps: float) -> None:
        """Require that the load was there, and on time, before the fault."""
        answered = sum(sample.outcome is Outcome.ANSWERED for sample in before)
        self.hold("load_before_rps", answered / seconds, LOAD_SHARE * rps, at_least=True, is_timing=True)
        lag_ms = percentile([sample.lag_seconds * 1000 for sample in before], 0.99)
        self.hold("load_lag_p99_ms", lag_ms, MAX_LAG_MS, is_timing=True)

    def note_stalls(self, samples: Sequence[Sample]) -> None:
        """Note the latest request, and the slowest answer: where both are large, the machine stood still."""
        self.figures["latest_request_ms"] = round(max(sample.lag_seconds for sample in samples) * 1000, 1)
        self.figures["slowest_answer_ms"] = round(max(sample.seconds for sample in samples) * 1000, 1)

    def write(self) -> Path:
        """Write ``build/chaos/<scenario>.json``."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.scenario}.json"
        limits = [
            {
                "figure": limit.figure,
                "value": limit.value,
                "at_least" if limit.at_least else "at_most": limit.bound,
                "holds": limit.holds,
            }
            for limit in self.limits
        ]
        scale = {"seed": self.scale.seed, "rps": self.scale.rps, "seconds": self.scale.seconds}
        value = {"scenario": self.scenario, "passed": self.passed, **scale, "figures": self.figures, "limits": limits}
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        return path


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which so many of them are; of none, more than any limit allows."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else NO_VALUE


def between(samples: Sequence[Sample], begin: float, end: float = float("inf")) -> list[Sample]:
    """Requests that were due in this time."""
    return [sample for sample in samples if begin <= sample.due < end]


def of(samples: Sequence[Sample], tenants: Collection[str]) -> list[Sample]:
    """Requests of these tenants."""
    return [sample for sample in samples if sample.tenant in tenants]


def failed(samples: Sequence[Sample]) -> list[Sample]:
    """Requests that were not answered with 200."""
    return [sample for sample in samples if sample.status != 200]


def wrong(samples: Sequence[Sample], shards: dict[str, tuple[str, ...]]) -> list[Sample]:
    """Answers by a cell that is none of the tenant's, or that was asked for somebody else."""
    return [
        sample
        for sample in samples
        if sample.status == 421
        or (
            sample.served_by
            and (sample.served_by != f"{sample.cell}/{sample.tenant}" or sample.cell not in shards[sample.tenant])
        )
    ]


def reasons(samples: Sequence[Sample]) -> dict[str, int]:
    """How often they failed in which way."""
    found: dict[str, int] = {}
    for sample in failed(samples):
        reason = str(sample.status) if sample.outcome is Outcome.ANSWERED else sample.outcome.value
        found[reason] = found.get(reason, 0) + 1
    return found
