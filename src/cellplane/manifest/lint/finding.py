"""What a lint rule is, and what it says."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cellplane.manifest.settings import LintSettings
from cellplane.model import Topology


class Severity(Enum):
    """How bad it is: an error will hurt, a warning may be meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Hit:
    """One place where a rule has something to say.

    Attributes:
        path: as the model's errors name fields, such as ``pools[1].overflow``.
        message: what is there, and what comes of it.
    """

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class LintRule:
    """One rule.

    Attributes:
        code: what it is called, for good.
        severity: see Severity.
        meaning: what it finds.
        remedy: what to do.
        find: its hits in a valid topology.
    """

    code: str
    severity: Severity
    meaning: str
    remedy: str
    find: Callable[[Topology, LintSettings], Iterator[Hit]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule says about one place."""

    rule: LintRule
    path: str
    message: str


def listed(names: Sequence[str], settings: LintSettings) -> str:
    """Some names, and how many more there are."""
    more = len(names) - settings.listed
    return ", ".join(names[: settings.listed]) + (f" and {more:,} more" if more > 0 else "")


def percent(share: float) -> str:
    """A share in percent, two digits."""
    return f"{share * 100:.2g} %"
