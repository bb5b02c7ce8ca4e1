"""A world in which a tenant moves: two stores, routers that lag behind, writers, and crashes. No I/O, no time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cellplane.moves.book import Progress
from cellplane.moves.carriers.carrier import Carrier, Load, Way
from cellplane.moves.driver import Driver
from cellplane.moves.errors import ChangedError, MoveError, NotInTimeError, StoreError
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.mover import DataMover, Estimate, Facts, Lag, Verdict
from cellplane.moves.routes import ACTIVE, HELD, Placed
from cellplane.moves.settings import CutoverSettings, DriverSettings
from cellplane.moves.shadowing import Heard, Note, Seen, ShadowRules, Shadows, Sight
from cellplane.moves.steps import Steps

TENANT, SOURCE, TARGET = "acme", "cell-1", "cell-2"
SUSPENDED = "suspended"


class CrashError(BaseException):
    """The process that makes a move dies here."""


@dataclass
class Store:
    """A cell's database, and what its app knows."""

    rows: dict[int, int] = field(default_factory=dict)
    closed: bool | None = None
    """The guard; None: it is not there."""

    gone_at: int = 0
    """The record of moves: requests of an older epoch are refused."""

    sends: list[tuple[int, int | None]] | None = None
    """What its slot keeps for the other; None: it has none."""

    applies: bool = False
    """Whether it takes what the other's slot keeps."""

    queue: list[int] = field(default_factory=list)
    """Jobs of the tenant that wait for a worker."""

    in_hand: int | None = None
    """The job that a worker has, and has not answered for."""

    files: dict[int, int] = field(default_factory=dict)
    """What it keeps beside its rows: each row has one of its own, written before it."""


@dataclass
class Table:
    """What a router goes by."""

    cell: str = SOURCE
    state: str = ACTIVE
    has_shadow: bool = False
    """Whether what the tenant reads is copied to the target."""

    epoch: int = 1

    @property
    def holds(self) -> bool:
        """Whether writes wait."""
        return self.state == HELD


@dataclass(frozen=True)
class Asked:
    """A change of the directory that is asked for, of the version that was seen."""

    seen: int
    changes: dict[str, Any]


