"""A folder: local, mounted, or served by any web server."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellplane.durable import ASIDE_SUFFIX, write_durably
from cellplane.faults import fault_point
from cellplane.publishing.manifest import MANIFEST, Manifest
from cellplane.publishing.settings import MAX_MANIFEST_BYTES, PublishingSettings
from cellplane.publishing.targets.target import contents, failed, may_replace, superfluous
from cellplane.routing import RoutingTable

_READABLE = 0o644
_LOCK = ".lock"


class FolderTarget:
    """Files that are there whole or not at all, and a manifest that names them.

    Args:
        folder: created when missing; everybody may read it: what is in it is signed, and no secret.
    """

    interval_seconds = 0.0

    def __init__(self, folder: Path, settings: PublishingSettings) -> None:
        self.name = str(folder)
        self._folder = folder.absolute()
        self._settings = settings

    def publish(self, manifest: Manifest, table: RoutingTable) -> None:
        """See Target."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            with self._alone():
                path = self._folder / MANIFEST
                if not may_replace(_read(path), manifest, self.name):
                    return
                for part, data in zip(manifest.statement.parts, contents(table), strict=True):
                    file = self._folder / part.file_name
                    # One that is there was renamed into place, and its name says its bytes.
                    if not file.exists() or file.stat().st_size != part.size_bytes:
                        write_durably(file, data, mode=_READABLE)
                        fault_point("publish.folder.file")
                fault_point("publish.folder.files")
                write_durably(path, manifest.encode(), mode=_READABLE)
                fault_point("publish.folder.manifest")
                names = [file.name for file in self._folder.iterdir()]
                for name in superfluous(names, manifest, self._settings):
                    (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise failed(self.name, error) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else decides on this folder meanwhile; the kernel ends the claim of one that dies."""
        descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for cut_short in self._folder.glob(f".*{ASIDE_SUFFIX}"):
                cut_short.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return None
