"""A folder for each tenant, below one root at each cell: files that a move copies, with their times and rights.

A file is written aside, synced and renamed, so that at the other cell it is there whole or not at all. It gets the time
that it has at its origin; by that and by its size a later round knows that it is the same. A file that was written just
now may be written again within a tick of the clock: its copy gets another time, so that the next round copies it anew.
"""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from cellplane.durable import write_durably
from cellplane.moves.carriers.prefix import Blob, Found, Prefix
from cellplane.moves.errors import NotMovableError, StoreError
from cellplane.moves.settings import CarrierSettings

MARKS = ".cellplane-moves"
"""Folder below a root, for marks and for files that are not whole yet."""

_OWNER = "owner"
_NS = 1_000_000_000


class FolderPrefix(Prefix):
    """One tenant's folder below a root.

    Args:
        root: a folder that is there, of which each folder is one tenant's.
        tenant_id: whose; a name that a folder can have.
        settings: limits and times.
        clock: Unix seconds.

    Raises:
        NotMovableError: the tenant's id is no name of a folder.
    """

    def __init__(
        self, root: Path, tenant_id: str, settings: CarrierSettings, clock: Callable[[], float] = time.time
    ) -> None:
        if "/" in tenant_id or "\0" in tenant_id or tenant_id in {"", ".", "..", MARKS}:
            raise NotMovableError(
                (f"the tenant {tenant_id!r} cannot have a folder of its own: its id is no name of one",)
            )
        self._root = root
        self.folder = root / tenant_id
        self._marks = root / MARKS / tenant_id
        self._settings = settings
        self._clock = clock
        self._numbers = count(1)
        self._unsynced: set[Path] = set()
        self._guard = threading.Lock()

    @property
    def where(self) -> str:
        """See ``Prefix``."""
        return str(self.folder)

    def list(self) -> Iterator[Blob]:
        """See ``Prefix``."""
        # An empty one may be a disk that is not mounted: all files would be deleted at the other end.
        if not self._root.is_dir():
            raise StoreError(f"expected the folder {self._root}, found none: mount its disk, or mend the root")
        with _told(self.where):
            yield from self._below(self.folder, "")

    def _below(self, folder: Path, prefix: str) -> Iterator[Blob]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        for entry in entries:
            key = prefix + entry.name
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode):
                yield Blob(f"{key}/", 0, f"{stat.S_IMODE(found.st_mode):o}")
                yield from self._below(folder / entry.name, f"{key}/")
            elif stat.S_ISREG(found.st_mode):
                yield _blob(key, found)
            else:
                raise NotMovableError(
                    (f"{self.folder / key} is neither a file nor a folder, but a link or a device: take it away",)
                )

    def is_copy(self, ours: Blob | None, theirs: Blob) -> bool:
        """See ``Prefix``."""
        return ours == theirs

    def fetch(self, other: "FolderPrefix", theirs: Blob, go_on: Callable[[], None]) -> Found:
        """See ``Prefix``."""
        with _told(self.where):
            try:
                return self._fetch(other, theirs, go_on)
            except FileNotFoundError:
                if (other.folder / theirs.key).exists():
                    raise
                return Found.CHANGED

    def _fetch(self, other: "FolderPrefix", theirs: Blob, go_on: Callable[[], None]) -> Found:
        path = self.folder / theirs.key
        if theirs.key.endswith("/"):
            self._make(path)
            path.chmod(int(theirs.tag, 8))
            return Found.COPIED
        self._make(path.parent)
        self._marks.mkdir(parents=True, exist_ok=True)
        aside = self._marks / f"{next(self._numbers)}.new"
        try:
            with (other.folder / theirs.key).open("rb") as origin, aside.open("wb") as copy:
                found = os.fstat(origin.fileno())
                while part := origin.read(self._settings.part_bytes):
                    go_on()
                    copy.write(part)
                copy.flush()
                os.fchmod(copy.fileno(), stat.S_IMODE(found.st_mode))
                was_written = _blob(theirs.key, os.fstat(origin.fileno())) != _blob(theirs.key, found)
                is_racy = self._clock() * _NS - found.st_mtime_ns < self._settings.racy_seconds * _NS
                time_ns = found.st_mtime_ns - 1 if was_written or is_racy else found.st_mtime_ns
                os.utime(copy.fileno(), ns=(time_ns, time_ns))
                os.fsync(copy.fileno())
            aside.rename(path)
        finally:
            aside.unlink(missing_ok=True)
        with self._guard:
            self._unsynced.add(path.parent)
        return Found.CHANGED if was_written else Found.COPIED

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with self._guard:
                self._unsynced |= {each for each in folder.parents if each.is_relative_to(self._root)}

    def is_same(self, other: "FolderPrefix", theirs: Blob) -> bool:
        """See ``Prefix``. What is deleted meanwhile counts as the same: the next round finds that."""
        if theirs.key.endswith("/"):
            return True
        try:
            with _told(self.where):
                return self.digest(theirs.key) == other.digest(theirs.key)
        except FileNotFoundError:
            return not (other.folder / theirs.key).exists()

    def digest(self, key: str) -> bytes:
        """Of a file's content."""
        with (self.folder / key).open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()

    def delete(self, blobs: Sequence[Blob]) -> None:
        """See ``Prefix``. A folder that is not empty stays until the next round."""
        with _told(self.where):
            for blob in blobs:
                path = self.folder / blob.key
                with suppress(FileNotFoundError):
                    if not blob.key.endswith("/"):
                        path.unlink()
                    else:
                        path.rmdir()
                with self._guard:
                    self._unsynced.add(path.parent)

    def settle(self) -> None:
        """See ``Prefix``."""
        with self._guard:
            folders, self._unsynced = self._unsynced, set()
        with _told(self.where):
            for folder in folders:
                # It may be gone since, or a file.
                with suppress(FileNotFoundError, NotADirectoryError):
                    _sync(folder)

    def owner(self) -> str | None:
        """See ``Prefix``."""
        with _told(self.where):
            try:
                return (self._marks / _OWNER).read_text()
            except FileNotFoundError:
                return None

    def claim(self, move_id: str) -> None:
        """See ``Prefix``."""
        with _told(self.where):
            self._marks.mkdir(parents=True, exist_ok=True)
            write_durably(self._marks / _OWNER, move_id.encode())
            _sync(self._marks.parent)
            _sync(self._root)

    def unclaim(self) -> None:
        """See ``Prefix``."""
        with _told(self.where):
            for left in self._marks.glob("*.new"):
                left.unlink(missing_ok=True)
            (self._marks / _OWNER).unlink(missing_ok=True)
            with suppress(OSError):
                self._marks.rmdir()
            with suppress(OSError):
                self._marks.parent.rmdir()
            _sync(self._root)


def _blob(key: str, found: os.stat_result) -> Blob:
    return Blob(key, found.st_size, f"{found.st_mtime_ns}/{stat.S_IMODE(found.st_mode):o}")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Say of an error of the disk what was at work; that something is not there is the caller's to judge."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError(
            f"{where}: {error.strerror or error} ({error.filename}): see that its disk can be used"
        ) from error
