"""Reports on their way to whoever asked: one is made at a time, few wait to be read, and none for long."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from cellplane.control.settings import PIECE_BYTES, ControlSettings
from cellplane.errors import ConflictError

MAX_REPORT_MEMORY_BYTES = 8 * 1024 * 1024
"""Of a report; a longer one is put into a file until it is sent."""

log = structlog.get_logger()


class Outbox:
    """The files of reports, each from when it is begun until it is sent. Runs in one event loop."""

    def __init__(self, settings: ControlSettings) -> None:
        self._settings = settings
        self._held: set[IO[bytes]] = set()
        self._is_making = False

    @property
    def held(self) -> int:
        """How many reports are being made or sent."""
        return len(self._held)

    @contextmanager
    def making(self) -> Iterator[IO[bytes]]:
        """A file to write a report into while the block runs; ``answer`` sends it. Where the block raises, it is gone.

        Raises:
            ConflictError: another is being made, or as many as may wait to be read.
        """
        if self._is_making:
            raise ConflictError("a report of residency is being made: ask again when it is done")
        if len(self._held) >= self._settings.max_residency_reports:
            raise ConflictError(
                f"{len(self._held)} reports of residency wait to be read, which is the limit: ask again when one was"
            )
        file = SpooledTemporaryFile(max_size=MAX_REPORT_MEMORY_BYTES)  # noqa: SIM115  # closed when it is sent
        self._held.add(file)
        self._is_making = True
        try:
            yield file
            file.seek(0)
        except BaseException:
            self._drop(file)
            raise
        finally:
            self._is_making = False

    def answer(self, file: IO[bytes], media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
        """The answer that is this report. It breaks off where whoever asked does not read it in time."""
        seconds = self._settings.residency_send_seconds
        return _Answer(file, seconds, lambda: self._drop(file), media_type=media_type, headers=headers)

    def _drop(self, file: IO[bytes]) -> None:
        self._held.discard(file)
        file.close()


class _Answer(StreamingResponse):
    """Sends a file within a time, and says when it is done with it."""

    def __init__(
        self, file: IO[bytes], seconds: float, done: Callable[[], None], *, media_type: str, headers: Mapping[str, str]
    ) -> None:
        super().__init__(iter(lambda: file.read(PIECE_BYTES), b""), media_type=media_type, headers=headers)
        self._seconds = seconds
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            async with asyncio.timeout(self._seconds):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # The server closes the connection behind an answer that has no end.
            log.warning("report_not_read", seconds=self._seconds)
        finally:
            self._done()
