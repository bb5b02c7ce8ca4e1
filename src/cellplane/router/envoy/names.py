"""Names that the configuration and those who read Envoy's statistics must agree on."""

CELL_HEADER = "x-cell-id"
"""Header by which the module names the cluster, and by which the cell knows that it is meant."""

CELL_HEADER_PREFIX = "x-cell-"
"""What clients send with this prefix never reaches a cell."""

REFUSAL_HEADER = "x-cell-refusal"
"""Header by which the module marks a request that it answers itself; no cell sees it."""

FILTER = "cellplane"
MODULE = "cellplane_envoy"
ROUTES = "cellplane"
STAT_PREFIX = "ingress"
