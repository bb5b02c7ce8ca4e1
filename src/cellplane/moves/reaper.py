"""Takes away what moves left in the cells' databases and no move under way needs.

A slot that is forgotten keeps its server's log for ever, and fills the disk. Moves remove what they brought; what is
left is of a mover that was killed for good, of a book of moves that was lost, or of a database that was restored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cellplane.moves.book import MoveBook
from cellplane.moves.errors import MoveError
from cellplane.moves.remains import Remnant, unowned
from cellplane.moves.settings import MoverSettings
from cellplane.moves.stores import remnants_in, remove_in


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found.

    Attributes:
        remnants: what belongs to no move that is under way, in the order in which it goes.
        unreached: cell → why its database could not be asked.
    """

    remnants: tuple[Remnant, ...]
    unreached: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reaper:
    """Looks in the databases of all cells.

    Args:
        databases: cell → URL, for its owner.
        book: of the moves.
        settings: times.
    """

    databases: Mapping[str, str]
    book: MoveBook
    settings: MoverSettings = field(default_factory=MoverSettings)

    def look(self) -> Found:
        """Find what belongs to no move that is under way.

        Raises:
            MoveError: a move's file cannot be read: nothing is known of what it needs.
        """
        found: list[Remnant] = []
        unreached = {}
        for cell, url in self.databases.items():
            try:
                found += remnants_in(cell, url, self.settings)
            except MoveError as error:
                unreached[cell] = str(error)
        # Behind what is there: a move is on record before it brings anything.
        return Found(unowned(found, living(self.book)), unreached)

    def reap(self, found: Found, told: Callable[[Remnant], None]) -> dict[Remnant, str]:
        """Remove what was found; no row is deleted. Returns what could not be removed, with the reason.

        Args:
            found: by a look.
            told: hears of each that is removed.
        """
        failed = {}
        for remnant in found.remnants:
            try:
                remove_in(self.databases[remnant.cell], remnant, self.settings)
            except MoveError as error:
                failed[remnant] = str(error)
            else:
                told(remnant)
        return failed


def living(book: MoveBook) -> frozenset[str]:
    """Ids of the moves that are under way."""
    return frozenset(move.id for move in book.all() if not move.phase.is_end)
