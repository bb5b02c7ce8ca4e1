"""A cell that has given a tenant away, and a router that does not know yet: 421, and the request tried anew."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cellplane.model import Cell, Fleet, KeySource, Pool, Tenant, Topology
from cellplane.router.doorbell import Doorbell
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from e2e.edge import Edge, RawAnswer, start_edge
from support.http_server import answering_with

CELLS = ("cell-1", "cell-2")
GIVEN_AWAY = 2
"""Epoch from which on the tenant is cell-2's."""


class _Cell(BaseHTTPRequestHandler):
    """Serves the tenant as its cell should: cell-1 before the epoch, cell-2 from it on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._say(200, b"")
            return
        cell = getattr(self.server, "cell", "")
        if cell == CELLS[0] and int(self.headers["x-cell-epoch"]) < GIVEN_AWAY:
            self._say(421, b"not mine any more", [("x-cell-epoch", str(getattr(self.server, "knows", GIVEN_AWAY)))])
            return
        self._say(200, f"{cell} {self.headers['x-cell-epoch']}".encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.do_GET()

    do_DELETE = do_POST  # noqa: N815  # the base class calls it so

    def _say(self, status: int, body: bytes, headers: list[tuple[str, str]] | None = None) -> None:
        self.send_response(status)
        for name, value in headers or ():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""


@contextmanager
def two_cells() -> Iterator[dict[str, ThreadingHTTPServer]]:
    with ExitStack() as stack:
        yield {cell: stack.enter_context(answering_with(_Cell, cell=cell)) for cell in CELLS}


def stored_table(folder: Path, servers: dict[str, ThreadingHTTPServer], epoch: int, cell: str) -> StoredTable:
    fleet = Fleet("shop", key_sources=(KeySource.trusted_header("x-tenant-id"),))
    members = tuple(Cell(cell, "127.0.0.1", int(servers[cell].server_address[1])) for cell in CELLS)
    topology = Topology(fleet, members, (Pool("default", CELLS),), (Tenant("acme", (cell,)),))
    path = folder / f"table-{epoch}.cpt"
    path.write_bytes(encode(compile_table(topology, epoch)))
    return StoredTable(RoutingTable(path.read_bytes()), path)


def ask_meanwhile(edge: Edge, scenario: Callable[[], Awaitable[None]], **request: Any) -> RawAnswer | None:
    """The answer to a request during which the router's agent does something."""

    async def both() -> RawAnswer | None:
        body = request.pop("body", b"")
        headers = [("x-tenant-id", "acme"), ("content-length", str(len(body)))]
        asking = asyncio.create_task(asyncio.to_thread(edge.ask, headers, trailing=body, **request))
        await scenario()
        return await asking

    return edge.runner.run(both())


def test_a_request_that_came_too_early_waits_for_the_table_and_goes_to_the_new_cell(tmp_path: Path) -> None:
    with two_cells() as servers:
        old = stored_table(tmp_path, servers, 1, "cell-1")
        new = stored_table(tmp_path, servers, GIVEN_AWAY, "cell-2")
        with start_edge(tmp_path / "router", old, refetch_seconds=1.0) as edge:
            doorbell = Doorbell(tmp_path / "router" / "envoy", edge.settings)
            edge.runner.run(doorbell.open())

            async def nothing_comes() -> None:
                await asyncio.sleep(0.05)

            answer = ask_meanwhile(edge, nothing_comes)
            assert answer is not None
            assert (answer.status, answer.body) == (421, b"not mine any more")
            assert answer.headers["x-cell-id"] == "cell-1"

            async def another_number_comes() -> None:
                doorbell.announce(1)

            assert getattr(ask_meanwhile(edge, another_number_comes, method="DELETE"), "status", 0) == 421

            async def the_table_comes() -> None:
                await asyncio.sleep(0.2)
                await edge.engine.apply(new)
                doorbell.announce(GIVEN_AWAY)

            answer = ask_meanwhile(edge, the_table_comes)
            assert answer is not None
            assert (answer.status, answer.body) == (200, b"cell-2 2")
            assert answer.headers["x-cell-id"] == "cell-2"
            edge.runner.run(doorbell.close())


def test_a_body_is_not_sent_twice_and_without_an_agent_the_answer_is_the_cells(tmp_path: Path) -> None:
    with two_cells() as servers:
        old = stored_table(tmp_path, servers, 1, "cell-1")
        with start_edge(tmp_path / "router", old) as edge:

            async def nothing() -> None:
                await asyncio.sleep(0)

            for request in ({"method": "POST", "body": b"x" * 100}, {"method": "GET"}):
                answer = ask_meanwhile(edge, nothing, **request)
                assert answer is not None
                assert (answer.status, answer.body) == (421, b"not mine any more")
            servers["cell-1"].knows = 1  # type: ignore[attr-defined]  # what the handler says
            assert getattr(ask_meanwhile(edge, nothing), "status", 0) == 421
