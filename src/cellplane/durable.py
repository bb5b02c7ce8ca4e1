"""Files that are there whole or not at all, also after a crash."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

ASIDE_SUFFIX = ".new"
"""Ends the name, with a dot before it, of a file that is being written. One that stays was cut short."""


def write_durably(path: Path, data: bytes | memoryview, *, mode: int = 0o600) -> None:
    """Put a file in place: written aside, synced, renamed, and the rename synced.

    The rename is also what a process that watches the path waits for.

    Args:
        mode: who may read it, by default its owner alone.
    """
    with _put_in_place(path.with_name(f".{path.name}{ASIDE_SUFFIX}"), path, mode) as file:
        file.write(data)


@contextmanager
def written_durably(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """As ``write_durably``, for what comes in pieces: in place when the block ends, and left out where that raises.

    Of processes that write the same path at once, none writes into what another does.
    """
    with _put_in_place(path.with_name(f".{path.name}.{os.getpid()}{ASIDE_SUFFIX}"), path, mode) as file:
        yield file


@contextmanager
def _put_in_place(aside: Path, path: Path, mode: int) -> Iterator[BinaryIO]:
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a file's lock (flock(2)) while the block runs, or the process lives; yields whether it was free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
