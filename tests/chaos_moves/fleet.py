"""A small fleet whose every part can be killed: two cells, each an app and a PostgreSQL, a control plane, a router."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from chaos.fleet import HOST, START_SECONDS, Proc, Resource
from chaos_moves.app import SCHEMA
from chaos_moves.forked import ForkedProc, ForkedRouter
from chaos_moves.judge import Logged, Outcome, Rows, Write
from e2e.harness import admin_headers, eventually, free_ports
from e2e_app.servers import Postgres
from support import plain_http

CELLS = ("cell-a", "cell-b")
CONTROL, ROUTER = "control", "router"
BYSTANDER = "bystander"
BYSTANDER_ROWS = 100

POSTGRES = {
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_logical_replication_workers": "16",
    "max_worker_processes": "24",
}
"""What moves need."""

HARSH = POSTGRES | {
    # Processes are killed, machines are not: what is written survives without being synced.
    "fsync": "off",
    # What replication applies is not waited for: so long it is lost where the server dies.
    "wal_writer_delay": "10s",
    "wal_writer_flush_after": "1GB",
    # A subscription whose other end was killed asks again so soon, and a run need not wait for it.
    "wal_retrieve_retry_interval": "200ms",
}
"""For runs that kill: what may be lost by a kill is lost."""


@dataclass(frozen=True)
class CellParts:
    """A cell."""

    name: str
    postgres: Postgres
    app: Proc
    record: Path
    """Its record of moves."""


class MovesFleet:
    """The processes of a fleet, and what is asked of it.

    Args:
        folder: for all that they keep.
        postgres: settings of the cells' servers.
    """

    def __init__(self, folder: Path, postgres: dict[str, str] | None = None) -> None:
        self.folder = folder
        control_port, self.router_port, *app_ports = free_ports(2 + len(CELLS))
        self.control_url = f"http://{HOST}:{control_port}"
        self._http = plain_http.client(base_url=self.control_url, timeout=30)
        command = [sys.executable, "-m", "cellplane.control", "--no-guard-rails", "--state", str(folder / CONTROL)]
        self.control = ForkedProc(CONTROL, [*command, "--port", str(control_port)], folder / "control.log")
        self.router = ForkedRouter(ROUTER, folder, self.control_url, self.router_port)
        options = [word for name, value in (postgres or POSTGRES).items() for word in ("-c", f"{name}={value}")]
        self._app_ports = dict(zip(CELLS, app_ports, strict=True))
        self.cells: dict[str, CellParts] = {}
        for cell, port in self._app_ports.items():
            own = folder / cell
            own.mkdir()
            server = Postgres(own, *options)
            words = ["--cell", cell, "--port", str(port), "--database", server.url, "--moves", str(own / "moves")]
            app = Proc(cell, [sys.executable, "-m", "chaos_moves.app", *words], own / "app.log")
            self.cells[cell] = CellParts(cell, server, app, own / "moves")

    @property
    def databases(self) -> dict[str, str]:
        """Cell → URL of its database."""
        return {cell: parts.postgres.url for cell, parts in self.cells.items()}

    @property
    def token(self) -> str:
        """The admin's, of the control plane."""
        return (self.folder / CONTROL / "admin-token").read_text().strip()

    def start(self) -> None:
        """Start everything, and wait until it is whole."""
        self.control.start()
        with ThreadPoolExecutor(len(CELLS)) as pool:
            list(pool.map(self._start_cell, self.cells.values()))
        eventually(lambda: self._answers("/healthz"), "the control plane is up", seconds=START_SECONDS)
        source = {"kind": "header", "name": "x-tenant-id", "trusted": True}
        spec = {"keySources": [source], "defaultPool": "default", "routers": 1}
        resources: list[Resource] = [("Fleet", "shop", spec)]
        resources += [("Cell", cell, {"address": HOST, "port": port}) for cell, port in self._app_ports.items()]
        resources.append(("Pool", "default", {"cells": list(CELLS), "strategy": "ring"}))
        items = [{"kind": kind, "name": name, "spec": spec} for kind, name, spec in resources]
        self._http.post("/v1/apply", json={"resources": items}, headers=self._admin()).raise_for_status()
        self.router.start()
        self.await_whole()

    def _start_cell(self, cell: CellParts) -> None:
        cell.postgres.start_and_wait()
        with psycopg.connect(cell.postgres.url) as connection:
            for statement in SCHEMA.split(";\n"):
                connection.execute(statement.encode())
        fill(cell.postgres.url, BYSTANDER, cell.name, BYSTANDER_ROWS)
        cell.app.start()

    def end(self) -> None:
        """End everything that still runs."""
        self.router.kill()
        self.router.kill_envoy()
        for proc in (self.control, *(cell.app for cell in self.cells.values())):
            proc.kill()
        for cell in self.cells.values():
            cell.postgres.stop()
        self._http.close()

    def kill(self, part: str) -> None:
        """Kill a part with SIGKILL: ``control``, ``router``, or a cell's name for its PostgreSQL."""
        if part == CONTROL:
            self.control.kill()
        elif part == ROUTER:
            self.router.kill()
            self.router.kill_envoy()
        else:
            self.cells[part].postgres.kill()

    def restore(self, part: str) -> None:
        """Start it again, and wait until everything is up."""
        if part == CONTROL:
            self.control.start()
        elif part == ROUTER:
            self.router.start()
        else:
            self.cells[part].postgres.start_and_wait()
        self.await_whole()

    def await_whole(self) -> None:
        """Wait until everything is up: the router runs what is published, and all cells are healthy."""
        eventually(self._whole, f"the fleet is whole: see {self.folder}", seconds=START_SECONDS)

    def _whole(self) -> bool:
        try:
            routers = self.get("/v1/routers")["items"]
            cells = self.get("/v1/cells")["items"]
        except httpx2.HTTPError:
            return False
        ready = [each for each in routers if each["ready"] and not each["lost"] and each["behind"] == 0]
        # A router that was killed a moment ago is not yet missed.
        return len(ready) == 1 and all(cell["healthy"] for cell in cells) and self.router.serves()

    def get(self, path: str) -> Any:
        """What the control plane says."""
        response = self._http.get(path, headers=self._admin())
        response.raise_for_status()
        return response.json()

    def put_tenant(self, tenant: str, **fields: Any) -> Any:
        """Create or change a tenant, and wait until its router knows; returns what the control plane says of it."""
        response = self._http.put(f"/v1/tenants/{tenant}", json=fields, headers=self._admin())
        response.raise_for_status()
        epoch = response.json()["epoch"]
        eventually(
            lambda: all(each["epoch"] >= epoch for each in self.get("/v1/routers")["items"]), f"{tenant} is routed"
        )
        return self.get(f"/v1/tenants/{tenant}")

    def _admin(self) -> dict[str, str]:
        return admin_headers(self.folder / CONTROL)

    def _answers(self, path: str) -> bool:
        with suppress(httpx2.HTTPError, FileNotFoundError):
            self.get(path)
            return True
        return False


