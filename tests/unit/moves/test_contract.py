"""What every ``DataMover`` promises, held against each kind of database while others write it."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cellplane.moves.errors import MoveError, NotEmptyError, NotInTimeError, NotTheSameError
from cellplane.moves.mover import DataMover, Verdict
from unit.moves import carrier
from unit.moves.cells import writing
from unit.moves.ends import SOURCE, TARGET, Ends, PostgresEnds, SqliteEnds

ROWS = 3_000
EMPTY: dict[str, list[tuple[Any, ...]]] = {"orders": [], "lines": [], "visits": []}
WRITE = "INSERT INTO orders (tenant_id, id, currency, amount) VALUES ('acme', ?, 'EUR', 1)"


@pytest.fixture(params=["postgres", "sqlite"])
def ends(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Ends]:
    if request.param == "postgres":
        yield PostgresEnds(request.getfixturevalue("cells"))
    else:
        yield SqliteEnds(tmp_path)


def followed(ends: Ends, **settings: Any) -> DataMover:
    """A move up to the point where the target follows."""
    move = ends.mover(**settings)
    move.prepare()
    move.copy(quiet)
    move.follow()
    return move


def quiet(*_: int) -> None:
    """Nobody listens."""


def notes(ends: Ends, end: int) -> list[tuple[int, str]]:
    with ends.executing(end) as execute:
        return [(order, note) for order, note in execute("SELECT id, note FROM orders WHERE tenant_id = 'acme'")]


def said(verdict: Verdict) -> list[str]:
    return sorted(each.removeprefix("public.") for each in verdict.differences)


def assert_nothing_left(ends: Ends, move: DataMover) -> None:
    facts = move.facts()
    assert facts.leftovers == ()
    assert (facts.source_closed, facts.target_closed) == (None, None)
    assert [ends.left_at(SOURCE), ends.left_at(TARGET)] == [[], []]


def test_a_tenant_that_is_written_moves_and_loses_nothing(ends: Ends) -> None:
    ends.fill(ROWS)
    move = ends.mover()
    others = ends.rows_of(SOURCE, "globex")
    writers = [ends.writer(SOURCE, seed) for seed in range(3)]
    with writing(*writers):
        move.prepare()
        assert move.copy(quiet)[0] > 2 * ROWS
        move.follow()
        assert move.compare(quiet).is_same
        move.fence(5)
        before = move.facts()
        verdict = move.finish(10)
    assert (before.source_closed, before.target_closed, before.follows, before.follows_back) == (True, True, True, True)
    assert verdict.is_same, verdict.differences
    assert all(writer.acknowledged for writer in writers)
    assert all(writer.refused for writer in writers), "the fence fell while they wrote"
    assert [writer.errors for writer in writers] == [[], [], []]
    assert [writer.wrong(notes(ends, TARGET)) for writer in writers] == [[], [], []]
    assert ends.rows_of(TARGET, "acme") == ends.rows_of(SOURCE, "acme")
    assert ends.rows_of(TARGET, "globex") == EMPTY
    move.open_target(6)
    later = ends.writer(TARGET, 9)
    with writing(later):
        while not later.acknowledged:
            pass
    assert not later.errors
    move.part()
    assert move.clean_source(quiet) > 2 * ROWS
    move.forget()
    assert ends.rows_of(SOURCE, "acme") == EMPTY
    assert ends.rows_of(SOURCE, "globex") == others
    assert_nothing_left(ends, move)


def test_what_was_written_at_the_target_comes_back(ends: Ends) -> None:
    ends.fill(200)
    others = ends.rows_of(SOURCE, "globex")
    move = followed(ends)
    move.fence(5)
    assert move.finish(10).is_same
    move.open_target(6)
    writers = [ends.writer(TARGET, seed) for seed in range(2)]
    with writing(*writers):
        while not all(len(writer.acknowledged) > 20 for writer in writers):
            move.reconnect()
        assert move.compare_back(quiet).is_same
        move.fence_target(7)
        verdict = move.finish_back(10)
    assert verdict.is_same, verdict.differences
    assert [writer.errors for writer in writers] == [[], []]
    move.reopen_source()
    assert [writer.wrong(notes(ends, SOURCE)) for writer in writers] == [[], []]
    again = ends.writer(SOURCE, 9)
    with writing(again):
        while len(again.acknowledged) < 5:
            pass
    assert not again.errors, "it numbers its rows on from what the target gave out"
    assert ends.rows_of(SOURCE, "globex") == others
    move.part()
    move.clean_target(quiet)
    move.forget()
    assert ends.rows_of(TARGET, "acme") == EMPTY
    assert_nothing_left(ends, move)


def test_never_do_both_take_writes(ends: Ends) -> None:
    ends.fill(10)
    move = ends.mover()
    move.prepare()
    with ends.executing(TARGET) as execute, pytest.raises(ends.errors) as refused:
        execute(WRITE, (99,))
    assert "acme is not written in this cell" in ends.refusal_of(refused.value)
    with pytest.raises(MoveError, match="the source takes writes of acme"):
        move.open_target(6)
    move.fence(5)
    for change in (WRITE.replace("?", "99"), "UPDATE orders SET note = 'x' WHERE id = 1", "DELETE FROM orders"):
        with ends.executing(SOURCE) as execute, pytest.raises(ends.errors) as refused:
            execute(change)
        assert ends.refusal_of(refused.value)
    with ends.executing(SOURCE) as execute:
        execute("UPDATE orders SET note = 'others write on' WHERE tenant_id = 'globex'")
    move.open_target(6)
    with pytest.raises(MoveError, match="the target takes writes of acme"):
        move.reopen_source()
    with pytest.raises(MoveError, match="nothing of it is deleted there"):
        move.clean_target(quiet)


def test_the_fence_waits_for_what_is_under_way_and_gives_up_in_time(ends: Ends) -> None:
    ends.fill(10)
    move = followed(ends, fence_seconds=1.5)
    with ends.under_way(SOURCE) as execute:
        execute("UPDATE orders SET note = 'in time' WHERE tenant_id = 'acme'")
        with pytest.raises(NotInTimeError, match=r"a transaction that writes acme.* went on for more than"):
            move.fence(5)
        assert move.facts().source_closed is False
    move.fence(5)
    assert move.finish(10).is_same
    assert ends.rows_of(TARGET, "acme") == ends.rows_of(SOURCE, "acme")


def test_differences_are_found_named_and_mended(ends: Ends) -> None:
    ends.fill(1_500)
    move = followed(ends)
    with ends.spoiling(TARGET) as execute:
        execute("DELETE FROM orders WHERE tenant_id = 'acme' AND id = 7")
        execute("UPDATE orders SET note = 'no' WHERE tenant_id = 'acme' AND id = 1234")
        execute("INSERT INTO lines VALUES ('acme', 8, 99, '{}')")
    verdict = move.compare(quiet)
    assert said(verdict) == ["lines (acme, 8, 99): extra", "orders (acme, 1234): other", "orders (acme, 7): missing"]
    move.recopy(verdict.differences)
    assert move.compare(quiet).is_same
    assert ends.rows_of(TARGET, "acme") == ends.rows_of(SOURCE, "acme")


def test_keys_may_have_the_tenant_at_any_place_and_are_compared_in_ranges(ends: Ends) -> None:
    others = ("early", "acme", "zzz")
    for end in (SOURCE, TARGET):
        with ends.executing(end) as execute:
            execute("CREATE TABLE names (tenant_id TEXT NOT NULL PRIMARY KEY, v TEXT)")
            execute(
                "CREATE TABLE last (id INTEGER NOT NULL, tenant_id TEXT NOT NULL, v TEXT, PRIMARY KEY (id, tenant_id))"
            )
            execute(
                "CREATE TABLE seats (room TEXT NOT NULL, tenant_id TEXT NOT NULL, place INTEGER NOT NULL, v TEXT, "
                "PRIMARY KEY (room, tenant_id, place))"
            )
    with ends.executing(SOURCE) as execute:
        for tenant in others:
            execute("INSERT INTO names VALUES (?, 'a')", (tenant,))
            for number in range(20):
                execute("INSERT INTO last VALUES (?, ?, 'a')", (number, tenant))
                execute("INSERT INTO seats VALUES (?, ?, ?, 'a')", (f"room {number % 3}", tenant, number))
    move = followed(ends, range_rows=4, clean_rows=3)
    verdict = move.compare(quiet)
    assert (verdict.is_same, verdict.rows) == (True, 41)
    with ends.spoiling(TARGET) as execute:
        execute("UPDATE names SET v = 'b' WHERE tenant_id = 'acme'")
        execute("UPDATE last SET v = 'b' WHERE id IN (3, 4, 19)")
        execute("DELETE FROM seats WHERE room = 'room 1' AND place = 10")
    verdict = move.compare(quiet)
    assert said(verdict) == [
        "last (19, acme): other",
        "last (3, acme): other",
        "last (4, acme): other",
        "names (acme): other",
        "seats (room 1, acme, 10): missing",
    ]
    move.recopy(verdict.differences)
    assert move.compare(quiet).is_same
    move.part()
    assert move.clean_target(quiet) == 41
    move.forget()
    assert_nothing_left(ends, move)


def test_a_difference_after_the_comparison_is_found_before_the_flip(ends: Ends) -> None:
    ends.fill(100)
    move = followed(ends)
    assert move.compare(quiet).is_same
    with ends.executing(SOURCE) as execute:
        execute("UPDATE orders SET note = 'new' WHERE tenant_id = 'acme' AND id = 5")
    assert move.lag().untested == 1
    with ends.spoiling(TARGET) as execute:
        execute("UPDATE orders SET note = 'lost' WHERE tenant_id = 'acme' AND id = 5")
    move.fence(5)
    assert said(move.finish(10)) == ["orders (acme, 5): other"]


def test_a_target_that_has_rows_of_the_tenant_is_left_as_it_is(ends: Ends) -> None:
    ends.fill(10)
    with ends.executing(TARGET) as execute:
        execute(WRITE, (1,))
    move = ends.mover()
    with pytest.raises(NotEmptyError, match=r"rows of acme in (public\.)?orders already"):
        move.prepare()
    assert len(ends.rows_of(TARGET, "acme")["orders"]) == 1
    with pytest.raises(MoveError, match="not prepared"):
        move.copy(quiet)


def test_a_copy_that_is_cut_short_can_be_made_again(ends: Ends) -> None:
    ends.fill(1_000)
    move = ends.mover()
    move.prepare()

    def cut(_rows: int, copied_bytes: int) -> None:
        if copied_bytes > 10_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move.copy(cut)
    assert not move.facts().follows
    with ends.executing(SOURCE) as execute:
        execute("DELETE FROM orders WHERE tenant_id = 'acme' AND id < 50")
    move.copy(quiet)
    move.follow()
    assert move.compare(quiet).is_same
    assert ends.rows_of(TARGET, "acme") == ends.rows_of(SOURCE, "acme")


def test_shared_rows_that_the_target_lacks_are_named(ends: Ends) -> None:
    ends.fill(10)
    with ends.executing(SOURCE) as execute:
        execute("INSERT INTO currencies VALUES ('CHF')")
        execute("INSERT INTO orders (tenant_id, id, currency, amount) VALUES ('acme', 99, 'CHF', 1)")
    move = ends.mover()
    (refusal,) = move.estimate().refusals
    assert "bring its shared tables up to" in refusal
    with pytest.raises(NotTheSameError, match=r"references (public\.)?currencies \('?CHF"):
        move.prepare()
    assert ends.left_at(TARGET) == []
    with ends.executing(TARGET) as execute:
        execute("INSERT INTO currencies VALUES ('CHF')")
    move.prepare()
    with ends.executing(SOURCE) as execute:
        execute("INSERT INTO currencies VALUES ('SEK')")
        execute("UPDATE orders SET currency = 'SEK' WHERE tenant_id = 'acme' AND id = 99")
    with pytest.raises(NotTheSameError, match=r"references (public\.)?currencies \('SEK',\)"):
        move.copy(quiet)


def test_an_estimate_is_of_the_tenant_alone(ends: Ends) -> None:
    ends.fill(1_000)
    found = ends.mover().estimate()
    assert found.refusals == ()
    assert [name.removeprefix("public.") for name in found.tables] == ["orders", "visits", "lines"]
    assert 1_000 < found.rows < 5_000
    assert found.bytes > 1_000


def test_two_moves_of_a_tenant_do_not_meet(ends: Ends) -> None:
    ends.fill(10)
    ends.mover().prepare()
    with pytest.raises(MoveError, match="guarded here by the move m1"):
        ends.mover(move_id="m2").prepare()
    ends.mover("globex", "m2").prepare()


STEPS: list[Callable[[DataMover], object]] = [
    lambda move: move.prepare(),
    lambda move: move.copy(quiet),
    lambda move: move.follow(),
    lambda move: move.compare(quiet),
    lambda move: move.fence(5),
    lambda move: move.finish(10),
]


@pytest.mark.parametrize("reached", range(len(STEPS) + 1))
def test_an_end_before_the_flip_leaves_the_source_as_it_was_and_nothing_else(ends: Ends, reached: int) -> None:
    ends.fill(100)
    before = ends.rows_of(SOURCE, "acme")
    move = ends.mover()
    for step in STEPS[:reached]:
        step(move)
    if move.facts().source_closed:
        move.reopen_source()
    move.part()
    if move.facts().target_closed is not None:
        move.clean_target(quiet)
    move.forget()
    assert_nothing_left(ends, move)
    assert (ends.rows_of(SOURCE, "acme"), ends.rows_of(TARGET, "acme")) == (before, EMPTY)
    with ends.executing(SOURCE) as execute:
        execute("UPDATE orders SET note = 'on' WHERE tenant_id = 'acme' AND id = 1")


def test_every_call_can_be_repeated(ends: Ends) -> None:
    ends.fill(300)
    wanted = ends.rows_of(SOURCE, "acme")
    move = ends.mover()
    for step in STEPS:
        step(move)
        step(move)
    for _ in range(2):
        move.open_target(6)
        move.fence(6)
    with ends.executing(TARGET) as execute:
        execute("DELETE FROM orders WHERE tenant_id = 'acme' AND id = 2")
    for _ in range(2):
        move.fence_target(7)
        assert move.finish_back(10).is_same
    for _ in range(2):
        move.reopen_source()
    assert len(ends.rows_of(SOURCE, "acme")["orders"]) == len(wanted["orders"]) - 1
    assert len(ends.rows_of(SOURCE, "acme")["lines"]) == len(wanted["lines"]) - 1
    for _ in range(2):
        move.part()
    for _ in range(2):
        move.clean_target(quiet)
    for _ in range(2):
        move.forget()
    assert_nothing_left(ends, move)


def test_what_waits_in_the_outbox_is_waited_for(ends: Ends) -> None:
    for end in (SOURCE, TARGET):
        with ends.executing(end) as execute:
            execute("CREATE TABLE cellplane_outbox (tenant_id text NOT NULL, seq integer PRIMARY KEY)")
    ends.fill(10)
    with ends.executing(SOURCE) as execute:
        execute("INSERT INTO cellplane_outbox VALUES ('acme', 1), ('globex', 2)")
    move = followed(ends)
    move.fence(5)
    with pytest.raises(NotInTimeError, match="the outbox still has events of acme"):
        move.finish(0.5)
    with ends.executing(SOURCE) as execute:
        execute("DELETE FROM cellplane_outbox WHERE tenant_id = 'acme'")
    assert move.finish(10).is_same
    with ends.executing(TARGET) as execute:
        assert execute("SELECT * FROM cellplane_outbox") == []


SEEDS = [7, *[pytest.param(seed, marks=pytest.mark.long) for seed in range(100, 110)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mover_that_is_killed_at_any_moment_is_gone_on_with(ends: Ends, seed: int) -> None:
    rng = random.Random(seed)
    ends.fill(1_000)
    writers = [ends.writer(SOURCE, number) for number in range(2)]
    left = list(carrier.STAGES)
    with writing(*writers):
        for _ in range(4):
            made = killed(ends, left, rng.uniform(0, 0.5))
            left = [stage for stage in left if stage not in made or stage in carrier.AGAIN]
        move = ends.mover()
        for stage in left:
            carrier.make(move, stage)
        move.fence(5)
        assert move.finish(10).is_same
    assert [writer.errors for writer in writers] == [[], []]
    assert all(writer.acknowledged for writer in writers)
    assert [writer.wrong(notes(ends, TARGET)) for writer in writers] == [[], []]
    assert ends.rows_of(TARGET, "acme") == ends.rows_of(SOURCE, "acme")
    move.open_target(6)
    later = [ends.writer(TARGET, number) for number in (2, 3)]
    with writing(*later):
        for _ in range(2):
            killed(ends, [carrier.BACK], rng.uniform(0, 0.5))
        move.fence_target(7)
        assert move.finish_back(10).is_same
    assert [writer.errors for writer in later] == [[], []]
    assert all(writer.acknowledged for writer in later)
    assert [writer.wrong(notes(ends, SOURCE)) for writer in later] == [[], []]
    assert ends.rows_of(SOURCE, "acme") == ends.rows_of(TARGET, "acme")
    move.reopen_source()
    move.part()
    move.clean_target(quiet)
    move.forget()
    assert_nothing_left(ends, move)


def killed(ends: Ends, stages: list[str], after_seconds: float) -> list[str]:
    """Let a process make these stages, and kill it so long after it has begun; returns what it made."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, carrier.__file__, *ends.urls, *stages],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        killer = threading.Timer(after_seconds, process.kill)
        killer.start()
        made = process.stdout.read().splitlines()
        killer.join()
    assert process.returncode == -9, f"it ended by itself behind {made}"
    return made


