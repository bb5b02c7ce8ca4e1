"""An open-loop load on a router of this machine: a request leaves when it is due, however many still wait."""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import NamedTuple

from cellplane.errors import ProvisionError

_HEAD_END = b"\r\n\r\n"
_MIN_PAUSE_SECONDS = 0.0005


class Outcome(Enum):
    """How a request ended."""

    ANSWERED = "answered"
    REFUSED = "no connection was to be had"
    BROKEN = "the connection ended before the answer did"
    TIMED_OUT = "no answer came in time"
    UNSENT = "all connections were busy"


class Sample(NamedTuple):
    """One request and what became of it.

    Attributes:
        stream: name of its stream.
        tenant: whose it was.
        method: GET or POST.
        due: when it had to be sent, monotonic seconds.
        lag_seconds: how late it was sent.
        seconds: from then to the end of its answer.
        outcome: see Outcome.
        status: of the answer; 0 where there was none.
        cell: ``x-cell-id`` of the answer: the cell that the router chose.
        served_by: ``x-served-by`` of the answer: what the cell says of itself, where it does.
    """

    stream: str
    tenant: str
    method: str
    due: float
    lag_seconds: float
    seconds: float
    outcome: Outcome
    status: int
    cell: str
    served_by: str


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of some tenants, evenly spaced in time, each of a tenant drawn at random.

    Attributes:
        name: what its samples are known by.
        tenants: whose requests.
        rate_rps: requests per second.
        writes_share: share of them that POST, 0 to 1; all others GET.
        path: what they ask for.
    """

    name: str
    tenants: Sequence[str]
    rate_rps: float
    writes_share: float = 0.0
    path: str = "/notifications?limit=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """Bounds of a load."""

    connections: int = 32
    """Connections that are kept open."""

    max_connections: int = 1024
    """Most connections; a request that finds all of them busy is not sent, and counts as such."""

    connect_seconds: float = 2.0
    """How long a connection may take, seconds."""

    answer_seconds: float = 20.0
    """How long an answer may take, seconds: more than a router waits for a cell."""

    sweep_seconds: float = 0.5
    """Time between looks for answers that take too long, seconds."""

    max_head_bytes: int = 64 * 1024
    """Largest head of an answer."""


class Load:
    """A load that runs for a time, once.

    Args:
        host: a loopback address: no other is loaded.
        port: of the router.
        streams: what is sent.
        seconds: how long requests are sent; those under way are waited for.
        rng: draws tenants and methods.
        settings: see LoadSettings.
        each_second: called about once a second.

    Raises:
        ProvisionError: the host is not this machine.
    """

    def __init__(
        self,
        host: str,
        port: int,
        streams: Sequence[Stream],
        *,
        seconds: float,
        rng: random.Random,
        settings: LoadSettings | None = None,
        each_second: Callable[["Load"], None] | None = None,
    ) -> None:
        require_loopback(host)
        self._host = host
        self._port = port
        self._streams = list(streams)
        self._seconds = seconds
        self._rng = rng
        self._settings = settings or LoadSettings()
        self._each_second = each_second
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.samples: list[Sample] = []

    async def run(self) -> list[Sample]:
        """Send, wait for the answers, and return what became of each request."""
        loop = asyncio.get_running_loop()
        sweep = loop.create_task(self._sweep())
        telling = loop.create_task(self._tell())
        try:
            await self._send_all()
            deadline = loop.time() + self._settings.connect_seconds + self._settings.answer_seconds
            while self._busy() and loop.time() < deadline:  # noqa: ASYNC110  # answers end in many places
                await asyncio.sleep(0.01)
        finally:
            for task in (sweep, telling, *self._tasks):
                task.cancel()
            for connection in tuple(self._open):
                connection.close()
            await asyncio.gather(sweep, telling, *self._tasks, return_exceptions=True)
        return self.samples

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True

    def _busy(self) -> bool:
        return self._opening > 0 or any(connection.request is not None for connection in self._open)

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        agenda = [(began + self._rng.random() / stream.rate_rps, place) for place, stream in enumerate(self._streams)]
        heapq.heapify(agenda)
        while agenda and not self._stopping:
            due, place = agenda[0]
            if due >= began + self._seconds:
                heapq.heappop(agenda)
                continue
            pause = due - loop.time()
            if pause > 0:
                await asyncio.sleep(max(pause, _MIN_PAUSE_SECONDS))
                continue
            stream = self._streams[place]
            heapq.heapreplace(agenda, (due + 1 / stream.rate_rps, place))
            method = "POST" if self._rng.random() < stream.writes_share else "GET"
            self._send(_Request(stream, self._rng.choice(stream.tenants), method, due))

    def _send(self, request: "_Request") -> None:
        total = len(self._open) + self._opening
        if self._idle and total >= self._settings.connections:
            self._idle.popleft().send(request)
        elif total < self._settings.max_connections:
            self._opening += 1
            task = asyncio.get_running_loop().create_task(self._open_for(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.note(request, Outcome.UNSENT)

    async def _open_for(self, request: "_Request") -> None:
        loop = asyncio.get_running_loop()
        request.sent = loop.time()
        try:
            async with asyncio.timeout(self._settings.connect_seconds):
                _, connection = await loop.create_connection(lambda: _Connection(self), self._host, self._port)
        except OSError:
            self.note(request, Outcome.REFUSED)
        else:
            connection.send(request)
        finally:
            self._opening -= 1

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.sweep_seconds)
            oldest = loop.time() - self._settings.answer_seconds
            for connection in tuple(self._open):
                connection.give_up(oldest)

    async def _tell(self) -> None:
        while self._each_second is not None:
            await asyncio.sleep(1.0)
            self._each_second(self)

    def opened(self, connection: "_Connection") -> None:
        """A connection is there."""
        self._open.add(connection)

    def free(self, connection: "_Connection") -> None:
        """A connection may be used again."""
        self._idle.append(connection)

    def closed(self, connection: "_Connection") -> None:
        """A connection has ended."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    @property
    def max_head_bytes(self) -> int:
        """Largest head of an answer."""
        return self._settings.max_head_bytes

    def note(self, request: "_Request", outcome: Outcome, status: int = 0, cell: str = "", served_by: str = "") -> None:
        """Keep what became of a request."""
        now = asyncio.get_running_loop().time()
        sent = request.sent or now
        sample = Sample(
            request.stream.name,
            request.tenant,
            request.method,
            request.due,
            sent - request.due,
            now - sent,
            outcome,
            status,
            cell,
            served_by,
        )
        self.samples.append(sample)


