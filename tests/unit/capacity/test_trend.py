"""For how many days what is left lasts, and when one more cell is asked for."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellplane.capacity.growth import Ask, Asked, Need, NotAsked, grow
from cellplane.capacity.settings import CapacitySettings
from cellplane.capacity.trend import DaysLeft, Outlook, Sample, days_left, gathered
from cellplane.model import Capacity, Cell, CellStatus

USUAL = CapacitySettings()


def hourly(days: int, start: float, a_day: float, noise: float = 0.0) -> list[Sample]:
    random = Random(1)
    return [Sample(hour / 24, start + a_day * hour / 24 + noise * random.uniform(-1, 1)) for hour in range(days * 24)]


def test_a_steady_growth_reaches_the_mark_when_it_does() -> None:
    found = days_left(hourly(10, 0.3, 0.01), 0.7, USUAL)
    assert found.outlook is Outlook.DAYS
    assert found.days == pytest.approx(30, abs=0.2)
    assert found.growth_a_day == pytest.approx(0.01)
    assert found.earliest == pytest.approx(30, abs=0.2)
    assert found.latest == pytest.approx(30, abs=0.2)


def test_noise_widens_the_bounds_around_the_truth() -> None:
    found = days_left(hourly(14, 0.3, 0.01, noise=0.05), 0.7, USUAL)
    assert found.earliest is not None
    assert found.latest is not None
    assert found.earliest < 26 < found.latest


def test_a_quarter_of_wrong_samples_does_not_bend_it() -> None:
    samples = [
        replace(sample, share=1.0) if place % 4 == 0 else sample for place, sample in enumerate(hourly(10, 0.3, 0.01))
    ]
    found = days_left(samples, 0.7, USUAL)
    assert found.days == pytest.approx(30, rel=0.15)


def test_too_little_is_unknown() -> None:
    assert days_left([], 0.7, USUAL) == DaysLeft(Outlook.UNKNOWN)
    assert days_left(hourly(2, 0.3, 0.01), 0.7, USUAL).outlook is Outlook.UNKNOWN
    assert days_left([Sample(day, 0.5) for day in range(5)], 0.7, USUAL).outlook is Outlook.UNKNOWN
    assert days_left([Sample(5, 0.5)] * 100, 0.7, USUAL).outlook is Outlook.UNKNOWN


def test_what_shrinks_or_stays_never_reaches_it() -> None:
    assert days_left(hourly(10, 0.5, -0.01), 0.7, USUAL).outlook is Outlook.NEVER
    found = days_left(hourly(10, 0.5, 0.0), 0.7, USUAL)
    assert (found.outlook, found.days, found.latest) == (Outlook.NEVER, None, None)


def test_what_grows_too_slowly_to_tell_is_later() -> None:
    assert days_left(hourly(10, 0.1, 1e-5), 0.7, USUAL).outlook is Outlook.LATER
    assert days_left(hourly(10, 0.1, 1e-300), 0.7, USUAL).outlook in {Outlook.LATER, Outlook.NEVER}


def test_what_is_over_is_full() -> None:
    found = days_left(hourly(10, 0.72, 0.001), 0.7, USUAL)
    assert (found.outlook, found.days) == (Outlook.FULL, 0.0)


def test_samples_are_gathered_to_so_many_points() -> None:
    found = gathered(hourly(100, 0.0, 0.001), 300)
    assert len(found) == 300
    assert [point.day for point in found] == sorted(point.day for point in found)


@given(
    st.lists(st.builds(Sample, st.floats(0, 100), st.floats(0, 1)), max_size=60),
    st.floats(0.1, 1),
)
def test_days_are_never_negative_and_in_their_bounds(samples: list[Sample], mark: float) -> None:
    found = days_left(samples, mark, USUAL)
    if found.outlook is Outlook.DAYS:
        assert found.days is not None
        assert 0 <= found.days <= USUAL.horizon_days
        assert found.earliest is not None
        assert found.earliest <= found.days
        assert found.latest is None or found.days <= found.latest
    assert days_left(samples[::-1], mark, USUAL).outlook is found.outlook


UNKNOWN = DaysLeft(Outlook.UNKNOWN)
CELLS = {f"cell-{number}": Cell(f"cell-{number}", "h", 1, capacity=Capacity(rps=100)) for number in range(3)}


def need(pool: str = "one", left: float | None = 0.1, days: DaysLeft = UNKNOWN, asked: float | None = None) -> Need:
    last = None if asked is None else Asked(asked)
    return Need(pool, left, days, Capacity(rps=100), tuple(CELLS), last)


def test_a_pool_with_little_left_gets_one_more_cell() -> None:
    (found,) = grow([need()], CELLS, 0.0, USUAL)
    assert found == Ask("one", "10% of its room is left, less than 20%")


def test_so_does_one_whose_room_does_not_last() -> None:
    soon = DaysLeft(Outlook.DAYS, 13.9)
    assert grow([need(left=0.5, days=soon)], CELLS, 0.0, USUAL) == (
        Ask("one", "by its trend its room lasts 13.9 days, less than 14"),
    )
    assert isinstance(grow([need(left=0.5, days=DaysLeft(Outlook.FULL, 0.0))], CELLS, 0.0, USUAL)[0], Ask)


def test_one_with_enough_or_of_which_nobody_knows_gets_none() -> None:
    enough = [need("one", 0.2), need("two", 0.5, DaysLeft(Outlook.DAYS, 14.0)), need("three", None)]
    assert grow(enough, CELLS, 0.0, USUAL) == ()


def test_nobody_asks_twice() -> None:
    coming = {**CELLS, "cell-0": replace(CELLS["cell-0"], status=CellStatus.PROVISIONING)}
    (found,) = grow([need()], coming, 0.0, USUAL)
    assert isinstance(found, NotAsked)
    assert found.reason == "cell 'cell-0' is being provisioned"
    (found,) = grow([need(asked=0.0)], CELLS, 3_599.0, USUAL)
    assert isinstance(found, NotAsked)
    assert isinstance(grow([need(asked=0.0)], CELLS, 3_600.0, USUAL)[0], Ask)


def test_the_fleet_stays_within_its_limits_with_all_that_is_asked_for() -> None:
    few = replace(USUAL, max_cells=4)
    found = grow([need("one", 0.1), need("two", 0.05)], CELLS, 0.0, few)
    assert [(each.pool, type(each)) for each in found] == [("two", Ask), ("one", NotAsked)]
    little = replace(USUAL, max_total=Capacity(rps=399))
    (refused,) = grow([need()], CELLS, 0.0, little)
    assert isinstance(refused, NotAsked)
    assert refused.reason == "all cells together would hold 400 rps, more than 399: raise max_total"
    retired = {**CELLS, "cell-0": replace(CELLS["cell-0"], status=CellStatus.RETIRED)}
    assert isinstance(grow([need()], retired, 0.0, little)[0], Ask)


@given(st.lists(st.floats(0, 1), max_size=8), st.integers(1, 10))
def test_never_more_cells_than_the_limit(lefts: list[float], most: int) -> None:
    needs = [need(f"pool-{number}", left) for number, left in enumerate(lefts)]
    asked = [each for each in grow(needs, CELLS, 0.0, replace(USUAL, max_cells=most)) if isinstance(each, Ask)]
    assert len(asked) <= max(0, most - len(CELLS))
    assert len({each.pool for each in asked}) == len(asked)


def test_a_cell_of_an_ask_that_failed_is_asked_for_again_also_at_the_limit() -> None:
    half = Cell("cell-9", "h", 1, capacity=Capacity(rps=100), status=CellStatus.PROVISIONING)
    settings = replace(USUAL, max_cells=4, max_total=Capacity(rps=400))
    failed = replace(need(), asked=Asked(0.0, unfinished="cell-9"))
    (found,) = grow([failed], {**CELLS, "cell-9": half}, 4_000.0, settings)
    assert isinstance(found, Ask)
    other = replace(need(), asked=Asked(0.0))
    (found,) = grow([other], {**CELLS, "cell-9": half}, 4_000.0, settings)
    assert isinstance(found, NotAsked), "another's cell counts"


def test_nothing_is_asked_for_while_an_ask_is_under_way() -> None:
    (found,) = grow([replace(need(), asked=Asked(0.0, is_done=False))], CELLS, 90_000.0, USUAL)
    assert isinstance(found, NotAsked)
    assert found.reason == "one was asked for 90000 s ago, and is being made"
    assert found.is_coming
