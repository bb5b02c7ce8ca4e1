"""Envoy's admin interface: what it really runs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from cellplane.errors import RouterError
from cellplane.router.engine import CellHosts
from cellplane.router.envoy.names import AGENT_CLUSTER, COPIES_CLUSTER, ROUTES, STAT_PREFIX, TOKENS
from cellplane.router.settings import RouterSettings

_ROUTE_STATS = f"http.{STAT_PREFIX}.rds.{ROUTES}"
_TOKEN_STATS = f"extension_config_discovery.http_filter.{TOKENS}"
_CLIENT_CONNECTIONS = f"http.{STAT_PREFIX}.downstream_cx_active"
_FILTER = (
    rf"^(cluster_manager\.(warming_clusters|cds\.(update_rejected|version_text))"
    rf"|extension_config_discovery\.http_filter\.{TOKENS}\.(config_fail|update_rejected|version_text)"
    rf"|listener_manager\.(total_listeners_active|lds\.version_text)"
    rf"|http\.{STAT_PREFIX}\.rds\.{ROUTES}\.(update_rejected|version_text))$"
)


@dataclass(frozen=True, slots=True)
class Running:
    """What Envoy runs.

    Attributes:
        clusters_version: version of its clusters, empty before the first.
        clusters_rejected: cluster updates that it refused since its start.
        warming_clusters: clusters that wait for their first health check.
        tokens_version: version of the filter that verifies tokens, empty before the first.
        tokens_rejected: updates of it that it refused since its start.
        routes_version: version of its routes, empty before the first.
        routes_rejected: route updates that it refused since its start.
        listeners_version: version of its listener, empty before the first.
        listeners_active: listeners that take connections; 0 once it drains.
    """

    clusters_version: str
    clusters_rejected: int
    warming_clusters: int
    tokens_version: str
    tokens_rejected: int
    routes_version: str
    routes_rejected: int
    listeners_version: str
    listeners_active: int


class Admin:
    """A client of one Envoy's admin interface."""

    def __init__(self, socket: Path, settings: RouterSettings) -> None:
        self._client = httpx2.AsyncClient(
            base_url="http://envoy",
            # A socket of this machine: there is nothing to verify.
            transport=httpx2.AsyncHTTPTransport(uds=str(socket), verify=False),
            timeout=settings.admin_timeout_seconds,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def server_info(self) -> dict[str, Any]:
        """Version, state, process options.

        Raises:
            RouterError: Envoy does not answer.
        """
        info: dict[str, Any] = json.loads(await self._get("/server_info"))
        return info

    async def running(self) -> Running:
        """What it runs now.

        Raises:
            RouterError: Envoy does not answer.
        """
        text = await self._get("/stats", filter=_FILTER)
        stats = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
        return Running(
            clusters_version=stats.get("cluster_manager.cds.version_text", "").strip('"'),
            clusters_rejected=int(stats.get("cluster_manager.cds.update_rejected", "0")),
            warming_clusters=int(stats.get("cluster_manager.warming_clusters", "0")),
            tokens_version=stats.get(f"{_TOKEN_STATS}.version_text", "").strip('"'),
            tokens_rejected=sum(
                int(stats.get(f"{_TOKEN_STATS}.{name}", "0")) for name in ("config_fail", "update_rejected")
            ),
            routes_version=stats.get(f"{_ROUTE_STATS}.version_text", "").strip('"'),
            routes_rejected=int(stats.get(f"{_ROUTE_STATS}.update_rejected", "0")),
            listeners_version=stats.get("listener_manager.lds.version_text", "").strip('"'),
            listeners_active=int(stats.get("listener_manager.total_listeners_active", "0")),
        )

    async def prometheus(self) -> bytes:
        """All its metrics, in Prometheus' text format.

        Raises:
            RouterError: Envoy does not answer.
        """
        return (await self._get("/stats/prometheus")).encode()

    async def cell_hosts(self) -> dict[str, CellHosts]:
        """Hosts of each cluster, and how many are healthy."""
        statuses = json.loads(await self._get("/clusters", format="json")).get("cluster_statuses", [])
        return {
            cluster["name"]: CellHosts(
                hosts=len(cluster.get("host_statuses", [])),
                healthy_hosts=sum(map(_healthy, cluster.get("host_statuses", []))),
            )
            for cluster in statuses
            if cluster["name"] not in (AGENT_CLUSTER, COPIES_CLUSTER)
        }

    async def reopen_logs(self) -> None:
        """Go on writing access logs under their names, whatever these were given to meanwhile.

        Raises:
            RouterError: Envoy does not answer.
        """
        await self._post("/reopen_logs")

    async def drain(self) -> None:
        """Stop taking new connections, and close each open one with its next answer.

        Not gracefully, as Envoy calls it: it would go on taking connections until it ends, and break those off that
        wait to be taken then. Another router on the same port takes them at once.

        In this order: clients whose connections are closed open others, and what waits to be taken when Envoy stops
        to listen is broken off by the kernel.

        Raises:
            RouterError: Envoy does not answer.
        """
        await self._post("/drain_listeners")
        await self._post("/healthcheck/fail")

    async def client_connections(self) -> int:
        """Open connections of clients.

        Raises:
            RouterError: Envoy does not answer.
        """
        text = await self._get("/stats", filter=f"^{_CLIENT_CONNECTIONS}$")
        return int(text.partition(": ")[2] or "0")

    async def _get(self, path: str, **params: str) -> str:
        try:
            response = await self._client.get(path, params=params)
            response.raise_for_status()
        except (httpx2.HTTPError, OSError) as error:
            raise RouterError(f"Envoy's admin interface does not answer {path}: {error!r}") from error
        return response.text

    async def _post(self, path: str) -> None:
        try:
            (await self._client.post(path)).raise_for_status()
        except (httpx2.HTTPError, OSError) as error:
            raise RouterError(f"Envoy's admin interface does not answer {path}: {error!r}") from error


def rejection_reason(log_tail: str) -> str:
    """The first reason for a refused update in Envoy's log: the module's, which is more exact, comes before Envoy's."""
    reasons: list[str] = re.findall(r"(?:table refused|update rejected): (.*)$", log_tail, re.MULTILINE)
    return reasons[0] if reasons else "see Envoy's log"


def _healthy(host: dict[str, Any]) -> bool:
    status = host.get("health_status", {})
    failed = {key for key, value in status.items() if key.startswith(("failed_", "pending_")) and value}
    return status.get("eds_health_status", "HEALTHY") == "HEALTHY" and not failed
