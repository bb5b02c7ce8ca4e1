"""Names that the configuration and those who read Envoy's statistics must agree on."""

CELL_HEADER = "x-cell-id"
"""Header by which the module names the cluster, and by which the cell knows that it is meant."""

CELL_HEADER_PREFIX = "x-cell-"
"""What clients send with this prefix never reaches a cell."""

CLAIM_HEADER_PREFIX = "x-cell-claim-"
"""What a header begins with in which a verified claim is handed to the module; the hash of the claim's name follows."""

METADATA = "cellplane"
"""Namespace of the dynamic metadata that the module writes."""

METADATA_REFUSED = "refused"
"""Key by which the module marks a request that it answers itself."""

ADMIN_SOCKET = "admin.sock"
"""Envoy's admin interface, in its working folder."""

FILTER = "cellplane"
MODULE = "cellplane_envoy"
ROUTES = "cellplane"
TOKENS = "cellplane-tokens"

CLUSTERS_FILE = "cds.json"
LISTENERS_FILE = "lds.json"
ROUTES_FILE = "rds.json"
TOKENS_FILE = "tokens.json"
"""Files that Envoy watches, in its working folder."""
STAT_PREFIX = "ingress"
