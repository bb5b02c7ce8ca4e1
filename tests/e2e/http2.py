"""HTTP/2 by hand: a client of a router, and a cell that speaks it from the first byte on."""

import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from e2e.edge import Edge
from e2e.harness import free_ports


def texts(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as texts."""
    return {name.decode(): value.decode() for name, value in headers}


class Http2:
    """A connection of HTTP/2 on which each frame is sent by hand."""

    def __init__(self, edge: Edge) -> None:
        self._socket = socket.create_connection(("127.0.0.1", edge.settings.port), 10.0)
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.state.initiate_connection()
        self.flush()

    def request(
        self,
        tenant: str,
        *more: tuple[str, str],
        method: str = "GET",
        path: str = "/x",
        end: bool,
        fields: Sequence[tuple[str, str]] = (),
    ) -> int:
        """Begin a request: its stream.

        Args:
            more: pseudo-headers.
            end: whether it has no body.
            fields: further headers.
        """
        stream = self.state.get_next_available_stream_id()
        pseudo = [(":method", method), *more, (":scheme", "http"), (":authority", "shop.example"), (":path", path)]
        self.state.send_headers(stream, [*pseudo, ("x-tenant-id", tenant), *fields], end_stream=end)
        self.flush()
        return stream

    def flush(self) -> None:
        self._socket.sendall(self.state.data_to_send())

    def events(self) -> Iterator[h2.events.Event]:
        """What comes, until the other side closes."""
        while data := self._socket.recv(65536):
            yield from self.state.receive_data(data)
            self.flush()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def http2_connection(edge: Edge) -> Iterator[Http2]:
    connection = Http2(edge)
    try:
        yield connection
    finally:
        connection.close()


class Http2Cell:
    """A cell of a gRPC service: it gives each message back as it comes, and ends with trailers.

    Attributes:
        port: its own.
        requests: headers of each call that reached it, without health checks.
        trailers: of each call, that the client sent.
    """

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.requests: list[dict[str, str]] = []
        self.trailers: list[dict[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End, with all connections."""
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        with suppress(OSError, h2.exceptions.ProtocolError):
            connection.sendall(state.data_to_send())
            while data := connection.recv(65536):
                for event in state.receive_data(data):
                    self._answer(state, event)
                connection.sendall(state.data_to_send())

    def _answer(self, state: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            headers = texts(event.headers)
            if headers[":path"] == "/healthz":
                state.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
                return
            self.requests.append(headers)
            state.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
        elif isinstance(event, h2.events.DataReceived):
            state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            state.send_data(event.stream_id, event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers.append(texts(event.headers))
        elif isinstance(event, h2.events.StreamEnded) and self.requests:
            with suppress(h2.exceptions.ProtocolError):
                state.send_headers(event.stream_id, [("grpc-status", "0"), ("grpc-message", "fine")], end_stream=True)