def test_a_source_that_is_left_before_the_flip_takes_writes_and_the_target_is_cleaned_later(ends: Ends) -> None:
    ends.fill(10)
    move = followed(ends)
    move.fence(5)
    move.reopen_source(alone=True)
    assert move.facts().source_closed is False
    move.fence(6)
    for _ in range(2):
        move.leave_source()
    assert move.facts().source_closed is None
    writer = ends.writer(SOURCE, 1)
    with writing(writer):
        while not writer.acknowledged:
            pass
    assert not writer.errors
    move.part()
    assert move.clean_target(quiet) > 10
    move.forget()
    assert ends.rows_of(TARGET, "acme") == EMPTY
    assert_nothing_left(ends, move)


def test_rows_of_a_table_that_appeared_are_not_deleted_as_they_were_not_carried(ends: Ends) -> None:
    ends.fill(10)
    move = followed(ends)
    move.fence(5)
    assert move.finish(10).is_same
    move.open_target(6)
    for end in (SOURCE, TARGET):
        with ends.executing(end) as execute:
            execute("CREATE TABLE late (tenant_id TEXT NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (tenant_id, id))")
            execute("INSERT INTO late VALUES ('acme', ?)", (end,))
    # Who goes on behind the flip is not held up.
    move.fence(0)
    with pytest.raises(MoveError, match=r"late .*appeared, .* behind it release it"):
        _goes_back(move)
    move.part()
    with pytest.raises(MoveError, match=r"late appeared in the source while acme moved"):
        move.clean_source(quiet)
    for end in (SOURCE, TARGET):
        with ends.executing(end) as execute:
            assert execute("SELECT id FROM late") == [(end,)]


def _goes_back(move: DataMover) -> None:
    move.fence_target(7)
    move.finish_back(10)


def test_rows_that_no_move_brought_outlive_one_that_died_as_it_prepared(ends: Ends) -> None:
    ends.fill(10)
    with ends.executing(TARGET) as execute:
        execute(WRITE, (1,))
    move = ends.mover()
    died = _dies_before_it_claims(move)
    with pytest.raises(KeyboardInterrupt):
        died()
    assert move.facts().target_closed is True
    assert move.clean_target(quiet) == 0
    assert len(ends.rows_of(TARGET, "acme")["orders"]) == 1


def _dies_before_it_claims(move: Any) -> Callable[[], None]:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def prepare() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(move), "_claim", die)
            move.prepare()

    return prepare
