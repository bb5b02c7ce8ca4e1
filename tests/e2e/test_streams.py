"""What stays open for long through a real Envoy: WebSockets, event streams, large bodies; and clients that leave."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h2.events
import httpx2
import pytest

from cellplane.model import Policy, Tenant, TenantState, Writes
from cellplane.router.board import Count
from e2e.acting_cell import Act, ActingCell, acting_cells, frame, patterned, read_frame, sha256_of
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.http2 import http2_connection
from e2e.shop import CELLS, Shop, of, store

TIMEOUT_SECONDS = 2.0
EVENTS = 25  # of a tenth of a second each
BINARY, CLOSE = 2, 8
PAIR = ("cell-1", "cell-2")
TENANTS = (
    Tenant("acme", PAIR),
    Tenant("moving", PAIR, TenantState.MOVING),
    Tenant("careful", PAIR, policy=Policy(writes=Writes.FAIL)),
)
PROTOCOLS = pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("streams")
    with (
        acting_cells(CELLS) as cells,
        start_edge(folder / "router", store(folder, cells, TENANTS), request_timeout_seconds=TIMEOUT_SECONDS) as edge,
    ):
        yield Shop(folder, cells, edge)


@pytest.fixture
def shop(running: Shop) -> Iterator[Shop]:
    running.serve(*TENANTS)
    yield running
    running.mend()


class WebSocket:
    """A client's side of an upgraded connection."""

    def __init__(self, edge: Edge, tenant: str) -> None:
        self._connection = socket.create_connection(("127.0.0.1", edge.settings.port), 10.0)
        self._file = self._connection.makefile("rb")
        lines = (
            "GET /chat HTTP/1.1",
            "Host: shop.example",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"X-Tenant-Id: {tenant}",
        )
        self._connection.sendall("\r\n".join([*lines, "", ""]).encode())
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while (line := self._file.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = self._file.read(int(self.headers.get("content-length", "0")))

    def send(self, opcode: int, payload: bytes) -> None:
        self._connection.sendall(frame(opcode, payload, mask=os.urandom(4)))

    def receive(self) -> tuple[int, bytes]:
        return read_frame(self._file)

    def close(self) -> None:
        self._file.close()
        self._connection.close()


@contextmanager
def websocket(edge: Edge, tenant: str) -> Iterator[WebSocket]:
    found = WebSocket(edge, tenant)
    try:
        yield found
    finally:
        found.close()


def test_a_websocket_passes_both_ways_for_longer_than_a_request_may_take(shop: Shop) -> None:
    with websocket(shop.edge, "acme") as chat:
        assert (chat.status, chat.headers["upgrade"].lower()) == (101, "websocket")
        assert chat.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (chat.headers["x-cell-id"], chat.headers["x-cell-epoch"]) == ("cell-1", str(shop.epoch))
        for payload in (b"hello", b"", os.urandom(200_000)):
            chat.send(BINARY, payload)
            assert chat.receive() == (BINARY, payload)
        assert shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 1
        time.sleep(1.5 * TIMEOUT_SECONDS)
        chat.send(BINARY, b"still there")
        assert chat.receive() == (BINARY, b"still there")
        chat.send(CLOSE, b"")
        assert chat.receive() == (CLOSE, b"")
    (seen,) = shop.cells["cell-1"].requests("/chat")
    assert {"x-cell-id": "cell-1", "x-tenant-id": "acme"}.items() <= seen.headers.items()
    ended(shop.edge, "cell-1", requests=1, errors=0)


def ended(edge: Edge, cell: str, *, requests: int, errors: int) -> None:
    eventually(lambda: edge.counts(cell)[Count.IN_FLIGHT] == 0, "nothing is under way")
    counts = edge.counts(cell)
    assert (counts[Count.REQUESTS], counts[Count.ERRORS]) == (requests, errors)


def test_a_websocket_counts_as_a_write(shop: Shop) -> None:
    with shop.edge.client() as client:
        assert client.get("/x", headers=of("moving")).status_code == 200
    with websocket(shop.edge, "moving") as chat:
        assert chat.status == 503
        assert b'"code":"tenant-moving"' in chat.body
    shop.cells["cell-1"].act = Act.CLOSE
    with websocket(shop.edge, "acme") as chat:
        # Not tried again: the cell may have done something.
        assert (chat.status, chat.headers["x-cell-id"]) == (503, "cell-1")
    shop.take_down("cell-1")
    with websocket(shop.edge, "acme") as chat:
        assert (chat.status, chat.headers["x-cell-id"]) == (101, "cell-2")
    with websocket(shop.edge, "careful") as chat:
        assert chat.status == 503
        assert b'"code":"cell-unavailable"' in chat.body
    assert not shop.cells["cell-2"].requests("/x")


def test_websockets_over_http2_share_a_connection_and_count_as_writes(shop: Shop) -> None:
    with http2_connection(shop.edge) as connection:
        events = connection.events()
        next(event for event in events if isinstance(event, h2.events.RemoteSettingsChanged))

        def upgrade(tenant: str) -> tuple[int, dict[bytes, bytes]]:
            more = (":protocol", "websocket")
            stream = connection.request(tenant, more, method="CONNECT", path="/chat", end=False)
            answer = next(event for event in events if isinstance(event, h2.events.ResponseReceived))
            return stream, dict(answer.headers)

        for _ in range(2):
            stream, headers = upgrade("acme")
            assert (headers[b":status"], headers[b"x-cell-id"]) == (b"200", b"cell-1")
            connection.state.send_data(stream, frame(BINARY, b"hello", mask=b"mask"))
            connection.flush()
            echoed = next(event for event in events if isinstance(event, h2.events.DataReceived))
            assert (echoed.stream_id, echoed.data) == (stream, frame(BINARY, b"hello"))
        assert upgrade("moving")[1][b":status"] == b"503"
    ended(shop.edge, "cell-1", requests=2, errors=0)


@PROTOCOLS
def test_events_flow_for_longer_than_a_request_may_take(shop: Shop, http2: bool) -> None:
    accept = {"accept": "text/event-stream"}
    with (
        shop.edge.client(http2=http2) as client,
        client.stream("GET", f"/events/{EVENTS}", headers={**of("acme"), **accept}) as answer,
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == "data: 0"
        # It is passed on while the cell goes on.
        assert shop.edge.counts("cell-1")[Count.IN_FLIGHT] == 1
        assert [line for line in lines if line] == [f"data: {number}" for number in range(1, EVENTS)]
    ended(shop.edge, "cell-1", requests=1, errors=0)


def test_what_is_no_stream_of_events_has_to_end_in_time(shop: Shop) -> None:
    with shop.edge.client() as client:
        shop.cells["cell-1"].hold()
        answer = client.get("/x", headers=of("acme"))
        assert (answer.status_code, answer.json()["code"]) == (504, "cell-timeout")
        assert (answer.headers["retry-after"], answer.headers["x-cell-id"]) == ("1", "cell-1")
        # The cell may still be at it: nobody else is asked.
        assert not shop.cells["cell-2"].seen
        shop.cells["cell-1"].release()
    ended(shop.edge, "cell-1", requests=1, errors=1)


@PROTOCOLS
def test_large_bodies_pass_both_ways(tmp_path: Path, shop: Shop, http2: bool) -> None:
    size = 20_000_000
    with (
        start_edge(tmp_path / "router", store(tmp_path, shop.cells, TENANTS)) as edge,
        edge.client(http2=http2) as client,
    ):
        for content in (patterned(size), b"".join(patterned(size))):
            answer = client.post("/x", headers=of("acme"), content=content).json()
            assert (answer["body_bytes"], answer["body_sha256"]) == (size, sha256_of(size))
        received = client.get(f"/bytes/{size}", headers=of("acme")).content
        assert received == b"".join(patterned(size))
        ended(edge, "cell-1", requests=3, errors=0)


def leave_http1(edge: Edge, path: str, seen: Callable[[], bool]) -> None:
    with socket.create_connection(("127.0.0.1", edge.settings.port), 10.0) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nX-Tenant-Id: acme\r\n\r\n".encode())
        eventually(seen, "the cell has the request")


def leave_http1_in_the_body(edge: Edge, path: str, seen: Callable[[], bool]) -> None:
    with socket.create_connection(("127.0.0.1", edge.settings.port), 10.0) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: shop.example\r\nX-Tenant-Id: acme\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"a part")
        eventually(seen, "the cell has the request")


def cancel_http2(edge: Edge, path: str, seen: Callable[[], bool]) -> None:
    with http2_connection(edge) as connection:
        stream = connection.request("acme", path=path, end=True)
        eventually(seen, "the cell has the request")
        connection.state.reset_stream(stream, error_code=8)
        connection.flush()
        eventually(lambda: edge.counts("cell-1")[Count.IN_FLIGHT] == 0, "the router knows")


def leave_http2(edge: Edge, path: str, seen: Callable[[], bool]) -> None:
    with http2_connection(edge) as connection:
        connection.request("acme", path=path, end=True)
        eventually(seen, "the cell has the request")


@pytest.mark.parametrize("leave", [leave_http1, leave_http1_in_the_body, cancel_http2, leave_http2])
@pytest.mark.parametrize("path", ["/x", "/events/10"])
def test_a_client_that_leaves_is_no_error_of_the_cell(
    shop: Shop, leave: Callable[[Edge, str, Callable[[], bool]], None], path: str
) -> None:
    cell = shop.cells["cell-1"]
    if path == "/x":
        cell.hold()
    leave(shop.edge, path, lambda: len(cell.seen) == 1)
    ended(shop.edge, "cell-1", requests=1, errors=0)
    cell.release()


@PROTOCOLS
def test_a_cell_that_breaks_off_is_to_blame(shop: Shop, http2: bool) -> None:
    shop.cells["cell-1"].act = Act.BREAK_OFF
    with shop.edge.client(http2=http2) as client, pytest.raises(httpx2.RemoteProtocolError):
        client.get("/x", headers=of("acme"))
    assert not shop.cells["cell-2"].seen
    ended(shop.edge, "cell-1", requests=1, errors=1)


def test_counts_agree_with_what_many_clients_did_at_once(shop: Shop) -> None:
    cells: dict[str, ActingCell] = shop.cells
    with shop.edge.client() as client, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: client.get("/x", headers=of("acme")).status_code, range(300)))
        cells["cell-1"].status = 500
        answers += list(threads.map(lambda _: client.post("/x", headers=of("acme")).status_code, range(100)))
    assert (answers.count(200), answers.count(500)) == (300, 100)
    ended(shop.edge, "cell-1", requests=400, errors=100)