@dataclass
class World:
    """All that there is beside the mover.

    Args:
        choose: gives a number below another one: whoever decides what happens next.
        routers: how many there are; the last is cut off from the control plane whenever the world wants.
    """

    choose: Callable[[int], int]
    routers: int = 3
    stores: dict[str, Store] = field(default_factory=lambda: {SOURCE: Store({1: 0, 2: 0}), TARGET: Store()})
    directory: Table = field(default_factory=Table)
    acknowledged: dict[int, int | None] = field(default_factory=lambda: {1: 0, 2: 0})
    wrote_at: list[str] = field(default_factory=list)
    """Where writes were acknowledged, in order, without repetition."""

    done: list[tuple[int, str]] = field(default_factory=list)
    """Jobs, and at which cell each was done."""

    epochs: dict[int, int] = field(default_factory=dict)
    """Job → epoch of the table by which it came to the cell that has it."""

    may_repeat: set[int] = field(default_factory=set)
    """Jobs that went to another cell while a worker had them, or as the mover died: these may be done twice."""

    is_back_broken: bool = False
    """Whether what is written at the target comes no more to the source."""

    slot_cell: str = SOURCE
    """The cell that the tenant's slot is."""

    untested: int = 0
    """Changes that were made before the flip and not compared."""

    untested_back: int = 0
    """Changes that were made behind the flip and not compared."""

    compared_back: int = 0
    """How often that was compared."""

    refused: int = 0
    number: int = 0
    deaths: int = 0
    """How often whoever moves the tenant may still die while it waits for the control plane."""

    words: int = 0
    """How often an operator may still suspend the tenant; who is suspended is let in again at any time."""

    homecomings: int = 0
    """How often an operator may still assign the tenant back to the source behind its flip, without a rollback."""

    outages: int = 0
    """How often a cell's database may still go down; one that is down comes back at any time."""

    had_outages: bool = False
    """Whether there was one."""

    down: set[str] = field(default_factory=set)
    """Cells whose databases are down."""

    phase: Callable[[], Phase] = lambda: Phase.PLANNED
    """What the move has reached."""

    late: list["Asked"] = field(default_factory=list)
    """What the dead have asked the control plane for, and it may still do."""

    def __post_init__(self) -> None:
        self.tables = [replace(self.directory) for _ in range(self.routers)]
        self.is_cut_off = False

    def happen(self) -> None:
        """A few things happen, in any order: tables arrive, writes come, replication applies."""
        for _ in range(self.choose(6)):
            match self.choose(8):
                case 0:
                    self.deliver(self.choose(self.routers))
                case 7:
                    self.work((SOURCE, TARGET)[self.choose(2)])
                case 6:
                    self.fail()
                case 5:
                    self.operate()
                case 1 | 2:
                    self.write(self.choose(self.routers), key=self.choose(4), deletes=self.choose(5) == 0)
                case 3:
                    self.answer_late()
                case _:
                    self.replicate()

    def deliver(self, router: int) -> None:
        """A router takes the newest table, unless it is cut off."""
        if not (self.is_cut_off and router == self.routers - 1):
            self.tables[router] = replace(self.directory)

    def answer_late(self) -> None:
        """The control plane does something that a dead one asked for, if it is still to be done."""
        if self.late:
            asked = self.late.pop(self.choose(len(self.late)))
            self.publish(asked)

    def operate(self) -> None:
        """An operator suspends the tenant, lets it in again, or assigns it back, knowing nothing of its move."""
        if self.homecomings and self.directory.cell == TARGET and self.phase() in {Phase.FENCED, Phase.FLIPPED}:
            self.homecomings -= 1
            self._change(cell=SOURCE)
        elif self.phase() is Phase.RELEASED and self.directory.cell == SOURCE:
            # As the move says that it has to be.
            self._change(cell=TARGET)
        elif self.directory.state == SUSPENDED:
            self._change(state=ACTIVE)
        elif self.words:
            self.words -= 1
            self._change(state=SUSPENDED)

    def fail(self) -> None:
        """A database goes down, or comes back with all that was committed."""
        if self.down:
            self.down.clear()
        elif self.outages:
            self.outages -= 1
            self.had_outages = True
            self.down.add((SOURCE, TARGET)[self.choose(2)])

    def _change(self, **changes: Any) -> None:
        self.directory = replace(self.directory, epoch=self.directory.epoch + 1, **changes)

    def publish(self, asked: "Asked") -> bool:
        """Change the directory for a move, if it is as it was looked at."""
        if self.directory.epoch != asked.seen:
            return False
        if self.directory.state == SUSPENDED:
            assert asked.changes.get("state", SUSPENDED) == SUSPENDED, "what an operator said is not a move's to undo"
        self.directory = replace(self.directory, epoch=asked.seen + 1, **asked.changes)
        self.is_cut_off = self.choose(3) == 0
        return True

    def change(self, seen: Table, **changes: Any) -> int:
        """Ask for a change of the directory as it was seen, as whoever moves the tenant does; returns the epoch."""
        self.happen()
        asked = Asked(seen.epoch, changes)
        if self.deaths and self.choose(4) == 0:
            self.deaths -= 1
            self.late.append(asked)
            raise CrashError
        self.happen()
        if not self.publish(asked):
            raise ChangedError("it is not as it was")
        epoch = self.directory.epoch
        self.happen()
        return epoch

    def write(self, router: int, key: int, *, deletes: bool) -> None:
        """A client writes by way of a router; it is acknowledged, or refused by whom it comes to."""
        table = self.tables[router]
        store = self.stores[table.cell]
        if table.cell in self.down or table.state != ACTIVE or store.closed or table.epoch < store.gone_at:
            self.refused += 1
            return
        self.number += 1
        value = None if deletes else self.number
        _apply(store.rows, key, value)
        if store.sends is not None:
            store.sends.append((key, value))
        self.acknowledged[key] = value
        # As an app does: with the row there is a file, and work to do.
        store.files[self.number] = key
        store.queue.append(self.number)
        self.epochs[self.number] = table.epoch
        if self.wrote_at[-1:] != [table.cell]:
            self.wrote_at.append(table.cell)

    def work(self, cell: str) -> None:
        """A worker takes a job, or answers for the one that it has; it refuses what came before its tenant went."""
        store = self.stores[cell]
        # As a consumer does that goes by the record of moves: the others become dead letters.
        store.queue = [job for job in store.queue if self.epochs[job] >= store.gone_at]
        if store.in_hand is None:
            store.in_hand = next(iter(store.queue), None)
            return
        self.done.append((store.in_hand, cell))
        if store.in_hand in store.queue:
            store.queue.remove(store.in_hand)
        store.in_hand = None

    def replicate(self) -> None:
        """Each subscription applies one change."""
        if self.down:
            return
        for name, other in ((SOURCE, TARGET), (TARGET, SOURCE)):
            sends = self.stores[name].sends
            if sends and self.stores[other].applies:
                _apply(self.stores[other].rows, *sends.pop(0))

    def drain(self, name: str) -> None:
        """All that a store's slot keeps is applied."""
        other = TARGET if name == SOURCE else SOURCE
        if self.down or not self.stores[other].applies:
            raise NotInTimeError("nobody applies it")
        sends = self.stores[name].sends
        while sends:
            _apply(self.stores[other].rows, *sends.pop(0))

    def expected(self) -> dict[int, int]:
        """What a database has to hold by what was acknowledged."""
        return {key: value for key, value in self.acknowledged.items() if value is not None}


