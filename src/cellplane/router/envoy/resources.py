"""Renders what Envoy is given while it runs: clusters, the listener, and the routes that name the table."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cellplane.model import CellProtocol, Priority, Reads
from cellplane.model.address import is_ip
from cellplane.router.envoy.access_log import access_log
from cellplane.router.envoy.certificate import STRICT_TRANSPORT, certificate, transport_socket
from cellplane.router.envoy.copies import copies_listener
from cellplane.router.envoy.identity import JWT_FILTER_TYPE, Identity, jwt_filter
from cellplane.router.envoy.names import (
    CELL_HEADER,
    COMPARED_HEADER,
    FILTER,
    FORWARDED_HEADER,
    MIRRORED_HEADER,
    MODULE,
    PAIR_HEADER,
    PAIR_OF_HEADER,
    PRIORITY_HEADER,
    PROOF_HEADER,
    ROUTES,
    ROUTES_FILE,
    SHADOW_HEADER,
    SHADOW_PROOF_HEADER,
    STAT_PREFIX,
    TOKENS,
    TOKENS_FILE,
)
from cellplane.router.envoy.parts import FILTERS, LISTENER, MANAGER, ROUTER, STRING, TYPE, module_filter, seconds
from cellplane.router.envoy.replies import local_replies
from cellplane.router.local_files import LocalFiles
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable, version_of
from cellplane.routing import RoutingTable
from cellplane.routing.layers import CellRow

Json = dict[str, Any]

_CLUSTER = f"{TYPE}envoy.config.cluster.v3.Cluster"
_ROUTES = f"{TYPE}envoy.config.route.v3.RouteConfiguration"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_FILTER_CONFIG = f"{TYPE}envoy.config.route.v3.FilterConfig"
_KEYS_MARK = "+"
_NO_FILES = LocalFiles()

MAX_HTTP2_STREAMS = 100
"""Concurrent HTTP/2 streams of one client connection (Envoy's edge best practices)."""

HTTP2_STREAM_WINDOW_BYTES = 64 * 1024
HTTP2_CONNECTION_WINDOW_BYTES = 1024 * 1024


def clusters(table: RoutingTable, settings: RouterSettings, leaving: RoutingTable | None = None) -> Json:
    """CDS: one cluster a cell, named by the cell's id. Equal cells are the same version, whatever the table's epoch.

    Args:
        leaving: the table that is still live; its cells stay until no route names them.
    """
    cells = {cell.id: cell for cell in (*(leaving.cells if leaving else ()), *table.cells)}
    return _by_content([{"@type": _CLUSTER, **_cluster(cells[cell_id], settings)} for cell_id in sorted(cells)])


def listeners(settings: RouterSettings) -> Json:
    """LDS: those of clients and of copies. They never depend on the table, so that a new table closes no connection."""
    return _by_content([{"@type": LISTENER, **_listener(settings)}, copies_listener(settings)])


def tokens(identity: Identity, settings: RouterSettings) -> Json:
    """ECDS: the filter that verifies tokens. Like a table, a new one closes no connection."""
    extension = {
        "@type": f"{TYPE}envoy.config.core.v3.TypedExtensionConfig",
        "name": TOKENS,
        "typed_config": jwt_filter(identity, settings),
    }
    return _by_content([extension])


def routes(
    stored: StoredTable, settings: RouterSettings, *, files: LocalFiles = _NO_FILES, board: Path | None = None
) -> Json:
    """RDS: every request passes the module, which maps the table's files.

    Args:
        files: those of keys, other ones for other keys.
        board: what the module and the agent share while they run; another one for another base.
    """
    config = f"table={stored.path}\n"
    if stored.overlay_path is not None:
        config += f"overlay={stored.overlay_path}\n"
    if files.cookie_keys is not None:
        config += f"cookie-keys={files.cookie_keys}\n"
    if files.proof_keys is not None:
        config += f"proof-keys={files.proof_keys}\n"
    if board is not None:
        config += f"board={board}\n"
    if settings.max_kept_bytes and any(policy.reads is Reads.CACHE for policy in stored.table.policies):
        config += f"kept-bytes={settings.max_kept_bytes}\n"
    if settings.access_log is not None:
        config += "logged=1\n"
    module = {
        "@type": f"{FILTERS}.dynamic_modules.v3.DynamicModuleFilterPerRoute",
        "dynamic_module_config": {"name": MODULE},
        "filter_name": FILTER,
        "filter_config": {
            "@type": STRING,
            "value": f"{config}epoch={stored.epoch}\n",
        },
    }
    return route_configuration(
        routes_version(stored.table, files),
        [
            _route(settings, mirror, match)
            for mirror in _mirrors(stored.table, files)
            for match in _matches(stored.table)
        ],
        {FILTER: module, **_without_tokens(stored.table)},
        is_secure=settings.tls_certificate is not None,
    )


_HIGH = {"name": PRIORITY_HEADER, "string_match": {"exact": "high"}}
_EVENTS = {"name": "accept", "string_match": {"contains": "text/event-stream"}}
_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}


