"""The tenants that this cell gave away, in a file that all of its processes share.

Whoever moves a tenant writes it here, before the tenant's new cell begins to serve it::

    Fences.create(path, "cell-3")                 # once, where the cell is made
    fences = Fences(path, "cell-3")               # in every process
    app = CellMiddleware(app, "cell-3", moved=fences.moved)
    fences.give_away("acme", 812)                 # by the table of epoch 812 it is another cell's
    fences.returned("acme", 900)                  # by that of 900 it is here again

A process sees a change with its next request. The file is text: a line of what it is, a line for each tenant, and the
SHA-256 of all of them::

    cellplane-fences 1 cell-3 17
    acme 812 away
    sha256 1f0c…

17 is its generation, one more with each change: what an older file says is not believed.
"""

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from cellplane.cell.errors import FenceFileError, FencesBusyError, FencesFullError, StaleFenceError
from cellplane.cell.settings import FenceLimits, HeaderLimits, check_cell_id, is_visible
from cellplane.durable import ASIDE_SUFFIX, locked, written_durably
from cellplane.faults import fault_point

_log = logging.getLogger("cellplane.cell")

VERSION = "1"
"""Of the file's form."""

WRITTEN_ASIDE = "fences-written-aside"
"""Fault point: the new list is written, and not yet in place."""

_HEAD = re.compile(r"cellplane-fences (\S{1,20}) (\S{1,128}) (0|[1-9][0-9]{0,18})")
_LINE = re.compile(
    rf"([!-~]{{1,{HeaderLimits.tenant_max_bytes}}}) ([0-9]{{1,{HeaderLimits.epoch_max_digits}}}) (away|here)"
)
_LIMITS = FenceLimits()
_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Record:
    epoch: int
    is_away: bool


@dataclass(frozen=True, slots=True)
class _List:
    """What a file said, and by what it is recognised: inode, time and size."""

    signature: _Signature
    generation: int
    records: Mapping[str, _Record]
    away: Mapping[str, int]


