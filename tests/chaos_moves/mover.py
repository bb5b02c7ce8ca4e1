"""A process that takes a move on, as ``cellplane move`` does; it stops at fault points, and can be killed there.

Each is forked from one that has loaded everything, since there are thousands of them.
"""

import multiprocessing
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

from cellplane.client import Client
from cellplane.moves import steps as steps_module
from cellplane.moves import workflow
from cellplane.moves.book import MoveBook
from cellplane.moves.driver import Driver
from cellplane.moves.move import Move
from cellplane.moves.postgres.mover import PostgresMover
from cellplane.moves.records import FileRecords
from cellplane.moves.routes import ControlPlaneRoutes
from cellplane.moves.settings import CutoverSettings, DriverSettings, MoverSettings, ShadowSettings
from cellplane.moves.shadowing import PolicyShadows, ShadowRules
from cellplane.moves.steps import Steps
from chaos_moves.forked import forked, say_to

STOP_SECONDS = 10.0
ANY_ANSWER = ShadowRules(tolerance_percent=100.0)
"""What is read here is written all the while, and cells are killed that should have answered."""

SHADOWING = ShadowSettings(poll_seconds=0.1, settle_seconds=2.5, late_seconds=5.0)
HOLD = "hold"
"""Where a mover can stop beside its fault points: it is about to ask for writes to be held."""


@dataclass(frozen=True)
class World:
    """What a mover has to know of a fleet.

    Attributes:
        control_url: of the control plane.
        token: that may change tenants.
        databases: cell → URL.
        records: cell → its record of moves.
        moves: folder of the book of moves.
        log: where it says what goes wrong.
    """

    control_url: str
    token: str
    databases: dict[str, str]
    records: dict[str, Path]
    moves: Path
    log: Path
    driver: DriverSettings = field(default_factory=DriverSettings)
    cutover: CutoverSettings = field(default_factory=CutoverSettings)
    mover: MoverSettings = field(default_factory=MoverSettings)

    @property
    def book(self) -> MoveBook:
        """Where moves are kept."""
        return MoveBook(self.moves)

    def driver_in(self, stack: ExitStack) -> Driver:
        """What makes the steps of moves; its connections end with the stack."""
        client = stack.enter_context(Client(self.control_url, "chaos-move", self.token))
        routes = ControlPlaneRoutes(client)
        shadows = PolicyShadows(client, ANY_ANSWER)
        records = FileRecords(self.records)

        def steps_of(move: Move) -> Steps:
            source, target = self.databases[move.source], self.databases[move.target]
            mover = PostgresMover(move.tenant_id, move.id, source, target, self.mover)
            return Steps(move, mover, routes, records, self.cutover, shadows=shadows, shadowing=SHADOWING)

        return Driver(self.book, routes, steps_of, self.driver)


def _work(world: World, move_id: str, stops: Collection[str], pipe: "Connection[str, str]") -> None:
    """Take a move on; at each of these points say so, and wait to be told to go on."""
    say_to(world.log)
    left = list(stops)
    hold_writes = ControlPlaneRoutes.hold_writes

    def stop_at(name: str) -> None:
        if name in left:
            left.remove(name)
            pipe.send(name)
            pipe.recv()

    def hold(routes: ControlPlaneRoutes, tenant_id: str) -> int:
        stop_at(HOLD)
        return hold_writes(routes, tenant_id)

    with ExitStack() as stack:
        stack.enter_context(patch.object(steps_module, "fault_point", stop_at))
        stack.enter_context(patch.object(ControlPlaneRoutes, "hold_writes", hold))
        is_ours = stack.enter_context(world.book.working_on(move_id))
        assert is_ours, f"somebody else works on {move_id}"
        workflow.run(world.driver_in(stack), world.book, move_id)


class Mover:
    """One such process.

    Args:
        world: which fleet.
        move_id: which move, of the fleet's book.
        stops: fault points, and ``HOLD``, at which it waits to be told to go on, each as often as it is named.
    """

    def __init__(self, world: World, move_id: str, stops: Collection[str] = ()) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = forked(_work, world, move_id, tuple(stops), theirs)
        theirs.close()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def stopped_at(self, within_seconds: float) -> str | None:
        """The point at which it waits, if it comes to one in that time."""
        try:
            return self._pipe.recv() if self._pipe.poll(within_seconds) else None
        except (EOFError, ConnectionResetError):
            return None

    def go_on(self) -> None:
        """Let it go on from where it waits."""
        self._pipe.send("")

    def kill(self) -> None:
        """Kill it with SIGKILL, if it still runs, and wait until it is gone."""
        self._process.kill()
        self._process.join(STOP_SECONDS)
        self._process.close()
        self._pipe.close()