def _apply(rows: dict[int, int], key: int, value: int | None) -> None:
    if value is None:
        rows.pop(key, None)
    else:
        rows[key] = value


@dataclass
class WorldMover(DataMover):
    """Moves data in a world, with the same promises as a real mover."""

    world: World

    def __post_init__(self) -> None:
        self.source, self.target = self.world.stores[SOURCE], self.world.stores[TARGET]

    def estimate(self) -> Estimate:
        return Estimate(("rows",), len(self.source.rows), 0, ())

    def prepare(self) -> None:
        self.world.happen()
        self._reach()
        if self.target.closed is None:
            self.target.closed = True
        self.world.happen()
        if self.source.closed is None:
            self.source.closed = False

    def copy(self, told: Callable[[int, int], None]) -> tuple[int, int]:
        self._reach()
        self.target.applies, self.source.sends = False, []
        snapshot = dict(self.source.rows)
        self.world.happen()
        self.target.rows = snapshot
        self.target.applies = True
        return len(snapshot), 0

    def follow(self) -> None:
        self.world.drain(SOURCE)
        if self.target.sends is None:
            self.target.sends = []
        self.source.applies = True
        self.world.happen()

    def reconnect(self) -> None:
        self._reach()

    def lag(self) -> Lag:
        self._reach()
        return Lag(0.0, 0, self.world.untested)

    def compare(self, told: Callable[[int], None]) -> Verdict:
        self.world.happen()
        self._reach()
        self.world.drain(SOURCE)
        differences = () if self.source.rows == self.target.rows else ("rows differ",)
        return Verdict(len(self.source.rows), differences, 0, 0.0)

    def compare_back(self, told: Callable[[int], None]) -> Verdict:
        self.world.happen()
        self.world.compared_back += 1
        self.world.drain(TARGET)
        differences = () if self.source.rows == self.target.rows else ("rows differ",)
        return Verdict(len(self.source.rows), differences, 0, 0.0)

    def recopy(self, differences: Sequence[str]) -> None:
        assert differences
        self.target.rows = dict(self.source.rows)

    def fence(self, epoch: int) -> None:
        self.world.happen()
        self._reach(SOURCE)
        self._require(self.source)
        self.source.closed = True
        self.world.happen()

    def finish(self, within_seconds: float) -> Verdict:
        return self._finish(SOURCE)

    def open_target(self, epoch: int) -> None:
        self._reach()
        if not self.source.closed:
            raise MoveError("the source takes writes")
        assert not self.source.queue, "what waited goes before new work comes"
        self.target.closed = False
        self.world.happen()

    def reopen_source(self, *, alone: bool = False) -> None:
        if alone:
            self._reach(SOURCE)
            assert self.target.closed in {True, None}, "before the flip nobody opens the target"
            if self.source.closed:
                self.source.closed = False
            self.world.happen()
            return
        self._reach()
        if not self.target.closed:
            raise MoveError("the target takes writes")
        assert not self.target.queue, "what waited goes before new work comes"
        self.source.closed = False
        self.world.happen()

    def lag_back(self) -> Lag:
        self._reach()
        if self.world.is_back_broken:
            raise NotInTimeError("the way back is broken")
        return Lag(0.0, 0, self.world.untested_back)

    def fence_target(self, epoch: int) -> None:
        self.world.happen()
        self._reach(TARGET)
        self._require(self.target)
        self.target.closed = True
        self.world.happen()

    def finish_back(self, within_seconds: float) -> Verdict:
        return self._finish(TARGET)

    def part(self) -> None:
        troubles = []
        for name in (SOURCE, TARGET):
            self.world.happen()
            if name in self.world.down:
                troubles.append(name)
            else:
                self.world.stores[name].applies, self.world.stores[name].sends = False, None
        if troubles:
            raise StoreError(f"not all is removed: {troubles} are down")

    def leave_source(self) -> None:
        self._reach(SOURCE)
        if self.source.closed:
            self.source.closed = False
        self.world.happen()
        self._reach(SOURCE)
        self.source.applies, self.source.sends, self.source.closed = False, None, None

    def clean_source(self, told: Callable[[int], None]) -> int:
        return self._clean(self.source)

    def clean_target(self, told: Callable[[int], None]) -> int:
        return self._clean(self.target)

    def forget(self) -> None:
        self._reach()
        for store in (self.source, self.target):
            store.closed = None
            self.world.happen()

    def close(self) -> None:
        """It has no connections."""

    def facts(self) -> Facts:
        self._reach()
        return Facts(self.source.closed, self.target.closed, self.target.applies, self.source.applies, ())

    def _finish(self, name: str) -> Verdict:
        store, other = self.world.stores[name], self.world.stores[TARGET if name == SOURCE else SOURCE]
        if not store.closed:
            raise MoveError("it is still written")
        self.world.happen()
        self._reach()
        if self.world.choose(8) == 0:
            raise NotInTimeError("this time the last write did not come")
        self.world.drain(name)
        differs = store.rows != other.rows or self.world.choose(8) == 0
        return Verdict(0, ("rows differ",) if differs else (), 0, 0.0)

    def _clean(self, store: Store) -> int:
        self._reach()
        if not store.closed:
            raise MoveError("it takes writes")
        count = len(store.rows)
        store.rows = {}
        self.world.happen()
        return count

    def _reach(self, *names: str) -> None:
        for name in names or (SOURCE, TARGET):
            if name in self.world.down:
                raise StoreError(f"the database of {name} is down")

    def _require(self, store: Store) -> None:
        if store.closed is None:
            raise MoveError("there is no guard")


