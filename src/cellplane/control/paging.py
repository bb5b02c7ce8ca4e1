"""Pages of lists that are in memory."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

from cellplane.directory import Page

Item = TypeVar("Item")


def page_of(items: Sequence[Item], key: Callable[[Item], str], after: str, limit: int) -> Page[Item]:
    """One page of items that are in the order of their keys: those behind ``after``, ``limit`` at most."""
    found = tuple(islice((item for item in items if key(item) > after), limit + 1))
    return Page(found[:limit], key(found[limit - 1]) if len(found) > limit else None)
