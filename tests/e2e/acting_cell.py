"""A cell that does as it is told: it fails, waits, breaks off, refuses connections, sends events, speaks WebSocket."""

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any

from e2e.harness import free_ports

HOLD_SECONDS = 60.0
PIECE_BYTES = 64 * 1024
_WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE = 8


class Act(Enum):
    """What a cell does with a request; health checks it answers all the same."""

    ANSWER = "answer"
    CLOSE = "close the connection instead of an answer"
    RESET = "reset the connection instead of an answer"
    BREAK_OFF = "close the connection in the middle of the answer"


@dataclass(frozen=True)
class Seen:
    """A request that reached a cell."""

    method: str
    path: str
    headers: dict[str, str]


class ActingCell:
    """A cell. All that it does may be changed while it runs.

    Attributes:
        act: see Act.
        status: of its answers.
        said: headers that its answers have, too.
        failing: tenants whose requests get 500, whatever the status.
        slow: tenants whose requests take so many seconds.
        is_healthy: what its health checks say.
        answer: what it answers, as JSON; None: what it was asked.
        event_pause_seconds: between two events.
        seen: requests that reached it, without health checks.
    """

    def __init__(self, cell: str) -> None:
        self.cell = cell
        (self.port,) = free_ports(1)
        self._gate = threading.Event()
        self._server: _Server | None = None
        self.reset()

    def reset(self) -> None:
        """A cell that is well, and has seen nothing."""
        self.act = Act.ANSWER
        self.status = 200
        self.said: dict[str, str] = {}
        self.failing: frozenset[str] = frozenset()
        self.slow: dict[str, float] = {}
        self.is_healthy = True
        self.answer: Any = None
        self.event_pause_seconds = 0.1
        self.seen: list[Seen] = []
        self._reads_bodies = True
        self._gate.set()
        self.accept()

    def hold(self, *, before_body: bool = False) -> None:
        """Keep requests waiting for an answer; or even for somebody who reads their bodies."""
        self._reads_bodies = not before_body
        self._gate.clear()

    def release(self) -> None:
        """Answer those that wait, and all others."""
        self._gate.set()

    def wait(self, *, before_body: bool = False) -> None:
        """Wait while requests are held there."""
        if before_body is not self._reads_bodies:
            self._gate.wait(HOLD_SECONDS)

    def accept(self) -> None:
        """Take connections."""
        if self._server is None:
            self._server = _Server(self)

    def refuse(self) -> None:
        """Take no connections any more, and close all that there are."""
        if self._server is not None:
            self._server.end()
            self._server = None

    def requests(self, path: str = "/x") -> list[Seen]:
        """Requests for a path that reached it."""
        return [seen for seen in self.seen if seen.path == path]