def require_loopback(host: str) -> None:
    """Refuse to load anything but this machine.

    Raises:
        ProvisionError: the host is not a loopback address.
    """
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise ProvisionError(
            f"expected a loopback address such as 127.0.0.1, found {host!r}: only this machine is loaded"
        )


class _Request:
    __slots__ = ("due", "method", "sent", "stream", "tenant")

    def __init__(self, stream: Stream, tenant: str, method: str, due: float) -> None:
        self.stream = stream
        self.tenant = tenant
        self.method = method
        self.due = due
        self.sent = 0.0

    def encode(self) -> bytes:
        body = b"{}" if self.method == "POST" else b""
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        head = f"{self.method} {self.stream.path} HTTP/1.1\r\nhost: cellplane.test\r\nx-tenant-id: {self.tenant}\r\n"
        return f"{head}{length}\r\n".encode() + body


class _Connection(asyncio.Protocol):
    """One connection of HTTP/1.1 (RFC 9112), one request at a time; answers have a length."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self.request: _Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        self._load.opened(self)

    def send(self, request: _Request) -> None:
        assert self._transport is not None, "it is connected"
        assert self.request is None, "one at a time"
        self.request = request
        request.sent = request.sent or asyncio.get_running_loop().time()
        if self._transport.is_closing():
            self.connection_lost(None)
        else:
            self._transport.write(request.encode())

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(_HEAD_END)
        if end < 0:
            if len(self._data) > self._load.max_head_bytes:
                self.close()
            return
        status, headers = _parse_head(self._data[:end])
        length = headers.get("content-length", "0" if status == 204 else "")
        if not length.isdecimal():
            self.close()
            return
        if len(self._data) - end - len(_HEAD_END) < int(length):
            return
        request, self.request, self._data = self.request, None, b""
        if request is None:
            self.close()
            return
        self._load.note(request, Outcome.ANSWERED, status, headers.get("x-cell-id", ""), headers.get("x-served-by", ""))
        if headers.get("connection", "").lower() == "close":
            self.close()
        else:
            self._load.free(self)

    def connection_lost(self, _error: Exception | None) -> None:
        request, self.request = self.request, None
        self._load.closed(self)
        if request is not None:
            self._load.note(request, Outcome.BROKEN)

    def give_up(self, oldest: float) -> None:
        """End it where its request was sent before."""
        if self.request is not None and self.request.sent < oldest:
            request, self.request = self.request, None
            self._load.note(request, Outcome.TIMED_OUT)
            self.close()

    def close(self) -> None:
        assert self._transport is not None, "it is connected"
        self._transport.abort()


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    status = first.split(" ", 2)[1] if " " in first else ""
    return int(status) if status.isdecimal() else 0, {name.lower(): value.strip() for name, _, value in pairs}
