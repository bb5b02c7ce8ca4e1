"""Makes the API fail on purpose: a share of its answers late, or errors, while its health check stays green."""

import asyncio
import json
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from cellplane.cell import Problem
from notifications.problems import respond

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Faults:
    """What goes wrong.

    Attributes:
        slow_share: share of the requests that are answered late, 0 to 1.
        delay_seconds: how late.
        error_share: share of the requests that are answered with 500, 0 to 1.
    """

    slow_share: float = 0.0
    delay_seconds: float = 0.0
    error_share: float = 0.0


class Faulty:
    """Fails as a file says, from the moment that it is there until it is gone.

    Args:
        app: the ASGI app behind it, without its health checks: such a failure is one that they do not see.
        file: a JSON object with fields of Faults. It is read when it has changed.
        rng: which requests it hits.
    """

    def __init__(self, app: ASGIApp, file: Path, rng: random.Random) -> None:
        self._app = app
        self._file = file
        self._rng = rng
        self._read_as: tuple[int, int] | None = None
        self._faults = Faults()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            faults = self._current()
            if self._rng.random() < faults.slow_share:
                await asyncio.sleep(faults.delay_seconds)
            if self._rng.random() < faults.error_share:
                await respond(_INJECTED)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _current(self) -> Faults:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._read_as, self._faults = None, Faults()
            return self._faults
        version = (found.st_ino, found.st_mtime_ns)
        if version != self._read_as:
            self._read_as, self._faults = version, self._read()
        return self._faults

    def _read(self) -> Faults:
        try:
            value: dict[str, Any] = json.loads(self._file.read_bytes())
            return Faults(**{name: float(number) for name, number in value.items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.error("faults not understood", extra={"reason": repr(error)})
            return Faults()


_INJECTED = Problem("injected", 500, "An error on purpose", "This cell was told to fail a share of its requests.")