def _matches(table: RoutingTable) -> list[tuple[Json, ...]]:
    """Headers of each route. The first that matches counts, and it is looked for again when the module has decided; so
    every header costs each request twice, and what no policy and no cell asks for is not looked for.
    """
    kinds: list[tuple[Json, ...]] = [(_EVENTS,), ()]
    if any(cell.protocol is CellProtocol.HTTP2 for cell in table.cells):
        kinds.insert(1, (_GRPC,))
    if any(policy.priority is Priority.HIGH for policy in table.policies):
        kinds = [*((_HIGH, *kind) for kind in kinds), *kinds]
    return kinds


def _mirrors(table: RoutingTable, files: LocalFiles) -> list[Json | None]:
    """What routes do with copies, the last one nothing: on a route that may mirror, Envoy copies all headers of each
    request, whether or not it then does.
    """
    has_shadow = any(policy.shadow is not None for policy in table.policies)
    compares = any(policy.compare_bp for policy in table.policies)
    # A proof is for one cell, so a copy has one of its own.
    proof = {} if files.proof_keys is None else {PROOF_HEADER: f"%REQ({SHADOW_PROOF_HEADER})%"}
    return [*([_compared_mirror(proof)] if compares else []), *([_mirror(proof)] if has_shadow else []), None]


