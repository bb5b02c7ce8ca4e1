"""The breakers of a pool: a bound on how many are open, and an operator's orders."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.health import pool_breakers
from cellplane.health.breaker import Breaker, Hold, Observation, Phase, Trip
from cellplane.health.pool_breakers import BreakerChange, BreakerEvent, PoolBreakers, hold, most_open
from cellplane.model.health import BreakerSettings

SETTINGS = BreakerSettings(open_ticks=1, open_seconds=10, probes_to_close=2, probe_failures_to_open=1)
CELLS = [f"cell-{number}" for number in range(1, 7)]
FINE = dict.fromkeys(CELLS, Observation())


def step(
    state: PoolBreakers, now: float, settings: BreakerSettings = SETTINGS, /, **scores: float
) -> tuple[PoolBreakers, dict[str, BreakerEvent]]:
    """A step in which cells, named ``c1`` …, have these scores, and the others 100."""
    seen = FINE | {f"cell-{name[1:]}": Observation(score) for name, score in scores.items()}
    state, events = pool_breakers.step(state, seen, now, settings)
    assert list(events) == sorted(events, key=lambda event: event.cell)
    return state, {event.cell: event for event in events}


@pytest.mark.parametrize(
    ("cells", "share", "most"),
    [(1, 0.34, 0), (2, 0.34, 0), (3, 0.34, 1), (6, 0.34, 2), (3, 1 / 3, 1), (49, 1 / 49, 1), (5, 1, 5), (5, 0, 0)],
)
def test_the_bound_is_a_share_rounded_down(cells: int, share: float, most: int) -> None:
    assert most_open(cells, replace(SETTINGS, max_open_share=share)) == most


def test_a_cell_goes_all_the_way_round() -> None:
    state, events = step(PoolBreakers(), 0, c1=5)
    assert events["cell-1"] == BreakerEvent("cell-1", BreakerChange.OPENED, 0, state.cells["cell-1"], Trip.SCORE, 5)
    assert state.not_closed == ("cell-1",)
    state, events = step(state, 5)
    assert events == {}
    state, events = step(state, 10)
    assert events["cell-1"].change is BreakerChange.HALF_OPENED
    assert state.not_closed == ("cell-1",)
    state, probed = pool_breakers.step(state, {**FINE, "cell-1": Observation(probes_good=2)}, 11, SETTINGS)
    assert [event.change for event in probed] == [BreakerChange.CLOSED]
    assert state.not_closed == ()


def test_a_half_open_breaker_opens_again_on_failed_probes() -> None:
    state = PoolBreakers({**dict.fromkeys(CELLS, Breaker()), "cell-1": Breaker(Phase.HALF_OPEN, openings=1)})
    state, (event,) = pool_breakers.step(state, {**FINE, "cell-1": Observation(40, probes_failed=1)}, 1, SETTINGS)
    assert (event.change, event.trip, event.score) == (BreakerChange.OPENED, Trip.PROBES, 40)
    assert event.breaker.open_until == 21


def test_an_outage_of_everything_opens_only_the_worst() -> None:
    state, events = step(PoolBreakers(), 0, c1=9, c2=8, c3=1, c4=9, c5=0, c6=9)
    assert state.not_closed == ("cell-3", "cell-5")
    assert {cell for cell, event in events.items() if event.change is BreakerChange.KEPT_CLOSED} == {
        "cell-1",
        "cell-2",
        "cell-4",
        "cell-6",
    }
    assert state.cells["cell-1"].is_kept


def test_what_is_kept_closed_is_said_once_and_anew_after_it_was_well() -> None:
    state, _ = step(PoolBreakers(), 0, c1=1, c2=2, c3=3)
    state, events = step(state, 1, c3=3)
    assert events == {}
    state, _ = step(state, 2)
    assert not state.cells["cell-3"].is_kept
    state, events = step(state, 3, c3=3)
    assert events["cell-3"].change is BreakerChange.KEPT_CLOSED


def test_who_was_kept_closed_opens_when_there_is_room() -> None:
    state, _ = step(PoolBreakers(), 0, c1=1, c2=2, c3=3)
    state, _ = hold(state, "cell-1", Hold.CLOSED, 1)
    state, events = step(state, 2, c3=3)
    assert events["cell-3"].change is BreakerChange.OPENED
    assert state.not_closed == ("cell-2", "cell-3")


def test_a_new_cell_begins_closed_and_one_that_left_is_forgotten() -> None:
    state, _ = step(PoolBreakers(), 7, c1=1)
    seen = {cell: Observation() for cell in [*CELLS[1:], "cell-9"]}
    state, events = pool_breakers.step(state, seen, 8, SETTINGS)
    assert (sorted(state.cells), events) == ([*CELLS[1:], "cell-9"], ())
    assert state.cells["cell-9"] == Breaker(since=8)


def test_a_cell_forced_open_stays_so_and_takes_a_place() -> None:
    state, _ = step(PoolBreakers(), 0)
    state, events = hold(state, "cell-1", Hold.OPEN, 1)
    assert [event.change for event in events] == [BreakerChange.HELD]
    state, said = step(state, 1000, c2=1, c3=2)
    assert state.not_closed == ("cell-1", "cell-2")
    assert said["cell-3"].change is BreakerChange.KEPT_CLOSED
    assert state.cells["cell-1"].traffic_share(SETTINGS, 1000) == 0


def test_an_order_is_never_refused_for_the_bound() -> None:
    state, _ = step(PoolBreakers(), 0, c1=1, c2=1)
    for cell in CELLS:
        state, _ = hold(state, cell, Hold.OPEN, 1)
    assert state.not_closed == tuple(CELLS)


def test_a_cell_forced_closed_gets_its_requests_however_ill_it_is() -> None:
    state, _ = step(PoolBreakers(), 0, c1=1)
    state, _ = hold(state, "cell-1", Hold.CLOSED, 1)
    for now in range(2, 60):
        state, events = step(state, now, c1=0)
        assert events == {}
    assert state.cells["cell-1"].traffic_share(SETTINGS, 60) == 1


def test_given_back_a_cell_forced_open_is_probed_and_one_forced_closed_begins_anew() -> None:
    state, _ = step(PoolBreakers(), 0)
    state, _ = hold(state, "cell-1", Hold.OPEN, 1)
    state, _ = hold(state, "cell-2", Hold.CLOSED, 1)
    state, (event,) = hold(state, "cell-1", Hold.NONE, 2)
    assert (event.change, event.breaker.phase) == (BreakerChange.RELEASED, Phase.HALF_OPEN)
    state, (event,) = hold(state, "cell-2", Hold.NONE, 2)
    assert (event.change, event.breaker) == (BreakerChange.RELEASED, Breaker(since=2))


def test_an_order_that_changes_nothing_says_nothing() -> None:
    state, _ = step(PoolBreakers(), 0)
    assert hold(state, "cell-1", Hold.NONE, 1) == (state, ())
    state, _ = hold(state, "cell-1", Hold.OPEN, 1)
    assert hold(state, "cell-1", Hold.OPEN, 2) == (state, ())


def test_an_order_for_a_cell_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValidationError, match="cell: expected a cell of the pool, found 'cell-1'"):
        hold(PoolBreakers(), "cell-1", Hold.OPEN, 1)


def test_time_does_not_go_back() -> None:
    state, _ = step(PoolBreakers(), 5)
    with pytest.raises(ValidationError, match="now: expected 5 or later, found 4"):
        step(state, 4)
