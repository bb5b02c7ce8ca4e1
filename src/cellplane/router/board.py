"""The board: a file that the agent and the proxy's module share while they run.

The agent writes the state of each cell's circuit breaker, and reads what each worker counts. The module's half is
``native/envoy-module/src/board.rs``, with the same layout: words of 64 bits in the machine's order. Nothing on it is
needed to route; it is made anew for every base of a table, and its counts then begin at 0.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cellplane.routing import RoutingTable

MAGIC = int.from_bytes(b"\x89CPB\r\n\x1a\n", "little")
VERSION = 2
HEADER_WORDS = 16
CELL_WORDS = 3
COUNT_WORDS = 64
FIRST_BUCKET = 32
BUCKETS = 32
TENANT_PLACES = 16
TENANT_WORDS = 24
_TENANT_KEY = 8
_DIGEST_CHARS = 12
_NO_LAG = 0xFFFF_FFFF
_NO_USE = 0xFFFF
_KEPT_BYTES = 8
_READ_TRIES = 3
"""Tries to read a tenant's place while it changes hands; after them it is left out."""

LATENCY_BOUNDS_SECONDS: tuple[float, ...] = tuple(
    512e-6 * 2 ** (place // 2) * (1.5 if place % 2 else 1.0) for place in range(BUCKETS - 1)
)
"""Upper bounds of the histogram's buckets, seconds: two an octave, from half a millisecond to 25 s."""


class Count(IntEnum):
    """What is counted of a cell: the place of its word."""

    REQUESTS = 0
    ERRORS = 1
    UNREACHABLE = 2
    SHED = 3
    LIMITED = 4
    UNAVAILABLE = 5
    IN_FLIGHT = 6
    BUSY_US = 7
    RETRIED = 8
    MISROUTED = 9
    STALE = 10
    CANARY = 11
    REDIRECTED = 12
    PROBES = 13
    SHADOWED = 14
    KEPT = 24
    KEPT_EVICTED = 25
    KEPT_MISSED = 26
    BY_ASSIGNMENT = 16
    BY_SLOT = 17
    BY_DEFAULT = 18
    BY_SOURCE = 19
    COMPARED = 20
    UNHEARD = 21


class BreakerState(IntEnum):
    """What requests a cell gets; the code on the board."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2
    AVOIDED = 3
    """It gets what no other cell can take."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a cell said of its load.

    Attributes:
        reports: how often it said something, modulo 65,536.
        queue_lag_seconds: age of the oldest job in its queue; None where it does not say.
        pool_use: connections in use ÷ its pool, 0 to 6.5; None where it does not say.
    """

    reports: int
    queue_lag_seconds: float | None
    pool_use: float | None


@dataclass(frozen=True, slots=True)
class TenantCounts:
    """What the workers noticed of one tenant at one cell, since it was last among those who took most of its time.

    Attributes:
        tenant: its id.
        requests: that ended.
        errors: of them, those that the cell is to blame for.
        busy_seconds: sum of the time that they were under way.
    """

    tenant: str
    requests: int
    errors: int
    busy_seconds: float


class Board:
    """An open board.

    Args:
        path: of the file.
        base_sha256: of the base that it belongs to, in hexadecimal digits.
        cells: ids of the cells, in the order of the table.
        workers: that count.

    Raises:
        ValueError: the file is another board, or a part of one.
    """

    def __init__(self, path: Path, base_sha256: str, cells: tuple[str, ...], workers: int) -> None:
        self.path = path
        self.base_sha256 = base_sha256
        self.cells = cells
        self._places = {cell: place for place, cell in enumerate(cells)}
        words: NDArray[np.uint64] = np.memmap(path, np.dtype("=u8"), mode="r+")
        header = _header(base_sha256, cells, workers)
        if len(words) != _words(cells, workers) or not np.array_equal(words[: len(header)], header):
            raise ValueError(f"{path}: expected a board of this table's base")
        counts_at = HEADER_WORDS + len(cells) * CELL_WORDS
        tenants_at = counts_at + workers * len(cells) * COUNT_WORDS
        self._breakers, self._limits, self._loads = words[HEADER_WORDS:counts_at].reshape(len(cells), CELL_WORDS).T
        self._header = words[:HEADER_WORDS]
        self._counts = words[counts_at:tenants_at].reshape(workers, len(cells), COUNT_WORDS)
        self._tenants = words[tenants_at:].reshape(workers, len(cells), TENANT_PLACES, TENANT_WORDS)

    @classmethod
    def of_table(cls, folder: Path, table: RoutingTable, workers: int) -> Self:
        """The board of a table's base: the one that is there, with what was counted on it, or a new one where there is
        none, or what a power cut left of one.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"board-{table.base.epoch}-{table.sha256[:_DIGEST_CHARS]}-{workers}"
        cells = tuple(cell.id for cell in table.base.cells)
        try:
            return cls(path, table.sha256, cells, workers)
        except (FileNotFoundError, ValueError):
            return cls.create(path, table.sha256, cells, workers)

    def forget_others(self) -> None:
        """Remove the boards of other bases: no route names them any more. What is mapped stays until it is not."""
        for path in self.path.parent.glob("board-*"):
            if path != self.path:
                path.unlink(missing_ok=True)

    @classmethod
    def create(cls, path: Path, base_sha256: str, cells: tuple[str, ...], workers: int) -> Self:
        """Make a board of zeros. It need not outlive a power cut.

        Its room on the disk is taken now: a page that the disk has no room for when it is first written to, by way of
        memory, ends the proxy (SIGBUS).
        """
        aside = path.with_suffix(".new")
        with aside.open("wb") as file:
            file.write(_header(base_sha256, cells, workers).tobytes())
            file.flush()
            os.posix_fallocate(file.fileno(), 0, _words(cells, workers) * 8)
        aside.chmod(0o600)
        aside.rename(path)
        return cls(path, base_sha256, cells, workers)

    def begin_run(self) -> None:
        """Forget what only a proxy that runs can mean: one that died has nothing under way, and after a start of the
        machine its clock, by which limits are kept, begins anew. What it kept of answers is gone.
        """
        self._counts[:, :, Count.IN_FLIGHT] = 0
        self._limits[:] = 0
        self._header[_KEPT_BYTES] = 0

    def set_breaker(self, cell: str, state: BreakerState, probe_share: float = 0.0) -> None:
        """Say what requests a cell gets: of a half-open one the probes, a share of 0 to 1."""
        self._breakers[self._places[cell]] = int(state) | round(probe_share * 10_000) << 16

    def breaker(self, cell: str) -> tuple[BreakerState, float]:
        """What requests a cell gets, and the share of the probes."""
        word = int(self._breakers[self._places[cell]])
        return BreakerState(word & 0xFF), (word >> 16) / 10_000

    @property
    def kept_bytes(self) -> int:
        """Bytes that kept answers took when one was last kept."""
        return int(self._header[_KEPT_BYTES])

    def counts(self) -> NDArray[np.uint64]:
        """All counts now, of all workers together: shape (cells, 64)."""
        total: NDArray[np.uint64] = self._counts.sum(axis=0, dtype=np.uint64)
        return total

    def loads(self) -> list[Load]:
        """What each cell said last of its load, in the order of ``cells``."""
        return [_read_load(int(word)) for word in self._loads]

    def tenants(self, cell: str) -> Iterator[TenantCounts]:
        """Those who take most of a cell's time, in any order; each once."""
        found: dict[str, TenantCounts] = {}
        for place in self._tenants[:, self._places[cell]].reshape(-1, TENANT_WORDS):
            read = _read_place(place)
            if read is None:
                continue
            known = found.get(read.tenant)
            found[read.tenant] = read if known is None else _sum(known, read)
        yield from found.values()


def _header(base_sha256: str, cells: tuple[str, ...], workers: int) -> NDArray[np.uint64]:
    sha256 = np.frombuffer(bytes.fromhex(base_sha256), "=u8")
    return np.array([MAGIC, VERSION, workers, len(cells), *sha256], "=u8")


def _words(cells: tuple[str, ...], workers: int) -> int:
    return HEADER_WORDS + len(cells) * (CELL_WORDS + workers * (COUNT_WORDS + TENANT_PLACES * TENANT_WORDS))


def _read_load(word: int) -> Load:
    reports, use, lag_ms = word >> 48, word >> 32 & _NO_USE, word & _NO_LAG
    if reports == use == lag_ms == 0:
        return Load(0, None, None)
    return Load(reports, None if lag_ms == _NO_LAG else lag_ms / 1e3, None if use == _NO_USE else use / 1e4)


def _read_place(place: NDArray[np.uint64]) -> TenantCounts | None:
    """What a place says; None where nobody has it, or it changes hands."""
    for _ in range(_READ_TRIES):
        lock = int(place[0])
        copy = place.copy()
        length = int(copy[5])
        if lock % 2 == 0 and lock == int(place[0]):
            if length == 0:
                return None
            key = copy[_TENANT_KEY:].tobytes()[:length].decode("ascii", "replace")
            return TenantCounts(key, int(copy[2]), int(copy[3]), int(copy[4]) / 1e6)
    return None


def _sum(one: TenantCounts, other: TenantCounts) -> TenantCounts:
    return TenantCounts(
        one.tenant,
        one.requests + other.requests,
        one.errors + other.errors,
        one.busy_seconds + other.busy_seconds,
    )
