"""What moves left in the cells' databases, and whose it is (pure)."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from cellplane.moves.mover import MOVE_ID

KINDS = ("subscription", "slot", "publication", "origin", "guard")
"""What a move brings into a database, in the order in which it goes: who reads a slot before the slot, guards last."""

_NAME = re.compile(f"cellplane_({MOVE_ID})(?:_back|_recopy)?")


@dataclass(frozen=True, slots=True)
class Remnant:
    """Something of a move in a cell's database."""

    cell: str
    kind: str
    """One of ``KINDS``."""

    name: str
    """Its own; of a guard, the tenant's."""

    move_id: str
    kept_bytes: int | None = None
    """Of the database's log, by a slot; None: nothing, or unknown."""

    def __str__(self) -> str:
        kept = "" if self.kept_bytes is None else f", which keeps {self.kept_bytes / 1e6:,.1f} MB of the log,"
        named = f"guard of {self.name}" if self.kind == "guard" else f"{self.kind} {self.name}"
        return f"{self.cell}: {named}{kept} of move {self.move_id}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot, whoever's."""

    name: str
    kept_bytes: int | None
    is_read: bool
    is_lost: bool = False
    """Whether the server gave it up, since it kept too much."""


def move_of(name: str) -> str | None:
    """The move that a name is of; None where it is no move's."""
    found = _NAME.fullmatch(name)
    return None if found is None else found[1]


def unowned(remnants: Iterable[Remnant], living: Collection[str]) -> tuple[Remnant, ...]:
    """What belongs to no move that is under way, in the order in which it goes.

    Args:
        remnants: what is there. It was looked for **before** the moves were: a move is on record before it brings
            anything.
        living: ids of the moves that are under way.
    """
    found = [each for each in remnants if each.move_id not in living]
    return tuple(sorted(found, key=lambda each: (KINDS.index(each.kind), each.cell, each.name)))
