"""Residency: whether a tenant may be in cells, by its law and theirs. The one place that compares jurisdictions.

Whatever places a tenant, answers for one or moves one asks here. The routing module has the same rule in Rust
(``native/envoy-module/src/decide.rs``), held to this one by the conformance vectors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Act(Enum):
    """What would bring a tenant, its requests or its data into a cell; the value is for people and logs."""

    PLACEMENT = "placement"
    ASSIGNMENT = "assignment"
    OVERFLOW = "overflow"
    FAILOVER = "failover"
    STANDBY = "standby"
    SHADOW = "shadow"
    CANARY = "canary"
    QUARANTINE = "quarantine"
    REBALANCE = "rebalance"
    EVACUATION = "evacuation"
    MOVE = "move"


class Place(Protocol):
    """A cell, of the model, of a plan or of a table, as far as residency goes."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def jurisdiction(self) -> str:
        """Whose law its data is under."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A tenant that would be under a law that is not its own.

    Attributes:
        act: what would bring it there.
        tenant: its id, or who else it is about, such as ``pool 'eu'``.
        law: its own; where it names none, that of the cells beside which it may not leave it.
        cell: id of the cell.
        cell_law: the cell's.
    """

    act: Act
    tenant: str
    law: str
    cell: str
    cell_law: str

    def __str__(self) -> str:
        return f"{self.act.value}: {self.tenant} is under {self.law}, cell {self.cell!r} under {self.cell_law}"


def violations(
    act: Act, tenant: str, law: str, cells: Iterable[Place], *, is_shard: bool = True
) -> tuple[Violation, ...]:
    """What is wrong with a tenant in these cells; nothing where it may be there.

    A tenant with a law is only in cells under it. One without may be under any, but not under two at once: a shard
    never crosses jurisdictions.

    Args:
        act: what would bring it there.
        tenant: for the violations.
        law: its jurisdiction; empty where any will do.
        cells: where it would be, the preferred first.
        is_shard: whether it is in all of them; else each is a place of its own, such as those that a slot may lead to.

    Returns:
        One for each cell that is under another law, in order.
    """
    found = []
    for cell in cells:
        if law and cell.jurisdiction != law:
            found.append(Violation(act, tenant, law, cell.id, cell.jurisdiction))
        elif is_shard:
            law = cell.jurisdiction
    return tuple(found)


def foreign_laws(found: Iterable[Violation]) -> list[str]:
    """The laws that are not the tenant's own, sorted; for messages."""
    return sorted({violation.cell_law for violation in found})


def laws(cells: Iterable[Place]) -> list[str]:
    """Under whose law these cells are, sorted; for messages, and for questions about a fleet as a whole."""
    return sorted({cell.jurisdiction for cell in cells})


def one_of_each_law(cells: Iterable[Place]) -> list[Place]:
    """The first cell under each law: places of their own (``violations``) that say what all of them say."""
    return list({cell.jurisdiction: cell for cell in reversed([*cells])}.values())


def law_codes(cells: Sequence[Place]) -> list[int]:
    """For arrays: a number for each cell, from 0, equal where a tenant may be in both, whatever its law."""
    codes = {law: code for code, law in enumerate(laws(cells))}
    return [codes[cell.jurisdiction] for cell in cells]
