"""gRPC through a real Envoy to a cell that speaks HTTP/2: messages both ways, trailers, deadlines, refusals."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.events
import pytest

from cellplane.model import Cell, CellProtocol, Fleet, KeySource, Pool, Tenant, TenantState, Topology
from cellplane.router.board import Count
from cellplane.router.tables import StoredTable
from cellplane.routing import RoutingTable, compile_table, encode
from e2e.edge import Edge, start_edge
from e2e.harness import eventually
from e2e.http2 import Http2, Http2Cell, http2_connection, texts

TIMEOUT_SECONDS = 2.0
CALL = ("content-type", "application/grpc"), ("te", "trailers")
UNAVAILABLE = "14"


@dataclass
class Service:
    """A router, and the one cell behind it."""

    cell: Http2Cell
    edge: Edge


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("grpc")
    cell = Http2Cell()
    stored = table_of(folder, cell)
    with start_edge(folder / "router", stored, request_timeout_seconds=TIMEOUT_SECONDS) as edge:
        eventually(lambda: edge.healthy_hosts("cell-1") == 1, "the cell is healthy")
        yield Service(cell, edge)
    cell.close()


def table_of(folder: Path, cell: Http2Cell) -> StoredTable:
    fleet = Fleet("shop", key_sources=(KeySource.trusted_header("x-tenant-id"),))
    cells = (Cell("cell-1", "127.0.0.1", cell.port, protocol=CellProtocol.HTTP2),)
    tenants = (Tenant("acme", ("cell-1",)), Tenant("gone", ("cell-1",), TenantState.MOVING))
    path = folder / "table.cpt"
    path.write_bytes(encode(compile_table(Topology(fleet, cells, (Pool("default", ("cell-1",)),), tenants), 1)))
    return StoredTable(RoutingTable(path.read_bytes()), path)


@pytest.fixture
def service(running: Service) -> Service:
    running.cell.requests.clear()
    running.cell.trailers.clear()
    return running


@dataclass
class Call:
    """A call, as its client sees it."""

    client: Http2
    stream: int
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    is_over: bool = False

    @classmethod
    def begin(cls, client: Http2, *more: tuple[str, str], tenant: str = "acme") -> "Call":
        stream = client.request(tenant, method="POST", path="/shop.Orders/List", end=False, fields=(*CALL, *more))
        return cls(client, stream)

    def send(self, data: bytes, *, end: bool = False) -> None:
        self.client.state.send_data(self.stream, data, end_stream=end)
        self.client.flush()

    def read(self, count: int) -> bytes:
        """Read until so many bytes are there, or it is over."""
        events = self.client.events()
        while len(self.data) < count and not self.is_over:
            self.take(next(events))
        return self.data

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = texts(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.data += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers = texts(event.headers)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            self.is_over = True


def test_a_call_passes_with_its_trailers(service: Service) -> None:
    with http2_connection(service.edge) as client:
        call = Call.begin(client, ("x-cell-id", "cell-9"))
        call.send(b"\0\0\0\0\x05hello")
        client.state.send_headers(call.stream, [("checksum", "5"), ("x-cell-id", "cell-9")], end_stream=True)
        client.flush()
        assert call.read(1_000) == b"\0\0\0\0\x05hello"
    assert call.trailers == {"grpc-status": "0", "grpc-message": "fine"}
    assert (call.headers[":status"], call.headers["content-type"]) == ("200", "application/grpc")
    assert call.headers["x-cell-id"] == "cell-1"
    (seen,) = service.cell.requests
    assert {"x-cell-id": "cell-1", "x-tenant-id": "acme", "te": "trailers"}.items() <= seen.items()
    assert service.cell.trailers == [{"checksum": "5"}]


def test_a_stream_of_messages_lasts_longer_than_a_request_may_take(service: Service) -> None:
    with http2_connection(service.edge) as client:
        call = Call.begin(client)
        for round_ in range(1, 5):
            call.send(b"12345678")
            assert call.read(8 * round_) == b"12345678" * round_
            time.sleep(TIMEOUT_SECONDS / 2)
        assert not call.is_over
        call.send(b"", end=True)
        call.read(1_000)
    assert call.trailers["grpc-status"] == "0"
    eventually(lambda: service.edge.counts("cell-1")[Count.IN_FLIGHT] == 0, "nothing is under way")
    assert service.edge.counts("cell-1")[Count.ERRORS] == 0


def test_a_call_ends_when_its_client_said_so(service: Service) -> None:
    with http2_connection(service.edge) as client:
        call = Call.begin(client, ("grpc-timeout", "300m"))
        call.send(b"x")
        call.read(1_000)
    # It has an answer already, so that all that is left is to break off.
    assert (call.is_over, call.headers[":status"], call.trailers) == (True, "200", {})


def test_a_refusal_is_a_status_of_grpc(service: Service) -> None:
    with http2_connection(service.edge) as client:
        call = Call.begin(client, tenant="gone")
        call.read(1_000)
    assert (call.headers[":status"], call.headers["grpc-status"]) == ("200", UNAVAILABLE)
    assert "tenant-moving" in call.headers["grpc-message"]
    assert not service.cell.requests