@dataclass
class WorldQueue(Carrier):
    """Hands jobs over in a world, one by one, as JetStream does."""

    world: World
    name: str = "jobs"

    def estimate(self) -> Load:
        return Load(len(self.world.stores[SOURCE].queue))

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def copy(self, way: Way, told: Callable[[int], None]) -> Load:
        return Load(0)

    def compare(self) -> None:
        """There is no copy."""

    def finish(self, way: Way, within_seconds: float) -> None:
        if self.world.choose(8) == 0:
            raise NotInTimeError("this time too much waits")

    def hand_over(self, way: Way, epoch: int) -> None:
        here, there = self._ends(way)
        assert self.world.stores[here].closed, "it goes from whom nobody writes"
        assert self.world.directory.cell == there or way is Way.THERE, "it goes to whom the directory names"
        self._carry(here, there, epoch)

    def clean(self, way: Way, epoch: int) -> None:
        self._carry(*self._ends(way), epoch)

    def _carry(self, here: str, there: str, epoch: int) -> None:
        store, other = self.world.stores[here], self.world.stores[there]
        while store.queue:
            job = store.queue[0]
            if self.world.choose(12) == 0:
                raise CrashError
            if job == store.in_hand:
                self.world.may_repeat.add(job)
            # An id is stored once, unless it went meanwhile: then it comes by another.
            self.world.epochs[job] = epoch
            if job not in other.queue:
                other.queue.append(job)
            if self.world.choose(12) == 0:
                self.world.may_repeat.add(job)
                raise CrashError
            store.queue.remove(job)

    @staticmethod
    def _ends(way: Way) -> tuple[str, str]:
        return (SOURCE, TARGET) if way is Way.THERE else (TARGET, SOURCE)


@dataclass
class WorldFiles(Carrier):
    """Copies files in a world, a few at a time."""

    world: World
    name: str = "files"

    def estimate(self) -> Load:
        return Load(len(self.world.stores[SOURCE].files))

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def copy(self, way: Way, told: Callable[[int], None]) -> Load:
        here, there = self._ends(way)
        snapshot = dict(here.files)
        self.world.happen()
        for number, key in snapshot.items():
            there.files[number] = key
        return Load(len(snapshot))

    def compare(self) -> None:
        self.world.happen()

    def finish(self, way: Way, within_seconds: float) -> None:
        here, there = self._ends(way)
        if not here.closed:
            raise MoveError("it is still written")
        if self.world.choose(8) == 0:
            raise NotInTimeError("this time the last files did not come")
        there.files = dict(here.files)

    def hand_over(self, way: Way, epoch: int) -> None:
        """All was copied before the flip."""

    def clean(self, way: Way, epoch: int) -> None:
        self._ends(way)[0].files = {}

    def _ends(self, way: Way) -> tuple[Store, Store]:
        source, target = self.world.stores[SOURCE], self.world.stores[TARGET]
        return (source, target) if way is Way.THERE else (target, source)


