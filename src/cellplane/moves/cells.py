"""cells.yaml: where the cells are between which tenants are moved, and which control plane knows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cellplane.moves.errors import MoveError
from cellplane.moves.fields import Place, Reader, WrongError, parsed
from cellplane.moves.settings import HoldSettings

FILE = "cells.yaml"
"""Name of the file in the folder of moves."""

_FIELDS = ("database", "databaseFile", "peerDatabase", "peerDatabaseFile", "queue", "queueFile", "record")


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a fleet, as a mover sees them.

    Attributes:
        control_url: of its control plane.
        databases: cell → URL of its database, for a role that may do what a move needs.
        queues: cell → URL of its NATS; of those that have one.
        records: cell → file of its record of moves; of those whose file can be written here.
        moves: folder in which moves are kept.
        peer_databases: cell → URL of its database as the other cells' servers reach it, where it is another.
        hold_seconds: how long the way back of a move is held open where nobody says.
    """

    control_url: str
    databases: Mapping[str, str] = field(repr=False)
    queues: Mapping[str, str] = field(repr=False)
    records: Mapping[str, Path]
    moves: Path
    peer_databases: Mapping[str, str] = field(default_factory=dict, repr=False)
    hold_seconds: float = HoldSettings().seconds


def read_cells(folder: Path) -> Cells:
    """Read them from the file in a folder, in which the moves are kept too.

    Raises:
        MoveError: the file, or one that it names, cannot be read, or says something that is not understood; the message
            names the field, and shows no URL.
    """
    path = folder / FILE
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise MoveError(f"{path} cannot be read: {error}") from error

    def read(top: Reader) -> Cells:
        cells = {name: Reader(place.node, place.path, _FIELDS) for name, place in top.named("cells").items()}
        if len(cells) < 2:
            raise top.wrong("cells", f"expected two cells or more, found {len(cells)}: tenants move between them")
        databases = {name: _url(cell, "database", folder) for name, cell in cells.items()}
        for name, cell in cells.items():
            if name not in _there(databases):
                raise cell.wrong("database", "expected a URL, or databaseFile with one; found neither")
        return Cells(
            top.text("control"),
            _there(databases),
            _there({name: _url(cell, "queue", folder) for name, cell in cells.items()}),
            {name: folder / cell.text("record") for name, cell in cells.items() if cell.at("record") is not None},
            folder / "moves",
            _there({name: _url(cell, "peerDatabase", folder) for name, cell in cells.items()}),
        )

    found = parsed(text, FILE, ("control", "cells"), read)
    if found is None:
        raise MoveError(f"{path} is empty: expected control and cells")
    return found


def _there(urls: Mapping[str, str | None]) -> dict[str, str]:
    return {name: url for name, url in urls.items() if url is not None}


def _url(cell: Reader, name: str, folder: Path) -> str | None:
    """A URL that stands there, or in a file that is named there."""
    file = cell.at(f"{name}File")
    if file is None:
        return None if cell.at(name) is None else cell.text(name)
    if cell.at(name) is not None:
        raise cell.wrong(name, f"{name}File is there too: take one of them away")
    return _read_url(file, folder / cell.text(f"{name}File"))


def _read_url(place: Place, path: Path) -> str:
    try:
        url = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongError(place.path, place.node.mark, f"{path} cannot be read: {error}") from error
    if not url:
        raise WrongError(place.path, place.node.mark, f"{path} is empty: expected a URL")
    return url