def _route(settings: RouterSettings, mirror: Json | None, headers: tuple[Json, ...]) -> Json:
    action: Json = {"cluster_header": CELL_HEADER, "timeout": seconds(settings.request_timeout_seconds)}
    if _EVENTS in headers:
        # A stream of events ends when somebody ends it; silence ends it too.
        action |= {"timeout": "0s", "idle_timeout": seconds(settings.idle_timeout_seconds)}
    if _GRPC in headers:
        # A call lasts as long as its client says (grpc-timeout), and a stream until somebody ends it; or silence.
        action |= {
            "timeout": "0s",
            "idle_timeout": seconds(settings.idle_timeout_seconds),
            "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        }
    if _HIGH in headers:
        action["priority"] = "HIGH"
    if mirror is not None:
        action["request_mirror_policies"] = [mirror]
        headers = ({"name": mirror["cluster_header"], "present_match": True}, *headers)
    return {"match": {"prefix": "/", **({"headers": list(headers)} if headers else {})}, "route": action}


def _mirror(proof: dict[str, str]) -> Json:
    """A copy to the cell that the module names, as if it were meant: a cell refuses what names another."""
    return _copy(SHADOW_HEADER, {CELL_HEADER: f"%REQ({SHADOW_HEADER})%", **proof})


def _compared_mirror(proof: dict[str, str]) -> Json:
    """A copy whose answer is compared: to the router's own listener, which sends it on (``copies``)."""
    forwarded = {FORWARDED_HEADER: "%REQ(x-forwarded-for)%"}
    return _copy(COMPARED_HEADER, {PAIR_HEADER: f"%REQ({PAIR_OF_HEADER})%", **forwarded, **proof})


def _copy(cluster_header: str, headers: dict[str, str]) -> Json:
    changed = [{"header": {"key": key, "value": value}} for key, value in {**headers, MIRRORED_HEADER: "1"}.items()]
    return {
        "cluster_header": cluster_header,
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [
            {"append": {**header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}} for header in changed
        ],
    }


def _without_tokens(table: RoutingTable) -> Json:
    """Takes the filter for tokens off a route whose table believes nobody's: it would cost every request."""
    return {} if table.edge.jwt else {TOKENS: {"@type": _FILTER_CONFIG, "disabled": True}}


def routes_version(table: RoutingTable, files: LocalFiles) -> str:
    """The version of the table, and what names the keys behind it."""
    return "".join([version_of(table), *(f"{_KEYS_MARK}{path.name}" for path in files.paths)])


def table_version(version: str) -> str:
    """The version of the table of a version of routes."""
    return version.partition(_KEYS_MARK)[0]


def route_configuration(
    version: str, routes: list[Json], filters: Json | None = None, *, is_secure: bool = False
) -> Json:
    """RDS of these routes, for every host.

    Args:
        filters: what filters are told, by their names; whatever the route.
        is_secure: whether clients are served by TLS, and told to ask so alone.
    """
    host: Json = {"name": "all", "domains": ["*"], "routes": routes, "typed_per_filter_config": filters or {}}
    if is_secure:
        strict = {"header": {"key": "strict-transport-security", "value": STRICT_TRANSPORT}}
        host["response_headers_to_add"] = [{**strict, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]
    hosts = [host]
    return _discovery(version, [{"@type": _ROUTES, "name": ROUTES, "virtual_hosts": hosts}])


def secrets(settings: RouterSettings) -> Json:
    """SDS: what clients are shown; nothing where they are served without TLS."""
    return _by_content([certificate(settings)] if settings.tls_certificate else [])


def _by_content(resources: list[Json]) -> Json:
    """Resources whose version follows from what they say."""
    return _discovery(hashlib.sha256(json.dumps(resources).encode()).hexdigest()[:16], resources)


def _discovery(version: str, resources: list[Json]) -> Json:
    return {"version_info": version, "resources": resources}


def _cluster(cell: CellRow, settings: RouterSettings) -> Json:
    endpoint = {"address": {"socket_address": {"address": cell.address, "port_value": cell.port}}}
    return {
        "name": cell.id,
        "type": "STATIC" if is_ip(cell.address) else "STRICT_DNS",
        "connect_timeout": seconds(settings.connect_timeout_seconds),
        "per_connection_buffer_limit_bytes": settings.connection_buffer_bytes,
        "load_assignment": {
            "cluster_name": cell.id,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        # A cell without a healthy host is down; Envoy must not send its tenants there regardless.
        # What workers know of a cell must not lag behind: by default a second change waits for a second.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "health_checks": [
            {
                "timeout": seconds(settings.health_timeout_seconds),
                "interval": seconds(settings.health_interval_seconds),
                "no_traffic_interval": seconds(settings.health_interval_seconds),
                "unhealthy_threshold": settings.unhealthy_threshold,
                "healthy_threshold": 1,
                "http_health_check": {
                    "path": settings.health_path,
                    "host": cell.id,
                    "codec_client_type": "HTTP2" if cell.protocol is CellProtocol.HTTP2 else "HTTP1",
                },
            }
        ],
        "outlier_detection": _outliers(settings),
        "circuit_breakers": {"thresholds": _budgets(cell, settings)},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": TYPE + _HTTP_OPTIONS,
                "common_http_protocol_options": {"idle_timeout": seconds(settings.idle_timeout_seconds)},
                "explicit_http_config": _protocol(cell.protocol),
            }
        },
    }


def _protocol(protocol: CellProtocol) -> Json:
    if protocol is CellProtocol.HTTP1:
        return {"http_protocol_options": {}}
    return {
        "http2_protocol_options": {
            # A WebSocket is extended CONNECT there (RFC 8441), for cells that know it.
            "allow_connect": True,
            "initial_stream_window_size": HTTP2_STREAM_WINDOW_BYTES,
            "initial_connection_window_size": HTTP2_CONNECTION_WINDOW_BYTES,
        }
    }


