"""Finds what moves left in a SQLite file, and takes it away. Rows stay."""

from cellplane.moves.remains import Remnant
from cellplane.moves.settings import MoverSettings
from cellplane.moves.sqlite.carrying import End
from cellplane.moves.sqlite.cleaning import forget_notes
from cellplane.moves.sqlite.guard import Guard, is_made


def remnants(end: End, cell: str) -> list[Remnant]:
    """All that any move has here, under way or not: guards, with what they noted."""
    if not is_made(end.connection):
        return []
    guards = end.connection.execute("SELECT tenant_id, move_id FROM cellplane_moves_guards ORDER BY tenant_id")
    return [Remnant(cell, "guard", tenant, move_id) for tenant, move_id in guards]


def remove(end: End, remnant: Remnant, settings: MoverSettings) -> None:
    """Take one away. What is gone already is as well."""
    forget_notes(end, remnant.move_id, settings)
    with end.file.writing(end.connection):
        Guard(remnant.name, remnant.move_id, settings).remove(end.connection)
