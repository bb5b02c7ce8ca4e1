"""The tenants that moved: since which epoch each is another cell's, in a file that all processes of a cell share.

Whoever moves a tenant notes it here, at its old cell, before the new one begins to serve it::

    Moves.create(path, "cell-3")                       # once, where the cell is made
    moves = Moves(path, "cell-3")                      # in every process
    app = CellMiddleware(app, "cell-3", moved=moves.moved)

    moves.note("acme", "cell-7", 812)                  # by the table of epoch 812 it is cell-7's
    moves.note("acme", "cell-3", 900)                  # by that of 900 it is here again
    moves.note_all({"globex": ("cell-7", 901), …})     # thousands at once cost as much as one

    match moves.of(job.tenant_id, job.epoch):          # work that was queued before a move finds its cell
        case Here(): …
        case MovedTo(cell_id, epoch): …
        case Unknown(): …                              # older than all that is known

A process sees a change with its next request. What an epoch has made known never goes back: not by a late note, not by
an older file, and not by being forgotten. ``moves_format`` has the file's form.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TypeAlias

from cellplane.cell.errors import InvalidMoveError, MoveFileError, MovesFullError, MoveWriteError, StaleMoveError
from cellplane.cell.moves_file import Contents, Signature, append, held, read, signature_of, write_anew
from cellplane.cell.moves_format import MAX_EPOCH, Head, Move, max_lines
from cellplane.cell.settings import HeaderLimits, MoveLimits, check_cell_id, is_visible

_log = logging.getLogger("cellplane.cell")
_LIMITS = MoveLimits()


@dataclass(frozen=True, slots=True)
class Here:
    """The tenant is this cell's, for this work."""


@dataclass(frozen=True, slots=True)
class MovedTo:
    """The tenant is another cell's."""

    cell_id: str
    epoch: int
    """Of the table that gave it away: hand the work over by this one or a later."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The work is older than what is kept: ask who knows, such as the directory, or refuse it."""


Whereabout: TypeAlias = Here | MovedTo | Unknown

_HERE, _UNKNOWN = Here(), Unknown()


