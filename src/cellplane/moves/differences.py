"""What a comparison of a tenant's rows at both ends found (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cellplane.moves.mover import Verdict

Key = tuple[Any, ...]
"""Values of a row's key, in the key's order."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not the same at both ends."""

    table: str
    key: Key
    kind: str
    """``missing`` at the target, ``extra`` there, or ``other``: its values differ."""

    def __str__(self) -> str:
        return f"{self.table} ({', '.join(map(str, self.key))}): {self.kind}"


@dataclass(slots=True)
class Compared:
    """What a comparison found."""

    rows: int = 0
    differences: list[Difference] = field(default_factory=list)
    undecided: int = 0
    """Rows that changed each time they were looked at: they are touched, and compared at the end."""

    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """As ``DataMover`` says it."""
        return Verdict(self.rows, tuple(map(str, self.differences)), self.undecided, self.seconds)


def differences(table: str, here: Mapping[Key, Any], there: Mapping[Key, Any]) -> list[Difference]:
    """Rows that differ, by key.

    Args:
        table: its name.
        here: key → what stands for the row, where it is written.
        there: as ``here``, where it is to be the same.
    """
    kinds = {
        key: "missing" if key not in there else "extra" if key not in here else "other"
        for key in here.keys() | there.keys()
        if here.get(key) != there.get(key)
    }
    # Of mixed types, which have no order of their own.
    return [Difference(table, key, kinds[key]) for key in sorted(kinds, key=lambda key: tuple(map(str, key)))]
