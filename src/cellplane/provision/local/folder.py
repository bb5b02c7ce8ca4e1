"""The state folder of a local fleet: where everything is, and who may use it."""

import fcntl
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellplane.durable import write_durably
from cellplane.errors import ProvisionError
from cellplane.provision.local.settings import LOCK_PAUSE_SECONDS, LOCK_TRIES
from cellplane.publishing.keys import PUBLIC_SUFFIX


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths below the state folder."""

    root: Path

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it runs."""
        return self.root / "lock"

    @property
    def pids(self) -> Path:
        """Process ids by part, for scripts."""
        return self.root / "pids.json"

    @property
    def status(self) -> Path:
        """State and processes by part, for `cellplane chaos` and for a supervisor that comes back."""
        return self.root / "status.json"

    @property
    def endpoints(self) -> Path:
        """Ports of the fleet, and which cells it has."""
        return self.root / "endpoints.json"

    @property
    def control(self) -> Path:
        """The control plane's own folder."""
        return self.root / "control"

    @property
    def analytics(self) -> Path:
        """The folder of the stream that all cells' events go to."""
        return self.root / "analytics"

    @property
    def analytics_store(self) -> Path:
        """What is counted there: a DuckDB file."""
        return self.root / "analytics.duckdb"

    @property
    def router(self) -> Path:
        """The router's own folder."""
        return self.root / "router"

    @property
    def signing_key(self) -> Path:
        """What signs the fleet's tables; the public half is beside it."""
        return self.root / "keys" / "signing.pem"

    @property
    def trust(self) -> Path:
        """What the router trusts."""
        return self.signing_key.with_name(self.signing_key.name + PUBLIC_SUFFIX)

    @property
    def proof_keys(self) -> Path:
        """By which the cells know their router."""
        return self.root / "keys" / "proof-keys"

    @property
    def router_token(self) -> Path:
        """The token with which the router asks the control plane."""
        return self.root / "router-token"

    def cell(self, cell_id: str) -> Path:
        """A cell's own folder."""
        return self.root / "cells" / cell_id

    def config(self, cell_id: str) -> Path:
        """What the apps of a cell are told: its settings and flags."""
        return self.cell(cell_id) / "config.json"

    def faults(self, cell_id: str) -> Path:
        """What a cell does wrong on purpose; where it is not there, nothing."""
        return self.cell(cell_id) / "faults.json"

    def moves(self, cell_id: str) -> Path:
        """A cell's record of the tenants that moved."""
        return self.cell(cell_id) / "moves"

    def desired(self, part: str) -> Path:
        """What somebody wants a part to be, up or down."""
        return self.root / "desired" / f"{part}.json"

    def wish(self, cell_id: str) -> Path:
        """What somebody asked of the provisioner for a cell; gone when it is done."""
        return self.root / "wishes" / f"{cell_id}.json"

    @property
    def wishes_lock(self) -> Path:
        """Held by whoever changes a wish, for as long as that takes."""
        return self.root / "wishes" / "lock"

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.root / "logs" / f"{name}.log"

    def create(self) -> None:
        """Make the folders."""
        for folder in (self.root, *(self.root / name for name in ("desired", "wishes", "logs", "cells"))):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)


class FolderLock:
    """The supervisor's claim to a state folder; the kernel drops it when the supervisor dies."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether the folder is ours."""
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            ProvisionError: another fleet runs in it.
        """
        assert not self.held, "a folder is taken once"
        for _ in range(LOCK_TRIES):
            descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(descriptor, self._folder.lock):
                self._descriptor = descriptor
                return
            # A supervisor lets nobody share; whoever merely looks does.
            owned = not _try_lock(descriptor, fcntl.LOCK_SH)
            os.close(descriptor)
            if owned:
                break
            time.sleep(LOCK_PAUSE_SECONDS)
        raise ProvisionError(
            f"a fleet already runs in {self._folder.root}: stop it first, or choose another folder with --state"
        )

    def release(self) -> None:
        """Give the folder back, and leave no lock file behind."""
        if self._descriptor is not None:
            self._folder.lock.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def fleet_runs(folder: StateFolder) -> bool:
    """Whether a supervisor holds this folder."""
    try:
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that a supervisor which starts now can tell this look from another supervisor.
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, how: int) -> bool:
    """Whether this lock (flock(2)) could be had at once."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one at the path: its last owner may have removed it before we locked it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file, or None where there is no such file.

    Raises:
        ProvisionError: the file is something else.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ProvisionError(
            f"{path} is not JSON ({error}): remove it, or choose another folder with --state"
        ) from error
    if not isinstance(value, dict):
        raise ProvisionError(f"{path} is not a JSON object: remove it, or choose another folder with --state")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Put an object into a file, whole or not at all."""
    write_durably(path, json.dumps(value, indent=1).encode() + b"\n")
