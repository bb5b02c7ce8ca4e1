"""The router's own copies of tables: what it serves when there is nobody to ask."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog

from cellplane.durable import ASIDE_SUFFIX, write_durably
from cellplane.errors import TableError
from cellplane.faults import fault_point
from cellplane.routing import RoutingTable, check_jurisdictions, split_publication

log = structlog.get_logger()

_POINTER = "live.json"
_OVERLAY = re.compile(r"overlay-(\d+)-on-(\d+)\.cpt")
_TABLE = re.compile(r"table-(\d+)\.cpt")
_MANIFEST = re.compile(r"manifest-(\d+)")


def version_of(table: RoutingTable) -> str:
    """What names a table in a proxy's configuration and in what the proxy says that it runs."""
    return f"{table.epoch}-{table.tag[:16]}"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A checked table and the files that hold it: its base, and its overlay where it has one."""

    table: RoutingTable
    path: Path
    overlay_path: Path | None = None

    @property
    def epoch(self) -> int:
        """The table's epoch."""
        return self.table.epoch


def _vouch_for_all(_table: RoutingTable, _manifests: Iterable[bytes]) -> None:
    """Every table is taken."""


class TableFolder:
    """Tables on disk: ``table-<epoch>.cpt``, ``overlay-<epoch>-on-<epoch of its base>.cpt``, ``manifest-<epoch>`` for
    those that came with one, and a pointer to the one that the proxy last took. No table is ever written anew under the
    same name with other bytes while it may be read.

    Args:
        folder: created when missing, readable by its owner only: whoever can write here decides where requests go.
        kept: how many tables to keep.
        vouch: raises TableError for a table on disk that none of these manifests makes a trusted one.
    """

    def __init__(
        self,
        folder: Path,
        kept: int,
        vouch: Callable[[RoutingTable, Iterable[bytes]], None] = _vouch_for_all,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The proxy is told these paths, and has another working directory.
        self._folder = folder.absolute()
        self._kept = kept
        self._vouch = vouch
        for cut_short in self._folder.glob(f".*{ASIDE_SUFFIX}"):
            cut_short.unlink(missing_ok=True)

    def open(self, data: bytes, known: StoredTable | None) -> RoutingTable:
        """The table of a publication.

        Args:
            known: a table whose base need not be sent again.

        Raises:
            TableError: it is corrupt, an overlay of a base that is not known, or one that would take tenants abroad.
        """
        base, overlay = split_publication(data)
        if base is not None:
            table = RoutingTable(base, overlay)
        elif known is not None:
            table = RoutingTable(known.table.base, overlay)
        else:
            raise TableError("an overlay came for a base that is not here")
        check_jurisdictions(table)
        return table

    def store(
        self, table: RoutingTable, data: bytes, known: StoredTable | None, manifest: bytes | None = None
    ) -> StoredTable:
        """Write the checked table of a publication durably: its manifest first, then the base, then the overlay."""
        base, overlay = split_publication(data)
        if manifest is not None:
            write_durably(self._folder / f"manifest-{table.epoch}", manifest)
            fault_point("router.manifest.stored")
        if base is not None:
            path = self._base(table.base.epoch)
            write_durably(path, base)
            fault_point("router.base.stored")
        else:
            assert known is not None, "a table without a base of its own was opened on a known one"
            path = known.path
        if overlay is None:
            return StoredTable(table, path)
        overlay_path = self._folder / f"overlay-{table.epoch}-on-{table.base.epoch}.cpt"
        write_durably(overlay_path, overlay)
        return StoredTable(table, path, overlay_path)

    def write_again(self, stored: StoredTable) -> None:
        """Put the files of a table back as they were, where the proxy cannot open them."""
        write_durably(stored.path, bytes(stored.table.base.data))
        if stored.overlay_path is not None and stored.table.overlay is not None:
            write_durably(stored.overlay_path, bytes(stored.table.overlay.data))

    def mark_live(self, stored: StoredTable) -> bool:
        """Remember that the proxy runs this table, and drop the oldest others.

        Returns:
            Whether the disk took it; else nothing is dropped, and until it does the proxy's own files say what it runs.
        """
        pointer = {"epoch": stored.epoch, "sha256": stored.table.tag}
        try:
            write_durably(self._folder / _POINTER, json.dumps(pointer).encode())
        except OSError as error:
            log.error("table_not_noted", epoch=stored.epoch, error=str(error))
            return False
        live = stored.overlay_path or stored.path
        files = self._files()
        kept = [file for file in files if file.path == live]
        kept += [file for file in files if file.path != live][: self._kept - 1]
        # Not all that is kept may hang on one file.
        kept += [file for file in files if file.base_epoch != stored.table.base.epoch][:1]
        needed = {file.path for file in kept} | {self._base(file.base_epoch) for file in kept}
        for file in files:
            if file.path not in needed:
                file.path.unlink(missing_ok=True)
        self._drop_manifests()
        return True

    def drop(self, stored: StoredTable) -> None:
        """Forget a table that the proxy refused, unless it is the one that it ran last, or the base of another."""
        live = self.live_epoch()
        if stored.epoch == live:
            return
        if stored.overlay_path is not None:
            stored.overlay_path.unlink(missing_ok=True)
        base = stored.table.base.epoch
        if base != live and all(file.base_epoch != base for file in self._files() if file.path != stored.path):
            stored.path.unlink(missing_ok=True)
        self._drop_manifests()

    def find(self, version: str) -> StoredTable | None:
        """The sound table of this version, unless the proxy has run a newer one since."""
        epoch = version.partition("-")[0]
        live = self.live_epoch()
        if not epoch.isdecimal() or (live is not None and int(epoch) < live):
            return None
        found = map(self._read, (file for file in self._files() if file.epoch == int(epoch)))
        return next((stored for stored in found if stored is not None and version_of(stored.table) == version), None)

    def last_good(self) -> StoredTable | None:
        """The table that was live last, or the newest sound one before it, or None."""
        live = self.live_epoch()
        candidates = (file for file in self._files() if live is None or file.epoch <= live)
        return next(filter(None, map(self._read, candidates)), None)

    def live_epoch(self) -> int | None:
        """Epoch of the table that the proxy ran last, None where that is not known."""
        try:
            return int(json.loads((self._folder / _POINTER).read_bytes())["epoch"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("table_pointer_unusable", error=repr(error))
            return None

    def _read(self, file: "_File") -> StoredTable | None:
        base = self._base(file.base_epoch)
        try:
            overlay_path = None if file.path == base else file.path
            table = RoutingTable(base.read_bytes(), None if overlay_path is None else overlay_path.read_bytes())
            self._vouch(table, [path.read_bytes() for path in self._manifests().values()])
            return StoredTable(table, base, overlay_path)
        except (OSError, TableError) as error:
            log.error("stored_table_unusable", path=str(file.path), error=str(error))
            return None

    def _files(self) -> list["_File"]:
        """What makes a table, the newest first. Of one epoch, an overlay comes before a base, which came for later."""
        found = []
        for path in self._folder.glob("*.cpt"):
            if table := _TABLE.fullmatch(path.name):
                found.append(_File(int(table[1]), int(table[1]), path))
            elif overlay := _OVERLAY.fullmatch(path.name):
                found.append(_File(int(overlay[1]), int(overlay[2]), path))
        return sorted(found, key=lambda file: (file.epoch, -file.base_epoch), reverse=True)

    def _manifests(self) -> dict[int, Path]:
        found = ((_MANIFEST.fullmatch(path.name), path) for path in self._folder.glob("manifest-*"))
        return {int(match[1]): path for match, path in found if match is not None}

    def _drop_manifests(self) -> None:
        """Those of tables that are not here any more."""
        epochs = {file.epoch for file in self._files()}
        for epoch, path in self._manifests().items():
            if epoch not in epochs:
                path.unlink(missing_ok=True)

    def _base(self, epoch: int) -> Path:
        return self._folder / f"table-{epoch}.cpt"


class _File(NamedTuple):
    epoch: int
    base_epoch: int
    path: Path
