"""Which of several clocks is said to be wrong."""

from dataclasses import replace
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.doctor.checks.clocks import HERE, clocks_of, judge
from cellplane.doctor.facts import Clock, ControlAnswer, Missing
from cellplane.doctor.finding import Severity
from cellplane.doctor.gather.clocks import clock_of_date, clock_of_moment
from cellplane.doctor.settings import DoctorSettings
from unit.doctor.well import ROUTER, STATUS, WELL

SETTINGS = DoctorSettings()


def clocks(*ahead: float, within: float = 0.0) -> list[Clock]:
    return [Clock(f"clock {number}", each, within) for number, each in enumerate(ahead)]


def test_the_one_that_differs_from_most_is_wrong() -> None:
    (hit,) = judge(clocks(0, 0, 300, 0), SETTINGS)
    assert (hit.severity, hit.about) == (Severity.ERROR, "clock 2")
    assert "300.0 s ahead of most others" in hit.found


def test_it_may_be_this_machines() -> None:
    (hit,) = judge(clocks(20, 20, 20), SETTINGS)
    assert (hit.severity, hit.about) == (Severity.WARNING, HERE)
    assert "20.0 s behind most others" in hit.found


def test_of_two_nobody_says_which() -> None:
    (hit,) = judge(clocks(-90), SETTINGS)
    assert (hit.severity, hit.about) == (Severity.ERROR, "clock 0")
    assert "behind that of this machine" in hit.found


def test_a_difference_that_the_look_itself_may_have_made_is_none() -> None:
    (hit,) = judge(clocks(7, within=3), SETTINGS)
    assert hit.severity is Severity.OK
    (hit,) = judge(clocks(9, within=3), SETTINGS)
    assert hit.severity is Severity.WARNING


def test_without_another_clock_nothing_is_said() -> None:
    (hit,) = judge([], SETTINGS)
    assert hit.severity is Severity.SKIPPED


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=12), st.data())
def test_which_clocks_are_wrong_does_not_depend_on_who_looks(times: list[int], data: st.DataObject) -> None:
    def wrong_seen_from(here: int) -> set[int]:
        seen = [
            Clock(str(number), float(time - times[here]), 0.0) for number, time in enumerate(times) if number != here
        ]
        hits = [hit for hit in judge(seen, SETTINGS) if hit.severity is not Severity.OK]
        return {here if hit.about == HERE else int(hit.about) for hit in hits}

    assert wrong_seen_from(0) == wrong_seen_from(data.draw(st.integers(1, len(times) - 1)))


def test_on_sqlite_the_directorys_clock_does_not_vote_twice() -> None:
    own = replace(STATUS, store="sqlite")
    names = [each.whose for each in clocks_of(replace(WELL, status=own, routers=(), probes=(), agents=()))]
    assert names == ["the control plane"]


def test_routers_count_by_what_the_control_plane_measured() -> None:
    facts = replace(
        WELL,
        status=replace(STATUS, clock=Clock("the control plane", 100.0, 0.1)),
        routers=(replace(ROUTER, clock_offset_seconds=-100.0), replace(ROUTER, id="r2", clock_offset_seconds=None)),
    )
    (router,) = [each for each in clocks_of(facts) if each.whose.startswith("router")]
    assert router.ahead_seconds == pytest.approx(0.0)


def test_without_a_status_the_date_of_an_answer_does() -> None:
    date = Clock("the control plane", 2.0, 1.0)
    facts = replace(
        WELL, status=Missing("older"), control=ControlAnswer(200, clock=date), probes=Missing("x"), agents=Missing("x")
    )
    assert clocks_of(facts) == [date]


@given(st.floats(1e9, 4e9), st.floats(-1e5, 1e5), st.floats(0, 10), st.floats(0, 1))
def test_a_date_tells_a_clock_to_what_it_says_that_it_may_be_wrong_by(
    true_time: float, ahead: float, round_trip: float, share: float
) -> None:
    """Whenever between question and answer the server looks at its clock, and however late in its second."""
    looked_at = true_time + share * round_trip
    date = formatdate(int(looked_at + ahead), usegmt=True)
    clock = clock_of_date("it", date, true_time, true_time + round_trip)
    assert clock is not None
    assert abs(clock.ahead_seconds - ahead) <= clock.within_seconds + 1e-3


def test_a_moment_is_exact_to_half_the_round_trip() -> None:
    clock = clock_of_moment("it", 105.0, 99.0, 101.0)
    assert (clock.ahead_seconds, clock.within_seconds) == (5.0, 1.0)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2026 01:02:23 GMT"])
def test_a_date_that_is_none_tells_nothing(date: str | None) -> None:
    assert clock_of_date("it", date, 0, 0) is None
