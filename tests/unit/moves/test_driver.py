"""Who takes a move up behind a death goes by the directory, and what the dead asked for comes too late."""

from dataclasses import replace

import pytest

from cellplane.moves.move import Move, Phase, Wish
from support.moving import SOURCE, TARGET, TENANT, Asked, WorldBook, WorldShadows, driver_in, world_that_follows

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
    world.stores[SOURCE].closed, world.directory.holds = True, True
    world.late.append(Asked(world.directory.epoch, {"cell": TARGET, "holds": False}))
    book = WorldBook(FENCED, wanted=wish)
    reached = driver_in(world, book).advance("m1")
    assert reached.phase is (Phase.VERIFIED if wish is Wish.RUN else Phase.ABORTING)
    world.answer_late()
    assert (world.directory.cell, world.directory.holds) == (SOURCE, False)
    assert world.stores[SOURCE].closed is False
