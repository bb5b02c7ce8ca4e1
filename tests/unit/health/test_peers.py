"""Gray cells: found when they are worse for long, in time, and rarely imagined."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.health import peers
from cellplane.health.outliers import PeerMeasure
from cellplane.health.peers import GrayEvent, PeerState
from cellplane.health.rates import Rates
from cellplane.model.health import PeerSettings
from unit.health.simulation import (
    ERRORS,
    HEALTHY,
    SLOW,
    WEATHERS,
    Traffic,
    events,
    false_alarms,
    seconds_until_found,
)
from unit.health.test_outliers import rates

SETTINGS = PeerSettings(windows=4, wrong_windows=3, clear_windows=1)
WELL = {"cell-1": rates(), "cell-2": rates(), "cell-3": rates()}
ILL = {**WELL, "cell-2": rates(errors=25)}
SLOW_WINDOW = {**WELL, "cell-2": rates(fast=400, slow=100)}


def after(*windows: dict[str, Rates], state: PeerState | None = None) -> tuple[PeerState, list[GrayEvent]]:
    """The state after these windows, and what was said on the way."""
    state = state or PeerState()
    said: list[GrayEvent] = []
    for window in windows:
        now = 0 if state.compared_at is None else state.compared_at + SETTINGS.step_seconds
        state, found = peers.step(state, window, now, SETTINGS)
        said += found
    return state, said


def test_a_cell_is_gray_after_m_of_n_windows() -> None:
    state, said = after(ILL, WELL, ILL)
    assert (state.gray, said) == ((), [])
    state, said = after(ILL, state=state)
    assert state.gray == ("cell-2",)
    (event,) = said
    assert (event.cell, event.is_gray, event.at) == ("cell-2", True, 6)
    assert [outlier.measure for outlier in event.outliers] == [PeerMeasure.ERROR_RATE]


def test_it_is_said_once() -> None:
    state, said = after(*[ILL] * 10)
    assert len(said) == 1
    assert len(state.cells["cell-2"].windows) == 4


def test_windows_wrong_in_different_measures_do_not_add_up() -> None:
    state, _ = after(ILL, SLOW_WINDOW, ILL, SLOW_WINDOW)
    assert state.gray == ()


def test_a_gray_cell_is_cleared_when_few_windows_are_wrong() -> None:
    state, _ = after(ILL, ILL, ILL)
    state, said = after(WELL, WELL, state=state)
    assert (state.gray, said) == (("cell-2",), [])
    state, said = after(WELL, state=state)
    assert (state.gray, said) == ((), [GrayEvent("cell-2", is_gray=False, at=10, outliers=())])


def test_between_two_steps_nothing_is_compared() -> None:
    state, _ = after(WELL)
    assert peers.compare_due(PeerState(), 0, SETTINGS)
    assert not peers.compare_due(state, 1.9, SETTINGS)
    assert peers.step(state, ILL, 1.9, SETTINGS) == (state, ())
    assert peers.compare_due(state, 2, SETTINGS)


def test_a_cell_that_left_is_forgotten_and_one_without_requests_is_not_wrong() -> None:
    state, _ = after(ILL, ILL, {"cell-1": rates(), "cell-3": rates(), "cell-4": rates()})
    assert sorted(state.cells) == ["cell-1", "cell-3", "cell-4"]
    state, _ = after(ILL, ILL, {**WELL, "cell-2": Rates()}, WELL)
    assert state.gray == ()


def test_time_does_not_go_back() -> None:
    state, _ = after(WELL, WELL)
    with pytest.raises(ValidationError, match=r"now: expected 2\.0 or later, found 1"):
        peers.step(state, WELL, 1.0, SETTINGS)


@pytest.mark.parametrize("cells", [3, 5])
@pytest.mark.parametrize("fault", [ERRORS, SLOW], ids=["3 % errors", "+2 s on 20 %"])
def test_a_gray_cell_is_found_within_a_minute(cells: int, fault: Traffic) -> None:
    found = [seconds_until_found(cells, fault, HEALTHY, seed) for seed in range(12)]
    assert all(seconds is not None and seconds <= 60 for seconds in found), found


@pytest.mark.long
@pytest.mark.parametrize("name", ["plain", "heavy tails", "two speeds", "little traffic"])
def test_a_pool_without_a_gray_cell_has_no_alarm_in_ten_thousand_windows(name: str) -> None:
    assert false_alarms(3, WEATHERS[name], 10_000, seed=7) == 0


@pytest.mark.long
def test_what_makes_all_cells_slow_together_is_no_gray_failure() -> None:
    assert false_alarms(5, WEATHERS["a shared cause"], 3_000, seed=7) == 0


def test_one_burst_of_errors_is_no_gray_failure() -> None:
    burst = replace(HEALTHY, error_rate=0.9)
    said = list(events(3, lambda number, now: burst if number == 0 and now % 90 == 0 else HEALTHY, 600, seed=7))
    assert said == []
