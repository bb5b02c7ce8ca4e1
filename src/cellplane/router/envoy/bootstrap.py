"""Renders what Envoy is started with: its identity, its admin interface, its limits, where its resources are."""

from pathlib import Path
from typing import Any

from cellplane.router.doorbell import SOCKET
from cellplane.router.envoy.copies import copies_cluster
from cellplane.router.envoy.names import ADMIN_SOCKET, AGENT_CLUSTER, CLUSTERS_FILE, LISTENERS_FILE
from cellplane.router.settings import RouterSettings

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"


def bootstrap(settings: RouterSettings, folder: Path) -> dict[str, Any]:
    """Envoy's bootstrap; it changes only with the router's settings.

    Args:
        folder: absolute folder of ``cds.json`` and ``lds.json``.
    """
    return {
        "node": {"id": settings.router_id, "cluster": "cellplane-router"},
        # In its working folder, and for its own user only: a TCP port would be open to every web page on this machine.
        "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": 0o600}}},
        "static_resources": {"clusters": [_agent(settings), copies_cluster(settings)]},
        "dynamic_resources": {
            "cds_config": _file(folder / CLUSTERS_FILE),
            "lds_config": _file(folder / LISTENERS_FILE),
        },
        "overload_manager": {
            "refresh_interval": "0.25s",
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.fixed_heap",
                    "typed_config": {
                        "@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig",
                        "max_heap_size_bytes": settings.max_heap_bytes,
                    },
                },
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": settings.max_client_connections,
                    },
                },
            ],
            "actions": [
                _heap_action("envoy.overload_actions.shrink_heap", 0.95),
                _heap_action("envoy.overload_actions.stop_accepting_requests", 0.98),
            ],
        },
    }


def _agent(settings: RouterSettings) -> dict[str, Any]:
    """Where the module asks for a newer table: a socket in Envoy's working folder."""
    endpoint = {"address": {"pipe": {"path": SOCKET}}}
    return {
        "name": AGENT_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": AGENT_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "circuit_breakers": {
            "thresholds": [{"max_requests": settings.max_refetches, "max_pending_requests": settings.max_refetches}]
        },
    }


def _file(path: Path) -> dict[str, Any]:
    return {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}


def _heap_action(name: str, share: float) -> dict[str, Any]:
    return {"name": name, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]}
