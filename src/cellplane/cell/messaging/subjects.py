"""Subjects and topics that carry the cell: ``orders.cell-3``, and ``dead.orders.cell-3`` for its dead letters."""

import re
from dataclasses import dataclass

from cellplane.cell.errors import ForeignSubjectError, InvalidSettingError

DEAD = "dead"
"""What the subjects of dead letters begin with."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BASE = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}")
_OWN = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){1,4}")


@dataclass(frozen=True, slots=True)
class CellSubjects:
    """The names of one cell's queues, the same for NATS and Kafka.

    Raises:
        InvalidSettingError: the cell's id cannot be a part of a subject.
    """

    cell_id: str

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.cell_id):
            raise InvalidSettingError(
                "cell_id", f"expected 1 to 64 letters, digits, _ or -, as subjects take; found {self.cell_id[:64]!r}"
            )

    def own(self, base: str) -> str:
        """This cell's subject of a kind of work, such as ``orders`` or ``orders.new``.

        Raises:
            InvalidSettingError: that cannot be one: it is empty, has wildcards, or begins with ``dead``.
        """
        if not _BASE.fullmatch(base) or base.partition(".")[0] == DEAD:
            raise InvalidSettingError(
                "base",
                f"expected one to four words of letters, digits, _ or -, with dots between, that do not begin with "
                f"{DEAD}; found {base[:80]!r}",
            )
        return f"{base}.{self.cell_id}"

    def dead(self, base: str) -> str:
        """This cell's subject for dead letters of such work."""
        return f"{DEAD}.{self.own(base)}"

    def base_of(self, subject: str) -> str:
        """The kind of work of a subject of this cell.

        Raises:
            ForeignSubjectError: it is another cell's, no cell's, has wildcards, or is for dead letters.
        """
        base, _, cell_id = subject.rpartition(".")
        if not _OWN.fullmatch(subject) or cell_id != self.cell_id or base.partition(".")[0] == DEAD:
            raise ForeignSubjectError(subject, self.cell_id)
        return base
