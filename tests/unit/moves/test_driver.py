"""Who takes a move up behind a death goes by the directory, and what the dead asked for comes too late."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import pytest

from cellplane.errors import ControlPlaneError
from cellplane.moves.book import Progress
from cellplane.moves.errors import MoveError, NotInTimeError, NotTheSameError, StoreError
from cellplane.moves.move import Move, Phase, Wish, mendings
from cellplane.moves.mover import Lag
from cellplane.moves.routes import ACTIVE, HELD, Placed
from cellplane.moves.steps import Steps
from support.moving import (
    SOURCE,
    SUSPENDED,
    TARGET,
    TENANT,
    Asked,
    World,
    WorldBook,
    WorldMover,
    WorldRoutes,
    WorldShadows,
    driver_in,
    world_that_follows,
    world_that_is_flipped,
)

FENCED = Move("m1", TENANT, SOURCE, TARGET, True, 10.0, phase=Phase.FENCED)
FLIPPED = replace(FENCED, phase=Phase.FLIPPED, flipped=1_000.0, flipped_epoch=1)


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_one_that_is_found_flipped_cannot_be_held_any_more(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.cell = True, TARGET
    world.late.append(Asked(world.directory.epoch, {"state": HELD}))
    book = WorldBook(FENCED, wanted=wish)
    assert driver_in(world, book).advance("m1").phase is Phase.FLIPPED
    world.answer_late()
    assert (world.directory.cell, world.directory.holds) == (TARGET, False)
    assert book.wanted is (Wish.RUN if wish is Wish.RUN else Wish.ROLLBACK), "it is too late to abort"


def test_a_shadow_that_the_dead_asked_for_cannot_begin_behind_an_abort() -> None:
    world = world_that_follows()
    world.late.append(Asked(world.directory.epoch, {"has_shadow": True}))
    verified = replace(FENCED, phase=Phase.VERIFIED, shadow_seconds=10.0, has_shadow=True)
    book = WorldBook(verified, wanted=Wish.ABORT)
    driver = driver_in(world, book, shadows=WorldShadows(world))
    assert [driver.advance("m1").phase for _ in range(2)] == [Phase.ABORTING, Phase.ABORTED]
    world.answer_late()
    assert not world.directory.has_shadow


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_one_that_is_found_at_the_source_cannot_be_flipped_any_more(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.state = True, HELD
    world.late.append(Asked(world.directory.epoch, {"cell": TARGET, "state": ACTIVE}))
    book = WorldBook(FENCED, wanted=wish)
    reached = driver_in(world, book).advance("m1")
    assert reached.phase is (Phase.VERIFIED if wish is Wish.RUN else Phase.ABORTING)
    world.answer_late()
    assert (world.directory.cell, world.directory.holds) == (SOURCE, False)
    assert world.stores[SOURCE].closed is False


@dataclass
class ToldBook(WorldBook):
    """Keeps what it was told."""

    told: list[Progress] = field(default_factory=list)

    def tell(self, move_id: str, progress: Progress) -> None:
        self.told.append(progress)


def test_how_long_a_copy_goes_on_is_said_by_its_bytes() -> None:
    world = world_that_follows()
    book = ToldBook(replace(FENCED, phase=Phase.PREPARED, rows_expected=100, bytes_expected=4_000))
    driver = driver_in(world, book)

    def steps_of(move: Move) -> Steps:
        made = driver.steps_of(move)

        class HalfCopied(WorldMover):
            def copy(self, told: Callable[[int, int], None]) -> tuple[int, int]:
                made.pause(5.0)
                told(90, 1_000)
                return 100, 4_000

        return replace(made, mover=HalfCopied(world))

    assert replace(driver, steps_of=steps_of).advance("m1").phase is Phase.COPIED
    (progress,) = book.told
    assert (progress.rows, progress.bytes, progress.eta_seconds) == (90, 1_000, 15.0), (
        "nine tenths of the rows are small"
    )


def test_what_was_written_during_a_copy_is_waited_for_and_told_and_a_wish_ends_it() -> None:
    world = world_that_follows()
    book = ToldBook(replace(FENCED, phase=Phase.COPIED))
    driver = driver_in(world, book)
    behind = [9.0, 4.0, 0.0]

    class Behind(WorldMover):
        def lag(self) -> Lag:
            return Lag(behind.pop(0), None, 0)

    slow = replace(driver, steps_of=lambda move: replace(driver.steps_of(move), mover=Behind(world)))
    assert slow.advance("m1").phase is Phase.FOLLOWING
    assert [each.lag_seconds for each in book.told if each.lag_seconds is not None][:1] == [9.0]
    behind[:] = [9.0] * 100
    book.move, book.wanted = replace(FENCED, phase=Phase.COPIED), Wish.PAUSE
    assert slow.advance("m1").phase is Phase.COPIED


def until_end(world: World, book: WorldBook) -> Phase:
    driver = driver_in(world, book)
    for _ in range(100):
        if book.move.phase.is_end:
            return book.move.phase
        driver.advance("m1")
    raise AssertionError(f"it did not end: {book.move}")


@pytest.mark.parametrize(("wish", "cell"), [(Wish.RUN, TARGET), (Wish.RELEASE, TARGET), (Wish.ROLLBACK, SOURCE)])
def test_one_that_is_suspended_behind_the_flip_stays_so(wish: Wish, cell: str) -> None:
    world = world_that_is_flipped()
    world.directory.state = SUSPENDED
    assert until_end(world, WorldBook(FLIPPED, wanted=wish)) is (Phase.DONE if cell == TARGET else Phase.ROLLED_BACK)
    assert (world.directory.cell, world.directory.state) == (cell, SUSPENDED)
    assert world.stores[cell].rows == world.expected()


@pytest.mark.parametrize("phase", [Phase.VERIFIED, Phase.SHADOWED])
def test_one_that_is_suspended_before_its_writes_are_held_waits_with_a_reason_until_it_is_active(phase: Phase) -> None:
    world = world_that_follows()
    world.directory.state = SUSPENDED
    book = WorldBook(replace(FENCED, phase=phase))
    with pytest.raises(MoveError, match="acme is suspended: only an active tenant is moved"):
        driver_in(world, book).advance("m1")
    assert (book.move.phase, world.directory.state) == (phase, SUSPENDED)
    assert "is suspended" in book.move.reason
    world.directory.state = ACTIVE
    assert until_end(world, book) is Phase.DONE


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_one_that_is_suspended_while_its_writes_are_held_is_not_flipped_and_stays_so(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.state = True, SUSPENDED
    book = WorldBook(FENCED, wanted=wish)
    reached = driver_in(world, book).advance("m1")
    assert reached.phase is (Phase.VERIFIED if wish is Wish.RUN else Phase.ABORTING)
    assert (world.directory.cell, world.directory.state) == (SOURCE, SUSPENDED)
    assert world.stores[SOURCE].closed is False


def test_one_whose_target_lost_rows_is_not_released_and_its_source_keeps_them() -> None:
    world = world_that_is_flipped()
    kept = dict(world.stores[SOURCE].rows)
    # Behind replication's back, as a database does that is put back to a day before.
    world.stores[TARGET].rows.pop(1)
    book = WorldBook(FLIPPED, wanted=Wish.RELEASE)
    with pytest.raises(MoveError, match=r"cell-2 is not what cell-1 is, 1 rows differ.*rollback m1.*--anyway"):
        driver_in(world, book).advance("m1")
    assert book.move.phase is Phase.FLIPPED
    assert "nothing is deleted" in book.move.reason
    assert world.stores[SOURCE].rows == kept
    book.wanted = Wish.RELEASE_ANYWAY
    assert until_end(world, book) is Phase.DONE
    assert world.stores[SOURCE].rows == {}


@pytest.mark.parametrize("phase", [Phase.FLIPPED, Phase.RELEASED])
@pytest.mark.parametrize("closed", [True, None])
def test_one_whose_target_is_not_open_by_the_move_is_not_released(phase: Phase, closed: bool | None) -> None:
    world = world_that_is_flipped()
    kept = dict(world.stores[SOURCE].rows)
    if phase is Phase.RELEASED or closed is None:
        # Where it is closed and the directory has the tenant there, it is opened first.
        world.stores[TARGET].closed = closed
        book = WorldBook(replace(FLIPPED, phase=phase), wanted=Wish.RELEASE)
        with pytest.raises(MoveError, match="cell-2 does not take acme's writes by this move"):
            driver_in(world, book).advance("m1")
        assert book.move.phase is phase
        assert world.stores[SOURCE].rows == kept


def test_what_differs_while_the_way_back_is_held_is_said_and_looked_for_ever_more_seldom() -> None:
    world = world_that_is_flipped()
    world.untested_back = 1_000_000
    world.stores[TARGET].rows.pop(1)
    book = WorldBook(replace(FLIPPED, hold_seconds=3_600.0))
    driver = driver_in(world, book)
    for _ in range(1_000):
        driver.advance("m1")
        assert "cell-1 is not what cell-2 is: 1 rows differ" in book.move.reason
    assert 5 < world.compared_back < 20, "500 s, with pauses that double"
    world.stores[TARGET].rows.update(world.stores[SOURCE].rows)
    for _ in range(1_000):
        driver.advance("m1")
    assert book.move.reason == ""


@pytest.mark.parametrize("phase", [Phase.FENCED, Phase.FLIPPED])
def test_what_was_written_behind_the_flip_comes_home_with_a_tenant_that_somebody_assigned_back(phase: Phase) -> None:
    world = world_that_is_flipped()
    world.write(0, 3, deletes=False)
    world.directory.cell = SOURCE
    assert world.stores[SOURCE].rows != world.expected()
    # Who made the move may have died before it noted the flip.
    book = WorldBook(replace(FLIPPED, phase=phase))
    assert until_end(world, book) is Phase.ROLLED_BACK
    assert world.stores[SOURCE].rows == world.expected()
    assert world.stores[TARGET].rows == {}


def test_one_that_was_assigned_back_stays_closed_where_its_rows_cannot_come() -> None:
    world = world_that_is_flipped()
    world.write(0, 3, deletes=False)
    world.stores[SOURCE].rows.pop(1)
    world.directory.cell = SOURCE
    book = WorldBook(FLIPPED)
    with pytest.raises(MoveError, match="assign it to cell-2 again, which has all"):
        driver_in(world, book).advance("m1")
    assert book.move.phase is Phase.FLIPPED
    assert world.stores[SOURCE].closed
    world.directory.cell = TARGET
    world.stores[SOURCE].rows[1] = 0
    assert until_end(world, book) is Phase.DONE


@pytest.mark.parametrize("phase", [Phase.PREPARED, Phase.FOLLOWING, Phase.VERIFIED])
def test_a_repair_opens_no_target_that_has_not_all(phase: Phase) -> None:
    move = replace(FENCED, phase=phase)
    with pytest.raises(MoveError, match="not all of it is there: assign it to cell-1 again"):
        mendings(move, WorldMover(world_that_follows()).facts(), TARGET)


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_a_source_that_is_fenced_opens_where_the_target_is_down(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.state = True, HELD
    world.down.add(TARGET)
    book = WorldBook(FENCED, wanted=wish)
    reached = driver_in(world, book).advance("m1")
    assert reached.phase is (Phase.VERIFIED if wish is Wish.RUN else Phase.ABORTING)
    assert world.stores[SOURCE].closed is False


@pytest.mark.parametrize("phase", [Phase.FOLLOWING, Phase.FENCED])
@pytest.mark.parametrize("cell", ["cell-3", None])
def test_one_whose_tenant_was_assigned_elsewhere_or_removed_is_aborted(phase: Phase, cell: str | None) -> None:
    world = world_that_follows()
    book = WorldBook(replace(FENCED, phase=phase), wanted=Wish.ABORT)
    driver = driver_in(world, book)
    if cell is None:

        class Removed(WorldRoutes):
            def placed(self, tenant_id: str) -> Placed:
                raise ControlPlaneError(f"no tenant is named {tenant_id!r}", HTTPStatus.NOT_FOUND)

        steps_of = driver.steps_of
        driver = replace(
            driver, routes=Removed(world), steps_of=lambda move: replace(steps_of(move), routes=Removed(world))
        )
    else:
        world.directory.cell = cell
    for _ in range(2):
        driver.advance("m1")
    assert book.move.phase is Phase.ABORTED
    assert world.stores[TARGET].rows == {}
    assert world.stores[SOURCE].rows == world.expected()


@pytest.mark.parametrize(("phase", "end"), [(Phase.FENCED, Phase.FLIPPED), (Phase.RELEASED, Phase.DONE)])
def test_a_cell_that_is_down_for_an_hour_is_waited_for_where_something_would_be_left(phase: Phase, end: Phase) -> None:
    world = world_that_is_flipped()
    if phase is Phase.FENCED:
        world.stores[TARGET].closed = True
    world.down.add(TARGET)
    book = WorldBook(replace(FLIPPED, phase=phase))
    driver = driver_in(world, book)
    tries: list[float] = []

    def pause(seconds: float) -> None:
        driver.pause(seconds)
        tries.append(seconds)
        assert "down" in book.move.reason
        if sum(tries) > 3_600:
            world.down.clear()

    reached = replace(driver, pause=pause).persist("m1")
    assert (reached.phase, reached.reason) == (end, "")
    assert len(tries) < 10_000


def test_a_cell_that_is_down_while_the_source_writes_is_waited_for_a_few_times() -> None:
    world = world_that_follows()
    world.down.add(TARGET)
    book = WorldBook(replace(FENCED, phase=Phase.FOLLOWING))
    with pytest.raises(StoreError, match="cell-2 is down"):
        driver_in(world, book).persist("m1")
    assert (book.move.phase, book.move.reason) == (Phase.FOLLOWING, "the database of cell-2 is down")


@pytest.mark.parametrize(
    ("phase", "wish", "reached"),
    [
        (Phase.FOLLOWING, Wish.PAUSE, Phase.FOLLOWING),
        (Phase.FOLLOWING, Wish.ABORT, Phase.ABORTING),
        (Phase.FLIPPED, Wish.RELEASE_ANYWAY, Phase.RELEASED),
        (Phase.FLIPPED, Wish.ROLLBACK, Phase.RETURNED),
    ],
)
def test_what_somebody_wants_is_heard_between_two_tries(phase: Phase, wish: Wish, reached: Phase) -> None:
    world = world_that_follows() if phase is Phase.FOLLOWING else world_that_is_flipped()
    world.down.add(SOURCE)
    book = WorldBook(replace(FLIPPED, phase=phase, hold_seconds=100_000.0))
    driver = driver_in(world, book)

    def pause(seconds: float) -> None:
        driver.pause(seconds)
        if driver.clock() > 1_000.3:
            book.wanted = wish
        if wish is Wish.ROLLBACK and driver.clock() > 1_100:
            world.down.clear()

    patient = replace(driver, pause=pause)
    assert patient.persist("m1").phase is reached


@pytest.mark.parametrize("untested", [0, 1_000_000])
def test_what_differs_at_the_end_is_compared_and_mended_anew(untested: int) -> None:
    world = world_that_follows()
    # As something does that no trigger and no stream tells of.
    world.stores[TARGET].rows[1] = 77
    world.untested = untested
    book = WorldBook(replace(FENCED, phase=Phase.VERIFIED))
    driver = driver_in(world, book)
    assert driver.advance("m1").phase is Phase.FOLLOWING
    assert book.move.reason == "1 rows differ: rows differ"
    assert world.stores[SOURCE].closed is False
    world.untested = 0
    assert driver.advance("m1").phase is Phase.VERIFIED
    assert driver.advance("m1").phase is Phase.FLIPPED
    assert world.stores[TARGET].rows == world.expected()


def test_what_differs_however_often_it_is_mended_ends_with_the_reason() -> None:
    world = world_that_follows()
    book = WorldBook(replace(FENCED, phase=Phase.VERIFIED))
    driver = driver_in(world, book)

    def advance() -> None:
        world.stores[TARGET].rows[1] = 77
        driver.advance("m1")

    for _ in range(4):
        advance()
        driver.advance("m1")
    with pytest.raises(NotTheSameError, match="rows differ"):
        advance()
    assert book.move.phase is Phase.FOLLOWING


@pytest.mark.parametrize("slot_cell", [SOURCE, "cell-3"])
def test_one_that_its_slot_had_placed_goes_back_to_the_source_wherever_its_slot_is_by_now(slot_cell: str) -> None:
    world = world_that_is_flipped()
    world.slot_cell = slot_cell
    book = WorldBook(replace(FLIPPED, was_pinned=False), wanted=Wish.ROLLBACK)
    assert until_end(world, book) is Phase.ROLLED_BACK
    assert world.directory.cell == SOURCE
    assert world.stores[SOURCE].rows == world.expected()


def test_a_way_back_that_broke_is_found_before_writes_are_held() -> None:
    world = world_that_follows()
    world.is_back_broken = True
    book = WorldBook(replace(FENCED, phase=Phase.VERIFIED))
    driver = driver_in(world, book)
    before = world.directory
    driver.advance("m1")
    assert book.move.phase is Phase.VERIFIED
    assert book.move.reason == "the way back is broken"
    assert world.directory == before, "its writes were not held"
    world.is_back_broken = False
    assert driver.advance("m1").phase is Phase.FLIPPED


@pytest.mark.parametrize("phase", [Phase.RELEASED, Phase.RETURNED])
def test_the_former_cell_refuses_until_each_router_that_is_heard_knows_the_flip(phase: Phase) -> None:
    world = world_that_is_flipped()
    if phase is Phase.RETURNED:
        world.directory.cell = SOURCE
        world.stores[SOURCE].closed, world.stores[TARGET].closed = False, True
    former = world.stores[TARGET if phase is Phase.RETURNED else SOURCE]
    book = WorldBook(replace(FLIPPED, phase=phase))

    class Late(WorldRoutes):
        def wait_until_applied(self, epoch: int, within_seconds: float) -> None:
            assert epoch == world.directory.epoch
            tries.append(within_seconds)
            assert former.closed
            assert former.rows == world.expected()
            if len(tries) < 3:
                raise NotInTimeError("the routers r-1 do not route by it")

    tries: list[float] = []
    driver = driver_in(world, book)
    steps_of = driver.steps_of
    driver = replace(driver, steps_of=lambda move: replace(steps_of(move), routes=Late(world)))
    with pytest.raises(NotInTimeError):
        driver.advance("m1")
    assert (book.move.phase, book.move.reason) == (phase, "the routers r-1 do not route by it")
    assert all(store.sends is None for store in world.stores.values()), "no log is kept meanwhile"
    assert driver.persist("m1").phase.is_end
    assert len(tries) == 3


@pytest.mark.parametrize(("wish", "phase"), [(Wish.PAUSE, Phase.VERIFIED), (Wish.ABORT, Phase.ABORTING)])
def test_what_somebody_wants_is_heard_while_the_target_gets_close(wish: Wish, phase: Phase) -> None:
    world = world_that_follows()
    world.untested = 1_000_000
    before = world.directory
    book = WorldBook(replace(FENCED, phase=Phase.VERIFIED))
    driver = driver_in(world, book)
    steps_of = driver.steps_of

    def pause(seconds: float) -> None:
        assert (book.move.phase, world.directory) == (Phase.VERIFIED, before), "its writes go on"
        driver.pause(seconds)
        book.wanted = wish

    driver = replace(driver, steps_of=lambda move: replace(steps_of(move), pause=pause))
    assert driver.advance("m1").phase is Phase.VERIFIED
    assert driver.clock() < 1_010
    assert driver.advance("m1").phase is phase
