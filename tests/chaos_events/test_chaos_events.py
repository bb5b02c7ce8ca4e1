"""A short slice of `make chaos-events`, and that its judge finds what is wrong."""

from collections import Counter
from pathlib import Path

from cellplane.events.analytics.consumer import FAULT_POINTS as CONSUMER_POINTS
from cellplane.events.relay import FAULT_POINTS as RELAY_POINTS
from chaos_events.judge import Row, Verdict, _of_stream, out_of_order
from chaos_events.run import Run, Scale


def test_nothing_is_lost_or_counted_twice_through_kills_and_outages(tmp_path: Path) -> None:
    outcome = Run(tmp_path, Scale(seed=5, kills=10, outages=1)).run()
    assert outcome.verdict.is_right, outcome.figures()
    points = Counter({point: outcome.kills[point] for point in (*RELAY_POINTS, *CONSUMER_POINTS)})
    assert all(points.values()), "each point of relay and consumer was died at"
    assert outcome.kills.total() == 10


def rows(*numbers: int) -> list[Row]:
    return [Row(str(number), "acme", number) for number in numbers]


def test_the_judge_finds_lost_made_up_repeated_and_disordered_events() -> None:
    assert _of_stream(rows(1, 2, 3), rows(1, 2, 3)) == (0, 0, 0, 0)
    assert _of_stream(rows(1, 2, 3), rows(1, 3)) == (1, 0, 0, 0)
    assert _of_stream(rows(1), rows(1, 2)) == (0, 1, 0, 0)
    assert _of_stream(rows(1, 2, 3), rows(1, 2, 1, 2, 3)) == (0, 0, 2, 0)
    assert _of_stream(rows(1, 2, 3), rows(1, 3, 2)) == (0, 0, 0, 1)
    assert out_of_order([Row("a", "acme", 2), Row("b", "other", 1), Row("c", "acme", 1)]) == 1


def test_the_verdict_is_wrong_where_any_of_it_is() -> None:
    assert Verdict(1, 0, 0, 9, 0, 0, 0, 0, 0).is_right
    assert not Verdict(0, 0, 0, 0, 0, 0, 0, 0, 0).is_right, "nothing was tried"
    for place in (1, 2, 4, 5, 6, 7, 8):
        assert not Verdict(1, *(int(place == each) for each in range(1, 9))).is_right
