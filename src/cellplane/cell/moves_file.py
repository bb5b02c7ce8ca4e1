"""A cell's record of moves as a file: read as far as it is new, added to durably, and written anew now and then.

Nobody reads half of a change. Lines count once the head says so, which is written over when they are synced; whoever
is killed before leaves lines that do not count, and the next writer takes them away. ``moves_format`` has the form.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeAlias
from zlib import crc32

from cellplane.cell.errors import MoveFileError, MovesBusyError, MoveWriteError
from cellplane.cell.moves_format import HEAD_BYTES, Head, Move, encode, max_bytes, parse
from cellplane.cell.settings import MoveLimits
from cellplane.durable import ASIDE_SUFFIX, locked, written_durably
from cellplane.faults import fault_point

APPENDED = "moves-appended"
"""Fault point: new lines are on disk, and do not count yet."""

COUNTED = "moves-counted"
"""Fault point: new lines count, but perhaps not on disk yet, nor for who looks at the file's state alone."""

WRITTEN_ASIDE = "moves-written-aside"
"""Fault point: the file is written anew, and not yet in place."""

_HEAD_TRIES = 3
"""How often a head is read that is damaged: it may be in the middle of being written over."""

Signature: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file said, and by what it is recognised."""

    signature: Signature
    head: Head
    moves: dict[str, Move]
    """By tenant. Lines that are added go into the same dict, while others read it."""
    lines: int
    floor: int | None
    """By which epoch a tenant may have moved of whom nothing is known; None where nothing is forgotten."""


def signature_of(status: os.stat_result) -> Signature:
    """Inode, time and size: others after each change."""
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def read(path: Path, cell_id: str, limits: MoveLimits, before: Contents | None) -> Contents:
    """What the file says; of one that has grown since ``before``, no more than the new lines are read.

    Raises:
        MoveFileError: it is damaged, another cell's, or takes back what is known.
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        signature = signature_of(os.fstat(file.fileno()))
        head = _head(path, file, cell_id, limits)
        grown = None if before is None else _grown(file, signature, head, before)
        if grown is not None:
            return grown
        lines = os.pread(file.fileno(), head.length_bytes - HEAD_BYTES, HEAD_BYTES)
    if len(lines) != head.length_bytes - HEAD_BYTES:
        raise MoveFileError(
            path, f"expected {head.length_bytes} bytes, found {HEAD_BYTES + len(lines)}: it is cut short"
        )
    if crc32(lines) != head.checksum:
        raise MoveFileError(path, "expected lines of the head's checksum, found others: it is damaged")
    try:
        moves = parse(lines)
    except ValueError as error:
        raise MoveFileError(path, str(error)) from error
    if before is not None:
        _check_is_later(path, before, head, moves)
    return Contents(signature, head, moves, lines.count(b"\n"), head.forgotten_epoch or None)


def append(path: Path, before: Contents, new: Mapping[str, Move]) -> None:
    """Add moves, durably; the lock is held. Where there are none, what counts is made durable, and seen by all: its
    writer may have been killed.

    Raises:
        MoveWriteError: the disk does not take it.
    """
    lines = encode(new)
    head = replace(
        before.head,
        generation=before.head.generation + (1 if new else 0),
        length_bytes=before.head.length_bytes + len(lines),
        checksum=crc32(lines, before.head.checksum),
    )
    is_undone = bool(new)
    try:
        with path.open("r+b", buffering=0) as file:
            try:
                # Away with what a writer left that was killed before its lines counted.
                file.truncate(before.head.length_bytes)
                _write(file, lines, before.head.length_bytes)
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(before.head.length_bytes)
                raise
            fault_point(APPENDED)
            is_undone = False
            _write(file, head.encode(), 0)
            fault_point(COUNTED)
            os.fsync(file.fileno())
            _make_seen(file, before)
    except OSError as error:
        raise MoveWriteError(path, error.strerror or repr(error), is_undone=is_undone) from error


def write_anew(path: Path, head: Head, moves: Mapping[str, Move], before: Contents | None) -> None:
    """Put a file in place of the one of before, with these moves and no others; the lock is held.

    Args:
        head: of which the rest follows from the moves.

    Raises:
        MoveWriteError: the disk does not take it.
    """
    lines = encode(moves)
    head = replace(head, length_bytes=HEAD_BYTES + len(lines), checksum=crc32(lines))
    try:
        # Those of a process that was killed; nobody else writes.
        for aside in path.parent.glob(f".{path.name}.*{ASIDE_SUFFIX}"):
            aside.unlink(missing_ok=True)
        with written_durably(path) as file:
            file.write(head.encode() + lines)
            file.flush()
            _make_seen(file, before)
            fault_point(WRITTEN_ASIDE)
    except OSError as error:
        is_undone = _inode(path) == (None if before is None else before.signature[0])
        raise MoveWriteError(path, error.strerror or repr(error), is_undone=is_undone) from error


