"""The judge of `make chaos-move` finds each wrong that is planted, and none where none is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaos_moves.judge import Logged, Outcome, Read, Rows, Verdict, Write, judge

SOURCE, TARGET = "cell-a", "cell-b"
THERE = (SOURCE, TARGET)
AND_BACK = (SOURCE, TARGET, SOURCE)


def wrote(number: int, key: str, cell: str = SOURCE, *, value: int | None = -1) -> Write:
    """Write ``number``, acknowledged, as long after the one before."""
    given = number if value == -1 else value
    return Write(number, key, given, number, number + 0.5, Outcome.ACKNOWLEDGED, cell, number + 0.2)


def in_doubt(number: int, key: str) -> Write:
    return replace(wrote(number, key), outcome=Outcome.UNKNOWN, cell="", at=0.0)


HISTORY = [
    wrote(1, "a"),
    wrote(2, "b"),
    wrote(3, "a"),
    wrote(4, "b", TARGET, value=None),
    wrote(5, "c", TARGET),
    replace(wrote(6, "d"), outcome=Outcome.REFUSED),
]
LOG = [Logged(each.number, each.key, each.cell, each.at) for each in HISTORY[:5]]
RIGHT = Rows([("a", 3), ("c", 5)], LOG)
READS = [Read("a", None, 0, 0.5), Read("a", 1, 2, 2.5), Read("a", 3, 3.7, 3.8), Read("b", None, 4.6, 4.7)]


def judged(
    home: Rows = RIGHT,
    *,
    writes: Sequence[Write] = HISTORY,
    reads: Sequence[Read] = READS,
    other: Rows = Rows(),  # noqa: B008  # frozen
    cells: Sequence[str] = THERE,
) -> Verdict:
    return judge(writes, reads, home=home, other=other, cells=cells)


def counts(verdict: Verdict) -> tuple[int, int, int, int]:
    assert bool(verdict.said) == (not verdict.is_right), "what is wrong is said"
    return verdict.lost, verdict.duplicated, verdict.stale, verdict.two_writers


def test_what_is_right_is_right() -> None:
    verdict = judged()
    assert verdict.is_right, verdict
    assert verdict.acknowledged == 5
    assert not judged(Rows(), writes=[], reads=[]).is_right, "nothing was tried"


@pytest.mark.parametrize(
    ("home", "what"),
    [
        (Rows([("c", 5)], LOG), "a row is gone"),
        (Rows([("a", 1), ("c", 5)], LOG), "a row is as it was before"),
        (Rows([("a", 3), ("b", 2), ("c", 5)], LOG), "a deletion is forgotten"),
        (Rows(RIGHT.entries, LOG[1:]), "the log lacks a write that was overwritten since"),
        (Rows([("a", 1), ("c", 5)], [row for row in LOG if row.number != 3]), "a write is nowhere"),
    ],
)
def test_a_lost_write_is_found(home: Rows, what: str) -> None:
    assert counts(judged(home)) == (1, 0, 0, 0), what


@pytest.mark.parametrize(
    ("home", "other", "what"),
    [
        (Rows(RIGHT.entries, [*LOG, LOG[0]]), Rows(), "a write is in the log twice"),
        (Rows([("a", 3), ("a", 3), ("c", 5)], LOG), Rows(), "a row is there twice"),
        (RIGHT, Rows([("a", 3)]), "a row is in both cells"),
        (RIGHT, Rows([], [LOG[0]]), "a line of the log is in both cells"),
        (Rows(RIGHT.entries, [*LOG, Logged(6, "d", SOURCE, 3.3)]), Rows(), "one that was refused was done"),
        (Rows([*RIGHT.entries, ("z", 99)], LOG), Rows(), "a row is nobody's"),
    ],
)
def test_a_duplicated_or_made_up_write_is_found(home: Rows, other: Rows, what: str) -> None:
    assert counts(judged(home, other=other)) == (0, 1, 0, 0), what


def test_a_write_in_doubt_may_be_done_or_not_but_not_by_half() -> None:
    for write, rows in ((in_doubt(7, "a"), [("a", 7), ("c", 5)]), (in_doubt(7, "n"), [*RIGHT.entries, ("n", 7)])):
        done = [*LOG, Logged(7, write.key, TARGET, 7)]
        assert judged(writes=[*HISTORY, write]).is_right
        assert judged(Rows(rows, done), writes=[*HISTORY, write]).is_right
        assert counts(judged(Rows(rows, LOG), writes=[*HISTORY, write])) == (1, 0, 0, 0), "not in the log"
        assert counts(judged(Rows(RIGHT.entries, done), writes=[*HISTORY, write])) == (1, 0, 0, 0), "in the log alone"


@pytest.mark.parametrize(
    "read",
    [
        Read("a", 1, 3.6, 3.7),
        Read("a", None, 1.6, 1.7),
        Read("b", 2, 4.6, 4.7),
        Read("a", 99, 3.1, 3.2),
        Read("c", 5, 1, 2),
    ],
)
def test_a_stale_or_made_up_read_is_found(read: Read) -> None:
    assert counts(judged(reads=[read])) == (0, 0, 1, 0)


def test_reads_beside_a_write_may_show_it_or_not_but_never_go_back() -> None:
    before, after = Read("a", 1, 3.1, 3.2), Read("a", 3, 3.1, 3.2)
    assert judged(reads=[before]).is_right
    assert judged(reads=[after]).is_right
    assert counts(judged(reads=[after, Read("a", 1, 3.3, 3.4)])) == (0, 0, 1, 0)


def test_writes_at_two_cells_are_found() -> None:
    home = Rows([("a", 3), ("c", 5), ("n", 7)], [*LOG, Logged(7, "n", SOURCE, 7.2)])
    writes = [*HISTORY, wrote(7, "n")]
    assert counts(judged(home, writes=writes)) == (0, 0, 0, 1)
    assert judged(home, writes=writes, cells=AND_BACK).is_right, "it went back"
    assert judged(Rows([("a", 3), ("b", 2)], LOG[:3]), writes=HISTORY[:3], reads=[], cells=AND_BACK).is_right, "stayed"
    late = Rows([*home.entries, ("m", 8)], [*home.log, Logged(8, "m", TARGET, 8.2)])
    assert counts(judged(late, writes=[*writes, wrote(8, "m", TARGET)], cells=AND_BACK)) == (0, 0, 0, 1)
    nobody_heard = replace(writes[-1], outcome=Outcome.UNKNOWN)
    assert counts(judged(home, writes=[*HISTORY, nobody_heard])) == (0, 0, 0, 1), "also where no answer came"
