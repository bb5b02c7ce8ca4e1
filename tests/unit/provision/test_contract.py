"""The provisioner in memory keeps the contract, so that what is tested with it holds for the real ones."""

import pytest

from cellplane.model import CellStatus
from cellplane.provision import CellInstance, CellRequest, InstanceState, Provisioner
from conformance.memory_provisioner import MemoryCell, MemoryProvisioner
from conformance.provisioner import FIRST, LIMITS, ProvisionerContract, Trial


class MemoryTrial:
    def __init__(self) -> None:
        self.statuses: dict[str, CellStatus] = {}
        self.memory = MemoryProvisioner(LIMITS, self.statuses.get)
        first = CellInstance(CellRequest(FIRST), "127.0.0.1", 20_000, InstanceState.RUNNING)
        self.memory.cells[FIRST] = MemoryCell(first)
        self.provisioner: Provisioner = self.memory

    def keep(self, instance: CellInstance, text: str) -> None:
        self.memory.cells[instance.id].kept.append(text)

    def kept(self, instance: CellInstance) -> list[str]:
        return self.memory.cells[instance.id].kept

    def told_release(self, instance: CellInstance) -> str:
        return self.memory.cells[instance.id].instance.release


@pytest.fixture
def fresh() -> Trial:
    return MemoryTrial()


class TestMemoryProvisioner(ProvisionerContract):
    pass