@contextmanager
def acting_cells(ids: Collection[str]) -> Iterator[dict[str, ActingCell]]:
    """A cell for each id."""
    cells = {cell: ActingCell(cell) for cell in ids}
    try:
        yield cells
    finally:
        for cell in cells.values():
            cell.release()
            cell.refuse()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, cell: ActingCell) -> None:
        super().__init__(("127.0.0.1", cell.port), _Handler)
        self.cell = cell
        self.connections: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections break here since they are told to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def do_GET(self) -> None:
        cell = self.server.cell
        if self.path == "/healthz":
            self._say(200 if cell.is_healthy else 503, b"")
            return
        # Before the body is read: whoever streams has reached the cell already.
        headers = {name.lower(): value for name, value in self.headers.items()}
        cell.seen.append(Seen(self.command, self.path, headers))
        cell.wait(before_body=True)
        received, digest = self._read_body()
        cell.wait()
        if cell.act is not Act.ANSWER:
            self._break(cell.act)
        elif "upgrade" in headers:
            self._echo_frames(headers["sec-websocket-key"])
        elif self.path.startswith("/events/"):
            self._send_events(int(self.path.rpartition("/")[2]))
        elif self.path.startswith("/bytes/"):
            self._send_pieces(int(self.path.rpartition("/")[2]))
        else:
            seen = {"cell": cell.cell, "headers": headers, "body_bytes": received, "body_sha256": digest}
            seen["number"] = len(cell.seen)
            time.sleep(cell.slow.get(headers.get("x-tenant-id", ""), 0.0))
            is_failing = headers.get("x-tenant-id") in cell.failing
            answer = seen if cell.answer is None else cell.answer
            self._say(500 if is_failing else cell.status, json.dumps(answer).encode())

    do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815  # the base class calls them so

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""

    def _say(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self._send_said()
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _send_said(self) -> None:
        for name, value in self.server.cell.said.items():
            self.send_header(name, value)

    def _break(self, act: Act) -> None:
        self.close_connection = True
        if act is Act.BREAK_OFF:
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
        elif act is Act.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _read_body(self) -> tuple[int, str]:
        digest, received = hashlib.sha256(), 0
        for piece in _pieces_of(self.rfile, self.headers):
            digest.update(piece)
            received += len(piece)
        return received, digest.hexdigest()

    def _begin_stream(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self._send_said()
        self.end_headers()

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _send_events(self, count: int) -> None:
        self._begin_stream("text/event-stream")
        for number in range(count):
            self._send_chunk(b"data: %d\n\n" % number)
            time.sleep(self.server.cell.event_pause_seconds)
        self._send_chunk(b"")

    def _send_pieces(self, count: int) -> None:
        self._begin_stream("application/octet-stream")
        for piece in patterned(count):
            self._send_chunk(piece)
        self._send_chunk(b"")

    def _echo_frames(self, key: str) -> None:
        accepted = base64.b64encode(hashlib.sha1((key + _WEBSOCKET_GUID).encode()).digest()).decode()
        self.send_response(101)
        for name, value in (("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accepted)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while True:
            opcode, payload = read_frame(self.rfile)
            self.wfile.write(frame(opcode, payload))
            if opcode == _CLOSE:
                break


def patterned(count: int) -> Iterator[bytes]:
    """So many bytes, in pieces, each of which says where it stands."""
    for start in range(0, count, PIECE_BYTES):
        length = min(PIECE_BYTES, count - start)
        yield (struct.pack(">Q", start) * (PIECE_BYTES // 8))[:length]


def sha256_of(count: int) -> str:
    """The digest of ``patterned``."""
    digest = hashlib.sha256()
    for piece in patterned(count):
        digest.update(piece)
    return digest.hexdigest()


def frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    """A whole message as one frame (RFC 6455, 5.2).

    Args:
        mask: four bytes from a client, none from a cell.
    """
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        head = struct.pack(">BB", 0x80 | opcode, masked | len(payload))
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, masked | 127, len(payload))
    return head + mask + (_masked(payload, mask) if mask else payload)


def read_frame(file: BufferedIOBase) -> tuple[int, bytes]:
    """Opcode and payload of a whole message."""
    first, second = _exactly(file, 2)
    length = second & 0x7F
    if length == 126:
        (length,) = struct.unpack(">H", _exactly(file, 2))
    elif length == 127:
        (length,) = struct.unpack(">Q", _exactly(file, 8))
    mask = _exactly(file, 4) if second & 0x80 else b""
    payload = _exactly(file, length)
    return first & 0x0F, _masked(payload, mask) if mask else payload


def _masked(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


def _exactly(file: BufferedIOBase, count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError(f"expected {count} bytes, found {len(data)}")
    return data


def _pieces_of(file: BufferedIOBase, headers: Any) -> Iterator[bytes]:
    """The body of a request, of known length or in chunks."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while length := int(file.readline(), 16):
            yield _exactly(file, length)
            file.readline()
        file.readline()
        return
    left = int(headers.get("content-length", "0"))
    while left:
        piece = _exactly(file, min(left, PIECE_BYTES))
        left -= len(piece)
        yield piece
