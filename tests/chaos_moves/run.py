"""Runs: a tenant moves while it is written, something is killed at a point, and the judge looks at what is left."""

import random
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from inspect import getsource
from pathlib import Path

from cellplane.moves import steps
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.settings import CutoverSettings
from chaos_moves.clients import Clients, Load
from chaos_moves.drag import Drag
from chaos_moves.fleet import CELLS, CONTROL, HARSH, ROUTER, MovesFleet, fill, left_of_moves, remove, rows_of
from chaos_moves.judge import Verdict, judge
from chaos_moves.mover import HOLD, Mover, World
from e2e.harness import eventually

MOVER, SOURCE, TARGET = "mover", "source", "target"
STALLED = "stalled"
"""The mover dies while the control plane hangs, which then does what the dead one asked for: beside, or behind, what is
asked by whoever goes on with the move."""

VICTIMS = (MOVER, CONTROL, ROUTER, SOURCE, TARGET, STALLED)
POINTS = tuple(dict.fromkeys(re.findall(r'fault_point\("([^"]+)"\)', getsource(steps))))
"""Where a move can be cut short, as the steps of a move name it."""

ROWS = 200
LAG_SECONDS = 2.0
"""How far behind the follower may be where writes are held: so far that it is not there by chance."""

SETTLE_SECONDS = 60.0
"""Longest time from when everything is up until the move has ended."""

POINT_SECONDS = 90.0
POLL_SECONDS = 0.01
SHADOW_SECONDS = 0.5
ASK_SECONDS, STALL_SECONDS = 0.3, 3.0
"""How long a mover is given to ask a control plane that hangs for what comes next, and who goes on with its move."""

MIN_WRITES = 10
"""Writes that have to be acknowledged before a move, behind the flip of one that goes back, and when it ended."""

WAY_BACK_SECONDS = 120.0
ENDINGS = (Phase.DONE, Phase.ROLLED_BACK, Phase.ABORTED)
_FOLLOWED = frozenset({Phase.FOLLOWING, Phase.VERIFIED, Phase.SHADOWED, Phase.FENCED, Phase.FLIPPED})
_OF_ANY_ENDING = frozenset({"move.parted", "move.cleaned", "move.forgotten"})
SHADOWING = "move.shadowing"
_OF_A_SHADOW = frozenset({SHADOWING, "move.shadowed"})
_MAY_ABORT_AT = ("move.prepared", "move.copied", "move.following", "move.verified")


@dataclass(frozen=True)
class Plan:
    """What is done in a run: all of it follows from seed, point and victim.

    Attributes:
        seed: of what is drawn.
        point: where something is killed.
        victim: what.
        ending: how the move is to end.
        is_pinned: whether the tenant is assigned to its cell, rather than placed there by its slot.
        abort_at: the point at which somebody wants the move to end; of those that are to be aborted.
        late_seconds: how long after the point it is killed, where the mover goes on meanwhile; None: the mover waits.
        away_seconds: for how long it is away.
        hold_seconds: for how long the way back is held open, or is written at the target before it is gone.
        insists: whether whoever resumes the move still wants what was wanted.
        is_dragged: whether what replication applies is held up, now and then.
        shadow_seconds: how long the target answers what is read, unseen, before writes are held.
    """

    seed: int
    point: str
    victim: str
    ending: Phase
    is_pinned: bool
    abort_at: str | None
    late_seconds: float | None
    away_seconds: float
    hold_seconds: float
    insists: bool
    is_dragged: bool
    shadow_seconds: float

    def __str__(self) -> str:
        return f"seed {self.seed} {self.point} {self.victim}"


