"""A provisioner whose cells are lines of a file, so that they outlive the control plane that asked for them."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from cellplane.errors import CellTakenError, ProvisionError
from cellplane.model import Capacity
from cellplane.provision import CellInstance, CellRequest, InstanceState

FOLDER = "FILE_PROVISIONER_FOLDER"


class FileProvisioner:
    """Makes cells that nobody serves; refuses while there is a file ``refuse`` with the reason."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, request: CellRequest) -> CellInstance:
        refused = self._folder / "refuse"
        if refused.exists():
            raise ProvisionError(refused.read_text())
        path = self._folder / f"{request.id}.json"
        if path.exists() and self._read(path).request.ask_id != request.ask_id:
            raise CellTakenError(f"{request.id} is there")
        path.write_text(json.dumps(asdict(request)))
        return self._read(path)

    def describe_all(self) -> tuple[CellInstance, ...]:
        return tuple(self._read(path) for path in sorted(self._folder.glob("*.json")))

    def describe(self, cell_id: str) -> CellInstance | None:
        return next((each for each in self.describe_all() if each.id == cell_id), None)

    def destroy(self, cell_id: str, *, force: bool = False) -> None:
        (self._folder / f"{cell_id}.json").unlink(missing_ok=True)

    def start(self, cell_id: str) -> CellInstance:
        raise NotImplementedError

    stop = start

    def deploy(self, cell_id: str, release: str) -> CellInstance:
        raise NotImplementedError

    @staticmethod
    def _read(path: Path) -> CellInstance:
        known = json.loads(path.read_text())
        request = CellRequest(**{**known, "capacity": Capacity(**known["capacity"])})
        return CellInstance(request, "127.0.0.1", 9_000, InstanceState.RUNNING)


def factory() -> FileProvisioner:
    """Of the folder that the environment names."""
    return FileProvisioner(Path(os.environ[FOLDER]))


NO_FACTORY = object
"""What returns no provisioner."""
