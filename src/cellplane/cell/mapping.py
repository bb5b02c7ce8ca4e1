"""Where a tenant is now: work that was queued before a move finds its cell afterwards.

A cell notes each tenant that leaves it, or comes back, in one file for all of its processes. What is noted stays for
as long as work that was queued before may still refer to it. Standard library only, and no process is asked::

    whereabouts = Whereabouts(Path("/var/lib/cell/moves"), "cell-1")

    match whereabouts.of(context.tenant_id, context.epoch):
        case Here():
            handle(job)
        case MovedTo(cell_id, epoch):
            hand_over(job, cell_id, epoch)
        case Unknown():
            ask_the_directory(job)
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from cellplane.cell.errors import MappingError
from cellplane.cell.settings import HeaderLimits, MappingSettings, check_cell_id, is_visible
from cellplane.durable import write_durably

_LIMITS = HeaderLimits()
_FORMAT = 1
_RETRY_SECONDS = 0.005
_DEFAULT = MappingSettings()


@dataclass(frozen=True, slots=True)
class Here:
    """The tenant is this cell's, for this work."""


@dataclass(frozen=True, slots=True)
class MovedTo:
    """The tenant is another cell's."""

    cell_id: str
    epoch: int
    """Of the routing table that gave it away: hand the work over with it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The work is older than what is kept: ask who knows, such as the directory, or refuse it."""


Whereabout: TypeAlias = Here | MovedTo | Unknown


@dataclass(frozen=True, slots=True)
class _Move:
    """The last that is known of a tenant."""

    cell_id: str
    epoch: int
    at: float
    """When it was noted, in seconds since 1970."""

    def to_line(self, tenant_id: str) -> bytes:
        return _line({"tenant": tenant_id, "cell": self.cell_id, "epoch": self.epoch, "at": self.at})


@dataclass(slots=True)
class _Record:
    """What a file says, as far as it was read."""

    moves: dict[str, _Move] = field(default_factory=dict)
    complete_after: int = 0
    """Of moves up to this epoch some are forgotten."""
    lines: int = 0
    inode: int = -1
    """-1: there was no file."""
    read_bytes: int = 0


