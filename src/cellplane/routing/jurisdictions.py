"""Whose law a table's shards are under: any cell of one may serve its tenants, so they are under one."""

import numpy as np

from cellplane.errors import TableError
from cellplane.routing import layout
from cellplane.routing.shards import cells_of
from cellplane.routing.table import RoutingTable


def check_jurisdictions(table: RoutingTable) -> None:
    """Raise TableError where the cells of a shard are under different laws. No control plane publishes such a table."""
    laws = {law: number for number, law in enumerate(dict.fromkeys(cell.jurisdiction for cell in table.cells))}
    if len(laws) < 2:
        return
    of_cell = np.array([laws[cell.jurisdiction] for cell in table.cells])
    for layer in filter(None, (table.base, table.overlay)):
        shards = layer.shards
        of_place = of_cell[np.where(shards == layout.NO_CELL, shards[:, :1], shards)]
        bad = np.flatnonzero((of_place != of_place[:, :1]).any(axis=1))
        if len(bad):
            ids = [table.cells[cell].id for cell in cells_of(shards[bad[0]].tolist())]
            raise TableError(f"shard {bad[0]}: {', '.join(ids)} are under different jurisdictions")
