"""What a move in a local fleet needs: the databases and queues of its cells, and their records of moves."""

from pathlib import Path

from cellplane.errors import ProvisionError
from cellplane.moves.cells import Cells
from cellplane.moves.settings import HoldSettings
from cellplane.provision.local.folder import StateFolder, read_json
from cellplane.provision.local.roster import members_of


def local_cells(state_dir: Path) -> Cells:
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
    return Cells(
        endpoints["control"],
        {cell: f"postgresql://postgres@127.0.0.1:{ports[f'{cell}.postgres']}/postgres" for cell in members},
        {cell: f"nats://127.0.0.1:{ports[f'{cell}.nats']}" for cell in members},
        {cell: folder.moves(cell) for cell in members},
        folder.root / "moves",
        hold_seconds=HoldSettings().local_seconds,
    )
