"""A light cell as a process of its own: ``python -m chaos.cell --cell cell-1 --port 20001``.

It has as many lanes as it is told, each of which takes so long for a request; what finds all of them busy waits,
without a bound, as in most apps. It refuses what is meant for another cell, says whom it served, and fails when told:
``POST /act?errors=0.03&slow=0.2&delay=2``.
"""

import argparse
import asyncio
import random
from collections import deque
from urllib.parse import parse_qsl, urlsplit

HEAD_END = b"\r\n\r\n"


class Cell:
    """What all connections share."""

    def __init__(self, name: str, lanes: int, service_seconds: float, seed: int) -> None:
        self.name = name
        self.rng = random.Random(seed)
        self.service_seconds = service_seconds
        self.faults = {"errors": 0.0, "slow": 0.0, "delay": 0.0}
        self._free = lanes
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def work(self) -> None:
        """Wait for a lane, and work in it."""
        if self._free:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        await asyncio.sleep(self.service_seconds)
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1


class Connection(asyncio.Protocol):
    """One connection of a router; one request at a time."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._data = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(HEAD_END)
        if end < 0:
            return
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = end + len(HEAD_END) + int(headers.get("content-length", "0"))
        if len(self._data) < whole:
            return
        self._data = self._data[whole:]
        task = asyncio.get_running_loop().create_task(self._answer(first.split(" ")[1], headers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, target: str, headers: dict[str, str]) -> None:
        cell = self._cell
        if target == "/healthz":
            self._say(200)
        elif target.startswith("/act?"):
            cell.faults |= {name: float(value) for name, value in parse_qsl(urlsplit(target).query)}
            self._say(204)
        elif headers.get("x-cell-id") != cell.name:
            self._say(421)
        else:
            await cell.work()
            if cell.rng.random() < cell.faults["slow"]:
                await asyncio.sleep(cell.faults["delay"])
            is_error = cell.rng.random() < cell.faults["errors"]
            self._say(500 if is_error else 200, f"x-served-by: {cell.name}/{headers.get('x-tenant-id', '')}\r\n")

    def _say(self, status: int, more: str = "") -> None:
        length = "" if status == 204 else "content-length: 2\r\n"
        body = "" if status == 204 else "{}"
        self._transport.write(f"HTTP/1.1 {status} -\r\n{length}{more}\r\n{body}".encode())


async def serve(cell: Cell, port: int) -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(cell), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cell", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lanes", type=int, default=64)
    parser.add_argument("--service-ms", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cell = Cell(options.cell, options.lanes, options.service_ms / 1000, options.seed)
    asyncio.run(serve(cell, options.port))


if __name__ == "__main__":
    main()
