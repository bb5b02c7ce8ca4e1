"""What came of mutations: how many, who stopped them, and what was not as it must be."""

from dataclasses import dataclass, field
from typing import Any

ALARM_SECONDS = 10.0
"""How soon a router must have said that it refused a table, and how soon a sound change must be live."""

_SHOWN_CHARS = 300


@dataclass
class Findings:
    """What came of some ways.

    Attributes:
        mutations: how many.
        counts: by kind of mutation and who stopped it.
        failures: what was not as it must be.
        slowest_alarm_s: the longest that a router took to say that it refused a table.
        slowest_sound_s: the longest that a sound change took until it was served.
    """

    mutations: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    slowest_alarm_s: float = 0.0
    slowest_sound_s: float = 0.0

    def count(self, kind: str, by: str) -> None:
        """Note who stopped a mutation."""
        self.mutations += 1
        self.counts[f"{kind}: {by}"] = self.counts.get(f"{kind}: {by}", 0) + 1

    def fail(self, number: int, kind: str, reason: str) -> None:
        """Note what was wrong."""
        self.failures.append({"number": number, "kind": kind, "reason": reason[:_SHOWN_CHARS]})

    def by(self) -> dict[str, int]:
        """How many each stopped."""
        found: dict[str, int] = {}
        for row, count in self.counts.items():
            who = row.rpartition(": ")[2]
            found[who] = found.get(who, 0) + count
        return found
