"""The doorbell: where the proxy asks its agent to say when a newer table is live.

A cell that refuses a request since its tenant has moved (421) says by which epoch. The module then asks here, and tries
the request anew by that table. HTTP/1.1 over a socket of the router's own folder, and nothing else: nobody else can
ask, and what is asked is one number.
"""

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path

import structlog

from cellplane.router.settings import RouterSettings

log = structlog.get_logger()

SOCKET = "agent.sock"
"""Its name, in Envoy's working folder."""

_REQUEST = re.compile(rb"GET /epochs/([0-9]{1,20}) HTTP/1\.1\r\n")
_MAX_HEAD_BYTES = 8192
_ANSWERS = {True: b"200 OK", False: b"504 Gateway Timeout"}


class Doorbell:
    """Answers when an epoch is live, or that it is not in time.

    Args:
        folder: where the socket is; its path may be long.
    """

    def __init__(self, folder: Path, settings: RouterSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._live = 0
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    def announce(self, epoch: int) -> None:
        """Say that a table of this epoch is live."""
        self._live = epoch
        self._changed.set()
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Begin to answer."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / SOCKET).unlink(missing_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # A socket's path has at most 107 bytes, wherever the folder is.
            path = f"/proc/self/fd/{folder}/{SOCKET}"
            # Serving is begun when there is something to close: whoever waits for this may be cancelled.
            self._server = await asyncio.start_unix_server(
                self._answer, path, limit=_MAX_HEAD_BYTES, start_serving=False
            )
            await self._server.start_serving()
        finally:
            os.close(folder)
        (self._folder / SOCKET).chmod(0o600)

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()
        (self._folder / SOCKET).unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked = _REQUEST.match(head)
                if asked is None:
                    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    break
                is_live = await self._wait_for(int(asked[1]))
                writer.write(b"HTTP/1.1 " + _ANSWERS[is_live] + b"\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            # The proxy has gone, or says something else than it should: there is nobody to answer.
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _wait_for(self, epoch: int) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.refetch_seconds):
                while self._live < epoch:
                    await self._changed.wait()
        return self._live >= epoch
