"""A move loses no acknowledged write and never lets two cells write, whatever crashes, lags or is wanted meanwhile."""

import itertools
import random
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.moves import steps as steps_module
from cellplane.moves.carriers import cargo as cargo_module
from cellplane.moves.carriers.cargo import Cargo
from cellplane.moves.driver import Driver
from cellplane.moves.errors import MoveError
from cellplane.moves.move import Mending, Move, Phase, Wish, mendings
from cellplane.moves.settings import CutoverSettings, DriverSettings, ShadowSettings
from cellplane.moves.steps import Steps
from support.depth import examples
from support.moving import (
    SOURCE,
    SUSPENDED,
    TARGET,
    TENANT,
    CrashError,
    World,
    WorldBook,
    WorldFiles,
    WorldMover,
    WorldQueue,
    WorldRecords,
    WorldRoutes,
    WorldShadows,
)

MAX_ADVANCES = 800
TICK_SECONDS = 0.01
WISHES = [*[Wish.RUN] * 6, Wish.ABORT, Wish.ROLLBACK, Wish.RELEASE]
ENDS = {Phase.DONE: TARGET, Phase.ABORTED: SOURCE, Phase.ROLLED_BACK: SOURCE}


def settled(world: World, book: WorldBook, rng: random.Random) -> None:
    """Take the move on, over crashes and changes of mind, until it ends."""

    def steps_of(move: Move) -> Steps:
        cargo = Cargo((WorldFiles(world), WorldQueue(world)), monotonic=lambda: 0.0)
        return Steps(
            move,
            WorldMover(world),
            WorldRoutes(world),
            WorldRecords(world),
            CutoverSettings(),
            monotonic=lambda: TICK_SECONDS * next(moments),
            pause=lambda _: world.happen(),
            cargo=cargo,
            shadows=WorldShadows(world),
            shadowing=ShadowSettings(settle_seconds=3 * TICK_SECONDS, late_seconds=9 * TICK_SECONDS),
        )

    moments = itertools.count()
    ticks = iter(range(1, 1_000_000))
    # Time goes on by itself, so that a hold ends.
    driver = Driver(
        book,  # type: ignore[arg-type]  # as a book, in memory
        WorldRoutes(world),
        steps_of,
        DriverSettings(cutover_tries=50),
        lambda: float(next(ticks)),
        lambda _: world.happen(),
    )
    crashes = rng.randrange(5)
    for turn in range(MAX_ADVANCES):
        if book.move.phase.is_end:
            return
        if turn % 3 == 1 and book.wanted is Wish.RUN:
            book.wanted = rng.choice(WISHES)
        left = rng.randint(1, 12) if crashes else 0

        def fault_point(_name: str, *, budget: list[int] = [left]) -> None:  # noqa: B006  # one a turn
            world.happen()
            if budget[0]:
                budget[0] -= 1
                if budget[0] == 0:
                    raise CrashError

        try:
            with (
                patch.object(steps_module, "fault_point", fault_point),
                patch.object(cargo_module, "fault_point", fault_point),
            ):
                driver.advance(book.move.id)
            # Between two steps somebody writes: it is nobody in the pause alone, which the next step ends.
            # Nor where somebody has just assigned the tenant back: its rows are brought first.
            is_assigned_back = world.directory.cell == SOURCE and book.move.phase in {Phase.FLIPPED, Phase.RELEASED}
            # Nor where a database is down, or was when the move was given up.
            was_down = bool(world.down) or (world.had_outages and book.move.phase is Phase.ABORTING)
            is_excused = book.move.is_returning or is_assigned_back or was_down
            if book.move.phase is not Phase.FENCED and not is_excused:
                assert not world.stores[world.directory.cell].closed, f"nobody writes: {book.move}"
                assert not world.directory.holds, f"writes are held: {book.move}"
        except CrashError:
            crashes -= 1
            # Who takes it up may want another thing.
            book.wanted = rng.choice([book.wanted, book.wanted, Wish.RUN, Wish.RELEASE])
        except MoveError:
            world.happen()
    raise AssertionError(f"it did not end: {book.move}, {book.wanted}")


