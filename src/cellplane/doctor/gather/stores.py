"""What moves have in the cells' databases."""

from pathlib import Path

from cellplane.doctor.facts import RemnantFact, SlotFact, StoreFact
from cellplane.doctor.settings import DoctorSettings
from cellplane.errors import CellplaneError
from cellplane.moves.book import MoveBook
from cellplane.moves.remains import unowned
from cellplane.moves.settings import MoverSettings


def store_of(cell: str, url: str, moves: Path, settings: DoctorSettings) -> StoreFact:
    """Ask a cell's database.

    Args:
        cell: its id.
        url: of its database, for its owner.
        moves: folder of the moves.
        settings: how long it may take.
    """
    try:
        # Loads database drivers, which the other questions need not.
        from cellplane.moves.reaper import living  # noqa: PLC0415
        from cellplane.moves.stores import remnants_in, slots_in  # noqa: PLC0415
    except ModuleNotFoundError as error:
        return StoreFact(cell, failure=f"asking it needs {error.name}: pip install 'cellplane[moves]'")
    # libpq counts in whole seconds.
    timed = MoverSettings(connect_seconds=max(1, round(settings.probe_seconds)))
    try:
        slots = tuple(
            SlotFact(each.name, each.kept_bytes, each.is_read, each.is_lost) for each in slots_in(cell, url, timed)
        )
        # First what is there, then which moves are under way: one is on record before it brings anything.
        remnants = remnants_in(cell, url, timed)
        found = unowned(remnants, living(MoveBook(moves)))
    except CellplaneError as error:
        return StoreFact(cell, failure=str(error))
    return StoreFact(cell, slots, tuple(RemnantFact(each.kind, str(each)) for each in found))
