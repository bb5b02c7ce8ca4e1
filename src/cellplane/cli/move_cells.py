"""Finds the cells between which `cellplane move` moves tenants."""

from pathlib import Path

from cellplane.errors import ProvisionError
from cellplane.moves.cells import FILE, Cells, read_cells
from cellplane.provision.local.moving import local_cells


def cells_in(state_dir: Path) -> Cells:
    """Those that a folder's cells.yaml names, or those of the local fleet whose folder it is.

    Raises:
        MoveError: cells.yaml is not understood.
        ProvisionError: neither is there.
    """
    folder = state_dir.absolute()
    if (folder / FILE).exists():
        return read_cells(folder)
    try:
        return local_cells(folder)
    except ProvisionError as error:
        raise ProvisionError(f"{error}; or name the cells of another fleet in {folder / FILE}") from error
