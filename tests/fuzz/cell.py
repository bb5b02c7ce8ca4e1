"""A cell that asks of each request whether it may be here at all; run as ``python -m fuzz.cell``.

It is a process of its own, reads HTTP/1.1 as strictly as one can, and answers with what it saw. What must not have
come is written to a file, a line each.
"""

import argparse
import asyncio
import json
import re
import signal
from pathlib import Path
from typing import Any

from cellplane.model import is_key
from cellplane.routing import Route, RoutingTable, decide
from fuzz.draft import MARKER, NO_TENANT
from fuzz.fleet import CLIENT

ANSWERED_BY = "x-fuzz-cell"
"""The header of an answer that a cell gave."""

MAX_HEAD_BYTES = 256 * 1024
MAX_VIOLATIONS = 1000
"""Most that are written down: what comes later is counted."""

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9a-z-]+): ?([^\0\r\n]*)")
_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[^\0- \x7f]*) HTTP/1\.1")
_SET_BY_ROUTERS = frozenset({"x-cell-id", "x-cell-epoch"})


class Violations:
    """What must not have come to a cell."""

    def __init__(self, path: Path, cell: str) -> None:
        self._path = path
        self._cell = cell
        self.count = 0

    def add(self, reason: str, seen: object) -> None:
        self.count += 1
        if self.count <= MAX_VIOLATIONS:
            with self._path.open("a") as file:
                file.write(json.dumps({"cell": self._cell, "reason": reason, "seen": repr(seen)[:2000]}) + "\n")


class Cell:
    """What this cell knows."""

    def __init__(self, cell: str, table: RoutingTable, violations: Violations) -> None:
        self.cell = cell
        self.violations = violations
        self.requests = 0
        self._table = table
        self._cells: dict[bytes, str] = {}

    def cell_of(self, key: bytes) -> str:
        """Whose cell a tenant's is, by the reference."""
        found = self._cells.get(key)
        if found is None:
            by_source = key == NO_TENANT.encode()
            decision = decide(
                self._table,
                None if by_source else key,
                writes=False,
                has_healthy_host=lambda _cell: True,
                source=CLIENT.encode(),
            )
            assert isinstance(decision, Route), "the reference takes whatever is a key"
            found = self._cells[key] = decision.cell
        return found

    def judge(self, headers: dict[str, list[bytes]]) -> str | None:
        """Why this request must not be here; None where it may."""
        for name in headers:
            if name.startswith("x-cell-") and name not in _SET_BY_ROUTERS:
                return f"{name} reached a cell"
            if "_" in name:
                return f"{name} reached a cell"
        if headers.get("x-cell-id") != [self.cell.encode()]:
            return f"x-cell-id is {headers.get('x-cell-id')}"
        epochs = headers.get("x-cell-epoch", [])
        if len(epochs) != 1 or not epochs[0].isdigit():
            return f"x-cell-epoch is {epochs}"
        tenants = headers.get("x-tenant-id", [])
        if len(tenants) > 1:
            return f"x-tenant-id is {tenants}"
        key = tenants[0] if tenants else NO_TENANT.encode()
        if tenants and not is_key(key):
            return f"x-tenant-id is {key!r}, which is no key"
        if self.cell_of(key) != self.cell:
            return f"the tenant {key!r} is of {self.cell_of(key)}"
        markers = headers.get(MARKER, [])
        if len(markers) != 1:
            return f"it has {len(markers)} markers"
        allowed = markers[0].split(b".", 2)[-1].split(b",")
        if key not in allowed:
            return f"it is the request of {key!r}, and should be of {allowed}"
        return None


class Connection(asyncio.Protocol):
    """A connection of a router."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._buffer = b""
        self._head: tuple[bytes, dict[str, list[bytes]], dict[str, Any]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer or self._head is not None:
            try:
                rest = self._take()
            except ValueError as error:
                self._cell.violations.add(f"the router sent no sound HTTP: {error}", self._buffer[:2000])
                self._buffer = b""
                assert self._transport is not None
                self._transport.abort()
                return
            if rest is None:
                return
            self._buffer = rest

    def _take(self) -> bytes | None:
        """Answer the first request of the buffer, and return what follows it; None where it is not whole."""
        if self._head is None:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                if len(head) > MAX_HEAD_BYTES:
                    raise ValueError("a head without an end")
                return None
            # Judged before its body is here: it may never come.
            self._head, self._buffer = self._begin(head), rest
        method, headers, answer = self._head
        body = _body(headers, self._buffer)
        if body is None:
            return None
        self._head = None
        data = b"" if method == b"HEAD" else json.dumps(answer).encode()
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%s: %s\r\ncontent-length: %d\r\n\r\n%s"
            % (ANSWERED_BY.encode(), self._cell.cell.encode(), len(data), data)
        )
        return self._buffer[body:]

    def _begin(self, head: bytes) -> tuple[bytes, dict[str, list[bytes]], dict[str, Any]]:
        """The method, the headers, and what is to be answered."""
        first, *lines = head.split(b"\r\n")
        line = _LINE.fullmatch(first)
        if line is None:
            raise ValueError(f"the first line is {first[:200]!r}")
        headers: dict[str, list[bytes]] = {}
        for field in lines:
            match = _FIELD.fullmatch(field)
            if match is None:
                raise ValueError(f"a header is {field[:200]!r}")
            headers.setdefault(match[1].decode("ascii"), []).append(match[2])
        if line[2] == b"/healthz":
            return line[1], headers, {}
        self._cell.requests += 1
        reason = self._cell.judge(headers)
        if reason is not None:
            self._cell.violations.add(reason, (line[0], headers))
        said = {name: b"".join(headers.get(name, [])).decode("latin-1") for name in (MARKER, "x-tenant-id")}
        return line[1], headers, {**said, "path": line[2].decode("latin-1"), "wrong": reason}


def _body(headers: dict[str, list[bytes]], data: bytes) -> int | None:
    """How many bytes of these are the body; None where it is not whole.

    Raises:
        ValueError: nobody could say.
    """
    lengths, encodings = headers.get("content-length", []), headers.get("transfer-encoding", [])
    if encodings:
        if lengths or encodings != [b"chunked"]:
            raise ValueError(f"lengths {lengths}, encodings {encodings}")
        return _chunked(data)
    if not lengths:
        return 0
    if len(lengths) != 1 or not lengths[0].isdigit():
        raise ValueError(f"lengths {lengths}")
    length = int(lengths[0])
    return length if len(data) >= length else None


def _chunked(data: bytes) -> int | None:
    place = 0
    while True:
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        size_text = data[place:end]
        if re.fullmatch(rb"[0-9a-fA-F]{1,8}", size_text) is None:
            raise ValueError(f"a chunk's size is {size_text[:100]!r}")
        size = int(size_text, 16)
        after = end + 2 + size + 2
        if len(data) < after:
            return None
        if data[after - 2 : after] != b"\r\n":
            raise ValueError("a chunk without its end, or with trailers")
        if size == 0:
            return after
        place = after


async def _serve(port: int, cell: Cell) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(cell), "127.0.0.1", port, backlog=512)
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    print("ready", flush=True)
    await stopping.wait()
    server.close()
    print(json.dumps({"requests": cell.requests, "violations": cell.violations.count}), flush=True)


def main() -> None:
    """Run a cell until it is told to end; then say how many requests it had."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cell", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--violations", type=Path, required=True)
    options = parser.parse_args()
    table = RoutingTable(options.table.read_bytes())
    asyncio.run(_serve(options.port, Cell(options.cell, table, Violations(options.violations, options.cell))))


if __name__ == "__main__":
    main()