@given(st.integers(0, 2**32))
@settings(max_examples=examples(400))
def test_no_acknowledged_write_is_lost_and_never_do_two_cells_write(seed: int) -> None:
    # Thousands of choices a run: one seed for all is a hundred times quicker to draw, and replays as well.
    rng = random.Random(seed)
    outages = rng.choice((0, 0, 3))
    # Where nobody can ask the target, what is said of the tenant by hand in the midst of a crash is taken as it is.
    homecomings = 0 if outages else rng.randrange(3)
    deaths, words = rng.randrange(4), rng.randrange(3)
    world = World(rng.randrange, deaths=deaths, words=words, homecomings=homecomings, outages=outages)
    shadow_seconds = rng.choice((0.0, 5 * TICK_SECONDS))
    book = WorldBook(Move("m1", TENANT, SOURCE, TARGET, True, 5.0, shadow_seconds=shadow_seconds))
    world.phase = lambda: book.move.phase
    world.happen()
    settled(world, book, rng)
    while world.late:
        world.answer_late()
    home = ENDS[book.move.phase]
    assert world.directory.cell == home
    assert not world.directory.holds, "nobody's writes wait for ever"
    # Also a router that was cut off all the while comes back, after it tried what it knew.
    world.happen()
    world.outages, world.words, world.is_cut_off = 0, 0, False
    world.down.clear()
    if world.directory.state == SUSPENDED:
        world.operate()
    for router in range(world.routers):
        world.deliver(router)
    assert world.stores[home].rows == world.expected()
    other = world.stores[TARGET if home == SOURCE else SOURCE]
    assert other.rows == {}
    assert [store.closed for store in world.stores.values()] == [None, None]
    assert all(store.sends is None and not store.applies for store in world.stores.values())
    assert not world.directory.has_shadow, "nor is anybody's shadow left on for ever"
    assert other.files == {}
    assert other.queue == []
    assert set(world.stores[home].files) == set(range(1, world.number + 1)), "each acknowledged write's file is there"
    # What waits is done where the tenant is. Twice is done only what went in a worker's hand, or as the mover died.
    for _ in range(2 * len(world.stores[home].queue) + 2):
        world.work(home)
    times = Counter(job for job, _ in world.done)
    assert set(times) == set(range(1, world.number + 1)), "no job is lost"
    assert {job for job, count in times.items() if count > 1} <= world.may_repeat
    # The one, then the other, then at most the one again: never in turns.
    assert world.wrote_at in (
        [],
        [SOURCE],
        [TARGET],
        [SOURCE, TARGET],
        [SOURCE, TARGET, SOURCE],
        [TARGET, SOURCE],
    )
    before = world.number
    world.write(0, 3, deletes=False)
    assert world.number == before + 1, "it is written where it is"


@given(st.sampled_from([None, True, False]), st.sampled_from([None, True, False]), st.sampled_from([SOURCE, TARGET]))
def test_a_repair_closes_before_it_opens_and_ends_with_one_that_writes(
    source_closed: bool | None, target_closed: bool | None, cell: str
) -> None:
    world = World(lambda _: 0)
    mover = WorldMover(world)
    mover.source.closed, mover.target.closed = source_closed, target_closed
    world.directory.cell = cell
    move = Move("m1", TENANT, SOURCE, TARGET, True, 5.0, phase=Phase.FENCED)
    if cell == SOURCE and target_closed is False:
        with pytest.raises(MoveError, match="assigned back to cell-1 behind its flip"):
            mendings(move, mover.facts(), cell)
        return
    found = mendings(move, mover.facts(), cell)
    opens = [each for each in found if each in {Mending.OPEN_SOURCE, Mending.OPEN_TARGET}]
    assert found[-len(opens) :] == tuple(opens) if opens else True
    if source_closed is None or target_closed is None:
        return
    Steps(move, mover, WorldRoutes(world), WorldRecords(world), CutoverSettings()).mend()
    assert (mover.source.closed, mover.target.closed) == (cell != SOURCE, cell != TARGET)
