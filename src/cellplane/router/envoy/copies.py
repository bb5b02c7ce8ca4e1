"""Renders the way of copies whose answers are compared: out of Envoy, in by a socket of its folder, on to their cell.

Envoy throws away what a copy is answered. So the copy takes this way round, on which the module stands once more, as at
the front, and keeps the answer. None of it depends on the table, and where nothing is compared nothing passes here.
"""

from typing import Any

from cellplane.router.envoy.names import (
    CELL_HEADER,
    COPIES_CLUSTER,
    COPIES_ROLE,
    COPIES_SOCKET,
    FORWARDED_HEADER,
)
from cellplane.router.envoy.parts import LISTENER, MANAGER, ROUTER, module_filter, seconds
from cellplane.router.settings import RouterSettings

Json = dict[str, Any]

_PIPE = {"pipe": {"path": COPIES_SOCKET, "mode": 0o600}}


def copies_cluster(settings: RouterSettings) -> Json:
    """The listener below, as a cluster. What it does not take at once is not copied."""
    most = settings.max_compared
    return {
        "name": COPIES_CLUSTER,
        "type": "STATIC",
        "connect_timeout": seconds(settings.connect_timeout_seconds),
        "per_connection_buffer_limit_bytes": settings.connection_buffer_bytes,
        "load_assignment": {
            "cluster_name": COPIES_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": COPIES_SOCKET}}}}]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "priority": priority,
                    "max_connections": most,
                    "max_pending_requests": most,
                    "max_requests": most,
                }
                for priority in ("DEFAULT", "HIGH")
            ]
        },
    }


def copies_listener(settings: RouterSettings) -> Json:
    """A listener that this Envoy alone can reach: the module reads for which cell a copy is."""
    action = {"cluster_header": CELL_HEADER, "timeout": seconds(settings.request_timeout_seconds)}
    forwarded = {"header": {"key": "x-forwarded-for", "value": f"%REQ({FORWARDED_HEADER})%"}}
    route = {
        "match": {"prefix": "/"},
        "route": action,
        "request_headers_to_add": [{**forwarded, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}],
    }
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [route],
        # The latter is Envoy's own mark of a request that it has made itself.
        "request_headers_to_remove": [FORWARDED_HEADER, "x-envoy-internal"],
    }
    manager = {
        "@type": MANAGER,
        "stat_prefix": "copies",
        "route_config": {"name": "copies", "virtual_hosts": [host]},
        "http_filters": [module_filter(COPIES_ROLE), ROUTER],
        # The copy says who its client is.
        "use_remote_address": False,
        "skip_xff_append": True,
        "generate_request_id": False,
        "common_http_protocol_options": {"max_headers_count": settings.max_header_count + _ADDED_HEADERS},
        "max_request_headers_kb": settings.max_header_kib + _ADDED_HEADERS,
        "stream_idle_timeout": seconds(settings.idle_timeout_seconds),
    }
    return {
        "@type": LISTENER,
        "name": "copies",
        "address": _PIPE,
        "per_connection_buffer_limit_bytes": settings.connection_buffer_bytes,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


_ADDED_HEADERS = 20
"""Headers, and KiB of them, that a router adds to what a client may send."""
