"""What builds, runs and removes cells: one interface, whatever they are made of."""

from typing import Protocol

from cellplane.errors import ProvisionError
from cellplane.model import CellStatus
from cellplane.provision.values import CellInstance, CellRequest


class Provisioner(Protocol):
    """Builds, runs and removes cells. Knows nothing of tenants and routes: those are the control plane's.

    Every call is idempotent by the cell's id: who was cut short asks again, and what is so already stays so. Every call
    waits until it is done, for a time that the implementation bounds. ``tests/unit/provision`` and ``tests/e2e`` hold
    implementations to this.
    """

    def create(self, request: CellRequest) -> CellInstance:
        """Make a cell, and return when its API answers. One that is there is started where it does not run.

        The release of a cell that is there stays as it is; ``deploy`` changes it.

        Raises:
            ValidationError: the request breaks a rule.
            CellTakenError: the cell is there and was asked for otherwise, or another one has this ask id.
            LimitReachedError: that would be more cells, or more capacity, than allowed.
            ProvisionError: it does not come up, or is being removed.
        """

    def destroy(self, cell_id: str, *, force: bool = False) -> None:
        """Remove a cell with its data, once all its processes have ended. One that is not there stays so.

        Args:
            force: also one that the control plane does not have as retired, see ``require_destroyable``.

        Raises:
            ProvisionError: the control plane has it as something else than retired, or it cannot be removed.
        """

    def start(self, cell_id: str) -> CellInstance:
        """Run a cell that was stopped or has failed, with the data that it had, and return when its API answers.

        Raises:
            ProvisionError: it is not there, or does not come up.
        """

    def stop(self, cell_id: str) -> CellInstance:
        """End a cell's processes and keep its data. Its requests fail from now on: drain it first.

        Raises:
            ProvisionError: it is not there, or does not end.
        """

    def deploy(self, cell_id: str, release: str) -> CellInstance:
        """Let a cell run another release, and return when its API answers again. A stopped one stays stopped.

        Raises:
            ValidationError: the release is no name.
            ProvisionError: the cell is not there, or does not come up with it.
        """

    def describe(self, cell_id: str) -> CellInstance | None:
        """A cell as it is now; None where there is none."""

    def describe_all(self) -> tuple[CellInstance, ...]:
        """All cells as they are now, by id."""


def require_destroyable(cell_id: str, status: CellStatus | None) -> None:
    """Hold a provisioner back, where nobody forces it, from a cell that tenants may still be in.

    Args:
        status: what the control plane has the cell as; None where it does not know it.

    Raises:
        ProvisionError: it is not retired.
    """
    if status is not None and status is not CellStatus.RETIRED:
        raise ProvisionError(
            f"{cell_id} is {status.value} in the control plane, and a cell that is destroyed is gone with its data: "
            f"drain it, move its tenants off, and `cellplane cell retire {cell_id}` first, or force it"
        )
