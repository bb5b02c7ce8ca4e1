"""A real Envoy with the module in front of stub cells that say what reached them; no agent, no control plane."""

import asyncio
import json
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from cellplane.router.board import Board, Count
from cellplane.router.envoy.engine import EnvoyEngine
from cellplane.router.settings import RouterSettings
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable
from e2e.harness import free_ports
from support import plain_http

RECEIVE_SECONDS = 10.0
MAX_ANSWER_BYTES = 1 << 20


class _CellHandler(BaseHTTPRequestHandler):
    """Answers every request with what it was."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        seen = {
            "cell": getattr(self.server, "cell", None),
            "method": self.command,
            "path": self.path,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body_bytes": len(self.rfile.read(length)),
        }
        data = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_DELETE = do_GET  # noqa: N815  # the base class calls them so

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""


class StubCell(ThreadingHTTPServer):
    """A cell that answers what it was asked."""

    daemon_threads = True

    def __init__(self, cell: str) -> None:
        super().__init__(("127.0.0.1", 0), _CellHandler)
        self.cell = cell
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who asks may hang up."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def reached(self, name: str) -> list[str]:
        """Values of a header as the cell saw it."""
        return [value for key, value in self.json()["headers"] if key == name]


@dataclass
class Edge:
    """A running Envoy."""

    engine: EnvoyEngine
    runner: asyncio.Runner
    settings: RouterSettings

    def apply(self, stored: StoredTable) -> None:
        self.runner.run(self.engine.apply(stored))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def client(self, *, http2: bool = False) -> httpx2.Client:
        """A client that keeps its connections; of HTTP/2 with prior knowledge (RFC 9113, 3.3)."""
        return plain_http.client(base_url=self.url, http1=not http2, http2=http2, timeout=RECEIVE_SECONDS)

    def healthy_hosts(self, cell: str) -> int:
        return self.runner.run(self.engine.state()).cells[cell].healthy_hosts

    @property
    def board(self) -> Board:
        board = self.engine.board
        assert board is not None
        return board

    def counts(self, cell: str) -> dict[Count, int]:
        """What all workers have counted of a cell."""
        row = self.board.counts()[self.board.cells.index(cell)].tolist()
        return {count: row[count] for count in Count}

    def send(self, request: bytes, source: str = "127.0.0.1") -> RawAnswer | None:
        """Send bytes on a connection of their own; None where the connection is closed without an answer."""
        address = ("127.0.0.1", self.settings.port)
        with socket.create_connection(address, RECEIVE_SECONDS, (source, 0)) as connection:
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                return None
            return _read_answer(connection)

    def ask(
        self,
        headers: Sequence[tuple[str, bytes | str]],
        *,
        method: str = "GET",
        path: str = "/x",
        authority: str = "shop.example",
        source: str = "127.0.0.1",
        trailing: bytes = b"",
    ) -> RawAnswer | None:
        """One request with exactly these headers."""
        lines = [f"{method} {path} HTTP/1.1".encode(), f"Host: {authority}".encode(), b"Connection: close"]
        for name, value in headers:
            lines.append(name.encode() + b": " + (value.encode() if isinstance(value, str) else value))
        return self.send(b"\r\n".join(lines) + b"\r\n\r\n" + trailing, source)


def _read_answer(connection: socket.socket) -> RawAnswer | None:
    data = b""
    while len(data) < MAX_ANSWER_BYTES:
        try:
            chunk = connection.recv(65536)
        except ConnectionResetError:
            break
        if not chunk:
            break
        data += chunk
        head, separator, body = data.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            break
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return RawAnswer(int(status_line.split()[1]), headers, body)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return MAX_ANSWER_BYTES


def stored_with_stubs(
    path: Path,
    cells: dict[str, StubCell],
    *,
    down: Collection[str] = (),
    epoch_path: Path | None = None,
    overlay_path: Path | None = None,
) -> StoredTable:
    """A table whose cells are the stubs; a cell that is down has the address of nobody."""
    table = RoutingTable(path.read_bytes(), None if overlay_path is None else overlay_path.read_bytes())
    (closed,) = free_ports(1)
    table.cells = tuple(
        cell._replace(address="127.0.0.1", port=closed if cell.id in down else cells[cell.id].port)
        for cell in table.cells
    )
    return StoredTable(table, epoch_path or path, overlay_path)


@contextmanager
def start_edge(folder: Path, stored: StoredTable, **options: Any) -> Iterator[Edge]:
    """Run an Envoy by this table. A cell is down that refuses: the stubs are threads of a process that may be busy."""
    (port,) = free_ports(1)
    patience = {"health_interval_seconds": 0.2, "health_timeout_seconds": RECEIVE_SECONDS}
    options = {**patience, "drain_seconds": 0.0, **options}
    settings = RouterSettings(
        router_id="test", control_url="http://127.0.0.1:1", state_dir=folder, port=port, **options
    )
    with asyncio.Runner() as runner:
        engine = EnvoyEngine(settings)
        runner.run(engine.start(stored))
        try:
            yield Edge(engine, runner, settings)
        finally:
            runner.run(engine.stop())


@contextmanager
def stub_cells(ids: Collection[str]) -> Iterator[dict[str, StubCell]]:
    """A stub for each cell."""
    cells = {cell: StubCell(cell) for cell in ids}
    try:
        yield cells
    finally:
        for cell in cells.values():
            cell.shutdown()
            cell.server_close()