def _outliers(settings: RouterSettings) -> Json:
    """Takes a cell out at once that accepts no connections; a health check that it passes brings it back. What a cell
    answers is not Envoy's to judge here: it would do so for its one tenant who sends nonsense, too.
    """
    enforced = ("consecutive_5xx", "consecutive_gateway_failure", "success_rate", "local_origin_success_rate")
    not_these = (*enforced, "failure_percentage", "failure_percentage_local_origin")
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": settings.connection_failures,
        "enforcing_consecutive_local_origin_failure": 100,
        **{f"enforcing_{name}": 0 for name in not_these},
        # A cell is the only host of its cluster.
        "max_ejection_percent": 100,
        "base_ejection_time": seconds(settings.ejection_seconds),
        "max_ejection_time": seconds(settings.ejection_seconds),
    }


def _budgets(cell: CellRow, settings: RouterSettings) -> list[Json]:
    """Requests under way at once: those of high priority have a part that nobody else can take, and no other."""
    most = cell.concurrency or settings.max_cell_requests
    reserved = max(1, round(most * settings.reserved_share))
    parts = {"DEFAULT": max(1, most - reserved), "HIGH": reserved}
    return [
        {
            "priority": priority,
            "max_connections": settings.max_cell_connections,
            "max_pending_requests": part,
            "max_requests": part,
        }
        for priority, part in parts.items()
    ]


def _listener(settings: RouterSettings) -> Json:
    return {
        "name": "clients",
        "address": {"socket_address": {"address": settings.host, "port_value": settings.port}},
        "per_connection_buffer_limit_bytes": settings.connection_buffer_bytes,
        "filter_chains": [
            {
                **({"transport_socket": transport_socket(settings)} if settings.tls_certificate else {}),
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": {"@type": MANAGER, **connection_manager(settings)},
                    }
                ],
            }
        ],
    }


def connection_manager(settings: RouterSettings) -> Json:
    """HTTP for clients that nobody trusts: Envoy's edge best practices, and the module in front of the router."""
    verifier = {
        "name": TOKENS,
        "config_discovery": {
            "config_source": _file(settings, TOKENS_FILE),
            "type_urls": [JWT_FILTER_TYPE],
        },
    }
    return {
        "stat_prefix": STAT_PREFIX,
        "rds": {"route_config_name": ROUTES, "config_source": _file(settings, ROUTES_FILE)},
        "http_filters": [verifier, module_filter(), ROUTER],
        "local_reply_config": local_replies(settings),
        "server_name": "cellplane",
        "access_log": access_log(settings),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        # The edge: the client's address is the peer's. Envoy appends it to X-Forwarded-For, and drops x-envoy-*.
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "common_http_protocol_options": {
            "idle_timeout": seconds(settings.idle_timeout_seconds),
            "headers_with_underscores_action": "REJECT_REQUEST",
            "max_headers_count": settings.max_header_count,
        },
        "max_request_headers_kb": settings.max_header_kib,
        "http2_protocol_options": {
            "max_concurrent_streams": MAX_HTTP2_STREAMS,
            # Browsers open a WebSocket over HTTP/2 so (RFC 8441).
            "allow_connect": True,
            "initial_stream_window_size": HTTP2_STREAM_WINDOW_BYTES,
            "initial_connection_window_size": HTTP2_CONNECTION_WINDOW_BYTES,
        },
        "stream_idle_timeout": seconds(settings.idle_timeout_seconds),
        "request_headers_timeout": seconds(settings.header_timeout_seconds),
        "request_timeout": seconds(settings.client_timeout_seconds),
    }


def _file(settings: RouterSettings, name: str) -> Json:
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(settings.state_dir.absolute() / "envoy" / name)},
        "initial_fetch_timeout": seconds(settings.start_timeout_seconds),
    }
