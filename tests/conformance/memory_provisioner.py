"""A provisioner whose cells are entries of a dictionary: for tests of whoever uses one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from cellplane.errors import CellTakenError, ProvisionError
from cellplane.model import CellStatus
from cellplane.model.key import check_name
from cellplane.provision import CellInstance, CellRequest, InstanceState, agreed, require_destroyable
from cellplane.provision.limits import require_room
from cellplane.provision.settings import ProvisionLimits


@dataclass
class MemoryCell:
    """A cell, and what it keeps."""

    instance: CellInstance
    kept: list[str] = field(default_factory=list)


class MemoryProvisioner:
    """See ``Provisioner``. Everything is done at once."""

    def __init__(
        self, limits: ProvisionLimits, status_of: Callable[[str], CellStatus | None] = lambda _cell: None
    ) -> None:
        self.cells: dict[str, MemoryCell] = {}
        self._limits = limits
        self._status_of = status_of
        self._lock = threading.Lock()

    def create(self, request: CellRequest) -> CellInstance:
        request.validate()
        with self._lock:
            known = self.cells.get(request.id)
            if known is not None:
                agreed_on = agreed(known.instance.request, request)
                known.instance = replace(known.instance, request=agreed_on, state=InstanceState.RUNNING)
                return known.instance
            requests = [cell.instance.request for cell in self.cells.values()]
            if request.ask_id and request.ask_id in {each.ask_id for each in requests}:
                raise CellTakenError(f"another cell is what {request.ask_id!r} asked for")
            require_room(self._limits, requests, request)
            port = 20_000 + len(self.cells)
            instance = CellInstance(request, "127.0.0.1", port, InstanceState.RUNNING)
            self.cells[request.id] = MemoryCell(instance)
            return instance

    def destroy(self, cell_id: str, *, force: bool = False) -> None:
        check_name("cell.id", cell_id)
        if cell_id in self.cells and not force:
            require_destroyable(cell_id, self._status_of(cell_id))
        with self._lock:
            self.cells.pop(cell_id, None)

    def start(self, cell_id: str) -> CellInstance:
        return self._become(cell_id, InstanceState.RUNNING)

    def stop(self, cell_id: str) -> CellInstance:
        return self._become(cell_id, InstanceState.STOPPED)

    def deploy(self, cell_id: str, release: str) -> CellInstance:
        check_name("cell.release", release)
        cell = self._there(cell_id)
        cell.instance = replace(cell.instance, request=replace(cell.instance.request, release=release))
        return cell.instance

    def describe(self, cell_id: str) -> CellInstance | None:
        cell = self.cells.get(cell_id)
        return None if cell is None else cell.instance

    def describe_all(self) -> tuple[CellInstance, ...]:
        with self._lock:
            return tuple(cell.instance for _, cell in sorted(self.cells.items()))

    def _become(self, cell_id: str, state: InstanceState) -> CellInstance:
        cell = self._there(cell_id)
        cell.instance = replace(cell.instance, state=state)
        return cell.instance

    def _there(self, cell_id: str) -> MemoryCell:
        if cell_id not in self.cells:
            raise ProvisionError(f"there is no {cell_id}: `cellplane cell create {cell_id}` makes it")
        return self.cells[cell_id]