class Whereabouts:
    """The record of a cell's moves; each process has its own, of the same file.

    Args:
        path: of the file, on the cell's own disk; made when it is first written. Beside it stands ``<name>.lock``.
        cell_id: of this cell.
        settings: bounds.
        clock: seconds since 1970, the same for all processes.
        monotonic: seconds, for how often to look.

    Raises:
        MappingError: the file cannot be read, is damaged, or is another cell's.
        InvalidSettingError: ``cell_id`` cannot be one.
    """

    def __init__(
        self,
        path: Path,
        cell_id: str,
        settings: MappingSettings = _DEFAULT,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        self._path = path
        self._cell_id = cell_id
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._lock = Lock()
        self._record = _Record()
        self._looked_at = monotonic()
        self._look()

    def of(self, tenant_id: str, epoch: int) -> Whereabout:
        """Where the work of a tenant is to be done.

        Args:
            tenant_id: whose it is.
            epoch: of the routing table by which it came to this cell.

        Raises:
            MappingError: the file has changed, and cannot be read.
        """
        record = self._known()
        move = record.moves.get(tenant_id)
        if move is not None:
            # By the table of the move, or a newer one, nobody sends the tenant here but because it is here again.
            is_here = move.cell_id == self._cell_id or epoch >= move.epoch
            return Here() if is_here else MovedTo(move.cell_id, move.epoch)
        return Here() if epoch >= record.complete_after else Unknown()

    def moved(self, tenant_id: str) -> int | None:
        """The epoch by which a tenant became another cell's; None for one of this cell. As ``Door`` asks.

        Raises:
            MappingError: the file has changed, and cannot be read.
        """
        move = self._known().moves.get(tenant_id)
        return None if move is None or move.cell_id == self._cell_id else move.epoch

    def note(self, tenant_id: str, cell_id: str, epoch: int) -> bool:
        """Note that a tenant is a cell's from an epoch on; as ``note_all``."""
        return self.note_all({tenant_id: (cell_id, epoch)}) == 1

    def note_all(self, moves: Mapping[str, tuple[str, int]]) -> int:
        """Note where tenants are from an epoch on. It is on disk, for all processes, when this returns.

        What is not newer than what is known of a tenant changes nothing.

        Args:
            moves: tenant → cell, and epoch of the table that says so.

        Returns:
            How many were new.

        Raises:
            MappingError: there is no room left, the disk takes nothing, or an epoch names two cells. Nothing was noted.
        """
        for tenant_id, (cell_id, epoch) in moves.items():
            if not is_visible(tenant_id, _LIMITS.tenant_max_bytes):
                raise MappingError(f"expected a tenant's id of visible ASCII characters, found {tenant_id[:40]!r}")
            check_cell_id("cell_id", cell_id)
            if not 0 <= epoch < 2**64:
                raise MappingError(f"tenant {tenant_id}: expected an epoch from 0 on, found {epoch}")
        with self._writing() as record:
            now = self._clock()
            new = {
                tenant_id: _Move(cell_id, epoch, now)
                for tenant_id, (cell_id, epoch) in moves.items()
                if _is_news(tenant_id, cell_id, epoch, record)
            }
            if len(record.moves.keys() | new.keys()) > self._settings.max_tenants:
                raise MappingError(
                    f"{self._path}: expected moves of at most {self._settings.max_tenants} tenants, found more; none "
                    "is forgotten while work may refer to it. Forget what is done, or raise max_tenants"
                )
            if new:
                self._append(b"".join(move.to_line(tenant_id) for tenant_id, move in new.items()))
            if self._record.lines > 2 * self._settings.max_tenants:
                self._rewrite(self._record.moves, self._record.complete_after)
            return len(new)

    def forget(self, oldest_work_at: float | None = None) -> int:
        """Forget moves that no work can refer to any more: older than ``keep_seconds``, and than the oldest work.

        Afterwards, work that is older still is ``Unknown``. Call it now and then, such as daily.

        Args:
            oldest_work_at: when the oldest work in any queue of the cell was queued, in seconds since 1970; None where
                none is older than ``keep_seconds``.

        Returns:
            How many were forgotten.

        Raises:
            MappingError: the disk takes nothing. Nothing was forgotten.
        """
        with self._writing() as record:
            bound = self._clock() - self._settings.keep_seconds
            if oldest_work_at is not None:
                bound = min(bound, oldest_work_at)
            gone = {tenant_id: move for tenant_id, move in record.moves.items() if move.at < bound}
            if not gone:
                return 0
            complete_after = max(record.complete_after, *(move.epoch for move in gone.values()))
            kept = {tenant_id: move for tenant_id, move in record.moves.items() if tenant_id not in gone}
            self._rewrite(kept, complete_after)
            return len(gone)

    def _known(self) -> _Record:
        now = self._monotonic()
        # Who asks does not wait for who writes.
        if now - self._looked_at >= self._settings.look_seconds and self._lock.acquire(blocking=False):
            try:
                self._looked_at = now
                self._look()
            finally:
                self._lock.release()
        return self._record

    def _look(self) -> None:
        """Read what is new in the file. One that was put in place anew is read from its beginning."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                record = self._record
                if status.st_ino == record.inode and status.st_size == record.read_bytes:
                    return
                if status.st_ino != record.inode or status.st_size < record.read_bytes:
                    record = _Record(inode=status.st_ino)
                file.seek(record.read_bytes)
                data = file.read()
        except FileNotFoundError:
            if self._record.inode != -1:
                raise MappingError(f"{self._path}: expected the record of moves, found that it is gone") from None
            return
        except OSError as error:
            raise MappingError(f"{self._path}: expected the record of moves, found: {error}") from error
        try:
            self._record = self._read(record, data)
        except MappingError:
            if record.read_bytes == 0:
                raise
            # What was read before may have been taken back since.
            self._record = _Record()
            self._look()

    def _read(self, before: _Record, data: bytes) -> _Record:
        # What has no end yet is being written, or was cut short.
        whole = data[: data.rfind(b"\n") + 1]
        read = replace(before, moves=dict(before.moves))
        for line in whole.splitlines():
            self._take(read, line)
            read.lines += 1
        read.read_bytes += len(whole)
        return read

    def _take(self, record: _Record, line: bytes) -> None:
        try:
            members = _members(line)
            if record.lines == 0:
                if (members["format"], members["of"]) != (_FORMAT, self._cell_id):
                    raise MappingError(
                        f"{self._path}: expected the moves of {self._cell_id} in format {_FORMAT}, found those of "
                        f"{members['of']} in format {members['format']}"
                    )
                record.complete_after = int(members["complete_after"])
            else:
                move = _Move(str(members["cell"]), int(members["epoch"]), float(members["at"]))
                record.moves[str(members["tenant"])] = move
        except (ValueError, KeyError, TypeError) as error:
            raise MappingError(
                f"{self._path}: expected a record of moves, found that line {record.lines + 1} is damaged. "
                "Put back a copy; without one, move it away, and older work is taken for work of this cell"
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[_Record]:
        """Hold the file against other writers, and know all that it says."""
        with self._lock:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                path = self._path.with_name(f"{self._path.name}.lock")
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise MappingError(f"{self._path}: expected to write the record of moves, found: {error}") from error
            try:
                self._hold(lock)
                self._look()
                yield self._record
            finally:
                os.close(lock)

    def _hold(self, lock: int) -> None:
        deadline = self._monotonic() + self._settings.lock_seconds
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._monotonic() >= deadline:
                    raise MappingError(
                        f"{self._path}: expected to write within {self._settings.lock_seconds:g} s, found that another "
                        "process writes all that time. Nothing was noted; look for one that hangs"
                    ) from None
                time.sleep(_RETRY_SECONDS)
            else:
                return

    def _append(self, lines: bytes) -> None:
        try:
            if self._record.inode == -1:
                write_durably(self._path, self._head(0))
                self._look()
            with self._path.open("r+b") as file:
                # Away with what a writer left behind that was killed in the middle.
                file.truncate(self._record.read_bytes)
                file.seek(self._record.read_bytes)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._take_back()
            raise MappingError(f"{self._path}: expected to note moves, found: {error}. Nothing was noted") from error
        self._look()

    def _rewrite(self, moves: Mapping[str, _Move], complete_after: int) -> None:
        lines = b"".join(move.to_line(tenant_id) for tenant_id, move in moves.items())
        try:
            write_durably(self._path, self._head(complete_after) + lines)
        except OSError as error:
            raise MappingError(f"{self._path}: expected to write the record of moves anew, found: {error}") from error
        self._look()

    def _take_back(self) -> None:
        """Leave nothing of what could not be written whole; where that fails too, the next writer does it."""
        if self._record.inode != -1:
            try:
                os.truncate(self._path, self._record.read_bytes)
            except OSError:
                return

    def _head(self, complete_after: int) -> bytes:
        return _line({"format": _FORMAT, "of": self._cell_id, "complete_after": complete_after})


def _is_news(tenant_id: str, cell_id: str, epoch: int, record: _Record) -> bool:
    known = record.moves.get(tenant_id)
    if known is None or epoch > known.epoch:
        return True
    if epoch == known.epoch and cell_id != known.cell_id:
        raise MappingError(
            f"tenant {tenant_id}: expected one cell from epoch {epoch} on, found {known.cell_id} and {cell_id}. "
            "A table says one: take the move's own"
        )
    return False


def _line(members: dict[str, Any]) -> bytes:
    text = json.dumps(members, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _members(line: bytes) -> dict[str, Any]:
    """What ``_line`` wrote.

    Raises:
        ValueError: it is not that any more.
    """
    checksum, _, text = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(text):
        raise ValueError("the checksum is another")
    members = json.loads(text)
    if not isinstance(members, dict):
        raise TypeError("expected an object")
    return members
