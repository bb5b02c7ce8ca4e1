"""Reads the answers that the proxy's module hands over, pairs and compares them, and counts what that comes to.

Datagrams on a socket of the router's own folder, which nobody else can write to. The module never waits: what is not
read in time is lost there, and counted there. Here, comparing takes a small part of the agent's time at most.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from cellplane.router.settings import RouterSettings
from cellplane.shadow.answer import parse
from cellplane.shadow.comparison import Outcome, Verdict, compare
from cellplane.shadow.pairs import Pair, Pairs
from cellplane.shadow.report import ShadowReport

log = structlog.get_logger()

SOCKET = "captures.sock"
"""Its name, in Envoy's working folder."""

_MAX_DATAGRAM_BYTES = 64 * 1024
_READS_AT_ONCE = 16
"""Datagrams that are read before others have their turn."""


class Captures:
    """Compares what cells and their shadows answer.

    Args:
        folder: where the socket is; its path may be long.
        clock: seconds that only grow.
        unix_clock: Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        settings: RouterSettings,
        clock: Callable[[], float],
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._unix_clock = unix_clock
        self._pairs = Pairs(settings.compare_wait_seconds, settings.max_waiting_answers)
        self._report = ShadowReport()
        self._budget_seconds = settings.compare_burst_seconds
        self._spent_at = 0.0
        self._socket: socket.socket | None = None

    @property
    def report(self) -> ShadowReport:
        """What was counted since this agent began."""
        return self._report

    @property
    def waiting_seconds(self) -> float:
        """For how long the oldest answer waits for the one with which it is compared."""
        return max(0.0, self._pairs.oldest_seconds(self._clock()))

    def open(self) -> None:
        """Begin to read."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self._folder / SOCKET).unlink(missing_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            # A socket's path has at most 107 bytes, wherever the folder is.
            self._socket.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
        (self._folder / SOCKET).chmod(0o600)
        self._spent_at = self._clock()
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def close(self) -> None:
        """Read no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        (self._folder / SOCKET).unlink(missing_ok=True)

    def to_json(self) -> list[dict[str, Any]]:
        """What the control plane is told."""
        self._note(self._pairs.expire(self._clock()))
        return self._report.to_json(self._unix_clock())

    def _read(self) -> None:
        assert self._socket is not None
        for _ in range(_READS_AT_ONCE):
            try:
                datagram = self._socket.recv(_MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            try:
                answer = parse(datagram)
            except ValueError as error:
                # The module and this agent are of different releases: the next start of the proxy ends that.
                log.warning("capture_unusable", error=str(error))
                continue
            self._note(self._pairs.take(answer, self._clock()))

    def _note(self, ended: list[Pair]) -> None:
        for cell, shadow in ended:
            verdict = Verdict(Outcome.UNANSWERED) if shadow is None else self._within_budget(Pair(cell, shadow))
            self._report.note(cell, shadow, verdict, self._unix_clock())

    def _within_budget(self, pair: Pair) -> Verdict:
        """Compare, where that has not taken too much of the agent's time."""
        assert pair.shadow is not None
        began = self._clock()
        earned = (began - self._spent_at) * self._settings.compare_share
        self._budget_seconds = min(self._settings.compare_burst_seconds, self._budget_seconds + earned)
        self._spent_at = began
        if self._budget_seconds <= 0:
            return Verdict(Outcome.SKIPPED)
        verdict = compare(pair.cell, pair.shadow)
        self._budget_seconds -= self._clock() - began
        return verdict
