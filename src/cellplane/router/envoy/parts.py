"""What the renderers of Envoy's configuration share: kinds of it, and the filters of every listener."""

from typing import Any

from cellplane.router.envoy.names import FILTER, MODULE

Json = dict[str, Any]

TYPE = "type.googleapis.com/"
LISTENER = f"{TYPE}envoy.config.listener.v3.Listener"
MANAGER = f"{TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
FILTERS = f"{TYPE}envoy.extensions.filters.http"
STRING = f"{TYPE}google.protobuf.StringValue"

ROUTER: Json = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{FILTERS}.router.v3.Router"}}
"""The filter that sends a request on; the last of each listener."""


def module_filter(role: str = "") -> Json:
    """The module, as a filter.

    Args:
        role: what it does there; empty for the front, where each route says the rest.
    """
    config: Json = {
        "@type": f"{FILTERS}.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {"name": MODULE},
        "filter_name": FILTER,
    }
    if role:
        config["filter_config"] = {"@type": STRING, "value": role}
    return {"name": FILTER, "typed_config": config}


def seconds(value: float) -> str:
    """A duration as Envoy reads it, to the millisecond."""
    return f"{value:.3f}s"
