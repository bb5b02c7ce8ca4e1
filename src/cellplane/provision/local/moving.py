"""What a move in a local fleet needs: the databases and queues of its cells, and their records of moves."""

from dataclasses import dataclass
from pathlib import Path

from cellplane.errors import ProvisionError
from cellplane.provision.local.folder import StateFolder, read_json
from cellplane.provision.local.roster import members_of


@dataclass(frozen=True, slots=True)
class LocalCells:
    """The cells of a local fleet, as a mover sees them.

    Attributes:
        control_url: of its control plane.
        databases: cell → URL of its database, for its owner.
        queues: cell → URL of its NATS.
        records: cell → file of its record of moves.
        moves: folder in which moves are kept.
    """

    control_url: str
    databases: dict[str, str]
    queues: dict[str, str]
    records: dict[str, Path]
    moves: Path


def local_cells(state_dir: Path) -> LocalCells:
    """Read them from a fleet's state folder.

    Raises:
        ProvisionError: no fleet is there.
    """
    folder = StateFolder(state_dir.absolute())
    endpoints = read_json(folder.endpoints)
    members = members_of(endpoints or {})
    if endpoints is None or members is None:
        raise ProvisionError(
            f"no local fleet is in {folder.root}: start one with `cellplane demo`, or name its folder with --state"
        )
    ports = endpoints["ports"]
    return LocalCells(
        endpoints["control"],
        {cell: f"postgresql://postgres@127.0.0.1:{ports[f'{cell}.postgres']}/postgres" for cell in members},
        {cell: f"nats://127.0.0.1:{ports[f'{cell}.nats']}" for cell in members},
        {cell: folder.moves(cell) for cell in members},
        folder.root / "moves",
    )