class Moves:
    """The record of one cell, as one process knows it. Threads may share it.

    Where the file is damaged, or gone, while a process runs, what it knew last goes on to count, and ``trouble`` says
    why; so does the log, once.

    Args:
        path: of the file, on a disk of the cell's own; beside it stands ``<name>.lock``.
        cell_id: of this cell; another one's record is refused.
        limits: sizes and waits.
        clock: Unix seconds, the same for all processes.
        monotonic: seconds, for waits.

    Raises:
        MoveFileError: there is none, or it cannot be read as it is: an empty record would let in who was given away.
        InvalidSettingError: ``cell_id`` cannot be one.
    """

    def __init__(
        self,
        path: Path,
        cell_id: str,
        *,
        limits: MoveLimits = _LIMITS,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        check_cell_id("cell_id", cell_id)
        self._path = path
        self._name = os.fspath(path)
        self._cell_id = cell_id
        self._limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._reading = threading.Lock()
        self._distrusted: Signature | None = None
        self.trouble: str | None = None
        try:
            self._known = read(path, cell_id, limits, None)
        except OSError as error:
            raise MoveFileError(path, f"it cannot be read: {error.strerror}") from error

    @classmethod
    def create(cls, path: Path, cell_id: str, *, limits: MoveLimits = _LIMITS) -> "Moves":
        """Make an empty record where there is none yet; one that is there is left as it is.

        Raises:
            MoveFileError: one is there that cannot be read.
            MoveWriteError: it cannot be written.
            MovesBusyError: another process writes for longer than one waits.
        """
        check_cell_id("cell_id", cell_id)
        try:
            with held(path, limits, time.monotonic):
                if not path.exists():
                    write_anew(path, Head(cell_id), {}, None)
        except OSError as error:
            raise MoveWriteError(path, error.strerror or repr(error), is_undone=True) from error
        return cls(path, cell_id, limits=limits)

    def moved(self, tenant_id: str) -> int | None:
        """The epoch before which nothing counts that was routed here for a tenant; None where all does.

        That is the epoch by which it became another cell's. Of a tenant of whom nothing is known it is the last of
        those that are forgotten, since one of them may have been its: what such an old table sent here is refused.
        A look at the file's state, and one into a dict: as ``Door`` asks.
        """
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
        known = self._known
        move = known.moves.get(tenant_id)
        if move is None:
            return known.floor
        return None if move.cell_id == self._cell_id else move.epoch

    def of(self, tenant_id: str, epoch: int) -> Whereabout:
        """Where the work of a tenant is to be done.

        Args:
            tenant_id: whose it is.
            epoch: of the table by which it came to this cell, as its context says.
        """
        self.moved(tenant_id)
        known = self._known
        move = known.moves.get(tenant_id)
        if move is None:
            return _UNKNOWN if known.floor is not None and epoch < known.floor else _HERE
        # By the table of the move, or a newer one, nobody sends the tenant here but because it is here again.
        is_here = move.cell_id == self._cell_id or epoch >= move.epoch
        return _HERE if is_here else MovedTo(move.cell_id, move.epoch)

    def away(self) -> dict[str, MovedTo]:
        """All tenants that are known to be other cells', and whose."""
        self.moved("")
        with self._reading:
            moves = self._known.moves
            return {
                tenant_id: MovedTo(move.cell_id, move.epoch)
                for tenant_id, move in moves.items()
                if move.cell_id != self._cell_id
            }

    def note(self, tenant_id: str, cell_id: str, epoch: int) -> bool:
        """Note that from an epoch on a tenant is a cell's, this one's or another's; as ``note_all``."""
        return self.note_all({tenant_id: (cell_id, epoch)}) == 1

    def note_all(self, moves: Mapping[str, tuple[str, int]]) -> int:
        """Note whose tenants are from an epoch on: all of them or, where it raises, none.

        When it returns it is on disk, and seen by all processes with their next request. To say the same again is
        harmless; who does not know whether a note was kept, because it was killed or the disk failed, does so.

        Args:
            moves: tenant → cell, and epoch of the table that says so.

        Returns:
            How many were new.

        Raises:
            InvalidMoveError: no tenant's id, or no epoch.
            InvalidSettingError: no cell's id.
            StaleMoveError: something newer is known of a tenant, or of the same epoch another cell.
            MovesFullError: there are as many as there may be.
            MoveFileError: the record cannot be read.
            MoveWriteError: the disk does not take it.
            MovesBusyError: another process writes for longer than one waits.
        """
        _check(moves)
        with self._writing() as known:
            new = self._news(known, moves)
            tenants = len(known.moves) + sum(tenant_id not in known.moves for tenant_id in new)
            if tenants > self._limits.max_tenants:
                raise MovesFullError(self._path, self._limits.max_tenants)
            if known.lines + len(new) > max_lines(self._limits, tenants):
                self._write_anew(known, {**known.moves, **new}, known.head.forgotten_epoch)
            else:
                append(self._path, known, new)
            return len(new)

    def forget(self, oldest_epoch: int, *, oldest_work_at: float | None = None) -> int:
        """Forget moves to which nothing can refer any more. Call it now and then, such as daily.

        A move is forgotten when no router has a table of before it, and no work is left that was queued before it was
        noted. Should there be such a router or such work nevertheless, it is refused, or ``Unknown``.

        Args:
            oldest_epoch: of the tables that routers have, as ``cellplane routers`` shows them.
            oldest_work_at: when the oldest work in any queue was queued, in Unix seconds; None where none is older
                than ``MoveLimits.keep_seconds``.

        Returns:
            How many were forgotten.

        Raises:
            MoveError: as ``note_all``. Nothing was forgotten, or the message says that it is not known.
        """
        with self._writing() as known:
            noted_before = self._clock() - self._limits.keep_seconds
            if oldest_work_at is not None:
                noted_before = min(noted_before, oldest_work_at)
            gone = {
                tenant_id: move.epoch
                for tenant_id, move in known.moves.items()
                if move.epoch <= oldest_epoch and move.noted_at < noted_before
            }
            if gone:
                kept = {tenant_id: move for tenant_id, move in known.moves.items() if tenant_id not in gone}
                self._write_anew(known, kept, max(known.head.forgotten_epoch, *gone.values()))
            return len(gone)

    def _news(self, known: Contents, moves: Mapping[str, tuple[str, int]]) -> dict[str, Move]:
        """What of these is not known yet."""
        noted_at = ceil(self._clock())
        new: dict[str, Move] = {}
        stale: list[str] = []
        for tenant_id, (cell_id, epoch) in moves.items():
            before = known.moves.get(tenant_id)
            if epoch > (known.head.forgotten_epoch if before is None else before.epoch):
                new[tenant_id] = Move(cell_id, epoch, noted_at)
            elif before is None or (cell_id, epoch) != (before.cell_id, before.epoch):
                stale.append(tenant_id)
        if stale:
            first = known.moves.get(stale[0])
            if first is None:
                fact = f"that moves up to epoch {known.head.forgotten_epoch} are forgotten"
            else:
                fact = f"that it is {first.cell_id}'s by epoch {first.epoch}"
            raise StaleMoveError(stale, fact, moves[stale[0]][1])
        return new

    @contextmanager
    def _writing(self) -> Iterator[Contents]:
        """Hold the record against other writers, knowing all that it says, and then what was written."""
        try:
            with held(self._path, self._limits, self._monotonic):
                yield self._caught_up()
                self.moved("")
        except OSError as error:
            raise MoveWriteError(self._path, error.strerror or repr(error), is_undone=True) from error

    def _caught_up(self) -> Contents:
        with self._reading:
            try:
                if signature_of(self._path.stat()) != self._known.signature:
                    self._known = read(self._path, self._cell_id, self._limits, self._known)
            except OSError as error:
                raise MoveFileError(self._path, f"it cannot be read: {error.strerror}") from error
            self._trust()
            return self._known

    def _write_anew(self, known: Contents, moves: Mapping[str, Move], forgotten_epoch: int) -> None:
        head = replace(known.head, generation=known.head.generation + 1, forgotten_epoch=forgotten_epoch)
        write_anew(self._path, head, moves, known)

    def _reread(self, signature: Signature) -> None:
        """Take what is in place now, if it is sound; looked at once for each file that is not."""
        with self._reading:
            if signature in (self._distrusted, self._known.signature):
                return
            try:
                self._known = read(self._path, self._cell_id, self._limits, self._known)
            except OSError as error:
                self._distrust(None, f"it cannot be read: {error.strerror}")
            except MoveFileError as error:
                self._distrust(signature, error.reason)
            else:
                self._trust()

    def _trust(self) -> None:
        if self.trouble is not None:
            _log.info("the record of moves can be used again", extra={"path": self._name})
        self.trouble = self._distrusted = None

    def _distrust(self, signature: Signature | None, reason: str) -> None:
        self._distrusted = signature
        if self.trouble != reason:
            self.trouble = reason
            message = "the record of moves cannot be used; what was known last counts: %s"
            _log.error(message, reason, extra={"path": self._name})


def _check(moves: Mapping[str, tuple[str, int]]) -> None:
    for cell_id in {cell_id for cell_id, _ in moves.values()}:
        check_cell_id("cell_id", cell_id)
    for tenant_id, (_, epoch) in moves.items():
        if not is_visible(tenant_id, HeaderLimits.tenant_max_bytes):
            raise InvalidMoveError(
                f"expected a tenant's id of 1–{HeaderLimits.tenant_max_bytes} visible ASCII characters, found "
                f"{tenant_id[:40]!r}. Use the id under which the fleet knows the tenant"
            )
        if not 0 < epoch <= MAX_EPOCH:
            raise InvalidMoveError(
                f"tenant {tenant_id}: expected the epoch of a table, 1–{MAX_EPOCH}, found {epoch}. "
                "Use that of the table which moves the tenant"
            )