class Fences:
    """The list of one cell, as one process knows it. Threads may share it.

    Where the file is damaged, or gone, while a process runs, what it knew last goes on to count, and ``trouble`` says
    why; so does the log, once.

    Args:
        path: of the file. Its folder holds the lock beside it.
        cell_id: of this cell; another one's list is refused.
        limits: sizes and waits.
        clock: monotonic seconds, for waits.

    Raises:
        FenceFileError: there is none, or it cannot be read as it is: an empty list would let in who was given away.
    """

    def __init__(
        self,
        path: Path,
        cell_id: str,
        *,
        limits: FenceLimits = _LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        self._path = path
        self._name = os.fspath(path)
        self._cell_id = cell_id
        self._limits = limits
        self._clock = clock
        self._reading = threading.Lock()
        self._distrusted: _Signature | None = None
        self.trouble: str | None = None
        try:
            self._known = self._read(0)
        except OSError as error:
            raise FenceFileError(path, f"it cannot be read: {error.strerror}") from error

    @classmethod
    def create(cls, path: Path, cell_id: str, *, limits: FenceLimits = _LIMITS) -> "Fences":
        """Make an empty list where there is none yet; one that is there is left as it is.

        Raises:
            FenceFileError: one is there that cannot be read, or it cannot be written.
            FencesBusyError: another process writes for longer than one waits.
        """
        check_cell_id("cell_id", cell_id)
        try:
            with _held(path, limits, time.monotonic):
                if not path.exists():
                    _write(path, cell_id, 0, {})
        except OSError as error:
            raise FenceFileError(path, f"it cannot be written: {error.strerror}") from error
        return cls(path, cell_id, limits=limits)

    def moved(self, tenant_id: str) -> int | None:
        """The epoch by which a tenant became another cell's; None for one of this cell. Looks at the file's state."""
        try:
            found = os.stat(self._name)  # noqa: PTH116  # of every request
        except OSError as error:
            self._distrust(None, f"it cannot be looked at: {error.strerror}")
        else:
            signature = (found.st_ino, found.st_mtime_ns, found.st_size)
            if signature != self._known.signature:
                self._reread(signature)
            elif self.trouble is not None:
                self._trust()
        return self._known.away.get(tenant_id)

    def away(self) -> Mapping[str, int]:
        """All tenants that were given away, and the epochs."""
        self.moved("")
        return MappingProxyType(self._known.away)

    def give_away(self, tenant_id: str, epoch: int) -> None:
        """From this epoch on a tenant is another cell's. On disk, and seen by all processes, when this returns.

        Raises:
            StaleFenceError: something newer, or of this epoch, is known of it.
            FencesFullError: there are as many as there may be.
            FenceFileError: the list cannot be read or written; nothing was changed.
            FencesBusyError: another process writes for longer than one waits.
        """
        self._change(tenant_id, _Record(epoch, is_away=True))

    def returned(self, tenant_id: str, epoch: int) -> None:
        """From this epoch on a tenant is this cell's again; it raises as ``give_away`` does.

        That is remembered, so that no late ``give_away`` of an earlier epoch counts.
        """
        self._change(tenant_id, _Record(epoch, is_away=False))

    def _change(self, tenant_id: str, record: _Record) -> None:
        if not is_visible(tenant_id, HeaderLimits.tenant_max_bytes):
            raise ValueError(f"expected a tenant id of 1–128 visible ASCII characters, found {tenant_id[:40]!r}")
        if not 0 < record.epoch < 10**HeaderLimits.epoch_max_digits:
            raise ValueError(f"expected the epoch of a table, found {record.epoch}")
        try:
            with _held(self._path, self._limits, self._clock):
                known = self._read(self._known.generation)
                before = known.records.get(tenant_id)
                if before == record:
                    return
                if before is not None and record.epoch <= before.epoch:
                    raise StaleFenceError(tenant_id, before.epoch, record.epoch, is_away=before.is_away)
                records = self._with_room(dict(known.records), tenant_id)
                records[tenant_id] = record
                _write(self._path, self._cell_id, known.generation + 1, records)
                self._known = self._read(known.generation)
        except OSError as error:
            raise FenceFileError(self._path, f"it cannot be written: {error.strerror}") from error

    def _with_room(self, records: dict[str, _Record], tenant_id: str) -> dict[str, _Record]:
        """Without the return of longest ago, where there is no room for another tenant."""
        if tenant_id in records or len(records) < self._limits.max_tenants:
            return records
        here = [(record.epoch, tenant) for tenant, record in records.items() if not record.is_away]
        if not here:
            raise FencesFullError(self._path, self._limits.max_tenants)
        del records[min(here)[1]]
        return records

    def _reread(self, signature: _Signature) -> None:
        """Take what is in place now, if it is sound; looked at once for each file that is not."""
        with self._reading:
            if signature in (self._distrusted, self._known.signature):
                return
            try:
                self._known = self._read(self._known.generation)
            except OSError as error:
                self._distrust(None, f"it cannot be read: {error.strerror}")
            except FenceFileError as error:
                self._distrust(signature, error.reason)
            else:
                self._trust()

    def _trust(self) -> None:
        if self.trouble is not None:
            _log.info("fences can be used again", extra={"path": self._name})
        self.trouble = self._distrusted = None

    def _distrust(self, signature: _Signature | None, reason: str) -> None:
        self._distrusted = signature
        if self.trouble != reason:
            self.trouble = reason
            _log.error("fences cannot be used; what was known last counts: %s", reason, extra={"path": self._name})

    def _read(self, least_generation: int) -> _List:
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(self._limits.max_bytes + 1)
        generation, records = self._parse(data)
        if generation < least_generation:
            raise FenceFileError(
                self._path, f"expected generation {least_generation} or later, found {generation}: it is an older list"
            )
        return _List(
            (status.st_ino, status.st_mtime_ns, status.st_size),
            generation,
            records,
            {tenant: record.epoch for tenant, record in records.items() if record.is_away},
        )

    def _parse(self, data: bytes) -> tuple[int, dict[str, _Record]]:
        def wrong(reason: str) -> FenceFileError:
            return FenceFileError(self._path, reason)

        if len(data) > self._limits.max_bytes:
            raise wrong(f"expected at most {self._limits.max_bytes} bytes")
        body, mark, digest = data.rpartition(b"sha256 ")
        if not mark or digest != _digest(body):
            raise wrong("expected its SHA-256 at its end: it is cut short, or was changed by hand")
        # What has the right digest was written by this module, perhaps of another release.
        head, *lines = body.decode("ascii", "replace").splitlines() or [""]
        found = _HEAD.fullmatch(head)
        if found is None or found[1] != VERSION:
            raise wrong(f"expected a list of version {VERSION}, found {head[:60]!r}")
        if found[2] != self._cell_id:
            raise wrong(f"expected the list of cell {self._cell_id}, found that of {found[2]}")
        records: dict[str, _Record] = {}
        for number, line in enumerate(lines, 2):
            entry = _LINE.fullmatch(line)
            if entry is None or entry[1] in records:
                raise wrong(f"line {number}: expected a tenant, an epoch and away or here, once for each tenant")
            records[entry[1]] = _Record(int(entry[2]), entry[3] == "away")
        if len(records) > self._limits.max_tenants:
            raise wrong(f"expected at most {self._limits.max_tenants} tenants, found {len(records)}")
        return int(found[3]), records


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n"


def _write(path: Path, cell_id: str, generation: int, records: Mapping[str, _Record]) -> None:
    lines = [f"cellplane-fences {VERSION} {cell_id} {generation}\n"]
    lines += [f"{tenant} {record.epoch} {'away' if record.is_away else 'here'}\n" for tenant, record in records.items()]
    body = "".join(lines).encode("ascii")
    # Those of a process that was killed; nobody else writes while the lock is held.
    for aside in path.parent.glob(f".{path.name}.*{ASIDE_SUFFIX}"):
        aside.unlink(missing_ok=True)
    # Two changes within one tick of the file system's clock, on an inode that is used again, must not look alike.
    now = time.time_ns()
    if path.exists():
        now = max(now, path.stat().st_mtime_ns + 1)
    with written_durably(path) as file:
        file.write(body + b"sha256 " + _digest(body))
        file.flush()
        os.utime(file.fileno(), ns=(now, now))
        fault_point(WRITTEN_ASIDE)


@contextmanager
def _held(path: Path, limits: FenceLimits, clock: Callable[[], float]) -> Iterator[None]:
    """Hold the list's lock while the block runs."""
    until = clock() + limits.lock_wait_seconds
    while True:
        with locked(path.with_name(f"{path.name}.lock")) as is_held:
            if is_held:
                yield
                return
        if clock() >= until:
            raise FencesBusyError(path, limits.lock_wait_seconds)
        time.sleep(limits.lock_poll_seconds)