@contextmanager
def moves_fleet(folder: Path, postgres: dict[str, str] | None = None) -> Iterator[MovesFleet]:
    """A fleet that runs until the block ends."""
    fleet = MovesFleet(folder, postgres)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.end()


def fill(url: str, tenant: str, cell: str, rows: int) -> list[Write]:
    """Give a tenant so many rows, numbered from 1; returns them as writes that were made long ago."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO entries SELECT %s, 'k' || n, n FROM generate_series(1, %s) AS n", (tenant, rows)
        )
        logged = connection.execute(
            "INSERT INTO log (tenant_id, number, key, cell, at) "
            "SELECT %s, n, 'k' || n, %s, clock_timestamp() FROM generate_series(1, %s) AS n "
            "RETURNING number, key, extract(epoch FROM at)::double precision",
            (tenant, cell, rows),
        ).fetchall()
    return [Write(number, key, number, 0.0, 0.0, Outcome.ACKNOWLEDGED, cell, at) for number, key, at in logged]


def rows_of(url: str, tenant: str) -> Rows:
    """All that a tenant has in a database."""
    with psycopg.connect(url) as connection:
        entries = connection.execute("SELECT key, value FROM entries WHERE tenant_id = %s", (tenant,)).fetchall()
        log = connection.execute(
            "SELECT number, key, cell, extract(epoch FROM at)::double precision FROM log WHERE tenant_id = %s",
            (tenant,),
        ).fetchall()
    return Rows(entries, [Logged(*row) for row in log])


def remove(url: str, tenant: str) -> None:
    """Delete a tenant's rows from a database, where no move watches it."""
    with psycopg.connect(url) as connection:
        for table in ("entries", "log"):
            connection.execute(f"DELETE FROM {table} WHERE tenant_id = %s".encode(), (tenant,))


_LEFT = {
    "slot": "SELECT slot_name FROM pg_replication_slots",
    "publication": "SELECT pubname FROM pg_publication",
    "subscription": "SELECT subname FROM pg_subscription",
    "origin": "SELECT roname FROM pg_replication_origin",
    "trigger": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    "function": "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
    "WHERE nspname = 'cellplane_moves' AND proname LIKE 'zz%'",
}
_LEFT_OF_MOVES = {
    "guard": "SELECT tenant_id FROM cellplane_moves.guards",
    "touched row": "SELECT key::text FROM cellplane_moves.touched",
    "mark": "SELECT number::text FROM cellplane_moves.marks",
}


def left_of_moves(databases: dict[str, str]) -> list[str]:
    """What moves left in cells' databases, and what they did to a tenant that was none of their business."""
    found = []
    for cell, url in databases.items():
        with psycopg.connect(url) as connection:
            queries = dict(_LEFT)
            if connection.execute("SELECT to_regclass('cellplane_moves.guards')").fetchone() != (None,):
                queries |= _LEFT_OF_MOVES
            for what, query in queries.items():
                found += [f"the {what} {name} in {cell}" for (name,) in connection.execute(query.encode())]
        bystander = rows_of(url, BYSTANDER)
        if (len(bystander.entries), len(bystander.log)) != (BYSTANDER_ROWS, BYSTANDER_ROWS):
            found.append(f"{BYSTANDER} has {len(bystander.entries)} and {len(bystander.log)} rows in {cell}")
    return found
