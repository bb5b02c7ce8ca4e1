"""A small HTTP server that stands for the control plane, and can behave badly in many ways."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import zstandard

from cellplane.errors import TableError
from cellplane.publishing.manifest import to_header
from cellplane.routing import RoutingTable, split_publication

Misbehaviour = Callable[["Handler"], None]


class FakeControl:
    """What the server serves and what it was asked.

    Attributes:
        misbehave: answers table requests instead of the server, while it is set.
        report_misbehave: the same for reports.
        asked: the If-None-Match of each table request, with its time.
        sent: bytes of each table that was sent.
        reports: the reports, with the router's name as ``id``.
        manifest: makes the manifest of a publication that goes with it; None: nothing does.
        compresses: whether tables are sent in zstd.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.misbehave: Misbehaviour | None = None
        self.report_misbehave: Misbehaviour | None = None
        self.asked: list[tuple[float, str | None]] = []
        self.sent: list[int] = []
        self.reports: list[dict[str, Any]] = []
        self.reports_tried = 0
        self.manifest: Callable[[bytes], bytes] | None = None
        self.compresses = False
        self.url = ""
        self._data: bytes | None = None

    @property
    def data(self) -> bytes | None:
        return self._data

    def publish(self, data: bytes) -> None:
        """Serve these bytes from now on, and wake who waits."""
        with self.changed:
            self._data = data
            self.misbehave = None
            self.changed.notify_all()

    def turn(self, misbehave: Misbehaviour | None) -> None:
        """Behave so from now on; who waits is sent away with 304 first."""
        with self.changed:
            self.misbehave = misbehave
            self.changed.notify_all()

    def last(self) -> dict[str, Any]:
        """The last report."""
        return self.reports[-1] if self.reports else {}


def tag_of(data: bytes) -> str:
    try:
        return f'"{RoutingTable.of_publication(data).tag}"'
    except TableError:
        return '"of no table"'


def needed(data: bytes, known_base: str) -> bytes:
    """What of a publication somebody needs who has a base of this checksum."""
    try:
        base, overlay = split_publication(data)
        return overlay if overlay and base and RoutingTable(base).sha256 == known_base else data
    except TableError:
        return data


class Handler(BaseHTTPRequestHandler):
    """One request."""

    control: FakeControl

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        wanted = self.headers.get("If-None-Match")
        self.control.asked.append((time.monotonic(), wanted))
        assert url.path == "/v1/table"
        if self.control.misbehave is not None:
            self.control.misbehave(self)
            return
        wait = float(parse_qs(url.query)["wait"][0])
        with self.control.changed:
            self.control.changed.wait_for(lambda: self._has_news(wanted), wait)
            data = self.control.data
        if data is None:
            self.answer(503, b"{}")
        elif tag_of(data) == wanted:
            self.answer(304)
        else:
            headers = {}
            if self.control.manifest is not None:
                headers["X-Cellplane-Manifest"] = to_header(self.control.manifest(data))
            data = needed(data, parse_qs(url.query).get("base", [""])[0])
            if self.control.compresses:
                assert "zstd" in self.headers["Accept-Encoding"]
                headers["Content-Encoding"] = "zstd"
                data = zstandard.compress(data)
            self.control.sent.append(len(data))
            self.answer(200, data, headers=headers)

    def do_POST(self) -> None:
        self.control.reports_tried += 1
        if self.control.report_misbehave is not None:
            self.control.report_misbehave(self)
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.control.reports.append({**body, "id": self.path.split("/")[3]})
        self.answer(200, b"{}")

    def _has_news(self, wanted: str | None) -> bool:
        control = self.control
        if control.closing.is_set() or control.misbehave is not None:
            return True
        return control.data is not None and tag_of(control.data) != wanted

    def answer(
        self, status: int, body: bytes = b"", *, length: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def status(code: int) -> Misbehaviour:
    return lambda handler: handler.answer(code, b"{}" if code != 304 else b"")


def body(data: bytes) -> Misbehaviour:
    return lambda handler: handler.answer(200, data)


def hang(handler: Handler) -> None:
    handler.control.closing.wait(10)


def close(handler: Handler) -> None:
    handler.close_connection = True


def cut_short(data: bytes) -> Misbehaviour:
    """Promise these bytes and send half of them."""
    return lambda handler: handler.answer(200, data[: len(data) // 2], length=len(data))


def no_http(handler: Handler) -> None:
    handler.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")


def trickle(handler: Handler) -> None:
    """Send a byte now and then, without an end."""
    handler.answer(200, b"", length=1 << 20)
    while not handler.control.closing.wait(0.05):
        handler.wfile.write(b"x")


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        # The agent may hang up whenever it likes.
        pass


@contextmanager
def fake_control() -> Iterator[FakeControl]:
    """Run the server on a free port."""
    control = FakeControl()
    handler = type("BoundHandler", (Handler,), {"control": control})
    server = _Server(("127.0.0.1", 0), handler)
    control.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="fake-control")
    thread.start()
    try:
        yield control
    finally:
        control.closing.set()
        with control.changed:
            control.changed.notify_all()
        server.shutdown()
        server.server_close()
        thread.join(5)
