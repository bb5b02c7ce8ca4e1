"""What comparisons came to, for each cell and shadow and their last tenants, with a bounded number of samples."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cellplane.shadow.answer import Answer
from cellplane.shadow.comparison import Difference, Outcome, Verdict
from cellplane.shadow.redaction import shown_method, shown_url

MAX_COUNTED = 32
"""Most pairs of cell and shadow; with another one, the one that nothing was compared of for longest is forgotten."""

MAX_TENANTS = 128
"""Most tenants of all of them; with another one, the pair of which nothing was compared for longest forgets one."""

MAX_TENANTS_OF_ONE = 20
"""Most of one pair; with another one, the one of which nothing was compared for longest is forgotten."""

MAX_SAMPLES = 20
"""Most samples of all of them."""

MAX_SAMPLES_OF_ONE = 5
"""Most of one pair: the last ones."""

SAMPLE_SECONDS = 3600.0
"""How long a sample is shown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A mismatch, without values.

    Attributes:
        at: when, Unix seconds.
        tenant: whose request it was.
        method: of the request.
        path: of the request, with ``*`` for what may be a value.
        cell_status: HTTP status of the cell's answer.
        shadow_status: of the shadow's.
        differences: where the answers differ.
    """

    at: float
    tenant: str
    method: str
    path: str
    cell_status: int
    shadow_status: int
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """As the control plane is told."""
        return {
            "at": self.at,
            "tenant": self.tenant,
            "method": self.method,
            "path": self.path,
            "cell_status": self.cell_status,
            "shadow_status": self.shadow_status,
            "differences": [difference._asdict() for difference in self.differences],
        }


@dataclass(slots=True)
class _Counted:
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    tenants: dict[str, Counter[Outcome]] = field(default_factory=dict)
    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES_OF_ONE))


class ShadowReport:
    """Counts since it was made."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], _Counted] = {}

    def note(self, cell: Answer, shadow: Answer | None, verdict: Verdict, now: float) -> None:
        """Count a comparison.

        Args:
            now: Unix seconds.
        """
        name = (cell.cell, cell.shadow)
        # Behind all others: it is the one of which something was compared last.
        counted = self._counted.pop(name, None) or _Counted()
        self._counted[name] = counted
        if len(self._counted) > MAX_COUNTED:
            del self._counted[next(iter(self._counted))]
        counted.outcomes[verdict.outcome] += 1
        if cell.tenant:
            self._note_tenant(counted, cell.tenant, verdict.outcome)
        if verdict.outcome is not Outcome.MISMATCH or shadow is None:
            return
        counted.samples.append(
            Sample(
                round(now, 3),
                cell.tenant,
                shown_method(cell.method),
                shown_url(cell.path),
                cell.status,
                shadow.status,
                verdict.differences,
            )
        )
        if sum(len(one.samples) for one in self._counted.values()) > MAX_SAMPLES:
            oldest = min((one for one in self._counted.values() if one.samples), key=lambda one: one.samples[0].at)
            oldest.samples.popleft()

    def _note_tenant(self, counted: _Counted, tenant: str, outcome: Outcome) -> None:
        known = counted.tenants.pop(tenant, None)
        # Behind all others, as pairs are.
        counted.tenants[tenant] = known or Counter()
        counted.tenants[tenant][outcome] += 1
        if known is not None:
            return
        if len(counted.tenants) > MAX_TENANTS_OF_ONE:
            _forget_first(counted.tenants)
        elif sum(len(one.tenants) for one in self._counted.values()) > MAX_TENANTS:
            _forget_first(next(one.tenants for one in self._counted.values() if one.tenants))

    def counts(self) -> Iterator[tuple[str, str, Mapping[Outcome, int]]]:
        """Cell, shadow, and how many comparisons came to what."""
        for (cell, shadow), counted in sorted(self._counted.items()):
            yield cell, shadow, counted.outcomes

    def to_json(self, now: float) -> list[dict[str, Any]]:
        """What the control plane is told.

        Args:
            now: Unix seconds.
        """
        return [
            {
                "cell": cell,
                "shadow": shadow,
                **_counts(counted.outcomes),
                "samples": [sample.to_json() for sample in counted.samples if now - sample.at < SAMPLE_SECONDS],
                "tenants": [
                    {"tenant": tenant, **_counts(outcomes)} for tenant, outcomes in sorted(counted.tenants.items())
                ],
            }
            for (cell, shadow), counted in sorted(self._counted.items())
        ]


def _counts(outcomes: Mapping[Outcome, int]) -> dict[str, int]:
    return {outcome.field: outcomes[outcome] for outcome in Outcome}


def _forget_first(tenants: dict[str, Counter[Outcome]]) -> None:
    del tenants[next(iter(tenants))]
