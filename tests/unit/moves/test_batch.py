"""A batch begins only so many moves at once, stops where too many fail, and goes on after a crash."""

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.moves.batch import Batch, BatchBook, Item, State, is_stopped, items_of, next_items, run, summary
from cellplane.moves.errors import MoveError
from cellplane.moves.settings import BatchSettings

CELLS = ("cell-1", "cell-2", "cell-3")


def batch(*items: Item, **settings: float) -> Batch:
    return Batch("b1", "evacuate cell-1", 0.0, items, BatchSettings(**settings))  # type: ignore[arg-type]


def items(count: int, source: str = "cell-1", target: str = "cell-2") -> tuple[Item, ...]:
    ids = iter(f"m{number}" for number in range(count))
    return items_of([(f"tenant-{number}", source, target) for number in range(count)], lambda: next(ids))


def made(item: Item) -> Item:
    return replace(item, state=State.DONE, pause_seconds=0.2)


@given(
    st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from(CELLS), st.sampled_from(list(State))), max_size=30),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_never_do_more_go_on_at_once_than_may(found: list[tuple[str, str, State]], at_once: int, per_cell: int) -> None:
    settings = BatchSettings(at_once=at_once, per_cell=per_cell, max_failures=1_000, max_failed_share=1.0)
    rows: list[Item] = []
    for number, (source, target, state) in enumerate(found):
        rows.append(Item(f"m{number}", f"t{number}", source, target, state))
        moving = [row for row in rows if row.state is State.MOVING]
        busy = Counter(cell for row in moving for cell in (row.source, row.target))
        if source == target or len(moving) > at_once or max(busy.values(), default=0) > per_cell:
            rows.pop()
    chosen = next_items(rows, settings)
    moving = [row for row in rows if row.state is State.MOVING] + chosen
    busy = Counter(cell for row in moving for cell in (row.source, row.target))
    assert len(moving) <= at_once
    assert max(busy.values(), default=0) <= per_cell
    waiting = [row for row in rows if row.state is State.WAITING and row not in chosen]
    # And none waits that might begin.
    assert len(moving) == at_once or all(max(busy[row.source], busy[row.target]) >= per_cell for row in waiting)


def test_it_stops_at_a_number_of_failures_and_at_a_share_of_them() -> None:
    failed, done, waiting = (
        [Item(f"m{number}", "t", "a", "b", state) for number in range(20)]
        for state in (State.FAILED, State.DONE, State.WAITING)
    )
    settings = BatchSettings(max_failures=3, max_failed_share=0.2, share_after=5)
    assert not is_stopped([*failed[:2], *waiting], settings)
    assert is_stopped([*failed[:3], *waiting], settings)
    assert not is_stopped([*failed[:1], *done[:4], *waiting], settings)
    assert is_stopped([*failed[:2], *done[:3], *waiting], settings)
    assert next_items([*failed[:3], *waiting], settings) == []


def test_all_are_made_and_the_book_has_each_before_it_begins(tmp_path: Path) -> None:
    book = BatchBook(tmp_path / "batches")
    lock, going, most = threading.Lock(), 0, 0

    def make(item: Item) -> Item:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        (kept,) = [each for each in book.get("b1").items if each.move_id == item.move_id]
        assert kept.state is State.MOVING
        with lock:
            going -= 1
        if item.tenant_id == "tenant-3":
            raise MoveError("its tables differ")
        return made(item)

    wanted = batch(*items(9), at_once=3, per_cell=3, max_failed_share=1.0)
    book.put(wanted)
    ended = run(wanted, book, make)
    assert most <= 3
    assert book.get("b1") == ended
    found = summary(ended)
    assert found.counts == {"waiting": 0, "moving": 0, "done": 8, "paused": 0, "refused": 0, "failed": 1}
    assert (found.pause_p50_ms, found.pause_max_ms, found.is_stopped) == (200, 200, False)
    assert found.reasons == ("1 × its tables differ",)


def test_one_that_died_goes_on_with_what_it_was_at_and_repeats_nothing(tmp_path: Path) -> None:
    book = BatchBook(tmp_path)
    calls: list[str] = []

    def die(item: Item) -> Item:
        calls.append(item.move_id)
        if item.move_id == "m2":
            raise KeyboardInterrupt
        return made(item)

    wanted = batch(*items(4), at_once=1)
    book.put(wanted)
    with pytest.raises(KeyboardInterrupt):
        run(wanted, book, die)
    left = book.get("b1")
    assert [item.state for item in left.items] == [State.DONE, State.DONE, State.MOVING, State.WAITING]
    calls.clear()

    def go_on(item: Item) -> Item:
        calls.append(item.move_id)
        return made(item)

    assert {item.state for item in run(left, book, go_on).items} == {State.DONE}
    assert calls == ["m2", "m3"]


def test_a_batch_that_stops_leaves_the_rest_where_they_are(tmp_path: Path) -> None:
    def fail(item: Item) -> Item:
        return replace(item, state=State.FAILED, reason="no")

    ended = run(batch(*items(10), at_once=1, max_failures=2), BatchBook(tmp_path), fail)
    found = summary(ended)
    assert found.is_stopped
    assert found.counts == {"waiting": 8, "moving": 0, "done": 0, "paused": 0, "refused": 0, "failed": 2}


def test_what_is_not_there_or_damaged_is_named(tmp_path: Path) -> None:
    book = BatchBook(tmp_path)
    book.put(batch(*items(1)))
    with pytest.raises(MoveError, match=r"there is no batch 'b2' in .*; the last are: b1"):
        book.get("b2")
    (tmp_path / "b1.json").write_text("{")
    with pytest.raises(MoveError, match=r"b1\.json is damaged"):
        book.get("b1")
