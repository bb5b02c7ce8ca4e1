"""The router's own copies of tables: what it serves when there is nobody to ask."""

import json
from dataclasses import dataclass
from pathlib import Path

import structlog

from cellplane.durable import write_durably
from cellplane.errors import TableError
from cellplane.routing import RoutingTable

log = structlog.get_logger()

_POINTER = "live.json"


def version_of(table: RoutingTable) -> str:
    """What names a table in a proxy's configuration and in what the proxy says that it runs."""
    return f"{table.epoch}-{table.sha256[:16]}"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A checked table and the file that holds it."""

    table: RoutingTable
    path: Path

    @property
    def epoch(self) -> int:
        """The table's epoch."""
        return self.table.epoch


class TableFolder:
    """Tables on disk, ``table-<epoch>.cpt``, and a pointer to the one that the proxy last took.

    Args:
        folder: created when missing, readable by its owner only: whoever can write here decides where requests go.
        kept: how many tables to keep.
    """

    def __init__(self, folder: Path, kept: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The proxy is told these paths, and has another working directory.
        self._folder = folder.absolute()
        self._kept = kept

    def store(self, table: RoutingTable, data: bytes) -> StoredTable:
        """Write a checked table durably."""
        path = self._path(table.epoch)
        write_durably(path, data)
        return StoredTable(table, path)

    def mark_live(self, stored: StoredTable) -> None:
        """Remember that the proxy runs this table, and drop the oldest others."""
        pointer = {"epoch": stored.epoch, "sha256": stored.table.sha256}
        write_durably(self._folder / _POINTER, json.dumps(pointer).encode())
        others = [epoch for epoch in self._epochs() if epoch != stored.epoch]
        for epoch in others[self._kept - 1 :]:
            self._path(epoch).unlink(missing_ok=True)

    def drop(self, stored: StoredTable) -> None:
        """Forget a table that the proxy refused, unless it is the one that it ran last."""
        if stored.epoch != self.live_epoch():
            stored.path.unlink(missing_ok=True)

    def find(self, version: str) -> StoredTable | None:
        """The sound table of this version, unless the proxy has run a newer one since."""
        epoch = version.partition("-")[0]
        live = self.live_epoch()
        if not epoch.isdecimal() or (live is not None and int(epoch) < live):
            return None
        stored = self._read(int(epoch))
        return stored if stored is not None and version_of(stored.table) == version else None

    def last_good(self) -> StoredTable | None:
        """The table that was live last, or the newest sound one before it, or None."""
        live = self.live_epoch()
        candidates = [epoch for epoch in self._epochs() if live is None or epoch <= live]
        return next(filter(None, map(self._read, candidates)), None)

    def _read(self, epoch: int) -> StoredTable | None:
        path = self._path(epoch)
        try:
            return StoredTable(RoutingTable(path.read_bytes()), path)
        except (OSError, TableError) as error:
            log.error("stored_table_unusable", path=str(path), error=str(error))
            return None

    def live_epoch(self) -> int | None:
        """Epoch of the table that the proxy ran last, None where that is not known."""
        try:
            return int(json.loads((self._folder / _POINTER).read_bytes())["epoch"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("table_pointer_unusable", error=repr(error))
            return None

    def _epochs(self) -> list[int]:
        stems = (path.stem.removeprefix("table-") for path in self._folder.glob("table-*.cpt"))
        return sorted((int(stem) for stem in stems if stem.isdecimal()), reverse=True)

    def _path(self, epoch: int) -> Path:
        return self._folder / f"table-{epoch}.cpt"
