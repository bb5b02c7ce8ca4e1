"""A change plan without a control plane: what applying resources would change, and whom that moves."""

from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.manifest.changes import Change, changes, wanted
from cellplane.manifest.moves import Moves, moves
from cellplane.manifest.resources import Resource
from cellplane.manifest.settings import ApplySettings
from cellplane.manifest.shapes import Json
from cellplane.model import Topology


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What applying some resources comes to.

    Attributes:
        topology: the fleet as it would be; valid.
        changes: what differs from the fleet as it is; none where everything is as wanted.
        moves: whom that moves.
    """

    topology: Topology
    changes: tuple[Change, ...]
    moves: Moves

    def as_json(self, settings: ApplySettings | None = None) -> Json:
        """``changes`` and ``moves`` as the API answers them."""
        rows = (settings or ApplySettings()).max_rows
        return {"changes": [change.as_json() for change in self.changes], "moves": self.moves.as_json(rows)}


def plan_change(current: Topology | None, resources: Iterable[Resource], *, prune: bool) -> ChangePlan:
    """What applying resources to a fleet comes to.

    Args:
        current: the fleet as it is, valid; None where there is none yet.
        resources: those that somebody wants.
        prune: see ``wanted``.

    Raises:
        ValidationError: the fleet would not be valid; with the path of the first field that breaks a rule.
    """
    topology = wanted(current, resources, prune=prune)
    topology.validate()
    found = changes(current, topology)
    # Placement is what costs: where nothing changes, nothing moves.
    moved = moves(current, topology) if current is not None and found else Moves()
    return ChangePlan(topology, found, moved)
