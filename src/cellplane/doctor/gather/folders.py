"""State folders of this machine: a local fleet's, a control plane's or a router's."""

import json
import os
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from cellplane.credentials import ADMIN_TOKEN
from cellplane.doctor.facts import CellFact, DiskFact, FileFact, OwnTableFact
from cellplane.durable import write_durably
from cellplane.errors import CellplaneError, KeyFileError, TableError
from cellplane.publishing.keys import PUBLIC_SUFFIX, PublicKey, read_public_keys
from cellplane.publishing.manifest import Manifest
from cellplane.publishing.trust import Trust
from cellplane.routing import RoutingTable

_DIRECTORY = "directory.sqlite3"
_DATABASE = ".postgres"


@dataclass(frozen=True, slots=True)
class State:
    """What of an installation is in a folder; each may be empty.

    Attributes:
        root: the folder.
        control: state folders of control planes.
        routers: those of routers.
        keys: files of signing and of public keys, and of those of proofs.
        tokens: files of tokens.
    """

    root: Path
    control: tuple[Path, ...]
    routers: tuple[Path, ...]
    keys: tuple[Path, ...]
    tokens: tuple[Path, ...]

    @classmethod
    def find(cls, root: Path) -> "State":
        """Look what is there.

        Raises:
            CellplaneError: there is no such folder.
        """
        if not root.is_dir():
            raise CellplaneError(f"there is no state folder {root}: name one with --state")
        places = (root, root / "control", root / "router")
        control = tuple(each for each in places if (each / ADMIN_TOKEN.name).exists() or (each / _DIRECTORY).exists())
        routers = tuple(each for each in places if (each / "tables").is_dir())
        patterns = ("*.pem", f"*{PUBLIC_SUFFIX}", "proof-keys")
        keys = tuple(path for pattern in patterns for path in sorted((root / "keys").glob(pattern)))
        tokens = tuple(
            each for each in (root / "router-token", *(one / ADMIN_TOKEN.name for one in control)) if each.exists()
        )
        return cls(root, control, routers, keys, tokens)

    def agents(self) -> list[str]:
        """URL of the agent of a local fleet's router, where it is one."""
        known = self._endpoints()
        ports = known.get("ports")
        port = ports.get("router.metrics") if isinstance(ports, dict) else None
        return [f"http://{known.get('host', '127.0.0.1')}:{port}"] if port else []

    @property
    def moves(self) -> Path:
        """Folder of a local fleet's moves."""
        return self.root / "moves"

    def databases(self) -> dict[str, str]:
        """Cell → URL of its database, for its owner, of a local fleet; none where it is no fleet's folder."""
        known = self._endpoints()
        ports = known.get("ports")
        named = ports if isinstance(ports, dict) else {}
        return {
            name.removesuffix(_DATABASE): f"postgresql://postgres@{known.get('host', '127.0.0.1')}:{port}/postgres"
            for name, port in sorted(named.items())
            if name.endswith(_DATABASE)
        }

    def control_url(self) -> str | None:
        """URL of a local fleet's control plane, where it is one."""
        url = self._endpoints().get("control")
        return url if isinstance(url, str) else None

    def _endpoints(self) -> dict[str, object]:
        try:
            found = json.loads((self.root / "endpoints.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def files_of(state: State | None, named: tuple[Path, ...]) -> tuple[FileFact, ...]:
    """Permissions of what is in a state folder, and of files of keys that are named."""
    kinds: list[tuple[Path, str]] = []
    if state is not None:
        kinds += [(path, "secret") for path in state.tokens]
        kinds += [(path, "trust" if path.name.endswith(PUBLIC_SUFFIX) else "secret") for path in state.keys]
        for folder in state.control:
            kinds += [(path, "directory") for path in sorted(folder.glob(f"{_DIRECTORY}*")) if path.suffix != ".lock"]
        kinds += [(folder / "tables", "tables") for folder in state.routers]
    kinds += [(path, "trust" if path.name.endswith(PUBLIC_SUFFIX) else "secret") for path in named]
    found: dict[Path, FileFact] = {}
    for path, kind in kinds:
        try:
            found[path] = FileFact(str(path), kind, stat.S_IMODE(path.stat().st_mode))
        except OSError:
            continue
    return tuple(found.values())


def disk_of(folder: Path) -> DiskFact:
    """Room on a folder's file system, and how long it takes to have a small file on the disk. The file is removed."""
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return DiskFact(str(folder), free, failure="you may not write there")
    probe = folder / f".doctor-{os.getpid()}"
    began = time.monotonic()
    try:
        write_durably(probe, b"cellplane doctor\n")
        took = time.monotonic() - began
    except OSError as error:
        return DiskFact(str(folder), free, failure=f"a small file cannot be written: {error.strerror}", failed=True)
    finally:
        probe.unlink(missing_ok=True)
    return DiskFact(str(folder), free, took)


def own_table(router: Path, trusted: tuple[Path, ...]) -> OwnTableFact:
    """The table with which a router would start from its folder. Nothing there is changed.

    Args:
        router: its state folder.
        trusted: files of the public keys that it trusts, where that is known.
    """
    folder, epoch = router / "tables", 0
    try:
        epoch = int(json.loads((folder / "live.json").read_bytes())["epoch"])
        table = _read_table(folder, epoch)
        keys = [key for path in trusted for key in _keys(path)]
        if keys:
            _vouched(folder, table, keys)
    except (OSError, TableError, ValueError, KeyError, TypeError) as error:
        return OwnTableFact(str(folder), epoch, str(error) or repr(error))
    cells = tuple(
        CellFact(cell.id, cell.address, cell.port, cell.status.value, cell.protocol.value) for cell in table.cells
    )
    return OwnTableFact(str(folder), epoch, "", cells)


def _read_table(folder: Path, epoch: int) -> RoutingTable:
    overlays = sorted(folder.glob(f"overlay-{epoch}-on-*.cpt"))
    if not overlays:
        return RoutingTable((folder / f"table-{epoch}.cpt").read_bytes())
    base = overlays[-1].stem.rpartition("-")[2]
    return RoutingTable((folder / f"table-{base}.cpt").read_bytes(), overlays[-1].read_bytes())


def _vouched(folder: Path, table: RoutingTable, keys: list[PublicKey]) -> None:
    reason = "it has no manifest"
    for path in sorted(folder.glob("manifest-*")):
        try:
            manifest = Manifest.parse(path.read_bytes())
            # As at its start: a key that has expired since the table came still counts.
            Trust(keys).verify(manifest, now=None)
        except TableError as error:
            reason = str(error)
            continue
        if manifest.statement.vouches_for(table):
            return
    raise TableError(f"no key that it trusts has signed it: {reason}")


def _keys(path: Path) -> tuple[PublicKey, ...]:
    try:
        return read_public_keys(path)
    except KeyFileError as error:
        raise TableError(str(error)) from error
