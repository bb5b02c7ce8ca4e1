"""Names that the configuration and those who read Envoy's statistics must agree on."""

CELL_HEADER = "x-cell-id"
"""Header by which the module names the cluster, and by which the cell knows that it is meant."""

CELL_HEADER_PREFIX = "x-cell-"
"""What clients send with this prefix never reaches a cell."""

PRIORITY_HEADER = "x-cell-priority"
"""Header by which the module chooses the route of requests that are shed last."""

SHADOW_HEADER = "x-cell-shadow"
"""Header by which the module names the cell that gets a copy."""

MIRRORED_HEADER = "x-cell-mirrored"
"""Header by which a cell knows a copy, whose answer nobody waits for."""

CLAIM_HEADER_PREFIX = "x-cell-claim-"
"""What a header begins with in which a verified claim is handed to the module; the hash of the claim's name follows."""

METADATA = "cellplane"
"""Namespace of the dynamic metadata that the module writes."""

METADATA_REFUSED = "refused"
"""Key by which the module marks a request that it answers itself."""

AGENT_CLUSTER = "agent:"
"""The cluster of the router's own agent; no cell can have this name."""

ADMIN_SOCKET = "admin.sock"
"""Envoy's admin interface, in its working folder."""

FILTER = "cellplane"
MODULE = "cellplane_envoy"
ROUTES = "cellplane"
TOKENS = "cellplane-tokens"
CERTIFICATE = "edge"

CLUSTERS_FILE = "cds.json"
LISTENERS_FILE = "lds.json"
ROUTES_FILE = "rds.json"
TOKENS_FILE = "tokens.json"
CERTIFICATE_FILE = "certificate.json"
"""Files that Envoy watches, in its working folder."""
STAT_PREFIX = "ingress"
