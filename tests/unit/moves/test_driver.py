"""Who takes a move up behind a death goes by the directory, and what the dead asked for comes too late."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from cellplane.moves.book import Progress
from cellplane.moves.move import Move, Phase, Wish
from cellplane.moves.steps import Steps
from support.moving import SOURCE, TARGET, TENANT, Asked, WorldBook, WorldMover, driver_in, world_that_follows

FENCED = Move("m1", TENANT, SOURCE, TARGET, True, 10.0, phase=Phase.FENCED)


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_one_that_is_found_flipped_cannot_be_held_any_more(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.cell = True, TARGET
    world.late.append(Asked(world.directory.epoch, {"holds": True}))
    book = WorldBook(FENCED, wanted=wish)
    assert driver_in(world, book).advance("m1").phase is Phase.FLIPPED
    world.answer_late()
    assert (world.directory.cell, world.directory.holds) == (TARGET, False)
    assert book.wanted is (Wish.RUN if wish is Wish.RUN else Wish.ROLLBACK), "it is too late to abort"


@pytest.mark.parametrize("wish", [Wish.RUN, Wish.ABORT])
def test_one_that_is_found_at_the_source_cannot_be_flipped_any_more(wish: Wish) -> None:
    world = world_that_follows()
    world.stores[SOURCE].closed, world.directory.holds = True, True
    world.late.append(Asked(world.directory.epoch, {"cell": TARGET, "holds": False}))
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
