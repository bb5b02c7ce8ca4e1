"""Names that the configuration and those who read Envoy's statistics must agree on."""

CELL_HEADER = "x-cell-id"
"""Header by which the module names the cluster, and by which the cell knows that it is meant."""

CELL_HEADER_PREFIX = "x-cell-"
"""What clients send with this prefix never reaches a cell."""

PRIORITY_HEADER = "x-cell-priority"
"""Header by which the module chooses the route of requests that are shed last."""

SHADOW_HEADER = ":cell-shadow"
"""By which the module names the cell that gets a copy. No cell sees it: in HTTP/1.1 no name begins with a colon."""

PROOF_HEADER = "x-cell-proof"
"""Header by which a cell knows that a router sent the request."""

SHADOW_PROOF_HEADER = ":cell-shadow-proof"
"""The same for a copy, as the module says it."""

COMPARED_HEADER = ":cell-compared"
"""By which the module names the cluster of the router's own listener for copies, where both answers are compared."""

PAIR_OF_HEADER = ":cell-pair"
PAIR_HEADER = "x-cell-pair"
"""What copy and original have in common, and the copy's cell: as the module says it, and as it is in the copy."""

FORWARDED_HEADER = "x-cell-forwarded"
"""The original's ``X-Forwarded-For``, to which Envoy adds its own address in a copy."""

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

COPIES_CLUSTER = "shadow:"
"""The router's own listener for copies, as a cluster; no cell can have this name."""

COPIES_SOCKET = "copies.sock"
"""Where it listens, in Envoy's working folder."""

COPIES_ROLE = "copies"
"""The config by which the module's filter knows that it is there."""

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
