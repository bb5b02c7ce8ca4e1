"""Provisioning: what builds and runs the planes and the cells.

``Provisioner`` is the interface; ``local`` implements it with processes of one machine.
"""

from cellplane.provision.provisioner import Provisioner, require_destroyable
from cellplane.provision.values import CellInstance, CellRequest, InstanceState, agreed

__all__ = [
    "CellInstance",
    "CellRequest",
    "InstanceState",
    "Provisioner",
    "agreed",
    "require_destroyable",
]
