"""Whose law a table's shards are under: any cell of one may serve its tenants, so they are under one."""

from cellplane.errors import TableError
from cellplane.placement.laws import crossing
from cellplane.routing import layout
from cellplane.routing.shards import cells_of
from cellplane.routing.table import RoutingTable


def check_jurisdictions(table: RoutingTable) -> None:
    """Raise TableError where the cells of a shard are under different laws. No control plane publishes such a table."""
    for layer in filter(None, (table.base, table.overlay)):
        shards = layer.shards
        bad = crossing(table.cells, shards, layout.NO_CELL)
        if len(bad):
            ids = [table.cells[cell].id for cell in cells_of(shards[bad[0]].tolist())]
            raise TableError(f"shard {bad[0]}: {', '.join(ids)} are under different jurisdictions")
