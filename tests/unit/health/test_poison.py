"""Who is kept away, for how long, and who comes back."""

from dataclasses import replace

import pytest

from cellplane.errors import ValidationError
from cellplane.health.concentration import CellUse, PoisonSettings, TenantUse
from cellplane.health.poison import PoisonChange, PoisonEvent, PoisonState, decide
from unit.health.test_concentration import OTHERS, use

SETTINGS = PoisonSettings(
    windows=3, max_quarantined=2, quarantine_seconds=60, quarantine_cap_seconds=200, forget_seconds=1000
)
WELL = use(*OTHERS)


def poisoned(tenant: str, errors: int = 90) -> CellUse:
    return use(*OTHERS, TenantUse(tenant, 100, errors, 50.0))


def after(
    *windows: dict[str, CellUse], state: PoisonState | None = None, now: float = 0, settings: PoisonSettings = SETTINGS
) -> tuple[PoisonState, list[PoisonEvent]]:
    """The state after these windows, one a second, and what was decided on the way."""
    state = state or PoisonState()
    said: list[PoisonEvent] = []
    for second, cells in enumerate(windows):
        state, events = decide(state, cells, now + second, settings)
        said += events
    return state, said


def changes(said: list[PoisonEvent]) -> list[tuple[str, PoisonChange]]:
    return [(event.tenant, event.change) for event in said]


def test_a_tenant_is_quarantined_after_some_windows_in_a_row() -> None:
    state, said = after(*[{"cell-1": poisoned("acme")}] * 2)
    assert (state.quarantined, said) == ((), [])
    state, said = after({"cell-1": poisoned("acme")}, state=state, now=2)
    assert state.quarantined == ("acme",)
    (event,) = said
    assert (event.tenant, event.change, event.at, event.until) == ("acme", PoisonChange.QUARANTINED, 2, 62)
    assert event.found.share == 90 / 94


def test_what_it_did_before_does_not_count_again() -> None:
    state, said = after(*[{"cell-1": poisoned("acme")}] * 12)
    assert changes(said) == [("acme", PoisonChange.QUARANTINED)]
    assert state.suspicions == {}


def test_a_well_window_ends_a_suspicion_and_so_does_another_tenant() -> None:
    acme, beta = {"cell-1": poisoned("acme")}, {"cell-1": poisoned("zeta")}
    assert after(acme, acme, {"cell-1": WELL}, acme, acme)[1] == []
    assert after(acme, acme, beta, beta, acme)[1] == []
    assert after(acme, acme, {}, acme)[1] == []


def test_a_little_better_keeps_the_suspicion_and_does_not_grow_it() -> None:
    acme, less = {"cell-1": poisoned("acme")}, {"cell-1": poisoned("acme", errors=42)}
    state, said = after(acme, acme, less, less, less)
    assert (said, state.suspicions["cell-1"].windows) == ([], 2)
    assert changes(after(acme, state=state, now=5)[1]) == [("acme", PoisonChange.QUARANTINED)]
    assert after(less, less, less, less)[1] == []
    assert after(acme, {"cell-1": poisoned("zeta", errors=42)}, acme, acme)[1] == []


def test_a_quarantine_ends_and_the_next_is_longer_up_to_a_cap() -> None:
    state, until, taken = PoisonState(), 0.0, []
    for _ in range(4):
        state, said = after({}, *[{"cell-1": poisoned("acme")}] * 3, state=state, now=until)
        event = said[-1]
        assert event.until is not None
        taken.append(event.until - event.at)
        until = event.until
    assert taken == [60, 120, 200, 200]
    state, said = after({}, state=state, now=until)
    assert changes(said) == [("acme", PoisonChange.RELEASED)]
    assert said[0].found.tenant == "acme"
    assert state.quarantined == ()


def test_long_after_its_release_a_tenant_begins_anew() -> None:
    state, _ = after(*[{"cell-1": poisoned("acme")}] * 3)
    state, _ = after({}, state=state, now=62)
    assert "acme" in after({}, state=state, now=1061)[0].quarantines
    assert after({}, state=state, now=1062)[0].quarantines == {}


def test_only_so_many_are_quarantined_at_once_those_with_the_largest_share_first() -> None:
    cells = {f"cell-{number}": poisoned(f"tenant-{number}", errors=60 + number) for number in range(1, 5)}
    state, said = after(*[cells] * 6)
    assert state.quarantined == ("tenant-3", "tenant-4")
    assert changes(said) == [
        ("tenant-4", PoisonChange.QUARANTINED),
        ("tenant-3", PoisonChange.QUARANTINED),
        ("tenant-2", PoisonChange.LEFT_ALONE),
        ("tenant-1", PoisonChange.LEFT_ALONE),
    ]
    state, said = after(cells, state=state, now=62)
    assert changes(said)[:2] == [("tenant-3", PoisonChange.RELEASED), ("tenant-4", PoisonChange.RELEASED)]
    assert changes(said)[2:] == [("tenant-2", PoisonChange.QUARANTINED), ("tenant-1", PoisonChange.QUARANTINED)]


def test_a_lower_bound_sends_nobody_back() -> None:
    cells = {f"cell-{number}": poisoned(f"tenant-{number}") for number in range(1, 3)}
    state, _ = after(*[cells] * 3)
    state, said = after(
        {"cell-3": poisoned("third")}, state=state, now=3, settings=replace(SETTINGS, max_quarantined=1)
    )
    assert (state.quarantined, said) == (("tenant-1", "tenant-2"), [])


def test_a_tenant_that_makes_two_cells_ill_is_quarantined_once() -> None:
    state, said = after(*[{"cell-1": poisoned("acme"), "cell-2": poisoned("acme")}] * 3)
    assert changes(said) == [("acme", PoisonChange.QUARANTINED)]
    assert state.suspicions == {}


def test_time_does_not_go_back() -> None:
    state, _ = after({}, now=5)
    with pytest.raises(ValidationError, match="now: expected 5 or later, found 4"):
        decide(state, {}, 4, SETTINGS)
