"""The record of moves in a cell: by it the apps there refuse what a router with an old table sends them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cellplane.cell import Moves
from cellplane.moves.errors import MoveError


class Records(Protocol):
    """The cells' records of moves."""

    def note(self, at_cell: str, tenant_id: str, cell: str, epoch: int) -> None:
        """Note at a cell whose a tenant is by the table of an epoch. When it returns, its apps go by it."""


@dataclass(frozen=True, slots=True)
class FileRecords:
    """Records that are files which this process can write, as in a fleet on one machine.

    Args:
        paths: cell → its record; a cell without one has apps that keep none, and its guard alone refuses writes.
    """

    paths: Mapping[str, Path]

    def note(self, at_cell: str, tenant_id: str, cell: str, epoch: int) -> None:
        """See ``Records``."""
        path = self.paths.get(at_cell)
        if path is None:
            return
        if not path.exists():
            raise MoveError(
                f"{at_cell} has no record of moves at {path}: its apps make it where they start, look there"
            )
        Moves(path, at_cell).note(tenant_id, cell, epoch)