@contextmanager
def held(path: Path, limits: MoveLimits, monotonic: Callable[[], float]) -> Iterator[None]:
    """Hold the record against other writers while the block runs.

    Raises:
        MovesBusyError: another one does, for longer than one waits.
        OSError: there can be no lock.
    """
    until = monotonic() + limits.lock_wait_seconds
    while True:
        with locked(path.with_name(f"{path.name}.lock")) as is_held:
            if is_held:
                yield
                return
        if monotonic() >= until:
            raise MovesBusyError(path, limits.lock_wait_seconds)
        time.sleep(limits.lock_poll_seconds)


def _head(path: Path, file: FileIO, cell_id: str, limits: MoveLimits) -> Head:
    head = _parsed_head(path, file)
    if head.cell_id != cell_id:
        raise MoveFileError(path, f"expected the record of cell {cell_id}, found that of {head.cell_id}")
    most = max_bytes(limits)
    if not HEAD_BYTES <= head.length_bytes <= most:
        raise MoveFileError(
            path,
            f"expected at most {most} bytes, found {head.length_bytes}: MoveLimits have to be the same in all "
            "processes of the cell",
        )
    return head


def _parsed_head(path: Path, file: FileIO) -> Head:
    for _ in range(_HEAD_TRIES - 1):
        with suppress(ValueError):
            return Head.parse(os.pread(file.fileno(), HEAD_BYTES, 0))
    try:
        return Head.parse(os.pread(file.fileno(), HEAD_BYTES, 0))
    except ValueError as error:
        raise MoveFileError(path, str(error)) from error


def _grown(file: FileIO, signature: Signature, head: Head, before: Contents) -> Contents | None:
    """What a file says to which lines were added, or nothing; None where it does not go on from what is known."""
    known = before.head
    if signature[0] != before.signature[0] or head.forgotten_epoch != known.forgotten_epoch:
        return None
    if head == known:
        # Made seen once more, or written over by hand: the next process would have to read all of it.
        lines = os.pread(file.fileno(), head.length_bytes - HEAD_BYTES, HEAD_BYTES)
        return replace(before, signature=signature) if _are_those(lines, head, HEAD_BYTES, 0) else None
    if head.generation <= known.generation or head.length_bytes <= known.length_bytes:
        return None
    lines = os.pread(file.fileno(), head.length_bytes - known.length_bytes, known.length_bytes)
    if not _are_those(lines, head, known.length_bytes, known.checksum):
        return None
    try:
        new = parse(lines)
    except ValueError:
        return None
    before.moves.update(new)
    return replace(before, signature=signature, head=head, lines=before.lines + lines.count(b"\n"))


def _are_those(lines: bytes, head: Head, start_bytes: int, checksum: int) -> bool:
    return start_bytes + len(lines) == head.length_bytes and crc32(lines, checksum) == head.checksum


def _check_is_later(path: Path, before: Contents, head: Head, moves: Mapping[str, Move]) -> None:
    """Check that a file takes back nothing that is known."""
    if head.generation < before.head.generation:
        raise MoveFileError(
            path,
            f"expected generation {before.head.generation} or later, found {head.generation}: it is an older record",
        )
    for tenant_id, move in before.moves.items():
        now = moves.get(tenant_id)
        if (head.forgotten_epoch if now is None else now.epoch) < move.epoch:
            raise MoveFileError(
                path, f"expected epoch {move.epoch} or later for tenant {tenant_id}, found less: it is another record"
            )


def _make_seen(file: FileIO | BinaryIO, before: Contents | None) -> None:
    """Give the file a later time than it had: two changes within a tick of the file system's clock are two."""
    after_ns = 0 if before is None else before.signature[1]
    now_ns = max(os.fstat(file.fileno()).st_mtime_ns, after_ns) + 1
    os.utime(file.fileno(), ns=(now_ns, now_ns))


def _write(file: FileIO, data: bytes, offset: int) -> None:
    file.seek(offset)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
