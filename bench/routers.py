"""The routers that are compared: Envoy with the module, Envoys without it, and HAProxy."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2

from cellplane.model import Cell, Fleet, StrategyName
from cellplane.placement import SLOT_COUNT
from cellplane.provision.local import ports as port_choice
from cellplane.router.envoy import resources
from cellplane.router.envoy.bootstrap import bootstrap
from cellplane.router.envoy.identity import Identity
from cellplane.router.envoy.names import CELL_HEADER, CLUSTERS_FILE, LISTENERS_FILE, ROUTES_FILE, TOKENS_FILE
from cellplane.router.envoy.process import EnvoyProcess
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable
from cellplane.routing import PoolSlots, RoutingTable, TableContents, TenantColumns, TenantEntry, encode

HOST = "127.0.0.1"
CELLS = 16
START_SECONDS = 60.0
STOP_SECONDS = 5.0

Json = dict[str, Any]


class Router(Protocol):
    """Something that listens and uses CPU."""

    name: str
    url: str

    def pid(self) -> int:
        """Its process."""

    def stop(self) -> None:
        """End it."""


def cell_ids() -> list[str]:
    """The cells of the benchmark, sorted."""
    return sorted(f"cell-{number}" for number in range(1, CELLS + 1))


def make_table(tenants: int, backend_port: int, folder: Path) -> StoredTable:
    """A table with so many pinned tenants, tenant-0000001 and on; tenant n is pinned to cell n modulo 16."""
    contents = TableContents(
        epoch=1,
        fleet=Fleet("bench"),
        cells=tuple(Cell(cell, HOST, backend_port) for cell in cell_ids()),
        pools=(PoolSlots("default", StrategyName.MODULO, [slot % CELLS for slot in range(SLOT_COUNT)]),),
        shards=tuple((cell,) for cell in range(CELLS)),
        tenants=TenantColumns.of(TenantEntry(f"tenant-{n:07}".encode(), n % CELLS) for n in range(1, tenants + 1)),
    )
    data = encode(contents)
    path = folder / f"table-{tenants}.cpt"
    path.write_bytes(data)
    return StoredTable(RoutingTable(data), path)


@dataclass
class EnvoyRouter:
    """One Envoy with one worker, under the project's own listener and clusters.

    Attributes:
        routes: its route configuration.
        with_module: whether requests pass the routing module.
    """

    name: str
    settings: RouterSettings
    clusters: Json
    routes: Json
    with_module: bool

    def __post_init__(self) -> None:
        self.url = f"http://{HOST}:{self.settings.port}/"
        folder = self.settings.state_dir / "envoy"
        folder.mkdir(parents=True)
        listeners = resources.listeners(self.settings)
        if not self.with_module:
            manager = listeners["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
            manager["http_filters"] = manager["http_filters"][-1:]
        tokens = resources.tokens(Identity(), self.settings)
        for name, value in (
            (CLUSTERS_FILE, self.clusters),
            (LISTENERS_FILE, listeners),
            (TOKENS_FILE, tokens),
            (ROUTES_FILE, self.routes),
        ):
            (folder / name).write_bytes(resources_json(value))
        self._process = EnvoyProcess(self.settings, folder)
        self._process.start(resources_json(bootstrap(self.settings, folder)))
        wait_until(self._live, f"{self.name}: see {folder}")

    def _live(self) -> bool:
        return answers(self.url, {"x-tenant-id": "tenant-0000001", CELL_HEADER: "cell-1"})

    def pid(self) -> int:
        """See Router."""
        process = self._process.process
        assert process is not None, f"{self.name} died"
        return process.pid

    def stop(self) -> None:
        """See Router."""
        self._process.kill()


def module_router(name: str, stored: StoredTable, folder: Path) -> EnvoyRouter:
    """Envoy as Cellplane runs it."""
    settings = settings_of(name, folder)
    clusters = resources.clusters(stored.table, settings)
    return EnvoyRouter(name, settings, clusters, resources.routes(stored, settings), with_module=True)


def plain_router(name: str, stored: StoredTable, folder: Path, route: Json) -> EnvoyRouter:
    """The same Envoy without the module, under one plain route."""
    settings = settings_of(name, folder)
    timeout = f"{settings.request_timeout_seconds}s"
    routes = resources.route_configuration("1", [{"match": {"prefix": "/"}, "route": {**route, "timeout": timeout}}])
    return EnvoyRouter(name, settings, resources.clusters(stored.table, settings), routes, with_module=False)


class BackendEnvoy:
    """What all routers send to: an Envoy that answers by itself, and says which cell it was asked for."""

    def __init__(self, folder: Path, body: str = "ok") -> None:
        self.name = "backend"
        self._settings = settings_of(f"backend-{len(body)}", folder)
        self.port = self._settings.port
        self.url = f"http://{HOST}:{self.port}/"
        state = self._settings.state_dir / "envoy"
        state.mkdir(parents=True)
        answer = {
            "match": {"prefix": "/"},
            "direct_response": {"status": 200, "body": {"inline_string": body}},
            "response_headers_to_add": [{"header": {"key": "served-by", "value": f"%REQ({CELL_HEADER})%"}}],
        }
        listeners = resources.listeners(self._settings)
        manager = listeners["resources"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
        files = {
            CLUSTERS_FILE: {"version_info": "1", "resources": []},
            LISTENERS_FILE: listeners,
            ROUTES_FILE: resources.route_configuration("1", [answer]),
        }
        for name, value in files.items():
            (state / name).write_bytes(resources_json(value))
        self._process = EnvoyProcess(self._settings, state)
        self._process.start(resources_json(bootstrap(self._settings, state)))
        wait_until(lambda: answers(self.url), "the backend")

    def stop(self) -> None:
        """End it."""
        self._process.kill()


class HAProxyRouter:
    """HAProxy with a map of tenants, one thread."""

    def __init__(self, tenants: int, backend_port: int, folder: Path) -> None:
        self.name = f"haproxy, map of {tenants:,}"
        port = port_choice.choose(HOST, ["haproxy"], {})["haproxy"]
        self.url = f"http://{HOST}:{port}/"
        state = folder / "haproxy"
        state.mkdir()
        lines = "\n".join(f"tenant-{n:07} {cell_ids()[n % CELLS]}" for n in range(1, tenants + 1))
        (state / "tenants.map").write_text(f"{lines}\n")
        backends = "\n".join(f"backend {cell}\n  server {cell} {HOST}:{backend_port}" for cell in cell_ids())
        (state / "haproxy.cfg").write_text(
            "global\n  nbthread 1\ndefaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n"
            "  timeout connect 1s\n  http-reuse always\n"
            f"frontend clients\n  bind {HOST}:{port}\n"
            f"  http-request set-var(txn.cell) req.hdr(x-tenant-id),map_str({state / 'tenants.map'})\n"
            "  http-request set-header x-cell-id %[var(txn.cell)]\n"
            f"  use_backend %[var(txn.cell)]\n{backends}\n"
        )
        self._process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(state / "haproxy.cfg")], stderr=subprocess.DEVNULL
        )
        wait_until(lambda: answers(self.url, {"x-tenant-id": "tenant-0000001"}), "haproxy")

    def pid(self) -> int:
        """See Router."""
        return self._process.pid

    def stop(self) -> None:
        """See Router."""
        self._process.terminate()
        self._process.wait(STOP_SECONDS)


def haproxy_installed() -> bool:
    """Whether there is an HAProxy to compare with."""
    return shutil.which("haproxy") is not None


def answers(url: str, headers: dict[str, str] | None = None) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return httpx2.get(url, headers=headers, timeout=2, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait, with a bound."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come up")
        time.sleep(0.05)


def resources_json(value: Json) -> bytes:
    """A configuration file's bytes."""
    return json.dumps(value).encode()


def settings_of(name: str, folder: Path) -> RouterSettings:
    """Settings of one router of a benchmark, with a folder and a port of its own."""
    port = port_choice.choose(HOST, ["port"], {})["port"]
    return RouterSettings(
        router_id="bench",
        control_url="http://127.0.0.1:1",
        state_dir=(folder / name.replace(" ", "-").replace(",", "")).absolute(),
        port=port,
    )
