"""What all runs together found: the figures, the file that says them, and what is said of each run."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos_moves.run import Outcome

RESULTS = Path("build/chaos/move.json")
FAILURES_MAX = 100
LINES_MAX = 10


@dataclass
class Report:
    """The figures of the runs so far.

    Args:
        seeds: of which they are.
        points: where something is killed.
        victims: what.
    """

    seeds: Sequence[int]
    points: Sequence[str]
    victims: Sequence[str]
    runs: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    settle_seconds: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    by_victim: dict[str, Counter[str]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    acknowledged: int = 0
    reads: int = 0
    movers: int = 0

    @property
    def planned(self) -> int:
        """How many runs there are to be."""
        return len(self.seeds) * len(self.points) * len(self.victims)

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        plan, verdict = outcome.plan, outcome.verdict
        self.runs += 1
        found = {
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "stale": verdict.stale,
            "two_writers": verdict.two_writers,
            "not_settled": int(not outcome.is_ended),
            "left_behind": len(outcome.left),
        }
        self.wrong.update(found)
        of_victim = self.by_victim.setdefault(plan.victim, Counter())
        of_victim.update({"runs": 1, "wrong": int(not outcome.is_right), "writes": verdict.acknowledged, **found})
        self.settle_seconds.append(outcome.settle_seconds)
        self.endings[outcome.phase.value] += 1
        self.answers.update(outcome.answers)
        self.acknowledged += verdict.acknowledged
        self.reads += outcome.reads
        self.movers += outcome.movers
        if not outcome.is_right:
            self.fail(plan.seed, plan.point, plan.victim, outcome.said())

    def fail(self, seed: int, point: str, victim: str, said: Sequence[str]) -> None:
        """Note a run that is not as it should be."""
        if len(self.failures) < FAILURES_MAX:
            self.failures.append({"seed": seed, "point": point, "victim": victim, "said": list(said[:LINES_MAX])})

    def broken(self, seed: int, point: str, victim: str, error: BaseException) -> None:
        """Note a run that could not be made."""
        self.wrong["broken"] += 1
        self.fail(seed, point, victim, [f"{type(error).__name__}: {error}"])

    @property
    def passed(self) -> bool:
        """Whether all that was to be run was, and nothing is wrong."""
        return self.runs == self.planned and not self.wrong.total()

    def figures(self) -> dict[str, Any]:
        """For the file."""
        settle = sorted(self.settle_seconds)
        return {
            "passed": self.passed,
            "runs": self.runs,
            "planned": self.planned,
            "seeds": list(self.seeds),
            "points": list(self.points),
            "victims": list(self.victims),
            **{name: self.wrong[name] for name in _FIGURES},
            "acknowledged": self.acknowledged,
            "reads": self.reads,
            "answers": dict(sorted(self.answers.items())),
            "endings": dict(sorted(self.endings.items())),
            "settle_p50_s": round(statistics.median(settle), 2) if settle else None,
            "settle_max_s": round(settle[-1], 2) if settle else None,
            "movers": self.movers,
            "failures": self.failures,
        }

    def table(self) -> str:
        """What was found, by victim."""
        columns = ("runs", "wrong", *_FIGURES[:-1], "writes")
        lines = [f"{'killed':<10}" + "".join(f"{name:>13}" for name in columns)]
        total: Counter[str] = Counter()
        for victim, counts in self.by_victim.items():
            total.update(counts)
            lines.append(f"{victim:<10}" + "".join(f"{counts[name]:>13,}" for name in columns))
        lines.append(f"{'all':<10}" + "".join(f"{total[name]:>13,}" for name in columns))
        return "\n".join(lines)

    def write(self) -> Path:
        """Write the file."""
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(self.figures(), indent=1) + "\n")
        return RESULTS


_FIGURES = ("lost", "duplicated", "stale", "two_writers", "not_settled", "left_behind", "broken")


def line_of(outcome: Outcome, seconds: float) -> str:
    """A run, in a line."""
    state = "ok" if outcome.is_right else "WRONG"
    verdict = outcome.verdict
    return (
        f"{state:<6}{outcome.plan!s:<42}{outcome.phase.value:<12} {verdict.acknowledged:>4} writes {outcome.reads:>4} "
        f"reads, settled in {outcome.settle_seconds:4.1f} s by {outcome.movers}; {seconds:4.1f} s"
    )
