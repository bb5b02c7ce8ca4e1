"""The locks of cells in a transaction: what people order by the statuses that they give, and what is decided."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from cellplane.capacity.locks import OPEN, Hold, Lock, held
from cellplane.directory.capacity import read_locks, write_locks
from cellplane.directory.change_log import ChangeLog
from cellplane.directory.outline import Outline
from cellplane.errors import NotFoundError
from cellplane.model import Cell, CellStatus


class Locking:
    """Reads and writes locks with what a transaction changes.

    Args:
        connection: inside a transaction that may write.
        log: of the transaction.
    """

    def __init__(self, connection: Connection, log: ChangeLog) -> None:
        self._connection = connection
        self._log = log
        self._decided: set[str] = set()

    def read(self) -> dict[str, Lock]:
        """All that are known, by cell."""
        return read_locks(self._connection)

    def keep(self, locks: Mapping[str, Lock]) -> None:
        """Keep what was decided of these: the statuses that this transaction gives their cells are nobody's order."""
        self._decided |= locks.keys()
        write_locks(self._connection, locks)

    def restore(self, cell: Cell) -> None:
        """A cell has the status of before again: nobody ordered it now."""
        self.keep({cell.id: Lock(is_locked=cell.status is CellStatus.LOCKED)})

    def release(self, outline: Outline, cell_id: str) -> None:
        """Take back what a person ordered of a cell's lock.

        Raises:
            NotFoundError: there is no such cell.
        """
        cell = outline.cells.get(cell_id)
        if cell is None:
            raise NotFoundError(f"no cell is named {cell_id!r}")
        before = self.read().get(cell_id, Lock(is_locked=cell.status is CellStatus.LOCKED))
        self._hold(cell_id, before, held(replace(before, is_locked=cell.status is CellStatus.LOCKED), Hold.NONE))

    def order(self, outline: Outline, before: Mapping[str, CellStatus]) -> None:
        """Take the statuses that cells are given for orders, where they are about locks.

        Args:
            outline: with the statuses that they have now.
            before: by cell that was given one, what it had.
        """
        ordered = {cell: was for cell, was in before.items() if cell in outline.cells and cell not in self._decided}
        known = self.read() if ordered else {}
        for cell_id, was in ordered.items():
            status, lock = outline.cells[cell_id].status, known.get(cell_id)
            if status is CellStatus.LOCKED:
                after = held(lock or OPEN, Hold.LOCKED)
            elif status is CellStatus.ACTIVE and was is CellStatus.LOCKED:
                after = held(lock or OPEN, Hold.OPEN)
            elif status is was:
                continue
            else:
                after = OPEN
            if status is was:
                self._hold(cell_id, lock or OPEN, after)
            else:
                write_locks(self._connection, {cell_id: after})

    def _hold(self, cell_id: str, before: Lock, after: Lock) -> None:
        """Write an order that changes nothing else, with an entry of the log of its own."""
        write_locks(self._connection, {cell_id: after})
        if before.hold is not after.hold:
            self._log.add("lock", cell_id, "put", {"hold": before.hold.value}, {"hold": after.hold.value})
