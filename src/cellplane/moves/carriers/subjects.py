"""Subjects of a tenant's work, which name the cell, the tenant or both, and what they are at another cell (pure)."""

import re
from dataclasses import dataclass
from itertools import zip_longest

from cellplane.moves.errors import MoveError, NotMovableError

TENANT, CELL = "{tenant}", "{cell}"
_WORD = re.compile(r"[^\s.*>{}]+")


@dataclass(frozen=True, slots=True)
class SubjectPattern:
    """Subjects as ``orders.{tenant}.>`` or ``deliveries.{cell}``: words with dots between.

    ``{tenant}`` and ``{cell}`` stand for one word each, ``*`` for any one, ``>`` at the end for one or more.

    Raises:
        MoveError: it is none.
    """

    text: str

    def __post_init__(self) -> None:
        words = self.text.split(".")
        good = all(word in {TENANT, CELL, "*"} or _WORD.fullmatch(word) for word in words[:-1])
        if not good or not (words[-1] in {TENANT, CELL, "*", ">"} or _WORD.fullmatch(words[-1])):
            raise MoveError(
                f"expected a subject of words with dots between, each {TENANT}, {CELL}, * or without spaces and "
                f"wildcards, the last perhaps >; found {self.text[:80]!r}"
            )

    @property
    def names_tenant(self) -> bool:
        """Whether a tenant's subjects are its own."""
        return TENANT in self.text.split(".")

    def of(self, tenant_id: str, cell: str) -> str:
        """The subjects of a tenant at a cell, as NATS filters by them.

        Raises:
            NotMovableError: the tenant's id is no word of a subject.
        """
        if self.names_tenant and not _WORD.fullmatch(tenant_id):
            raise NotMovableError(
                (f"the tenant {tenant_id!r} cannot be a word of the subject {self.text}: let a header name it instead",)
            )
        names = {TENANT: tenant_id, CELL: cell}
        return ".".join(names.get(word, word) for word in self.text.split("."))

    def at(self, subject: str, cell: str) -> str:
        """What a subject that fits becomes at another cell."""
        words = subject.split(".")
        for number, word in enumerate(self.text.split(".")):
            if word == CELL:
                words[number] = cell
        return ".".join(words)


def covers(pattern: str, subject: str) -> bool:
    """Whether all that fits ``subject``, which may have wildcards, fits ``pattern`` as well."""
    for wide, narrow in zip_longest(pattern.split("."), subject.split(".")):
        if wide == ">":
            return narrow is not None
        if wide is None or narrow is None or narrow == ">" or (wide not in {"*", narrow}):
            return False
    return True
