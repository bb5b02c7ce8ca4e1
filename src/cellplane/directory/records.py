"""What the directory returns that is not of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list; ``next`` is what to ask ``after`` for the following one, None on the last."""

    items: tuple[Item, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log.

    Attributes:
        epoch: its number, strictly increasing; also the epoch of the table that first contains it.
        at: when, UTC, ISO 8601.
        actor: who asked for it.
        kind: fleet, cell, pool, tenant or table.
        id: of what was changed.
        action: put, delete or republish.
        before: the resource before, None where it was created.
        after: the resource after, None where it was deleted.
    """

    epoch: int
    at: str
    actor: str
    kind: str
    id: str
    action: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