def plan_of(seed: int, point: str, victim: str) -> Plan:
    """Draw a run."""
    rng = random.Random(f"{seed}/{point}/{victim}")
    if point.startswith("move.back."):
        ending = Phase.ROLLED_BACK
    elif point == "move.stayed":
        ending = Phase.ABORTED
    elif point in _OF_ANY_ENDING:
        ending = rng.choice(ENDINGS)
    else:
        ending = rng.choices((Phase.DONE, Phase.ROLLED_BACK), (2, 1))[0]
    plan = Plan(
        seed,
        point,
        victim,
        ending,
        is_pinned=rng.random() < 0.5,
        abort_at=rng.choice(_MAY_ABORT_AT) if ending is Phase.ABORTED else None,
        late_seconds=rng.choice((None, rng.uniform(0, 0.02), rng.uniform(0, 0.2))),
        away_seconds=rng.uniform(0, 0.8),
        hold_seconds=rng.uniform(0, 0.4),
        insists=rng.random() < 0.7,
        is_dragged=rng.random() < 0.5,
        shadow_seconds=SHADOW_SECONDS if point in _OF_A_SHADOW else 0.0,
    )
    if point == SHADOWING and rng.random() < 0.3:
        # The one who died was not the last to look at the tenant's policy.
        plan = replace(plan, ending=Phase.ABORTED, abort_at=point)
    return plan


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        verdict: of the judge.
        phase: in which the move ended, or is stuck.
        settle_seconds: from when everything was up until then.
        movers: how many processes it took.
        reads: that were answered.
        answers: what clients got, by method and status.
        left: what it left that it should not have.
    """

    plan: Plan
    verdict: Verdict
    phase: Phase
    settle_seconds: float
    movers: int
    reads: int
    answers: dict[str, int]
    left: list[str] = field(default_factory=list)

    @property
    def is_ended(self) -> bool:
        return self.phase in ENDINGS and self.settle_seconds <= SETTLE_SECONDS

    @property
    def is_right(self) -> bool:
        return self.verdict.is_right and self.is_ended and not self.left

    def said(self) -> list[str]:
        """What is wrong."""
        stuck = [] if self.is_ended else [f"the move is {self.phase.value} after {self.settle_seconds:.0f} s"]
        return [*stuck, *self.left, *self.verdict.said]


class Runs:
    """A fleet, and one run after the other in it.

    Args:
        folder: for all that it keeps.
        load: of each tenant.
        spoil: called with the fleet, the tenant and its cell before the judge looks, to plant what it has to find.
    """

    def __init__(
        self,
        folder: Path,
        load: Load | None = None,
        spoil: Callable[[MovesFleet, str, str], None] = lambda _fleet, _tenant, _cell: None,
    ) -> None:
        self._fleet = MovesFleet(folder, HARSH)
        self._load = load or Load()
        self._spoil = spoil
        self._number = 0

    def __enter__(self) -> "Runs":
        try:
            self._fleet.start()
        except BaseException:
            self._fleet.end()
            raise
        fleet = self._fleet
        records = {cell: parts.record for cell, parts in fleet.cells.items()}
        folder = fleet.folder
        self._world = World(
            fleet.control_url,
            fleet.token,
            fleet.databases,
            records,
            folder / "moves",
            folder / "mover.log",
            cutover=CutoverSettings(lag_seconds=LAG_SECONDS),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._fleet.end()

    def run(self, plan: Plan) -> Outcome:
        """Do one."""
        self._number += 1
        tenant = f"tenant-{self._number}"
        rng = random.Random(str(plan))
        fields = {"cell": rng.choice(CELLS)} if plan.is_pinned else {}
        source = self._fleet.put_tenant(tenant, **fields)["placed"]
        (target,) = {*CELLS} - {source}
        hold = WAY_BACK_SECONDS if plan.ending is Phase.ROLLED_BACK else plan.hold_seconds
        move = Move(f"m{self._number}", tenant, source, target, plan.is_pinned, hold, began=time.time())
        move = replace(move, shadow_seconds=plan.shadow_seconds)
        history = fill(self._fleet.databases[source], tenant, source, ROWS)
        clients = Clients(self._fleet.router_port, tenant, str(plan), history, self._load)
        with clients.busy(), ExitStack() as stack:
            eventually(lambda: clients.acknowledged > MIN_WRITES, f"{tenant} is written")
            moving = Moving(self._fleet, self._world, plan, move, clients)
            stack.callback(moving.end)
            if moving.drag is not None:
                stack.enter_context(moving.drag.pulling())
            moving.to_the_kill()
            settle_seconds = moving.settle()
            left = self._is_written(clients)
        return self._judged(moving, clients, settle_seconds, left)

    def _is_written(self, clients: Clients) -> list[str]:
        before = clients.acknowledged
        try:
            eventually(lambda: clients.acknowledged > before + MIN_WRITES, "written", seconds=SETTLE_SECONDS / 6)
        except AssertionError:
            return [f"{clients.tenant} is not written any more: {dict(clients.answers)}"]
        return []

    def _judged(self, moving: "Moving", clients: Clients, settle_seconds: float, left: list[str]) -> Outcome:
        move = moving.move
        tenant = self._fleet.get(f"/v1/tenants/{move.tenant_id}")
        home = tenant["placed"]
        (other,) = {*CELLS} - {home}
        if tenant["state"] != "active":
            left.append(f"{move.tenant_id} is {tenant['state']}")
        if tenant["policy"]["shadow"] is not None:
            left.append(f"{move.tenant_id} has {tenant['policy']['shadow']} as a shadow")
        databases = self._fleet.databases
        self._spoil(self._fleet, move.tenant_id, home)
        turns = (move.source, move.target) if home == move.target else (move.source, move.target, move.source)
        verdict = judge(
            clients.writes,
            clients.reads,
            home=rows_of(databases[home], move.tenant_id),
            other=rows_of(databases[other], move.tenant_id),
            cells=turns,
        )
        left += left_of_moves(databases)
        phase = self._world.book.get(move.id).phase
        if phase.is_end:
            for url in databases.values():
                remove(url, move.tenant_id)
        answers = dict(sorted(clients.answers.items()))
        return Outcome(moving.plan, verdict, phase, settle_seconds, moving.movers, len(clients.reads), answers, left)


class Moving:
    """One move: what takes it on, and what is killed.

    Args:
        fleet: in which.
        world: as a mover sees it.
        plan: what is done.
        move: which.
        clients: who writes meanwhile.
    """

    def __init__(self, fleet: MovesFleet, world: World, plan: Plan, move: Move, clients: Clients) -> None:
        self._fleet = fleet
        self._world = world
        self._book = world.book
        self.plan = plan
        self.move = move
        self._clients = clients
        self._mover: Mover | None = None
        self._flipped_with: int | None = None
        self.drag = Drag(self.follower, random.Random(str(plan))) if plan.is_dragged else None
        self._asked = False
        self.movers = 0
        self._book.add(move)

    def to_the_kill(self) -> None:
        """Let it come to its point, kill the victim, and wait until everything is up again."""
        plan = self.plan
        deadline = time.monotonic() + POINT_SECONDS
        stops = [plan.point, *([plan.abort_at] if plan.abort_at is not None else [])]
        if self.drag is not None:
            # There, and back.
            stops += [HOLD, HOLD]
        while True:
            assert time.monotonic() < deadline, f"{plan} does not come to its point: {self._book.get(self.move.id)}"
            self._take_on(stops)
            assert self._mover is not None
            point = self._mover.stopped_at(POLL_SECONDS)
            self._want()
            if point is None:
                continue
            stops.remove(point)
            if point == plan.point:
                break
            self._pass(point)
        self._kill()

    def _pass(self, point: str) -> None:
        """Let the mover go on from where it stopped on its way."""
        assert self._mover is not None
        if point == HOLD and self.drag is not None:
            # What is written until routers hold writes is not at the other end when the fence falls.
            self.drag.pull_now()
        if point == self.plan.abort_at:
            self._ask(Wish.ABORT)
        self._mover.go_on()

    def _kill(self) -> None:
        plan = self.plan
        assert self._mover is not None
        if plan.victim == STALLED:
            self._stall()
            return
        if plan.late_seconds is not None:
            self._mover.go_on()
            time.sleep(plan.late_seconds)
        if plan.victim == MOVER:
            self._mover.kill()
            self._mover = None
            time.sleep(plan.away_seconds)
            self._fleet.await_whole()
            return
        part = {SOURCE: self.move.source, TARGET: self.move.target}.get(plan.victim, plan.victim)
        self._fleet.kill(part)
        if plan.late_seconds is None:
            self._mover.go_on()
        time.sleep(plan.away_seconds)
        self._fleet.restore(part)

    def _stall(self) -> None:
        assert self._mover is not None
        self._fleet.control.signal(signal.SIGSTOP)
        self._mover.go_on()
        time.sleep(ASK_SECONDS)
        self._mover.kill()
        self._mover = None
        self._take_on(())
        time.sleep(STALL_SECONDS)
        self._fleet.control.signal(signal.SIGCONT)
        self._fleet.await_whole()

    def settle(self) -> float:
        """Take it to its end, by as many processes as that takes; returns how long that took, in seconds."""
        began = time.monotonic()
        while not self._book.get(self.move.id).phase.is_end:
            if time.monotonic() - began > SETTLE_SECONDS:
                break
            self._take_on(())
            assert self._mover is not None
            point = self._mover.stopped_at(POLL_SECONDS)
            self._want()
            if point is not None:
                self._pass(point)
        return time.monotonic() - began

    def follower(self) -> str | None:
        """The database that follows the other now, as far as the move has come."""
        phase = self._book.get(self.move.id).phase
        if phase in _FOLLOWED:
            return self._fleet.databases[self.move.source if phase is Phase.FLIPPED else self.move.target]
        return None

    def end(self) -> None:
        """Leave no process behind."""
        if self._mover is not None:
            self._mover.kill()
            self._mover = None

    def _take_on(self, stops: Sequence[str]) -> None:
        """Let somebody work on it: the first, or whoever resumes it."""
        if self._mover is not None:
            if self._mover.is_running:
                return
            self.end()
        if self.movers and not self.plan.insists:
            phase = self._book.get(self.move.id).phase
            # Nobody waits for the way back to be given up.
            self._book.ask(self.move.id, Wish.RELEASE if self._asked and phase is Phase.FLIPPED else Wish.RUN)
        self.movers += 1
        self._mover = Mover(self._world, self.move.id, stops)

    def _want(self) -> None:
        """Ask for the way back, once the tenant is written where it is."""
        if self.plan.ending is not Phase.ROLLED_BACK or self._asked:
            return
        if self._book.get(self.move.id).phase is not Phase.FLIPPED:
            return
        if self._flipped_with is None:
            self._flipped_with = self._clients.acknowledged
        if self._clients.acknowledged >= self._flipped_with + MIN_WRITES:
            self._ask(Wish.ROLLBACK)

    def _ask(self, wish: Wish) -> None:
        self._asked = True
        self._book.ask(self.move.id, wish)