@dataclass
class WorldRoutes:
    """The control plane of a world."""

    world: World

    def placed(self, tenant_id: str) -> Placed:
        table = self.world.directory
        return Placed((table.cell,), True, table.state, table.epoch, self.world.slot_cell)

    def hold_writes(self, tenant_id: str) -> int:
        seen = self.world.directory
        if seen.state == SUSPENDED:
            raise MoveError("it is suspended")
        return self._publish(seen, state=HELD)

    def let_writes(self, tenant_id: str) -> int:
        seen = self.world.directory
        if seen.state == ACTIVE:
            self._publish(seen, state=HELD)
            seen = self.world.directory
        if seen.state != HELD:
            return seen.epoch
        return self._publish(seen, state=ACTIVE)

    def assign(self, tenant_id: str, cell: str | None, *, taken_from: str, only_held: bool = False) -> int:
        seen = self.world.directory
        if seen.cell != taken_from:
            raise ChangedError("it is another cell's")
        if only_held and not seen.holds:
            raise ChangedError("its writes are not held any more")
        return self._publish(
            seen, cell=cell or self.world.slot_cell, state=SUSPENDED if seen.state == SUSPENDED else ACTIVE
        )

    def wait_until_applied(self, epoch: int, within_seconds: float) -> None:
        # A router that is cut off is lost, and not waited for; of others, one may be late.
        self.world.happen()
        if self.world.choose(8) == 0:
            raise NotInTimeError("a router is late")
        for router in range(self.world.routers):
            self.world.deliver(router)

    def _publish(self, seen: Table, **changes: Any) -> int:
        return self.world.change(seen, **changes)


@dataclass
class WorldShadows(Shadows):
    """Shadows in a world: now and then something differs, or nothing was compared."""

    world: World
    rules: ShadowRules = field(default_factory=ShadowRules)

    def begin(self, move: Move, note: Note) -> int:
        if self.world.directory.cell != SOURCE:
            raise AssertionError("the target shadows itself")
        if move.has_shadow:
            self.end(move)
        note(has_shadow=True)
        return self.world.change(self.world.directory, has_shadow=True)

    def look(self, move: Move) -> Sight:
        self.world.happen()
        return Sight({"router-1": Heard(Seen(self.world.choose(3), int(self.world.choose(20) == 0)))})

    def is_on(self, move: Move) -> bool:
        return self.world.directory.has_shadow

    def end(self, move: Move) -> bool:
        self.world.happen()
        if not self.world.directory.has_shadow:
            return False
        self.world.change(self.world.directory, has_shadow=False)
        return True


@dataclass
class WorldRecords:
    """The records of moves of a world's cells."""

    world: World

    def note(self, at_cell: str, tenant_id: str, cell: str, epoch: int) -> None:
        self.world.stores[at_cell].gone_at = 0 if cell == at_cell else epoch
        self.world.happen()


@dataclass
class WorldBook:
    """What is kept of one move: it survives a crash."""

    move: Move
    wanted: Wish = Wish.RUN

    def put(self, move: Move) -> None:
        self.move = move

    def get(self, move_id: str) -> Move:
        return self.move

    def wish(self, move_id: str) -> Wish:
        return self.wanted

    def ask(self, move_id: str, wish: Wish) -> None:
        self.wanted = wish

    def heard(self, move_id: str) -> int:
        return 0

    def hear(self, move_id: str, wish: Wish, number: int) -> None:
        """Nobody wants anything elsewhere."""

    def tell(self, move_id: str, progress: Progress) -> None:
        """Nobody looks."""


def world_that_follows() -> World:
    """One in which the target has what the source has, and follows it, and nothing goes wrong by chance."""
    world = World(lambda below: below - 1)
    source, target = world.stores[SOURCE], world.stores[TARGET]
    source.closed, source.sends, source.applies = False, [], True
    target.closed, target.sends, target.applies, target.rows = True, [], True, dict(source.rows)
    return world


def world_that_is_flipped() -> World:
    """One in which the target has the tenant, and the source follows it."""
    world = world_that_follows()
    world.directory.cell = TARGET
    for router in range(world.routers):
        world.deliver(router)
    source, target = world.stores[SOURCE], world.stores[TARGET]
    source.closed, target.closed = True, False
    return world


def driver_in(world: World, book: WorldBook, **steps: Any) -> Driver:
    """What makes the next step of the book's move.

    Args:
        world: in which; time goes on in its pauses alone.
        book: of the move.
        **steps: further arguments of its ``Steps``.
    """
    now = 1_000.0

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    def steps_of(move: Move) -> Steps:
        mover, routes, records = WorldMover(world), WorldRoutes(world), WorldRecords(world)
        return Steps(move, mover, routes, records, CutoverSettings(), lambda: now, pause, **steps)

    return Driver(book, WorldRoutes(world), steps_of, DriverSettings(), lambda: now, pause)  # type: ignore[arg-type]  # as a book, in memory
